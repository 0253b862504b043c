"""DuckDB over real Delta tables: what it shows, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import boto3
import duckdb
import polars as pl
import pytest

import smartdrive_dagster
from smartdrive_dagster.lake.duck import borrowed, connect
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.query import QueryError, ask, write_result
from smartdrive_dagster.tables import ALL, bronze, gold, silver

BERLIN = "Europe/Berlin"


@pytest.fixture
def lakehouse(tmp_path: Path, rows_of) -> Lakehouse:
    """A lake of two vehicles, three event days of telemetry, no trips."""
    lakehouse = Lakehouse(str(tmp_path / "lake"))
    _fill(lakehouse, rows_of)
    return lakehouse


@pytest.fixture
def connection(lakehouse: Lakehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(lakehouse, time_zone=BERLIN, tables=ALL)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def shared_lakehouse(tmp_path_factory: pytest.TempPathFactory, rows_of) -> Lakehouse:
    """The same for tests that only read it."""
    lakehouse = Lakehouse(str(tmp_path_factory.mktemp("shared") / "lake"))
    _fill(lakehouse, rows_of)
    return lakehouse


@pytest.fixture(scope="module")
def shared_connection(shared_lakehouse: Lakehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(shared_lakehouse, time_zone=BERLIN, tables=ALL) as connection:
        yield connection


def _fill(lakehouse: Lakehouse, rows_of) -> None:
    start = datetime(2025, 3, 29, 12, tzinfo=UTC)
    rows = rows_of(
        silver.TELEMETRY,
        *(
            {
                "vehicle_id": f"VEHICLE{number % 2}",
                "event_at": (at := start + timedelta(hours=6 * number)),
                "event_date": at.date(),
                "message_id": f"m{number}",
                "adapter_voltage_v": 12.0 + number / 10,
                "extra_signals": {"ODD": 1.5},
            }
            for number in range(8)
        ),
    )
    lakehouse.append_once(silver.TELEMETRY, lambda _: rows)
    ledger = rows_of(silver.MESSAGES, {"touched": [{"event_date": start.date(), "vehicle_id": "VEHICLE0"}]})
    lakehouse.append_once(silver.MESSAGES, lambda _: ledger)


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _all(connection: duckdb.DuckDBPyConnection, sql: str, **params: object) -> list[tuple[object, ...]]:
    return connection.sql(sql, params=params).fetchall()


class TestViews:
    def test_a_table_is_read_through_its_delta_log(self, lakehouse, connection, rows_of):
        assert _all(connection, "select count(*), max(adapter_voltage_v) from silver.telemetry") == [(8, 12.7)]
        kept = lakehouse.scan(silver.TELEMETRY).filter(pl.col("event_date") > date(2025, 3, 29)).collect()
        lakehouse.replace(silver.TELEMETRY, lambda _: kept, predicate="event_date IS NOT NULL")
        assert _all(connection, "select count(*) from silver.telemetry") == [(kept.height,)]

    def test_nested_columns_arrive_whole(self, connection):
        assert _all(connection, "select extra_signals['ODD'] from silver.telemetry limit 1") == [(1.5,)]
        touched = "select touched[1].vehicle_id, touched[1].event_date from silver.messages"
        assert _all(connection, touched) == [("VEHICLE0", date(2025, 3, 29))]

    def test_every_table_has_the_columns_of_its_spec_whether_it_exists_or_not(self, tmp_path: Path, rows_of):
        lakehouse = Lakehouse(str(tmp_path / "lake"))
        shapes = []
        for rows in (0, 1):
            if rows:
                for table in ALL:
                    row = rows_of(table, {})
                    lakehouse.append_once(table, lambda _, row=row: row)
            with connect(lakehouse, time_zone="UTC", tables=ALL) as connection:
                relations = {table: connection.sql(f"from {table}") for table in ALL}
                shapes.append({table: (r.columns, [str(t) for t in r.types]) for table, r in relations.items()})
                assert {table: len(relation) for table, relation in relations.items()} == dict.fromkeys(ALL, rows)
        assert shapes[0] == shapes[1]
        assert {table: names for table, (names, _) in shapes[0].items()} == {
            table: [column.name for column in table.columns] for table in ALL
        }

    def test_reading_creates_nothing(self, tmp_path: Path):
        connect(Lakehouse(str(tmp_path / "lake")), time_zone="UTC", tables=ALL).close()
        assert list(tmp_path.iterdir()) == []

    def test_a_quote_in_the_path_is_no_sql(self, tmp_path: Path, rows_of):
        lakehouse = Lakehouse(str(tmp_path / "my lake's data"))
        row = rows_of(gold.TRIPS, {})
        lakehouse.append_once(gold.TRIPS, lambda _: row)
        with connect(lakehouse, time_zone=BERLIN, tables=[gold.TRIPS]) as connection:
            assert _all(connection, "select count(*) from gold.trips") == [(1,)]

    def test_columns_carry_their_meaning(self, connection):
        sql = (
            "select comment from duckdb_columns() "
            "where schema_name = 'silver' and table_name = 'telemetry' and column_name = 'engine_speed_rpm'"
        )
        ((comment,),) = _all(connection, sql)
        assert comment == "Engine speed [rpm; Vehicle.Powertrain.CombustionEngine.Speed; PID 01 0C]"

    def test_a_filter_on_the_partition_skips_files(self, connection):
        plan = "explain analyze select sum(adapter_voltage_v) from silver.telemetry where event_date = $day"
        ((_, text),) = connection.execute(plan, {"day": date(2025, 3, 30)}).fetchall()
        assert "Scanning Files: 1/3" in re.sub(r"\s+", " ", text)

    def test_dates_follow_the_session_zone_across_the_change_to_summer_time(self, connection):
        sql = """
            select cast(t as date)
            from (values
                (timestamptz '2025-03-29 22:59:59+00'), (timestamptz '2025-03-29 23:00:00+00'),
                (timestamptz '2025-03-30 21:59:59+00'), (timestamptz '2025-03-30 22:00:00+00')
            ) as instants(t)
        """
        assert [row[0].day for row in _all(connection, sql)] == [29, 30, 30, 31]

    def test_the_configured_lake_opens_in_one_line(self, lakehouse, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("SMARTDRIVE_LAKE_URL", lakehouse.url)
        monkeypatch.setenv("SMARTDRIVE_TIME_ZONE", BERLIN)
        with smartdrive_dagster.connect() as connection:
            assert _all(connection, "select current_setting('TimeZone'), count(*) from silver.telemetry") == [
                (BERLIN, 8)
            ]
            assert _all(connection, "select count(*) from marts.vehicle_daily") == [(0,)]


class TestBorrowed:
    def test_each_borrower_sees_the_newest_rows_in_its_own_zone_and_nothing_of_the_last(self, lakehouse, rows_of):
        names = set()
        for zone in (BERLIN, BERLIN, "Asia/Tokyo"):
            with borrowed(lakehouse, time_zone=zone, tables=[silver.TELEMETRY]) as connection:
                (shown,) = _all(connection, "select current_setting('TimeZone'), count(*) from silver.telemetry")
                names |= {
                    name for (name,) in _all(connection, "select catalog_name from information_schema.schemata")
                }
                connection.execute("create view silver.left_behind as select 1")
            lakehouse.append_once(
                silver.TELEMETRY, lambda _: rows_of(silver.TELEMETRY, {"message_id": uuid4().hex})
            )
            assert shown[0] == zone
        assert shown[1] == 10
        assert len({name for name in names if name.startswith("lent_")}) == 3
        with borrowed(lakehouse, time_zone="Asia/Tokyo", tables=[]) as connection:
            databases = [name for (name,) in _all(connection, "select database_name from duckdb_databases()")]
        assert len([name for name in databases if name.startswith("lent_")]) == 1

    def test_a_failed_query_leaves_the_engine_usable(self, shared_lakehouse):
        for _ in range(2):
            with (
                pytest.raises(duckdb.Error),
                borrowed(shared_lakehouse, time_zone=BERLIN, tables=[silver.TELEMETRY]) as connection,
            ):
                connection.execute("select error('broken') from silver.telemetry")
        with borrowed(shared_lakehouse, time_zone=BERLIN, tables=[silver.TELEMETRY]) as connection:
            assert _all(connection, "select count(*) from silver.telemetry") == [(8,)]

    @pytest.mark.parametrize(
        "sql", ["set TimeZone = 'UTC'", "from read_text('/etc/hostname')", "attach '/tmp/x.db'"]
    )
    def test_it_is_locked_as_any_other(self, shared_lakehouse, sql: str):
        with (
            borrowed(shared_lakehouse, time_zone=BERLIN, tables=[silver.TELEMETRY]) as connection,
            pytest.raises(duckdb.Error, match="Cannot"),
        ):
            connection.execute(sql)


class TestReadOnly:
    @pytest.mark.parametrize(
        "sql",
        [
            "copy (select 1) to '{outside}/x.csv'",
            "export database '{outside}/x'",
            "attach '{outside}/x.db'",
            "install spatial",
            "load spatial",
            "set enable_external_access = true",
            "set allowed_directories = ['/']",
            "set TimeZone = 'UTC'",
            "reset lock_configuration",
            "from read_text('/etc/hostname')",
            "from read_parquet('{outside}/*.parquet')",
            "from glob('/*')",
            "insert into silver.telemetry from silver.telemetry",
            "insert into gold.trips from gold.trips",
            "update silver.telemetry set sample = 1",
            "delete from silver.telemetry",
            "from python_variable",
        ],
    )
    def test_a_connection_refuses(self, shared_lakehouse, shared_connection, tmp_path: Path, sql: str):
        python_variable = shared_connection.sql("select 1 as a")
        before = _files(Path(shared_lakehouse.url))
        with pytest.raises(duckdb.Error):
            shared_connection.execute(sql.format(outside=tmp_path))
        assert _files(Path(shared_lakehouse.url)) == before
        assert _files(tmp_path) == {}
        assert len(python_variable) == 1

    @pytest.mark.parametrize(
        "sql",
        [
            "copy (select 1) to '{lake}/x.csv'",
            "attach '{lake}/x.db'",
            "attach '{lake}/silver/telemetry' as t (type delta)",
            "explain analyze copy (select 1) to '{lake}/x.csv'",
            "export database '{lake}/x'",
            "create table t as select 1",
            "drop view silver.telemetry",
            "pragma database_list; copy (select 1) to '{lake}/x.csv'",
            "select 1; select 2",
            "set TimeZone = 'UTC'",
            "",
        ],
    )
    def test_a_question_is_one_select(self, shared_lakehouse, sql: str):
        before = _files(Path(shared_lakehouse.url))
        quoted = shared_lakehouse.url.replace("'", "''")
        with pytest.raises(QueryError, match="one SELECT"):
            ask(shared_lakehouse, sql.format(lake=quoted), time_zone="UTC")
        assert _files(Path(shared_lakehouse.url)) == before

    def test_a_session_leaves_no_file_behind(self, lakehouse, connection, tmp_path: Path):
        before = _files(tmp_path)
        _all(connection, "select vehicle_id, count(*) from silver.telemetry group by vehicle_id")
        ask(lakehouse, "from silver.telemetry", time_zone="UTC")
        assert _files(tmp_path) == before


class TestAsk:
    def test_rows_carry_the_zone(self, shared_lakehouse):
        frame = ask(shared_lakehouse, "select max(event_at) as t from silver.telemetry", time_zone=BERLIN)
        assert frame.schema["t"] == pl.Datetime("us", BERLIN)
        assert frame["t"][0] == datetime(2025, 3, 31, 6, tzinfo=UTC)

    def test_an_interval_is_text(self, shared_lakehouse):
        sql = 'select max(event_at) - min(event_at) as "the span", 1 as n from silver.telemetry'
        assert ask(shared_lakehouse, sql, time_zone="UTC").rows() == [("1 day 18:00:00", 1)]

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("from silver.telemetri", "silver.telemetry|telemetry"),
            ("from silvr.telemetry", r"did you mean silver\.telemetry"),
            ("from marts.vehicle_dayly", "vehicle_daily"),
            ("select speed_khm\nfrom silver.telemetry", r"did you mean speed_kmh"),
            (
                "with a as (select speed_kmh from silver.telemetry)\nselect a.speed_khm from a",
                "did you mean speed_kmh",
            ),
            ("selct 1", "syntax error"),
            ("select 1 as a, 2 as a", "same name"),
        ],
    )
    def test_a_mistyped_name_is_answered_with_the_nearest(self, shared_lakehouse, sql: str, said: str):
        with pytest.raises(QueryError, match=said):
            ask(shared_lakehouse, sql, time_zone="UTC")


class TestWriteResult:
    FRAME = pl.DataFrame(
        {
            "at": [datetime(2025, 7, 1, 22, 30, tzinfo=UTC), None],
            "x": [float("nan"), 1.5],
            "payload": [b"\x1b[31m\xff", None],
            "extra": [[1, 2], None],
            "name": ["[bold]a,b[/bold]", None],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    ).with_columns(pl.col("at").dt.convert_time_zone(BERLIN))

    def written(self, form, frame: pl.DataFrame = FRAME) -> bytes:
        stream = io.BytesIO()
        write_result(frame, form, stream)
        assert not stream.closed
        return stream.getvalue()

    def test_csv_has_iso_times_and_empty_nulls(self):
        lines = self.written("csv").decode().splitlines()
        assert lines == [
            "at,x,payload,extra,name",
            '2025-07-02T00:30:00+02:00,nan,\x1b[31m\\xff,"[1, 2]","[bold]a,b[/bold]"',
            ",1.5,,,",
        ]

    def test_json_is_a_list_of_objects(self):
        first, second = json.loads(self.written("json"))
        assert first["at"] == "2025-07-02T00:30:00+02:00"
        assert (first["x"], first["extra"]) == (None, [1, 2])
        assert second == {"at": None, "x": 1.5, "payload": None, "extra": None, "name": None}
        assert json.loads(self.written("json", self.FRAME.clear())) == []

    def test_parquet_is_lossless(self):
        assert pl.read_parquet(io.BytesIO(self.written("parquet"))).equals(self.FRAME)

    def test_a_table_shows_nulls_and_no_control_characters(self):
        text = self.written("table").decode()
        assert "2025-07-02T00:30:00+02:00" in text
        assert "null" in text
        assert "[bold]a,b[/bold]" in text
        assert "\x1b" not in text

    def test_a_long_table_says_what_it_leaves_out(self):
        assert "1,800 more rows" in self.written("table", pl.DataFrame({"n": range(2000)})).decode()


@pytest.fixture(scope="module", params=["", "-{layer}"], ids=["one bucket", "a bucket for each layer"])
def s3_lakehouse(request: pytest.FixtureRequest, s3_endpoint: str, rows_of) -> Lakehouse:
    lakehouse = Lakehouse(f"s3://lake-{uuid4().hex[:8]}{request.param}/some/prefix")
    for root in lakehouse.roots():
        boto3.client("s3").create_bucket(
            Bucket=root.split("/")[2], CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
    _fill(lakehouse, rows_of)
    return lakehouse


class TestS3:
    def test_a_lake_on_s3_reads_the_same(self, s3_lakehouse):
        assert ask(s3_lakehouse, "select count(*) as n from silver.telemetry", time_zone="UTC")["n"].item() == 8
        assert ask(s3_lakehouse, "from gold.trips", time_zone="UTC").height == 0

    def test_each_layer_lies_in_its_place(self, s3_lakehouse):
        bucket = s3_lakehouse.url.split("/")[2].replace("{layer}", "silver")
        found = boto3.client("s3").list_objects_v2(
            Bucket=bucket, Prefix="some/prefix/silver/telemetry/_delta_log/"
        )
        assert found["KeyCount"] > 0

    def test_nothing_outside_the_prefix_is_read_or_written(self, s3_lakehouse):
        bucket = s3_lakehouse.roots()[-1].split("/")[2]
        boto3.client("s3").put_object(Bucket=bucket, Key="other/a.csv", Body=b"a\n1\n")
        with connect(s3_lakehouse, time_zone="UTC", tables=[bronze.OBJECTS]) as connection:
            for sql in (
                f"from read_csv('s3://{bucket}/other/a.csv')",
                f"copy (select 1) to 's3://{bucket}/other/b.csv'",
                f"from read_csv('{os.environ['AWS_ENDPOINT_URL']}/{bucket}/other/a.csv')",
            ):
                with pytest.raises(duckdb.Error, match="disabled"):
                    connection.execute(sql)

    def test_the_secret_key_cannot_be_read_back(self, s3_lakehouse):
        with connect(s3_lakehouse, time_zone="UTC", tables=[gold.TRIPS]) as connection:
            shown = str(_all(connection, "from duckdb_secrets()")) + str(
                _all(connection, "from duckdb_settings()")
            )
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in shown
        assert "redacted" in shown
