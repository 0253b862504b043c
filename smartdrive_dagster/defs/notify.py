"""Who is told: new alerts at once or once a day, and runs that failed.

What is due is asked of Gold and of the outbox, never of an event: a notification that a crash kept from being sent
is due again at the next look. A backfill or a rebuild marks its alerts as not to be told before it commits them.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.triggers import run_history
from smartdrive_dagster.settings import Settings

if TYPE_CHECKING:
    from smartdrive_dagster.alerting.channels import Channel
    from smartdrive_dagster.alerting.message import Notice
    from smartdrive_dagster.alerting.outbox import Outbox


class NotifyConfig(dg.Config):
    """What one run tells."""

    as_digest: bool = False


@dg.op(description="Send the alerts that are due over every channel, and mark told ones that were overturned.")
def send_alerts(context: dg.OpExecutionContext, config: NotifyConfig, lake: LakeResource) -> None:
    """Send what is due; a channel that fails is tried again later and keeps no other from its turn."""
    from smartdrive_dagster.alerting.alerts import present_alerts

    settings, now = lake.settings, datetime.now(UTC)
    outbox = outbox_of(settings)
    notices = due_notices(settings, now, everything=config.as_digest)
    done = outbox.deliver(notices, _channels(settings), now=now, as_digest=config.as_digest)
    overturned = outbox.supersede(present_alerts(lake.lakehouse()), now=now)
    context.log.info(f"{done.sent} sent, {done.failed} not taken, {overturned} overturned by later data")
    for channel, fault in done.faults.items():
        context.log.warning(f"{channel}: {fault}")


@dg.job(executor_def=dg.in_process_executor, description="Tells people of new alerts.")
def notify() -> None:
    """Send alerts."""
    send_alerts()


@dg.sensor(
    job=notify,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks for alerts that nobody was told of yet.",
)
def alert_sensor(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request a run where something is due and nobody is at it."""
    settings, now = lake.settings, datetime.now(UTC)
    channels = _channels(settings)
    if not channels:
        yield dg.SkipReason("no channel is configured: see SMARTDRIVE_SLACK_WEBHOOK and the like")
        return
    due = outbox_of(settings).due(due_notices(settings, now), channels, now=now)
    if not due:
        yield dg.SkipReason("everybody was told of everything")
    elif run_history(context.instance, notify.name, {}).allows(now):
        yield dg.RunRequest()
    else:
        yield dg.SkipReason(f"{due} notifications are due, with a run under way or a pause after failures")


@dg.schedule(
    job=notify,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Tells in one message what was not urgent enough to be told at once.",
)
def daily_digest(lake: LakeResource) -> dg.RunRequest | dg.SkipReason:
    """Request a digest, if the owner wants one."""
    settings = lake.settings
    if not settings.alert_digest or not _channels(settings):
        return dg.SkipReason("SMARTDRIVE_ALERT_DIGEST is off, or no channel is configured")
    return dg.RunRequest(run_config={"ops": {"send_alerts": {"config": {"as_digest": True}}}})


def _tell_of_failure(context: dg.RunFailureSensorContext, lake: LakeResource) -> None:
    """Tell of a failed run; `smartdrive status --check` tells of an orchestrator that has stopped altogether."""
    from smartdrive_dagster.alerting.message import Notice

    job, now = context.dagster_run.job_name, datetime.now(UTC)
    settings = lake.settings
    if job == notify.name or not _channels(settings):
        return
    failed = Notice(
        episode_id=f"run-failed/{job}/{now:%Y-%m-%d}",
        severity="critical",
        title=f"SmartDrive: job {job} failed",
        text=f"Run {context.dagster_run.run_id} failed; its log in the Dagster UI says why. The next tries again.",
        opened_at=now,
    )
    outbox_of(settings).deliver([failed], _channels(settings), now=now)


failure_sensor = dg.run_failure_sensor(
    name="failure_sensor",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="Tells of runs that failed: once a day for each job.",
)(_tell_of_failure)


def outbox_of(settings: Settings) -> "Outbox":
    """The outbox that the settings name."""
    from smartdrive_dagster.alerting.outbox import Outbox
    from smartdrive_dagster.lake.lakehouse import Lakehouse

    return Outbox(Lakehouse(settings.state_url))


def due_notices(settings: Settings, now: datetime, *, everything: bool = False) -> "list[Notice]":
    """Recent alerts that are urgent enough; those that wait for the digest only with `everything`."""
    from smartdrive_dagster.alerting.alerts import recent_alerts
    from smartdrive_dagster.lake.lakehouse import Lakehouse

    waits = settings.alert_digest and not everything
    return recent_alerts(
        Lakehouse(settings.lake_url), now=now, severity="critical" if waits else settings.alert_severity
    )


def _channels(settings: Settings) -> "Sequence[Channel]":
    from smartdrive_dagster.alerting.channels import channels

    return channels(settings)
