"""Sensors and schedules: pure decisions over what the tables say, in thin shells.

No run keys: a key consumed by a run that died is never launched again, and since all work is derived from tables
a repeated request does no harm. Cursors are hints.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from smartdrive_dagster.defs.dead_runs import bury_dead_runs
from smartdrive_dagster.defs.gold import batch_checks
from smartdrive_dagster.defs.ingest import UNREADABLE_TAG
from smartdrive_dagster.defs.jobs import (
    GOLD_JOB,
    INGEST_JOB,
    MAINTENANCE_JOB,
    NIGHTLY_CHECKS_JOB,
    PRUNING_JOB,
)
from smartdrive_dagster.defs.measuring import RECENT, of_gold, of_landing, of_runs, tell
from smartdrive_dagster.defs.partitions import FIRST_DAY, range_tags
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.specs import key

if TYPE_CHECKING:
    import polars as pl

    from smartdrive_dagster.defs.work import GoldWork

_LONGEST_WAIT: Final = timedelta(hours=1)
_SHORTEST_WAIT: Final = timedelta(seconds=30)
_ACTIVE: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What earlier runs of the same work say about a new one.

    Attributes:
        is_active: one is queued or running.
        failures: how many failed in a row, newest last.
        last_failure: when the newest of them ended.
        left: how many landing objects the newest of them had to leave because they could not be read.
    """

    is_active: bool = False
    failures: int = 0
    last_failure: datetime | None = None
    left: int = 0

    def allows(self, now: datetime) -> bool:
        """Whether to request a run: none is under way, and the pause after failures is over.

        The pause doubles with each failure in a row, from 30 s to an hour.
        """
        if self.is_active:
            return False
        if self.last_failure is None or not self.failures:
            return True
        doublings = min(self.failures - 1, 12)
        pause = min(_LONGEST_WAIT, _SHORTEST_WAIT * (1 << doublings))
        return now - self.last_failure >= pause


def days_to_ingest(pending: Mapping[date, int], histories: Mapping[date, RunHistory], now: datetime) -> list[date]:
    """Arrival days for which a run is requested: something is left to do and nobody is at it.

    An object that cannot be read makes its day's runs fail, and these pause. Others that land on the day meanwhile
    do not wait for it.

    Args:
        pending: objects left to do, by arrival day.
        histories: of the days' runs.
        now: the time.
    """
    due = []
    for day, objects in sorted(pending.items()):
        history = histories.get(day, RunHistory())
        is_new = objects > history.left > 0 and not history.is_active
        if history.allows(now) or is_new:
            due.append(day)
    return due


@dg.sensor(
    job=INGEST_JOB,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks for landing objects of the last 48 hours that Bronze or Silver lacks.",
)
def landing_sensor(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request an ingestion run for each recent arrival day with something left to do, and say how far behind."""
    now = datetime.now(UTC)
    waiting = _waiting(lake, since=(now - RECENT).date(), until=now.date())
    tell(lambda: of_landing(waiting, lake.lakehouse(), now), lake.settings, now)
    yield from _ingest_requests(context.instance, waiting, now)


@dg.schedule(
    job=INGEST_JOB,
    cron_schedule="10 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks through the whole landing zone: objects may appear late under old prefixes.",
)
def daily_sweep(
    context: dg.ScheduleEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request an ingestion run for each arrival day, however old, that has something left to do."""
    now = datetime.now(UTC)
    waiting = _waiting(lake, since=date.fromisoformat(FIRST_DAY), until=now.date())
    yield from _ingest_requests(context.instance, waiting, now)


@dg.sensor(
    job=GOLD_JOB,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks the ledger which event days of Gold and the marts are stale.",
)
def gold_sensor(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request Gold runs for the stale event days; the cursor is the ledger batch up to which all is fresh."""
    from smartdrive_dagster.defs.work import gold_work, ledger_batch, touches_after

    now = datetime.now(UTC)
    lakehouse = lake.lakehouse()
    floor = int(context.cursor or 0)
    batch = ledger_batch(lakehouse)
    work = gold_work(lakehouse, until=now.date(), floor=min(floor, batch))
    tell(lambda: of_gold(work) | of_runs(context.instance, now), lake.settings, now)
    if not work and not touches_after(lakehouse, now.date(), floor=min(floor, batch)):
        context.update_cursor(str(batch))
    yield from _gold_run_requests(context.instance, work, now)


@dg.schedule(
    job=GOLD_JOB,
    cron_schedule="40 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compares all days of the ledger with all days of Gold.",
)
def nightly_gold(
    context: dg.ScheduleEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request Gold runs for every stale event day, however old."""
    from smartdrive_dagster.defs.work import gold_work

    now = datetime.now(UTC)
    work = gold_work(lake.lakehouse(), until=now.date(), floor=0)
    yield from _gold_run_requests(context.instance, work, now)


nightly_checks = dg.ScheduleDefinition(
    name="nightly_checks",
    job=NIGHTLY_CHECKS_JOB,
    cron_schedule="10 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Checks that read whole tables: unique keys, both balances, relationships.",
)

nightly_maintenance = dg.ScheduleDefinition(
    name="nightly_maintenance",
    job=MAINTENANCE_JOB,
    cron_schedule="40 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compacts, vacuums and checkpoints every table.",
)

nightly_pruning = dg.ScheduleDefinition(
    name="nightly_pruning",
    job=PRUNING_JOB,
    cron_schedule="55 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes runs older than two weeks that show nothing that later runs do not.",
)


def _waiting(lake: LakeResource, *, since: date, until: date) -> "pl.DataFrame":
    from smartdrive_dagster.defs.work import waiting_objects

    listed = lake.landing().list(since=since).objects
    return waiting_objects(lake.lakehouse(), listed, since=since, until=until)


def _ingest_requests(
    instance: dg.DagsterInstance, waiting: "pl.DataFrame", now: datetime
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    pending: dict[date, int] = dict(waiting.group_by("landing_date").len().iter_rows())
    histories = {
        day: run_history(instance, INGEST_JOB.name, {"dagster/partition": day.isoformat()}) for day in pending
    }
    days = days_to_ingest(pending, histories, now)
    for day in days:
        yield dg.RunRequest(partition_key=day.isoformat())
    if not days:
        yield dg.SkipReason(
            f"{len(pending)} arrival days have work, with a run under way or a pause after failures"
            if pending
            else "nothing new has landed"
        )


def _gold_run_requests(
    instance: dg.DagsterInstance, work: Sequence["GoldWork"], now: datetime
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a run of each range, and of the tables alone that are stale there: none while one is under way."""
    if not work:
        yield dg.SkipReason("every day is fresh")
    elif not run_history(instance, GOLD_JOB.name, {}).allows(now):
        yield dg.SkipReason(
            f"{len(work)} ranges of days have work, with a run under way or a pause after failures"
        )
    else:
        for one in work:
            yield dg.RunRequest(
                tags=range_tags(one.days),
                asset_selection=[key(name) for name in one.tables],
                asset_check_keys=batch_checks(one.tables),
            )


def run_history(instance: dg.DagsterInstance, job_name: str, tags: Mapping[str, str]) -> RunHistory:
    """What the newest runs of a job with some tags say about another one."""
    bury_dead_runs(instance)
    records = instance.get_run_records(dg.RunsFilter(job_name=job_name, tags=dict(tags)), limit=12)
    if any(record.dagster_run.status in _ACTIVE for record in records):
        return RunHistory(is_active=True)
    failures = 0
    for record in records:
        if record.dagster_run.status is not dg.DagsterRunStatus.FAILURE:
            break
        failures += 1
    if not failures:
        return RunHistory()
    ended = records[0].end_time
    return RunHistory(
        failures=failures,
        last_failure=datetime.fromtimestamp(ended, UTC) if ended else None,
        left=int(records[0].dagster_run.tags.get(UNREADABLE_TAG, 0)),
    )
