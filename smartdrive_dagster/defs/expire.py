"""The run that deletes what has expired, and the schedule that asks for it where a retention is configured."""

from datetime import UTC, datetime

import dagster as dg

from smartdrive_dagster.defs.erase import keep_gold_out
from smartdrive_dagster.defs.floors import kept_days
from smartdrive_dagster.defs.ingest import POOL
from smartdrive_dagster.defs.resources import LakeResource


@dg.op(description="Delete what is older than the configured retention.", pool=POOL)
def delete_expired(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Delete layer by layer, what is made of others first."""
    from smartdrive_dagster.defs.retention import expire as expired

    until = datetime.now(UTC).date()
    for one in expired(lake.lakehouse(), lake.landing(), lake.settings, until=until):
        context.log.info(str(one))


@dg.job(
    executor_def=dg.in_process_executor,
    description="Deletes what has expired. Nobody else ingests or computes meanwhile.",
)
def expire() -> None:
    """Expire."""
    keep_gold_out()
    delete_expired()


@dg.schedule(
    job=expire,
    cron_schedule="25 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes what is older than SMARTDRIVE_RETENTION_…_DAYS, where one of these is set.",
)
def nightly_retention(lake: LakeResource) -> dg.RunRequest | dg.SkipReason:
    """Request a run where something can expire."""
    if not kept_days(lake.settings):
        return dg.SkipReason("no SMARTDRIVE_RETENTION_…_DAYS is set: everything is kept")
    return dg.RunRequest()
