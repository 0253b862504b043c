"""Old runs go, and with them their files; what the UI shows of a partition, an asset or a check stays."""

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.pruning import Pruned, prune, runs_that_show
from smartdrive_dagster.defs.triggers import RunHistory, run_history
from smartdrive_dagster.settings import Settings

ROOT = Path(__file__).parents[2]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAYS = dg.StaticPartitionsDefinition([f"day-{n}" for n in range(24)])
TABLE = dg.AssetKey(["silver", "table"])


class Failing(dg.Config):
    fails: bool = False


@dg.asset(key=TABLE, partitions_def=DAYS, check_specs=[dg.AssetCheckSpec("batch", asset=TABLE)])
def table(config: Failing) -> dg.MaterializeResult:  # type: ignore[type-arg]
    if config.fails:
        raise dg.Failure("as asked", allow_retries=False)
    return dg.MaterializeResult(
        check_results=[dg.AssetCheckResult(asset_key=TABLE, check_name="batch", passed=True)]
    )


@dg.asset_check(asset=TABLE)
def nightly() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.op
def look(context: dg.OpExecutionContext) -> None:
    context.log_event(dg.AssetObservation(asset_key=TABLE))


@dg.job(executor_def=dg.in_process_executor)
def look_at_it() -> None:
    look()


JOBS = dg.Definitions(
    assets=[table],
    asset_checks=[nightly],
    jobs=[
        dg.define_asset_job("ingest", dg.AssetSelection.assets(table) - dg.AssetSelection.checks(nightly)),
        dg.define_asset_job("table_checks", dg.AssetSelection.checks(nightly)),
        look_at_it,
    ],
    executor=dg.in_process_executor,
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with empty databases: making them anew for each test would take most of its time."""
    home = tmp_path_factory.mktemp("fresh")
    with dg.DagsterInstance.local_temp(str(home)):
        return home


@pytest.fixture
def home(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(home)) as on_disk:
        yield on_disk


def run(instance: dg.DagsterInstance, day: int = 0, *, last: int | None = None, fails: bool = False) -> str:
    options: dict[str, object] = {"partition_key": f"day-{day}"}
    if last is not None:
        first_and_last = (
            ("dagster/asset_partition_range_start", f"day-{day}"),
            (
                "dagster/asset_partition_range_end",
                f"day-{last}",
            ),
        )
        options = {"tags": dict(first_and_last)}
    config = {"ops": {"silver__table": {"config": {"fails": fails}}}}
    done = JOBS.resolve_job_def("ingest").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={**QUIET, **config},
        **options,  # type: ignore[arg-type]
    )
    assert done.success is not fails
    logs = Path(instance.storage_directory(), done.run_id, "compute_logs")  # as the daemon's launcher leaves them
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "step.out").write_bytes(b"printed")
    return str(done.run_id)


def two_weeks_later(instance: dg.DagsterInstance, budget_s: float = 60.0) -> Pruned:
    """Prune as if all that has run so far had ended more than two weeks ago."""
    return prune(instance, before=datetime.now(UTC), budget_s=budget_s)


def kept(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.get_run_ids())


def files(home: Path) -> set[str]:
    """Runs that have a file of events or a folder of logs."""
    events = {path.stem for path in (home / "history" / "runs").glob("*.db")} - {"index", ""}
    return events | {path.name for path in (home / "storage").iterdir()}


def rows(home: Path, table_name: str) -> int:
    with sqlite3.connect(home / "history" / "runs" / "index.db") as database:
        return int(database.execute(f"SELECT COUNT(*) FROM {table_name}").fetchone()[0])  # noqa: S608


def test_the_latest_run_of_each_partition_stays_with_its_page_and_all_others_go(
    instance: dg.DagsterInstance, home: Path
) -> None:
    runs = [[run(instance, day) for day in range(2)] for _ in range(2)]
    mirrored = rows(home, "event_logs")
    assert two_weeks_later(instance) == Pruned(deleted=2, shown=2, left=0, strays=0)
    assert kept(instance) == set(runs[-1]) == files(home)
    assert rows(home, "asset_check_executions") == 2
    assert rows(home, "event_logs") <= mirrored / 2
    assert instance.get_materialized_partitions(TABLE) == {"day-0", "day-1"}
    for day, run_id in enumerate(runs[-1]):
        chosen = dg.AssetRecordsFilter(TABLE, asset_partitions=[f"day-{day}"])
        (record,) = instance.fetch_materializations(chosen, limit=10).records
        assert record.run_id == run_id
        assert [event for event in instance.all_logs(run_id) if event.dagster_event]


def test_night_after_night_the_storage_stays_as_large(instance: dg.DagsterInstance, home: Path) -> None:
    sizes = []
    for _ in range(3):
        for day in (0, 1):
            run(instance, day)
        two_weeks_later(instance)
        sizes.append((len(kept(instance)), rows(home, "event_logs"), rows(home, "asset_check_executions")))
    assert len(set(sizes)) == 1


def test_a_run_that_is_young_or_under_way_stays(instance: dg.DagsterInstance) -> None:
    run(instance)
    young = [run(instance), run(instance)]  # only the last of them shows something
    active = instance.create_run_for_job(JOBS.resolve_job_def("look_at_it"), status=dg.DagsterRunStatus.STARTED)
    between = instance.get_run_records(dg.RunsFilter(run_ids=[young[0]]))[0].start_time
    assert between
    assert prune(instance, before=datetime.fromtimestamp(between, UTC), budget_s=60.0).deleted == 1
    assert kept(instance) == {*young, active.run_id}
    assert prune(instance, before=datetime.now(UTC) - timedelta(14), budget_s=60.0) == Pruned(0, 0, 0, 0)
    two_weeks_later(instance)
    assert kept(instance) == {young[1], active.run_id}


def test_what_else_the_ui_shows_stays(instance: dg.DagsterInstance) -> None:
    def run_twice(job: str) -> str:
        """The later one."""
        execute = JOBS.resolve_job_def(job).execute_in_process
        return [execute(instance=instance, run_config=QUIET).run_id for _ in range(2)][-1]

    run(instance, 0)
    failed = [run(instance, 1, fails=True) for _ in range(2)]
    newest = {run(instance, 0), run_twice("look_at_it"), run_twice("table_checks")}
    two_weeks_later(instance)
    assert kept(instance) == {failed[1], *newest}
    mended = run(instance, 1)
    two_weeks_later(instance)
    assert kept(instance) == {mended, *newest}


def test_a_sensor_reads_the_history_of_runs_as_before(instance: dg.DagsterInstance) -> None:
    tags = {"dagster/partition": "day-1"}
    for _ in range(2):
        run(instance, 1, fails=True)
    assert run_history(instance, "ingest", tags).failures == 2
    two_weeks_later(instance)
    assert run_history(instance, "ingest", tags).failures == 1
    run(instance, 1)
    two_weeks_later(instance)
    assert run_history(instance, "ingest", tags) == RunHistory()
    assert run_history(instance, "ingest", {"dagster/partition": "day-2"}) == RunHistory()


def test_a_run_of_many_partitions_stays_until_the_last_of_them_was_done_anew(instance: dg.DagsterInstance) -> None:
    large = run(instance, 0, last=23)
    newer = run(instance, 0, last=22)
    assert two_weeks_later(instance) == Pruned(deleted=0, shown=2, left=0, strays=0)
    last = run(instance, 23)
    assert two_weeks_later(instance) == Pruned(deleted=1, shown=2, left=0, strays=0)
    assert kept(instance) == {newer, last}
    assert large not in runs_that_show(instance)
    assert len(instance.get_materialized_partitions(TABLE)) == 24


def test_more_events_than_sqlite_takes_in_one_statement_are_deleted_too(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    monkeypatch.setattr("smartdrive_dagster.defs.pruning._PAGE", 10)
    old = run(instance, 0, last=23)
    run(instance, 0, last=23)

    @event.listens_for(Engine, "connect")
    def few_variables(connection: sqlite3.Connection, _record: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 20)

    try:
        assert two_weeks_later(instance).deleted == 1
    finally:
        event.remove(Engine, "connect", few_variables)
    assert old not in kept(instance) | files(home)
    with sqlite3.connect(home / "history" / "runs" / "index.db") as database:
        assert database.execute("SELECT COUNT(*) FROM event_logs WHERE run_id = ?", (old,)).fetchone() == (0,)


def test_what_a_killed_pruning_left_is_deleted_by_the_next(instance: dg.DagsterInstance, home: Path) -> None:
    old, _ = run(instance), run(instance)
    instance.run_storage.delete_run(old)  # killed before the events' turn
    events = home / "history" / "runs" / f"{old}.db"
    assert prune(instance, before=datetime.now(UTC) - timedelta(1), budget_s=60.0).strays == 0
    assert events.exists()
    assert two_weeks_later(instance).strays == 1
    assert not events.exists()
    with sqlite3.connect(home / "history" / "runs" / "index.db") as database:
        assert database.execute("SELECT COUNT(*) FROM event_logs WHERE run_id = ?", (old,)).fetchone() == (0,)


def test_a_pruning_that_has_used_up_its_time_leaves_the_rest(instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        run(instance)
    assert two_weeks_later(instance, budget_s=0.0) == Pruned(deleted=0, shown=1, left=1, strays=0)


def test_the_job_prunes_the_instance_that_it_runs_on(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    settings = Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing"))
    job = definitions(settings).resolve_job_def("prune_runs")
    done = job.execute_in_process(instance=instance, run_config=QUIET)
    assert done.success
    assert kept(instance) == {done.run_id}
    today_s = {"ops": {"delete_old_runs": {"config": {"keep_days": 0}}}}
    assert not job.execute_in_process(instance=instance, run_config=QUIET | today_s, raise_on_error=False).success


def test_ticks_of_every_kind_have_an_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    (home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())["retention"]
    assert set(settings) == {"schedule", "sensor", "auto_materialize"}
    for kept_days in settings.values():
        assert set(kept_days["purge_after_days"]) == {"skipped", "failure", "success", "started"}
        assert all(0 < days <= 14 for days in kept_days["purge_after_days"].values())
    with dg.DagsterInstance.from_config(str(home)) as instance:  # Dagster takes it
        assert instance.get_settings("retention")
