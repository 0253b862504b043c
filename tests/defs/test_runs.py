"""Runs of the real jobs: what they commit, what they report, and what they must not show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.computations import computations, reach_days
from smartdrive_dagster.defs.dead_runs import process_tag
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.work import stale_gold_days
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.maintenance import MEMORY_BYTES
from smartdrive_dagster.metrics.catalogue import LINES, OBJECTS, REJECTED_LINES, SAMPLES
from smartdrive_dagster.processing import ProcessingError, process
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import bronze, gold, silver
from tests.comparison import contents, versions
from tests.messages import OTHER_VIN, SECRET, START, VIN, event, land, telemetry

DAY = START.date()
NEXT = DAY + timedelta(1)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
AT_ONCE = {**QUIET, "ops": {"bronze_and_silver": {"config": {"idle_s": 0.0}}}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "secret").write_bytes(SECRET)
    return Settings(
        lake_url=f"{tmp_path}/lake", landing_url=f"{tmp_path}/landing", secret_file=tmp_path / "secret"
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


class House:
    """The jobs over one lake."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.lakehouse = Lakehouse(settings.lake_url)
        self.landing = LakeResource.of(settings).landing()

    def ingest(self, day: date = DAY, **tags: str) -> dg.ExecuteInProcessResult:
        return self.run("ingest", partition_key=day.isoformat(), run_config=AT_ONCE, tags=tags)

    def gold(self, first: date, last: date, **tags: str) -> dg.ExecuteInProcessResult:
        days = {
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        }
        return self.run("gold", run_config=QUIET, tags={**days, **tags})

    def run(self, name: str, **options: object) -> dg.ExecuteInProcessResult:
        job = definitions(self.settings).resolve_job_def(name)
        return job.execute_in_process(instance=self.instance, raise_on_error=False, **options)  # type: ignore[arg-type]

    def stale(self) -> list[date]:
        return stale_gold_days(self.lakehouse, until=DAY + timedelta(30), floor=0)

    def drive(self, seq: int, *, vin: str = VIN, on: date = DAY, arriving: date | None = None) -> None:
        at = START + (on - DAY)
        arrival = START + ((arriving or on) - DAY) + timedelta(hours=1)
        land(self.landing, telemetry(seq, at=at, samples=60, vin=vin, device_id=f"edge-{vin[-1]}"), at=arrival)


@pytest.fixture
def house(settings: Settings, instance: dg.DagsterInstance) -> House:
    return House(settings, instance)


def test_a_run_reports_rows_versions_and_passed_checks_of_every_table(house: House) -> None:
    house.drive(1)
    done = house.ingest()
    assert done.success
    rows = {
        m.asset_key.to_user_string(): m.metadata["dagster/row_count"].value
        for m in done.asset_materializations_for_node("bronze_and_silver")
        if m.asset_key
    }
    assert rows == {
        "bronze/messages": 1,
        "bronze/objects": 1,
        "silver/telemetry": 60,
        "silver/events": 0,
        "silver/dtc_readings": 0,
        "silver/corrections": 0,
        "silver/profiles": 0,
        "silver/weather": 0,
        "silver/vehicles": 1,
        "silver/quarantine": 0,
        "silver/messages": 1,
    }
    checks = done.get_asset_check_evaluations()
    assert len(checks) == len(rows)
    assert all(check.passed for check in checks)


def test_a_run_writes_what_it_took_in_as_metrics_where_it_is_asked_to(
    house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMARTDRIVE_EMF_METRICS", "true")
    house.drive(1)
    land(house.landing, b"no message", at=START)
    assert house.ingest().success
    (line,) = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith('{"_aws"')]
    taken = {metric.name: line[metric.name] for metric in (OBJECTS, LINES, REJECTED_LINES, SAMPLES)}
    assert list(taken.values()) == [2, 2, 1, 60]
    house.ingest()
    assert '"_aws"' not in capfd.readouterr().out


def test_a_run_says_which_process_it_is_so_that_a_dead_one_is_noticed(house: House) -> None:
    house.drive(1)
    house.ingest()
    house.gold(DAY, DAY)
    for run in house.instance.get_runs():
        assert run.tags.items() >= process_tag().items()


def test_no_vehicle_s_rows_or_names_appear_in_what_the_orchestrator_keeps(house: House) -> None:
    house.drive(1)
    land(house.landing, telemetry(2, vin="X"), telemetry(3, phase=VIN), event(4), at=START + timedelta(hours=2))
    house.ingest()
    house.gold(DAY, DAY)
    kept = [repr(entry) for run in house.instance.get_runs() for entry in house.instance.all_logs(run.run_id)]
    assert len(kept) > 50
    for secret in (VIN, vehicle_id(VIN, SECRET), "edge-1"):
        assert not [entry for entry in kept if secret in entry]


def test_a_batch_that_breaks_its_spec_fails_the_check_and_commits_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.drive(1)
    monkeypatch.setattr("smartdrive_dagster.domain.decoding.vehicle_id", lambda vin, secret: None, raising=True)
    done = house.ingest()
    assert not done.success
    (failed,) = [check for check in done.get_asset_check_evaluations() if not check.passed]
    assert failed.asset_key == dg.AssetKey(["silver", "telemetry"])
    assert house.lakehouse.scan(silver.TELEMETRY).collect().is_empty()
    assert house.lakehouse.scan(silver.MESSAGES).collect().is_empty()
    monkeypatch.undo()
    assert house.ingest().success
    assert house.lakehouse.scan(silver.TELEMETRY).collect().height == 60


def test_gold_is_computed_for_the_days_that_the_ledger_shows_and_is_fresh_then(house: House) -> None:
    house.drive(1)
    house.ingest()
    stale = house.stale()
    assert DAY in stale
    assert house.gold(stale[0], stale[-1]).success
    assert house.stale() == []
    trips = house.lakehouse.scan(gold.TRIPS).collect()
    assert trips.select("event_date", "samples").rows() == [(DAY, 60)]
    before = versions(house.lakehouse)
    assert house.gold(stale[0], stale[-1]).success
    assert versions(house.lakehouse) == before


@pytest.mark.nightly
def test_late_data_changes_only_its_own_days_and_vehicles(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, on in enumerate((DAY, DAY + timedelta(10))):
        house.drive(10 + number, on=on)
        house.drive(10 + number, on=on, vin=OTHER_VIN)
        house.ingest(on)
    stale = house.stale()
    house.gold(stale[0], stale[-1])
    before = house.lakehouse.scan(gold.TRIPS).collect()
    late = DAY + timedelta(10)
    land(
        house.landing,
        telemetry(99, at=START + timedelta(minutes=30), samples=60, device_id="edge-1"),
        at=START + timedelta(days=10, hours=2),
    )
    house.ingest(late)
    reach = timedelta(max(reach_days(computation, computations()) for computation in computations().values()))
    assert house.stale()[0] == DAY - reach
    assert house.stale()[-1] == DAY + reach

    computed: list[set[str]] = []
    from smartdrive_dagster.domain import trips

    original = trips.segment_trips

    def watched(telemetry_: pl.LazyFrame, **options: object) -> pl.LazyFrame:
        computed.append(set(telemetry_.select("vehicle_id").unique().collect().get_column("vehicle_id")))
        return original(telemetry_, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(trips, "segment_trips", watched)
    house.gold(house.stale()[0], house.stale()[-1])
    assert set().union(*computed) == {vehicle_id(VIN, SECRET)}
    after = house.lakehouse.scan(gold.TRIPS).collect()
    new = after.join(before, on="trip_id", how="anti")
    assert new.get_column("started_at").to_list() == [START + timedelta(minutes=30)]
    assert before.join(after, on=before.columns, how="anti", nulls_equal=True).is_empty()
    assert house.stale() == []


def test_a_mart_is_never_fresher_than_the_trips_that_it_reads(house: House) -> None:
    house.drive(1)
    house.ingest()
    job = definitions(house.settings).resolve_job_def("gold")
    days = {
        "dagster/asset_partition_range_start": DAY.isoformat(),
        "dagster/asset_partition_range_end": DAY.isoformat(),
    }
    mart = dg.AssetKey(["marts", "vehicle_daily"])
    alone = job.execute_in_process(instance=house.instance, run_config=QUIET, tags=days, asset_selection=[mart])
    assert alone.success
    assert DAY in house.stale()
    stale = house.stale()
    house.gold(stale[0], stale[-1])
    assert house.stale() == []


@pytest.mark.nightly
@pytest.mark.parametrize("layer", ["ingest", "gold"])
def test_a_backfill_of_a_layer_gives_the_rows_that_the_increments_gave(house: House, layer: str) -> None:
    for number in range(4):
        house.drive(number, on=DAY if number % 2 else NEXT, vin=VIN if number < 2 else OTHER_VIN)
        house.ingest(DAY)
        house.ingest(NEXT)
    stale = house.stale()
    house.gold(stale[0], stale[-1])
    tables = definitions_tables()
    before = contents(house.lakehouse, tables)
    if layer == "gold":
        assert house.gold(DAY, NEXT, **{"dagster/backfill": "b"}).success
    else:
        for day in (DAY, NEXT):
            assert house.ingest(day, **{"dagster/backfill": "b"}).success
        stale = house.stale()
        assert stale
        house.gold(stale[0], stale[-1])
    assert contents(house.lakehouse, tables) == before


def definitions_tables() -> list[object]:
    from smartdrive_dagster.lake.models import readable_tables

    return list(readable_tables())


def test_a_backfill_over_twenty_years_only_computes_days_that_can_have_rows(house: House) -> None:
    house.drive(1)
    house.ingest()
    years = [date(2008, 1, 1) + timedelta(n) for n in range(7000)]
    trips = computations()[gold.TRIPS]
    until = date(2030, 1, 1)
    commits = list(recompute(house.lakehouse, trips, years, house.settings, redo=True, until=until))
    assert sum(commit.rows for commit in commits) == 1
    assert len(commits) == 1


def test_the_nightly_checks_pass_and_see_what_is_wrong(house: House) -> None:
    house.drive(1)
    house.drive(2, on=NEXT)
    house.ingest()
    house.ingest(NEXT)
    good = house.run("table_checks", run_config=QUIET)
    assert good.success
    assert all(check.passed for check in good.get_asset_check_evaluations())
    rows = house.lakehouse.scan(silver.TELEMETRY).collect()
    house.lakehouse.append_once(silver.TELEMETRY, lambda _: rows.head(1))
    bad = house.run("table_checks", run_config=QUIET)
    failed = {
        (check.asset_key.to_user_string(), check.check_name)
        for check in bad.get_asset_check_evaluations()
        if not check.passed
    }
    assert failed == {
        ("silver/telemetry", "key_is_unique"),
        ("silver/messages", "accepted_samples_are_in_silver"),
    }


def test_maintenance_merges_files_and_leaves_the_rows(house: House) -> None:
    for number in range(5):
        house.drive(number)
        house.ingest()
    before = contents(house.lakehouse)
    files = house.lakehouse.open(silver.TELEMETRY).files()
    done = house.run("maintain_lake", run_config=QUIET)
    assert done.success
    assert house.lakehouse.open(silver.TELEMETRY).files() < files
    assert contents(house.lakehouse) == before
    observed = [one for one in done.all_node_events if one.event_type_value == "ASSET_OBSERVATION"]
    assert observed
    for one in observed:
        peak = one.asset_observation_data.asset_observation.metadata["peak_memory_bytes"].value
        assert 0 < peak < MEMORY_BYTES


def test_a_run_merges_small_files_before_they_make_the_day_slow(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_dagster.lake.upkeep.MERGE_AT", 2)
    for number in range(3):
        house.drive(number)
        assert house.ingest().success
    before = contents(house.lakehouse)
    assert house.lakehouse.open(silver.TELEMETRY).files() == 3
    house.drive(3)
    assert house.ingest().success
    assert house.lakehouse.open(silver.TELEMETRY).files() < 3
    assert contents(house.lakehouse) != before
    assert balances(house.lakehouse).close


def test_a_merge_that_fails_does_not_fail_the_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartdrive_dagster.lake.upkeep.MERGE_AT", 1)
    for number in range(2):
        house.drive(number)
        assert house.ingest().success
    monkeypatch.setattr("sys.executable", "/bin/false")
    house.drive(2)
    assert house.ingest().success
    assert house.lakehouse.open(silver.TELEMETRY).files() == 3


def test_process_goes_on_until_nothing_is_left_whoever_waits(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_dagster.defs.ingest._is_awaited", lambda context: True)
    monkeypatch.setattr("smartdrive_dagster.defs.ingestion.BATCH_OBJECTS", 1)
    for number in range(4):
        house.drive(number)
    process(house.settings, house.instance)
    assert house.lakehouse.open(silver.MESSAGES).batch == 4
    assert balances(house.lakehouse).close


def test_a_run_out_of_budget_ends_between_two_batches_of_one_listing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_dagster.defs.ingestion.BATCH_OBJECTS", 1)
    for number in range(3):
        house.drive(number)
    config = {"ops": {"bronze_and_silver": {"config": {"budget_s": 1e-9}}}}
    done = house.run("ingest", partition_key=DAY.isoformat(), run_config={**QUIET, **config})
    assert done.success
    assert house.lakehouse.open(bronze.OBJECTS).count() == 1


def test_process_takes_all_that_can_be_read_and_then_says_what_cannot(house: House, tmp_path: Path) -> None:
    house.drive(1)
    house.drive(2, on=NEXT)
    unreadable = tmp_path / "landing" / f"telemetry/dt={DAY}/hr=09/0bad.jsonl"
    unreadable.symlink_to("/proc/self/mem")
    with pytest.raises(ProcessingError, match=r"1 landing objects and 0 folders cannot be read.*0bad"):
        process(house.settings, house.instance)
    failed = house.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert [run.tags["smartdrive/unreadable"] for run in failed] == ["1"]
    days = house.lakehouse.scan(gold.TRIPS).collect().get_column("event_date").to_list()
    assert sorted(days) == [DAY, NEXT]
