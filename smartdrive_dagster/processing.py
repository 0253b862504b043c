"""Bring the lake up to date now, in this process: the jobs that the daemon's sensors would launch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import dagster as dg

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.dead_runs import bury_dead_runs, process_tag
from smartdrive_dagster.defs.gold import batch_checks
from smartdrive_dagster.defs.ingestion import Progress
from smartdrive_dagster.defs.partitions import FIRST_DAY, range_tags
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.retraction import settle_retractions
from smartdrive_dagster.defs.serving import due_tables
from smartdrive_dagster.defs.specs import key
from smartdrive_dagster.defs.work import gold_work, pending_days
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.serving.database import ServingError
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days
from smartdrive_dagster.up.preflight import prepare_dagster

HOME: Final = Path(".smartdrive/dagster")
_DAEMON_ALIVE_S: Final = 60.0  # it says so every 30 s
_SILENT: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_NO_WAIT: Final = {
    **_SILENT,
    "ops": {"bronze_and_silver": {"config": {"idle_s": 0.0, "budget_s": 86_400.0, "makes_way": False}}},
}


class ProcessingError(RuntimeError):
    """A job failed; its log in the Dagster UI says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One job run: what it does and how far along the whole is.

    Attributes:
        job: name of the job.
        days: the days it covers.
        number: from 1.
        total: steps of this stage.
    """

    job: str
    days: Days
    number: int
    total: int


@contextmanager
def dagster_instance(home: Path | None = None) -> Iterator[dg.DagsterInstance]:
    """The instance that the UI shows: of DAGSTER_HOME, or of ./.smartdrive/dagster.

    Runs that an earlier `process` left behind when it was killed are marked as failed and their pool slots freed.
    """
    directory = Path(os.environ.get("DAGSTER_HOME") or home or HOME).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(directory)
    with (directory / ".opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two that open a fresh home at once would both create its databases
        prepare_dagster(directory)
        instance = dg.DagsterInstance.get()
        bury_dead_runs(instance)
    with instance:
        yield instance


def process(
    settings: Settings, instance: dg.DagsterInstance, on_step: Callable[[Step], None] = lambda step: None
) -> int:
    """Run ingestion and Gold until nothing is left to do.

    Returns:
        How many runs that took; 0 where the lake was up to date.

    Raises:
        ProcessingError: a job failed.
    """
    jobs = definitions(settings)
    lakehouse, store = Lakehouse(settings.lake_url), LandingStore(settings.landing_url)
    today = datetime.now(UTC).date()
    pending = pending_days(lakehouse, store, since=date.fromisoformat(FIRST_DAY), until=today)
    failures: list[str] = []
    for number, day in enumerate(pending, start=1):
        on_step(Step("ingest", Days(day, day), number, len(pending)))
        try:
            _run(jobs, instance, "ingest", partition_key=day.isoformat(), run_config=_NO_WAIT)
        except ProcessingError as error:  # the other days and Gold have their turn all the same
            failures.append(str(error))
    settle_retractions(LakeResource.of(settings).ingestion(), Progress())
    work = gold_work(lakehouse, until=today, floor=0)
    for number, one in enumerate(work, start=1):
        on_step(Step("gold", one.days, number, len(work)))
        _run(jobs, instance, "gold", tags=range_tags(one.days), tables=one.tables)
    published = _publish(jobs, settings, instance, on_step, today)
    if failures:
        raise ProcessingError("; ".join(failures))
    return len(pending) + len(work) + published


def _publish(
    jobs: dg.Definitions,
    settings: Settings,
    instance: dg.DagsterInstance,
    on_step: Callable[[Step], None],
    today: date,
) -> int:
    """Bring the REST API's database up to date, if there is one; how many runs that took."""
    if settings.serving_url is None:
        return 0
    try:
        if not due_tables(settings):
            return 0
    except ServingError as error:
        raise ProcessingError(str(error)) from error
    on_step(Step("publish", Days(today, today), 1, 1))
    _run(jobs, instance, "publish")
    return 1


def who_is_at_work(instance: dg.DagsterInstance, now: datetime) -> str | None:
    """Who of this Dagster may be writing to the lake: a run, or a daemon that may start one; None if nobody is."""
    active = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    if runs := instance.get_runs(dg.RunsFilter(statuses=active)):
        return f"Dagster run {runs[0].run_id} ({runs[0].job_name}) is under way"
    beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
    age_s = now.timestamp() - max(beats, default=0.0)
    return f"a Dagster daemon was alive {age_s:.0f} s ago" if age_s < _DAEMON_ALIVE_S else None


def check_tables(settings: Settings, instance: dg.DagsterInstance) -> dict[str, bool]:
    """Run the nightly checks now; returns whether each passed, by table and check."""
    result = _run(definitions(settings), instance, "table_checks")
    return {
        f"{'.'.join(check.asset_key.path)} {check.check_name}": check.passed
        for check in result.get_asset_check_evaluations()
    }


def erase_now(settings: Settings, instance: dg.DagsterInstance) -> str:
    """Finish all erasures that were requested; returns where the receipt lies.

    Raises:
        ProcessingError: something could not be erased; what is done stays done.
    """
    return str(_run(definitions(settings), instance, "erase").output_for_node("erase_stores"))


def _run(
    jobs: dg.Definitions,
    instance: dg.DagsterInstance,
    name: str,
    *,
    partition_key: str | None = None,
    run_config: Mapping[str, object] = _SILENT,
    tags: dict[str, str] | None = None,
    tables: Sequence[str] = (),
) -> dg.ExecuteInProcessResult:
    job = jobs.resolve_job_def(name)
    if tables:
        job = job.get_subset(
            asset_selection={key(table) for table in tables}, asset_check_selection=set(batch_checks(tables))
        )
    result = job.execute_in_process(
        instance=instance,
        partition_key=partition_key,
        run_config=run_config,
        tags={**(tags or {}), **process_tag()},
        raise_on_error=False,
    )
    if not result.success:
        failures = [event.event_specific_data for event in result.all_events if event.is_step_failure]
        reasons = "; ".join(str(getattr(data, "error_display_string", data)) for data in failures)
        raise ProcessingError(f"job {name} failed (run {result.run_id}): {reasons}")
    return result
