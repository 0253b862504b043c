import json
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.audit import repeated_keys
from smartdrive_dagster.lake.frames import BatchRejectedError, conform, empty, polars_schema
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.lake.maintenance import MEMORY_BYTES, MaintenanceError, maintain_apart
from smartdrive_dagster.landing.backends import Bucket, Directory
from smartdrive_dagster.tables import ALL, Days, Table, bronze, gold, silver
from tests.messages import SECRET, VIN

DAY = date(2025, 12, 1)
VEHICLE = vehicle_id(VIN, SECRET)
DEVICE = "edge-00001"
REPOSITORY = Path(__file__).parents[2]


def objects(*names: str, day: date = DAY, size: int = 1) -> pl.DataFrame:
    rows = [
        (f"telemetry/dt={day}/hr=08/{name}.jsonl", day, "telemetry", size, 1, 9, None, None, None)
        for name in names
    ]
    return pl.DataFrame(rows, polars_schema(bronze.OBJECTS), orient="row")


def trips(day: date, *names: str, samples: int = 10) -> pl.DataFrame:
    at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    row = {
        "vehicle_id": VEHICLE,
        "started_at": at,
        "ended_at": at + timedelta(minutes=5),
        "event_date": day,
        "duration_s": 300.0,
        "distance_method": "none",
        "samples": samples,
        "is_cut_at_midnight": False,
        "has_several_devices": False,
        "is_corrected": False,
        "algo_version": "1",
    }
    schema = polars_schema(gold.TRIPS)
    return pl.DataFrame([dict.fromkeys(schema) | row | {"trip_id": name} for name in names], schema)


def names(rows: pl.LazyFrame) -> list[str]:
    keys = rows.select("object_key").collect().get_column("object_key")
    return sorted(key.rsplit("/", 1)[-1].removesuffix(".jsonl") for key in keys)


def trip_ids(lakehouse: Lakehouse, days: Days | None = None) -> list[str]:
    return sorted(lakehouse.scan(gold.TRIPS, days).select("trip_id").collect().get_column("trip_id"))


def missing(frame: pl.DataFrame):
    """What of `frame` a snapshot does not hold yet."""

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        held = snapshot.rows().select("object_key").collect()
        return frame.join(held, on="object_key", how="anti")

    return rows


def files_of(lakehouse: Lakehouse, table: Table) -> dict[str, set[str]]:
    """Data files by partition folder."""
    found: dict[str, set[str]] = {}
    for uri in lakehouse.open(table).delta.file_uris():
        *_, folder, name = uri.split("/")
        found.setdefault(folder, set()).add(name)
    return found


def everything_below(url: str) -> dict[str, bytes]:
    place = Bucket(url) if "://" in url else Directory(Path(url))
    return {found.key: b"".join(place.read(found.key)) for found in place.keys("") if not found.key.endswith("/")}


@pytest.fixture
def lakehouse(root: str) -> Lakehouse:
    return Lakehouse(f"{root}/lake")


@pytest.fixture
def disk(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path / "lake"))


def test_reading_creates_nothing(lakehouse):
    snapshot = lakehouse.open(silver.TELEMETRY)
    assert lakehouse.scan(silver.TELEMETRY).collect().equals(empty(silver.TELEMETRY))
    assert lakehouse.scan(silver.TELEMETRY, Days(DAY, DAY)).collect().is_empty()
    assert (snapshot.version, snapshot.batch, snapshot.count(), snapshot.files()) == (-1, 0, 0, 0)
    assert snapshot.committed_at() is None
    assert lakehouse.fresh_until(gold.TRIPS, [DAY]) == {DAY: 0}
    assert not lakehouse.exists(silver.TELEMETRY)
    if "://" in lakehouse.url:
        assert everything_below(lakehouse.url) == {}
    else:
        assert not Path(lakehouse.url).exists()


def test_appended_rows_are_read_back(lakehouse):
    commit = lakehouse.append_once(bronze.OBJECTS, missing(objects("a", "b")))
    assert commit.rows == 2
    snapshot = lakehouse.open(bronze.OBJECTS)
    assert (snapshot.version, snapshot.batch, snapshot.count()) == (commit.version, 1, 2)
    assert snapshot.rows().collect().sort("object_key").equals(objects("a", "b"))
    assert snapshot.committed_at() - datetime.now(UTC) < timedelta(minutes=1)


def test_appending_what_is_there_commits_nothing(lakehouse):
    first = lakehouse.append_once(bronze.OBJECTS, missing(objects("a")))
    again = lakehouse.append_once(bronze.OBJECTS, missing(objects("a")))
    assert (again.version, again.rows) == (first.version, 0)
    assert lakehouse.open(bronze.OBJECTS).batch == 1


def test_a_scan_of_days_holds_those_days_only(disk):
    days = [DAY + timedelta(n) for n in range(4)]
    disk.append_once(bronze.OBJECTS, lambda _: pl.concat([objects("x", day=day) for day in days]))
    found = disk.scan(bronze.OBJECTS, Days(days[1], days[2])).collect().get_column("landing_date")
    assert sorted(found) == days[1:3]


def test_a_snapshot_keeps_showing_its_own_version(disk):
    disk.append_once(bronze.OBJECTS, missing(objects("a")))
    snapshot = disk.open(bronze.OBJECTS)
    disk.append_once(bronze.OBJECTS, missing(objects("b")))
    assert names(snapshot.rows()) == ["a"]
    assert names(disk.scan(bronze.OBJECTS)) == ["a", "b"]


def test_a_writer_whose_snapshot_is_stale_is_asked_again(lakehouse):
    lakehouse.append_once(bronze.OBJECTS, missing(objects("a")))
    seen = []

    def slow(snapshot: Snapshot) -> pl.DataFrame:
        seen.append((snapshot.batch, names(snapshot.rows())))
        if len(seen) == 1:
            lakehouse.append_once(bronze.OBJECTS, missing(objects("b")))
        return missing(objects("b", "c"))(snapshot)

    commit = lakehouse.append_once(bronze.OBJECTS, slow)
    assert seen == [(1, ["a"]), (2, ["a", "b"])]
    assert commit.rows == 1
    assert names(lakehouse.scan(bronze.OBJECTS)) == ["a", "b", "c"]
    assert lakehouse.open(bronze.OBJECTS).batch == 3


_APPENDING = """
import sys
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import bronze
from tests.lake.test_lakehouse import missing, objects
lakehouse = Lakehouse(sys.argv[1])
sys.stdin.readline()
print(sum(lakehouse.append_once(bronze.OBJECTS, missing(objects(f"{n:02}"))).rows for n in range(20)))
"""


def test_two_processes_that_append_the_same_rows_append_each_once(lakehouse):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _APPENDING, lakehouse.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for _ in range(2)
    ]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    written = [int(writer.communicate(timeout=120)[0]) for writer in writers]
    assert sum(written) == 20
    assert names(lakehouse.scan(bronze.OBJECTS)) == [f"{n:02}" for n in range(20)]
    assert lakehouse.open(bronze.OBJECTS).batch == 20


def test_two_threads_that_append_rows_of_their_own_lose_none(disk):
    def append(writer: int) -> None:
        for number in range(10):
            disk.append_once(bronze.OBJECTS, missing(objects(f"{writer}-{number}")))

    threads = [threading.Thread(target=append, args=(writer,)) for writer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(disk.scan(bronze.OBJECTS)) == sorted(f"{w}-{n}" for w in range(2) for n in range(10))
    assert disk.open(bronze.OBJECTS).batch == 20


def test_replace_changes_the_selected_rows_only(lakehouse):
    lakehouse.append_once(bronze.OBJECTS, missing(objects("a", "b")))
    key = objects("a").item(0, "object_key")
    commit = lakehouse.replace(
        bronze.OBJECTS, lambda _: objects("a", size=7), predicate=f"object_key IN ('{key}')"
    )
    assert commit.rows == 1
    rows = lakehouse.scan(bronze.OBJECTS).sort("object_key").select("size_bytes").collect()
    assert rows.get_column("size_bytes").to_list() == [7, 1]
    assert lakehouse.open(bronze.OBJECTS).batch == 2


def many_days(count: int, samples: int = 1) -> pl.DataFrame:
    """A trip on each of so many days, the newest first."""
    days = [DAY - timedelta(days=n) for n in range(count)]
    return pl.concat(trips(day, f"{day}", samples=samples) for day in days)


def without_held(frame: pl.DataFrame):
    def rows(snapshot: Snapshot) -> pl.DataFrame:
        return frame.join(snapshot.rows().select("trip_id").collect(), on="trip_id", how="anti")

    return rows


def test_rows_of_very_many_days_are_written_few_days_at_a_time(disk):
    """One message of 20 kB may have samples on a thousand days, and each day open takes a megabyte and more."""
    first, all_of_them = many_days(3), many_days(150)
    disk.append_once(gold.TRIPS, without_held(first))
    version = disk.open(gold.TRIPS).version
    done = disk.append_once(gold.TRIPS, without_held(all_of_them))
    assert (done.rows, done.version) == (147, version + 3)
    assert trip_ids(disk) == sorted(all_of_them["trip_id"])
    assert disk.append_once(gold.TRIPS, without_held(all_of_them)).rows == 0
    assert {len(names) for names in files_of(disk, gold.TRIPS).values()} == {1}


def test_an_append_of_many_days_broken_off_between_its_commits_goes_on(disk, monkeypatch):
    write, commits = Lakehouse._try_write, []

    def second_time_dies(self, *given):
        commits.append(given)
        if len(commits) == 2:
            raise MemoryError
        return write(self, *given)

    frame = many_days(150)
    with monkeypatch.context() as patch:
        patch.setattr(Lakehouse, "_try_write", second_time_dies)
        with pytest.raises(MemoryError):
            disk.append_once(gold.TRIPS, without_held(frame))
    assert len(trip_ids(disk)) == 64
    assert disk.append_once(gold.TRIPS, without_held(frame)).rows == 86
    assert trip_ids(disk) == sorted(frame["trip_id"])


def test_many_days_are_read_once_unless_others_write_between_the_commits(disk, monkeypatch):
    """Reading anew after each of very many commits took minutes, where the rows were 20 kB."""
    frame, seen = many_days(150), []

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        seen.append(snapshot.batch)
        return without_held(frame)(snapshot)

    disk.append_once(gold.TRIPS, rows)
    assert seen == [0]
    seen.clear()
    write = Lakehouse._try_write

    def somebody_is_first(self, snapshot, part, *given):
        if snapshot.batch == 4:  # after the first of this write's own
            monkeypatch.setattr(Lakehouse, "_try_write", write)
            theirs = frame.filter(pl.col("event_date") > DAY - timedelta(days=20))
            disk.append_once(gold.TRIPS, without_held(theirs))
        return write(self, snapshot, part, *given)

    disk.replace(gold.TRIPS, lambda _: frame.clear(), predicate="samples = 1")
    monkeypatch.setattr(Lakehouse, "_try_write", somebody_is_first)
    assert disk.append_once(gold.TRIPS, rows).rows == 130
    assert seen == [4, 5]
    assert trip_ids(disk) == sorted(frame["trip_id"])


def lines(days: pl.Series, batch: int) -> pl.DataFrame:
    """A line of the ledger on each day."""
    counts = dict.fromkeys(("samples", "samples_accepted"), 1) | dict.fromkeys(
        ("samples_duplicate", "samples_quarantined"), 0
    )
    rows = [
        {"object_key": f"telemetry/dt={day}/hr=08/a.jsonl", "line_no": 1, "landing_date": day, "batch": batch}
        | {"channel": "telemetry", "verdict": "accepted"}
        | counts
        for day in days
    ]
    return pl.DataFrame(rows, polars_schema(silver.MESSAGES))


def test_each_line_of_many_days_bears_the_number_of_the_commit_it_came_with(disk):
    days = pl.Series([DAY - timedelta(days=n) for n in range(150)])

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        held = snapshot.rows().select("landing_date").collect().to_series()
        new = days.filter(~days.is_in(held.implode()))
        return lines(new, batch=snapshot.batch + 1)

    assert disk.append_once(silver.MESSAGES, rows).rows == 150
    numbers = disk.scan(silver.MESSAGES).sort("landing_date").collect().get_column("batch").to_list()
    assert numbers == [1] * 64 + [2] * 64 + [3] * 22


def test_a_replacement_of_many_days_leaves_no_old_row_on_any_day(disk):
    before = pl.concat([trips(DAY - timedelta(days=900), "before", "2"), trips(DAY + timedelta(days=9), "after")])
    other = trips(DAY, "kept", samples=9)
    disk.append_once(gold.TRIPS, lambda _: pl.concat([before, many_days(150), other]))
    done = disk.replace(gold.TRIPS, lambda _: many_days(140, samples=5), predicate="samples < 9 OR samples > 9")
    assert done.rows == 140
    rows = disk.scan(gold.TRIPS).select("trip_id", "samples").collect()
    assert sorted(rows["trip_id"]) == sorted([*many_days(140)["trip_id"], "kept"])
    assert rows["samples"].value_counts(sort=True).rows() == [(5, 140), (9, 1)]


def test_replace_by_nothing_removes_the_selected_rows(disk):
    disk.append_once(bronze.OBJECTS, missing(objects("a", "b")))
    key = objects("a").item(0, "object_key")
    disk.replace(bronze.OBJECTS, lambda _: objects(), predicate=f"object_key = '{key}'")
    assert names(disk.scan(bronze.OBJECTS)) == ["b"]


def test_replacing_nothing_by_nothing_in_an_empty_table_commits_nothing(disk):
    commit = disk.replace(bronze.OBJECTS, lambda _: objects(), predicate="object_key = 'a'")
    assert commit.rows == 0
    assert disk.open(bronze.OBJECTS).batch == 0


def test_a_replacement_on_a_stale_snapshot_is_computed_again(disk):
    disk.append_once(bronze.OBJECTS, missing(objects("a")))
    seen = []

    def slow(snapshot: Snapshot) -> pl.DataFrame:
        seen.append(snapshot.batch)
        if len(seen) == 1:
            disk.append_once(bronze.OBJECTS, missing(objects("b")))
        return objects("a", size=snapshot.batch)

    disk.replace(bronze.OBJECTS, slow, predicate=f"object_key = '{objects('a').item(0, 'object_key')}'")
    assert seen == [1, 2]
    assert disk.scan(bronze.OBJECTS).collect().sort("object_key").get_column("size_bytes").to_list() == [2, 1]


def test_replace_days_rewrites_only_the_days_that_changed(lakehouse):
    days = [DAY + timedelta(n) for n in range(3)]
    before = pl.concat([trips(day, f"t{day.day}") for day in days])
    lakehouse.replace_days(gold.TRIPS, lambda _: before, days, batch=1)
    old = files_of(lakehouse, gold.TRIPS)
    after = pl.concat([trips(days[0], "t1"), trips(days[1], "t2", samples=11), trips(days[2], "t3")])
    commit = lakehouse.replace_days(gold.TRIPS, lambda _: after.reverse(), days, batch=2)
    new = files_of(lakehouse, gold.TRIPS)
    assert {folder for folder in new if new[folder] != old[folder]} == {f"event_date={days[1]}"}
    assert commit.rows == 1
    assert lakehouse.fresh_until(gold.TRIPS, days) == dict.fromkeys(days, 2)
    assert lakehouse.scan(gold.TRIPS).sort("trip_id").select("samples").collect()["samples"].to_list() == [
        10,
        11,
        10,
    ]


def test_replace_days_records_the_batch_of_days_that_stay_empty(disk):
    commit = disk.replace_days(gold.TRIPS, lambda _: empty(gold.TRIPS), [DAY], batch=3)
    assert commit.rows == 0
    assert disk.fresh_until(gold.TRIPS, [DAY, DAY + timedelta(1)]) == {DAY: 3, DAY + timedelta(1): 0}


def test_replace_days_with_nothing_new_commits_nothing(disk):
    first = disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "t"), [DAY], batch=3)
    again = disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "t"), [DAY], batch=3)
    assert (again.version, again.rows) == (first.version, 0)


def test_replace_days_removes_rows_of_a_day_that_has_none_any_more(disk):
    other = DAY + timedelta(1)
    both = pl.concat([trips(DAY, "t"), trips(other, "u")])
    disk.replace_days(gold.TRIPS, lambda _: both, [DAY, other], batch=1)
    disk.replace_days(gold.TRIPS, lambda _: empty(gold.TRIPS), [DAY], batch=2)
    assert trip_ids(disk) == ["u"]


def test_replace_days_refuses_rows_of_other_days(disk):
    with pytest.raises(ValueError, match="not being replaced"):
        disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "t"), [DAY + timedelta(1)], batch=1)
    assert trip_ids(disk) == []


@pytest.mark.parametrize("known", ["a day never computed", "a day computed before, without rows"])
@pytest.mark.parametrize("batch", [1, 2])
def test_two_writers_of_one_day_leave_the_rows_of_one(disk, known, batch):
    if known != "a day never computed":
        disk.replace_days(gold.TRIPS, lambda _: empty(gold.TRIPS), [DAY], batch=1)
    calls = []

    def slow(_: Snapshot) -> pl.DataFrame:
        calls.append(1)
        if len(calls) == 1:
            disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "first"), [DAY], batch=batch)
        return trips(DAY, "second")

    disk.replace_days(gold.TRIPS, slow, [DAY], batch=batch)
    assert len(calls) == 2
    assert trip_ids(disk) == ["second"]
    assert disk.fresh_until(gold.TRIPS, [DAY]) == {DAY: batch}


def test_writers_of_different_days_both_succeed(disk):
    other = DAY + timedelta(1)
    calls = []

    def slow(_: Snapshot) -> pl.DataFrame:
        calls.append(1)
        if len(calls) == 1:
            disk.replace_days(gold.TRIPS, lambda _: trips(other, "other"), [other], batch=1)
        return trips(DAY, "mine")

    disk.replace_days(gold.TRIPS, slow, [DAY], batch=1)
    assert trip_ids(disk) == ["mine", "other"]


def test_rows_that_have_seen_less_never_replace_rows_that_have_seen_more(disk):
    disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "newer"), [DAY], batch=7)
    disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "older"), [DAY], batch=5)
    assert trip_ids(disk) == ["newer"]
    assert disk.fresh_until(gold.TRIPS, [DAY]) == {DAY: 7}


def test_a_writer_overtaken_by_a_newer_one_leaves_the_newer_rows(disk):
    calls = []

    def overtaken(_: Snapshot) -> pl.DataFrame:
        calls.append(1)
        if len(calls) == 1:
            disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "newer"), [DAY], batch=7)
        return trips(DAY, "older")

    disk.replace_days(gold.TRIPS, overtaken, [DAY], batch=5)
    assert trip_ids(disk) == ["newer"]
    assert disk.fresh_until(gold.TRIPS, [DAY]) == {DAY: 7}


def row_of(table: Table, number: int) -> pl.DataFrame:
    """A row whose strings are VIN, pseudonym and device wherever the table does not say that they are harmless."""
    fillers = {
        "string": lambda: f"{VIN} {VEHICLE} {DEVICE} {number}",
        "integer": lambda: number,
        "long": lambda: number,
        "double": lambda: 47.123 + number,
        "boolean": lambda: True,
        "binary": f"{VIN} {VEHICLE} {DEVICE}".encode,
        "date": lambda: DAY,
        "timestamp": lambda: datetime(2025, 12, 1, 8, number, tzinfo=UTC),
        "map<string,double>": lambda: {"X1": 1.0},
        "array<struct<event_date:date,vehicle_id:string>>": lambda: [{"event_date": DAY, "vehicle_id": VEHICLE}],
    }
    special = {"vehicle_id": f"{VEHICLE}{number}", "device_id": DEVICE, "topic": f"vehicle/{VIN}/telemetry"}
    row = {
        column.name: f"telemetry/dt=2025-12-01/hr=08/{number}.jsonl"
        if column.name == "object_key"
        else column.accepted[0]
        if column.accepted
        else special.get(column.name, fillers[column.dtype]())
        for column in table.columns
    }
    return pl.DataFrame([row], polars_schema(table))


def log_of(lakehouse: Lakehouse, table: Table) -> dict[str, bytes]:
    return {
        path: body
        for path, body in everything_below(lakehouse.uri(table)).items()
        if path.startswith("_delta_log/")
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """Every table: appended to, replaced by predicate, in Gold by day too, and maintained."""
    lakehouse = Lakehouse(str(tmp_path_factory.mktemp("written") / "lake"))
    for table in ALL:
        for number in (1, 2):
            lakehouse.append_once(table, lambda _, table=table, number=number: row_of(table, number))
        of_day = f"{table.partition_by} = DATE '2025-12-01'" if table.partition_by else "vehicle_id IS NOT NULL"
        lakehouse.replace(table, lambda _, table=table: row_of(table, 3), predicate=of_day)
        lakehouse.append_once(table, lambda _, table=table: row_of(table, 4))
        if table.layer == "gold":
            lakehouse.replace_days(
                table, lambda s, table=table: pl.concat([s.rows().collect(), row_of(table, 5)]), [DAY], batch=1
            )
        lakehouse.append_once(table, lambda _, table=table: row_of(table, 6))
        lakehouse.maintain(table)
    return lakehouse


@pytest.mark.parametrize("table", ALL, ids=str)
def test_the_delta_log_holds_bounds_of_harmless_columns_only(written, table):
    added = 0
    for path, body in log_of(written, table).items():
        if not path.endswith(".json"):
            continue
        for line in body.splitlines():
            if (action := json.loads(line).get("add")) and action.get("stats"):
                added += 1
                stats = json.loads(action["stats"])
                for bounds in ("minValues", "maxValues", "nullCount"):
                    assert set(stats.get(bounds, {})) <= set(table.statistics_columns)
                within = set(table.statistics_columns) - {
                    table.partition_by
                }  # of which the log has the value itself
                assert set(stats["minValues"]) == within, "without bounds nothing could be skipped"
    assert added >= 5


@pytest.mark.parametrize("table", ALL, ids=str)
def test_no_file_of_the_delta_log_names_a_vehicle_or_a_device(written, table):
    log = log_of(written, table)
    assert {Path(path).suffix for path in log} >= {".json", ".parquet"}
    for path, body in log.items():
        if path.endswith(".parquet"):
            body = pl.read_parquet(body).write_json().encode()  # noqa: PLW2901
        for secret in (VIN, VEHICLE, DEVICE):
            assert secret.encode() not in body, path


@pytest.mark.parametrize("table", ALL, ids=str)
def test_comment_unit_path_and_pid_survive_every_kind_of_write(written, table):
    fields = {field.name: field.metadata for field in written.open(table).delta.schema().fields}
    assert fields == {column.name: column.metadata for column in table.columns}
    assert all(metadata["comment"] for metadata in fields.values())


@pytest.mark.parametrize("table", ALL, ids=str)
def test_required_columns_are_not_nullable_in_the_delta_schema(written, table):
    fields = {field.name: field.nullable for field in written.open(table).delta.schema().fields}
    assert fields == {column.name: not column.required for column in table.columns}


REJECTED = {
    "a null in a required column": (
        objects("a", "b").with_columns(lines=pl.Series([1, None])),
        "lines: 1 rows break required",
    ),
    "a key twice": (objects("a", "b", "a", "a"), "object_key: 2 rows break unique key"),
    "a column too few": (
        objects("a").drop("size_bytes"),
        "size_bytes: 1 rows break columns are those of the spec",
    ),
    "a column too many": (objects("a").with_columns(vin=pl.lit(VIN)), "vin: 1 rows break columns are those"),
    "another type": (objects("a").with_columns(lines=pl.lit(VIN)), "lines: 1 rows break the column's type"),
}


@pytest.mark.parametrize(("rows", "words"), REJECTED.values(), ids=list(REJECTED))
def test_a_batch_that_breaks_the_spec_is_refused_with_counts_and_no_values(disk, rows, words):
    disk.append_once(bronze.OBJECTS, missing(objects("z")))
    for write in (
        lambda: disk.append_once(bronze.OBJECTS, lambda _: rows),
        lambda: disk.replace(bronze.OBJECTS, lambda _: rows, predicate="object_key = 'a'"),
        lambda: disk.replace_days(bronze.OBJECTS, lambda _: rows, [DAY], batch=1),
    ):
        with pytest.raises(BatchRejectedError) as caught:
            write()
        assert words in str(caught.value)
        assert "bronze.objects" in str(caught.value)
        assert VIN not in str(caught.value)
        assert ".jsonl" not in str(caught.value)
    assert names(disk.scan(bronze.OBJECTS)) == ["z"]


def test_a_value_that_is_not_among_the_accepted_ones_is_refused():
    rows = pl.concat([row_of(silver.TELEMETRY, n) for n in (1, 2, 3)]).with_columns(
        phase=pl.Series([VIN, None, "running"])
    )
    with pytest.raises(BatchRejectedError) as caught:
        conform(silver.TELEMETRY, rows)
    assert "phase: 1 rows break accepted values" in str(caught.value)
    assert VIN not in str(caught.value)


def test_columns_are_brought_into_the_specs_order_and_types():
    rows = (
        objects("a").select(reversed(polars_schema(bronze.OBJECTS))).with_columns(pl.col("lines").cast(pl.UInt8))
    )
    assert conform(bronze.OBJECTS, rows).equals(objects("a"))


def test_repeated_keys_are_counted_over_the_whole_table(disk):
    other = DAY + timedelta(1)
    for frame in (objects("a", "b"), objects("a", "c", day=other)):
        key = pl.col("object_key").str.replace("2025-12-02", "2025-12-01")
        disk.append_once(bronze.OBJECTS, lambda _, frame=frame, key=key: frame.with_columns(object_key=key))
    assert repeated_keys(disk, bronze.OBJECTS) == 1


def test_maintenance_merges_files_and_keeps_every_row(lakehouse):
    for number in range(4):
        lakehouse.append_once(bronze.OBJECTS, missing(objects(f"{number}")))
    before = lakehouse.scan(bronze.OBJECTS).sort("object_key").collect()
    done = lakehouse.maintain(bronze.OBJECTS)
    assert (done.merged_files, done.files) == (4, 1)
    assert lakehouse.scan(bronze.OBJECTS).sort("object_key").collect().equals(before)
    assert lakehouse.open(bronze.OBJECTS).batch == 4
    lakehouse.append_once(bronze.OBJECTS, missing(objects("next")))
    assert lakehouse.open(bronze.OBJECTS).batch == 5


def test_maintenance_keeps_the_batches_recorded_per_day(disk):
    disk.replace_days(gold.TRIPS, lambda _: trips(DAY, "t"), [DAY], batch=9)
    disk.maintain(gold.TRIPS)
    assert disk.fresh_until(gold.TRIPS, [DAY]) == {DAY: 9}


def test_maintenance_beside_a_writer_loses_and_repeats_nothing(disk):
    disk.append_once(bronze.OBJECTS, missing(objects("0")))
    stop = threading.Event()
    errors: list[BaseException] = []

    def append() -> None:
        try:
            for number in range(1, 25):
                disk.append_once(bronze.OBJECTS, missing(objects(f"{number}")))
        except BaseException as error:
            errors.append(error)
        finally:
            stop.set()

    writer = threading.Thread(target=append)
    writer.start()
    runs = 0
    while not stop.is_set() or runs == 0:
        disk.maintain(bronze.OBJECTS)
        runs += 1
    writer.join()
    assert errors == []
    assert names(disk.scan(bronze.OBJECTS)) == sorted(str(number) for number in range(25))
    assert disk.open(bronze.OBJECTS).batch == 25


def test_maintenance_in_a_process_of_its_own_does_the_same(lakehouse):
    for number in range(3):
        lakehouse.append_once(bronze.OBJECTS, missing(objects(f"{number}")))
    done = maintain_apart(lakehouse.url, bronze.OBJECTS)
    assert 0 < done.pop("peak_memory_bytes") < MEMORY_BYTES
    assert done == {"merged_files": 3, "files": 1, "deleted_files": 0, "lost_races": 0}
    assert names(lakehouse.scan(bronze.OBJECTS)) == ["0", "1", "2"]


@pytest.mark.parametrize("mebibytes", [16, 64, 160])
def test_too_little_memory_is_an_error_that_leaves_the_table_as_it_was(disk, mebibytes):
    rows = row_of(bronze.MESSAGES, 1)
    for part in range(3):
        frame = pl.concat([rows] * 20_000).with_columns(
            line_no=pl.int_range(part * 20_000, part * 20_000 + 20_000), payload=pl.lit(bytes(range(256)) * 4)
        )
        disk.append_once(bronze.MESSAGES, lambda _, frame=frame: frame)
    before = disk.scan(bronze.MESSAGES).select("object_key", "line_no").collect().sort("line_no")
    with pytest.raises(MaintenanceError, match=r"bronze\.messages: maintenance ended with"):
        maintain_apart(disk.url, bronze.MESSAGES, memory_bytes=mebibytes << 20)
    assert disk.scan(bronze.MESSAGES).select("object_key", "line_no").collect().sort("line_no").equals(before)
    disk.append_once(bronze.MESSAGES, lambda _: row_of(bronze.MESSAGES, 2).with_columns(line_no=pl.lit(-1)))


def test_maintaining_a_table_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(MaintenanceError, match=r"there is no table bronze\.objects"):
        maintain_apart(str(tmp_path / "lake"), bronze.OBJECTS)
    assert not DeltaTable.is_deltatable(str(tmp_path / "lake/bronze/objects"))
