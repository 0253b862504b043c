"""SQL models: what loading refuses and where it points, and what a mart's rows are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.lake.frames import BatchRejectedError, polars_schema
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import DataTest, ModelError, failing_rows, load_models, run_model
from smartdrive_dagster.tables import ALL, Days, gold, silver

BERLIN = "Europe/Berlin"

STAGING_SQL = "select vehicle_id, event_date, speed_kmh from silver.telemetry\n"
STAGING_YML = """\
models:
  - name: stg_speed
    description: Speeds
    columns:
      - name: vehicle_id
        description: Who
      - name: event_date
        description: When
      - name: speed_kmh
        description: How fast
"""
MART_SQL = """\
with

speeds as (
    select * from staging.stg_speed
)

select
    vehicle_id,
    event_date as local_date,
    max(speed_kmh) as max_speed_kmh,
    'fast' as class
from speeds
where event_date between $first_date and $last_date
group by vehicle_id, event_date
"""
MART_YML = """\
version: 2
models:
  - name: speeds
    description: The highest speed of a day
    config:
      partition_by: local_date
      unique_key: [vehicle_id, local_date]
      meta: {owner: fleet}
    columns:
      - name: vehicle_id
        description: Who
        data_tests:
          - not_null
          - relationships: {to: silver.telemetry, field: vehicle_id}
      - name: local_date
        description: When
      - name: max_speed_kmh
        description: How fast
        meta: {unit: km/h, vss: Vehicle.Speed}
      - name: class
        description: How fast in words
        data_tests:
          - accepted_values: {values: [fast, slow]}
          - unique
"""
FILES = {
    "staging/stg_speed.sql": STAGING_SQL,
    "staging/stg_speed.yml": STAGING_YML,
    "marts/speeds.sql": MART_SQL,
    "marts/speeds.yml": MART_YML,
}


def project(root: Path, files: Mapping[str, str | None] = FILES) -> Path:
    for name, text in files.items():
        if text is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return root


class TestLoading:
    def test_a_mart_becomes_a_table_spec(self, tmp_path: Path):
        model = load_models(project(tmp_path))["speeds"]
        assert str(model.table) == "marts.speeds"
        assert model.table.key == ("vehicle_id", "local_date")
        assert model.table.partition_by == "local_date"
        assert [(column.name, column.dtype, column.required) for column in model.table.columns] == [
            ("vehicle_id", "string", True),
            ("local_date", "date", True),
            ("max_speed_kmh", "double", False),
            ("class", "string", False),
        ]
        speed = model.table.by_name["max_speed_kmh"]
        assert (speed.unit, speed.vss, speed.description) == ("km/h", "Vehicle.Speed", "How fast")
        assert model.table.by_name["class"].accepted == ("fast", "slow")
        assert model.meta == {"owner": "fleet"}

    def test_a_mart_reads_what_its_staging_views_read(self, tmp_path: Path):
        model = load_models(project(tmp_path))["speeds"]
        assert model.reads == (silver.TELEMETRY,)
        assert [view.name for view in model.views] == ["stg_speed"]

    def test_statistics_are_kept_of_the_day_alone(self, tmp_path: Path):
        for root in (project(tmp_path), None):
            for model in load_models(root).values():
                assert model.table.statistics_columns == (model.table.partition_by,)

    def test_marts_come_after_those_they_read(self, tmp_path: Path):
        second = {
            "marts/a_second.sql": "select vehicle_id, local_date from marts.speeds\n"
            "where local_date between $first_date and $last_date",
            "marts/a_second.yml": MART_YML.partition("      - name: max_speed_kmh")[0]
            .replace("name: speeds", "name: a_second")
            .replace("silver.telemetry", "marts.speeds"),
        }
        models = load_models(project(tmp_path, FILES | second))
        assert list(models) == ["speeds", "a_second"]
        assert models["a_second"].reads == (models["speeds"].table,)
        assert models["a_second"].data_tests[1].target == models["speeds"].table

    def test_the_shipped_models_load_quickly(self):
        load_models()
        load_models.cache_clear()
        start = time.process_time()
        models = load_models()
        assert time.process_time() - start < 1.0
        assert {table for model in models.values() for table in model.reads} <= {
            *ALL,
            *(model.table for model in models.values()),
        }


BROKEN = [
    # name, what to change in which file, expected file, line, words
    ("unknown table", "staging/stg_speed.sql", ("silver.telemetry", "\nsilver.telemetri"), 2, "silver.telemetry"),
    ("unknown schema", "marts/speeds.sql", ("staging.stg", "stagin.stg"), 4, "did you mean staging.stg_speed"),
    ("unqualified", "staging/stg_speed.sql", ("silver.telemetry", "telemetry"), 1, "silver.telemetry"),
    ("unknown column", "marts/speeds.sql", ("max(speed_kmh)", "max(speed_khm)"), 10, "did you mean speed_kmh"),
    ("unknown function", "marts/speeds.sql", ("max(speed", "maxx(speed"), 10, "max"),
    ("syntax error", "marts/speeds.sql", ("group by", "group bye"), 14, "syntax error"),
    (
        "types do not fit",
        "marts/speeds.sql",
        ("max(speed_kmh)", "max(speed_kmh) and 'x'::date"),
        10,
        "invalid date",
    ),
    ("two statements", "marts/speeds.sql", ("group by", "; select 1 --"), 1, "one SELECT"),
    (
        "no select",
        "staging/stg_speed.sql",
        ("select vehicle_id", "create table x as select 1 --"),
        1,
        "one SELECT",
    ),
    ("no first date", "marts/speeds.sql", ("between $first_date and", "<="), 1, "$first_date is missing"),
    (
        "no last date",
        "marts/speeds.sql",
        ("between $first_date and $last_date", ">= $first_date"),
        1,
        "$last_date",
    ),
    ("a foreign parameter", "marts/speeds.sql", ("'fast' as", "$fist_date as"), 11, "did you mean first_date"),
    (
        "a window in staging",
        "staging/stg_speed.sql",
        ("from silver.telemetry", "from silver.telemetry\nwhere event_date = $first_date"),
        2,
        "no window",
    ),
    ("a clock", "marts/speeds.sql", ("'fast' as", "now()::varchar as"), 11, "now gives other rows"),
    ("a clock in words", "marts/speeds.sql", ("'fast' as", "current_date::varchar as"), 11, "current_date gives"),
    ("a file", "marts/speeds.sql", ("staging.stg_speed", "read_csv('/etc/passwd')"), None, "disabled"),
    ("mart in staging", "staging/stg_speed.sql", ("silver.telemetry", "marts.speeds"), None, "circle"),
    ("huge integers", "marts/speeds.sql", ("max(speed_kmh)", "sum(1)"), None, "HUGEINT"),
    (
        "column not described",
        "marts/speeds.sql",
        ("'fast' as class", "'fast' as class, 1 as extra"),
        None,
        "extra",
    ),
    (
        "column not selected",
        "marts/speeds.yml",
        ("- name: max_speed_kmh", "- name: max_sped_kmh"),
        17,
        "max_speed_kmh",
    ),
    ("described twice", "marts/speeds.yml", ("- name: class", "- name: vehicle_id"), 10, "twice"),
    ("unknown data_test", "marts/speeds.yml", ("- not_null", "- not_nul"), 13, "did you mean not_null"),
    ("arguments missing", "marts/speeds.yml", ("{values: [fast, slow]}", "{}"), 23, "needs values"),
    (
        "unknown target",
        "marts/speeds.yml",
        ("to: silver.telemetry", "to: silver.telemtry"),
        14,
        "silver.telemetry",
    ),
    (
        "unknown field",
        "marts/speeds.yml",
        ("field: vehicle_id", "field: vehicleid"),
        14,
        "did you mean vehicle_id",
    ),
    ("unknown key", "marts/speeds.yml", ("description: When", "descripton: When"), 16, "did you mean description"),
    ("unknown meta", "marts/speeds.yml", ("unit: km/h", "units: km/h"), 19, "did you mean unit"),
    ("other name", "marts/speeds.yml", ("name: speeds", "name: speed"), 3, "its file speeds"),
    ("no partition", "marts/speeds.yml", ("      partition_by: local_date\n", ""), 3, "needs partition_by"),
    ("no date", "marts/speeds.yml", ("partition_by: local_date", "partition_by: class"), None, "no date"),
    (
        "no such key",
        "marts/speeds.yml",
        ("[vehicle_id, local_date]", "[vehicle]"),
        None,
        "did you mean vehicle_id",
    ),
    ("not YAML", "marts/speeds.yml", ("meta: {unit", "meta: [unit"), 19, "not YAML"),
    ("a list for a text", "marts/speeds.yml", ("description: When", "description: [When]"), 16, "a text"),
    (
        "test on a view",
        "staging/stg_speed.yml",
        ("description: When", "description: x\n        data_tests: [unique]"),
        9,
        "mart",
    ),
]


@pytest.mark.parametrize(
    ("changed", "change", "line", "words"), [case[1:] for case in BROKEN], ids=[c[0] for c in BROKEN]
)
def test_a_broken_model_is_refused_with_file_line_and_reason(
    tmp_path: Path, changed: str, change: tuple[str, str], line: int | None, words: str
):
    old, new = change
    assert old in FILES[changed]
    with pytest.raises(ModelError) as caught:
        load_models(project(tmp_path, FILES | {changed: FILES[changed].replace(old, new, 1)}))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.path}:{caught.value.line}: ")
    if line is not None:
        assert (str(caught.value.path.relative_to(tmp_path)), caught.value.line) == (changed, line)


def test_a_staging_view_reads_no_mart(tmp_path: Path):
    view = {
        "staging/stg_more.sql": "select vehicle_id\nfrom marts.speeds",
        "staging/stg_more.yml": STAGING_YML.partition("      - name: event_date")[0].replace(
            "stg_speed", "stg_more"
        ),
    }
    with pytest.raises(ModelError, match=r"stg_more\.sql:2: a staging view may not read marts\.speeds"):
        load_models(project(tmp_path, FILES | view))


@pytest.mark.parametrize("missing", sorted(FILES))
def test_a_model_without_its_twin_is_refused(tmp_path: Path, missing: str):
    with pytest.raises(ModelError, match=f"the twin {Path(missing).name} is missing"):
        load_models(project(tmp_path, FILES | {missing: None}))


# --- vehicle_daily on real tables -------------------------------------------------------------------------------


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def sample(vehicle: str, instant: str, **columns: object) -> dict[str, object]:
    time = at(instant)
    return {
        "vehicle_id": vehicle,
        "event_at": time,
        "event_date": time.date(),
        "message_id": vehicle + instant,
    } | columns


def trip(vehicle: str, start: str, minutes: int, **columns: object) -> dict[str, object]:
    started = at(start)
    return {
        "trip_id": vehicle + start,
        "vehicle_id": vehicle,
        "started_at": started,
        "ended_at": started + timedelta(minutes=minutes),
        "event_date": started.date(),
        "duration_s": minutes * 60.0,
    } | columns


@pytest.fixture
def lakehouse(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path / "lake"))


@pytest.fixture
def write(lakehouse: Lakehouse, rows_of):
    def append(table, *rows):
        frame = rows_of(table, *rows)
        lakehouse.append_once(table, lambda _: frame)

    return append


@pytest.fixture(scope="module")
def vehicle_daily():
    return load_models()["vehicle_daily"]


class TestVehicleDaily:
    def test_a_day_sums_its_trips_and_spans_its_samples(self, lakehouse, write, vehicle_daily):
        measured = {
            "distance_km": 10.0,
            "speed_distance_km": 10.0,
            "speed_coverage_pct": 50.0,
            "max_speed_kmh": 60.0,
            "idle_s": 30.0,
        }
        write(
            gold.TRIPS,
            trip("A", "2025-06-10T06:00:00", 20, **measured),
            trip("A", "2025-06-10T16:00:00", 20, **measured | {"max_speed_kmh": 90.0}),
            trip("A", "2025-06-10T18:00:00", 10),
        )
        write(
            silver.TELEMETRY,
            sample("A", "2025-06-10T06:00:00", adapter_voltage_v=14.2),
            sample("A", "2025-06-10T12:00:00", adapter_voltage_v=12.1, phase="sentinel"),
            sample("A", "2025-06-10T16:00:00"),
        )
        rows = run_model(vehicle_daily, lakehouse, Days(date(2025, 6, 10), date(2025, 6, 10)), time_zone="UTC")
        assert rows.to_dicts() == [
            {
                "vehicle_id": "A",
                "local_date": date(2025, 6, 10),
                "trips": 3,
                "distance_km": 20.0,
                "driving_s": 3000.0,
                "idle_s": 60.0,
                "max_speed_kmh": 90.0,
                "mean_speed_kmh": 60.0,
                "first_started_at": at("2025-06-10T06:00:00"),
                "last_ended_at": at("2025-06-10T18:10:00"),
                "min_adapter_voltage_v": 12.1,
                "max_adapter_voltage_v": 14.2,
                "samples": 3,
                "last_seen_at": at("2025-06-10T16:00:00"),
            }
        ]

    def test_a_parked_vehicle_has_a_row_without_trips(self, lakehouse, write, vehicle_daily):
        write(silver.TELEMETRY, sample("P", "2025-06-10T12:00:00", adapter_voltage_v=12.4))
        rows = run_model(vehicle_daily, lakehouse, Days(date(2025, 6, 9), date(2025, 6, 11)), time_zone="UTC")
        (row,) = rows.to_dicts()
        assert (row["trips"], row["distance_km"], row["driving_s"], row["idle_s"]) == (0, 0.0, 0.0, 0.0)
        assert (row["mean_speed_kmh"], row["first_started_at"], row["samples"]) == (None, None, 1)

    def test_a_trip_without_any_speed_has_an_unknown_distance(self, lakehouse, write, vehicle_daily):
        write(gold.TRIPS, trip("A", "2025-06-10T06:00:00", 20))
        rows = run_model(vehicle_daily, lakehouse, Days(date(2025, 6, 10), date(2025, 6, 10)), time_zone="UTC")
        assert rows.select("trips", "distance_km", "mean_speed_kmh", "samples").rows() == [(1, None, None, 0)]

    @pytest.mark.parametrize(
        ("instant", "local_date"),
        [
            ("2025-03-29T22:59:59", date(2025, 3, 29)),
            ("2025-03-29T23:00:00", date(2025, 3, 30)),  # the short day: 23 hours
            ("2025-03-30T21:59:59", date(2025, 3, 30)),
            ("2025-03-30T22:00:00", date(2025, 3, 31)),
            ("2025-10-25T21:59:59", date(2025, 10, 25)),
            ("2025-10-25T22:00:00", date(2025, 10, 26)),  # the long day: 25 hours
            ("2025-10-26T22:59:59", date(2025, 10, 26)),
            ("2025-10-26T23:00:00", date(2025, 10, 27)),
        ],
    )
    def test_local_dates_hold_across_the_changes_of_the_clock(
        self, lakehouse, write, vehicle_daily, instant: str, local_date: date
    ):
        write(gold.TRIPS, trip("A", instant, 5))
        write(silver.TELEMETRY, sample("A", instant))
        for offset in (-1, 0, 1):
            day = local_date + timedelta(offset)
            rows = run_model(vehicle_daily, lakehouse, Days(day, day), time_zone=BERLIN)
            assert rows.select("local_date", "trips", "samples").rows() == (
                [(local_date, 1, 1)] if not offset else []
            )

    @pytest.mark.parametrize("zone", [BERLIN, "Pacific/Kiritimati", "Pacific/Pago_Pago"])
    def test_days_computed_one_by_one_equal_those_computed_at_once(
        self, lakehouse, write, vehicle_daily, zone: str
    ):
        hours = [f"2025-06-{day:02}T{hour:02}:30:00" for day in (9, 10, 11, 12) for hour in range(0, 24, 3)]
        write(silver.TELEMETRY, *(sample(v, hour, adapter_voltage_v=12.5) for v in "AB" for hour in hours))
        odd = {"distance_km": 0.1, "speed_coverage_pct": 70.0, "idle_s": 0.3}
        write(gold.TRIPS, *(trip("A", hour, 7, **odd) for hour in hours))
        window = Days(date(2025, 6, 8), date(2025, 6, 13))
        key = list(vehicle_daily.table.key)
        at_once = run_model(vehicle_daily, lakehouse, window, time_zone=zone).sort(key)
        singly = pl.concat(run_model(vehicle_daily, lakehouse, Days(day, day), time_zone=zone) for day in window)
        assert at_once.equals(singly.sort(key))
        assert at_once["samples"].sum() == 2 * len(hours)
        assert at_once["trips"].sum() == len(hours)

    def test_an_empty_lake_gives_an_empty_frame_and_creates_nothing(
        self, lakehouse, tmp_path: Path, vehicle_daily
    ):
        rows = run_model(vehicle_daily, lakehouse, Days(date(2025, 6, 1), date(2025, 6, 2)), time_zone=BERLIN)
        assert rows.is_empty()
        assert rows.schema == polars_schema(vehicle_daily.table)
        assert list(tmp_path.iterdir()) == []

    def test_no_vehicle_stands_in_the_delta_log(self, lakehouse, write, vehicle_daily):
        write(silver.TELEMETRY, sample("SECRETVEHICLE", "2025-06-10T12:00:00", adapter_voltage_v=12.25))
        day = date(2025, 6, 10)
        rows = run_model(vehicle_daily, lakehouse, Days(day, day), time_zone="UTC")
        lakehouse.replace_days(vehicle_daily.table, lambda _: rows, [day], batch=1)
        log = Path(lakehouse.uri(vehicle_daily.table), "_delta_log")
        text = "".join(path.read_text() for path in log.glob("*.json"))
        assert "2025-06-10" in text
        assert "SECRETVEHICLE" not in text
        assert "12.25" not in text
        assert lakehouse.scan(vehicle_daily.table).collect().equals(rows)

    def test_only_the_tables_that_it_reads_are_opened(self, lakehouse, write, vehicle_daily):
        write(silver.TELEMETRY, sample("A", "2025-06-10T12:00:00"))
        broken = Path(lakehouse.uri(silver.EVENTS), "_delta_log")
        broken.mkdir(parents=True)
        (broken / f"{0:020}.json").write_text("{broken")
        day = date(2025, 6, 10)
        assert run_model(vehicle_daily, lakehouse, Days(day, day), time_zone="UTC").height == 1


class TestRunning:
    WINDOW = Days(date(2025, 6, 10), date(2025, 6, 10))

    def model(self, root: Path, old: str, new: str):
        assert old in MART_SQL
        return load_models(project(root, FILES | {"marts/speeds.sql": MART_SQL.replace(old, new)}))["speeds"]

    def test_a_row_outside_the_window_is_refused(self, tmp_path: Path, lakehouse, write):
        write(silver.TELEMETRY, sample("A", "2025-06-11T12:00:00"))
        model = self.model(tmp_path / "m", "and $last_date", "and $last_date + interval 1 day")
        with pytest.raises(ValueError, match="1 rows lie outside the window 2025-06-10"):
            run_model(model, lakehouse, self.WINDOW, time_zone="UTC")

    def test_rows_that_break_the_spec_are_refused(self, tmp_path: Path, lakehouse, write):
        write(silver.TELEMETRY, sample("A", "2025-06-10T12:00:00"))
        for old, new in (
            ("'fast' as", "'slowest' as"),
            ("    vehicle_id,\n    event", "    null::varchar as vehicle_id,\n    event"),
        ):
            with pytest.raises(BatchRejectedError):
                run_model(self.model(tmp_path / "m", old, new), lakehouse, self.WINDOW, time_zone="UTC")

    @pytest.mark.parametrize(
        ("kind", "column", "expected"),
        [
            ("not_null", "vehicle_id", 1),
            ("unique", "class", 2),
            ("accepted_values", "class", 1),
            ("relationships", "vehicle_id", 1),
        ],
    )
    def test_each_data_test_counts_its_failing_rows(
        self, tmp_path: Path, lakehouse, write, kind: str, column: str, expected: int
    ):
        write(silver.TELEMETRY, sample("A", "2025-06-10T12:00:00"))
        model = load_models(project(tmp_path / "m"))["speeds"]
        rows = pl.DataFrame({"vehicle_id": ["A", "A", "B", None], "class": ["fast", "fast", "quick", None]})
        (test,) = [test for test in model.data_tests if (test.kind, test.column) == (kind, column)]
        assert failing_rows(model, test, rows, lakehouse) == expected
        assert failing_rows(model, test, rows.head(1), lakehouse) == 0

    def test_a_relationship_to_a_table_that_does_not_exist_fails_every_row(self, tmp_path: Path, lakehouse):
        model = load_models(project(tmp_path / "m"))["speeds"]
        (test,) = [test for test in model.data_tests if test.kind == "relationships"]
        assert failing_rows(model, test, pl.DataFrame({"vehicle_id": ["A", None]}), lakehouse) == 1
        assert not lakehouse.exists(silver.TELEMETRY)

    def test_a_data_test_has_a_name_of_its_own(self):
        assert DataTest("vehicle_id", "not_null").name == "vehicle_id_not_null"
