"""Telling people what the watch found, by what is not the orchestrator: once, and again when it has come back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from smartdrive_dagster.alerting.channels import Channel
from smartdrive_dagster.alerting.message import Notice, Severity
from smartdrive_dagster.alerting.outbox import Delivery, Outbox
from smartdrive_dagster.watch.findings import Finding, Kind

SCOPE: Final = "watch"
# What may cost data, or comes from something that does not run; all else can wait until the morning.
_CRITICAL: Final = frozenset[Kind]({"landing_lags", "daemon", "lander", "balance", "look"})


def tell(
    found: Sequence[Finding],
    outbox: Outbox,
    channels: Sequence[Channel],
    *,
    severity: Severity,
    unseen: Collection[str] = (),
    now: datetime,
) -> Delivery:
    """Send what is wrong and has not been told yet, in one message a channel.

    Args:
        found: what is wrong now.
        outbox: remembers what is open and what was told.
        channels: where to.
        severity: the least that is told.
        unseen: kinds that were not looked at, of which nothing is over because it is not found.
        now: UTC.
    """
    named = {finding.name: finding for finding in found}
    episodes = outbox.follow(SCOPE, named, looked_at=lambda name: name.split("/")[0] not in unseen, now=now)
    notices = [_notice(named[name], *episode) for name, episode in episodes.items()]
    urgent = [notice for notice in notices if notice.is_at_least(severity)]
    return outbox.deliver(urgent, channels, now=now, as_digest=True)


def _notice(finding: Finding, episode: str, opened_at: datetime) -> Notice:
    return Notice(
        episode_id=episode,
        severity="critical" if finding.kind in _CRITICAL else "warning",
        title=f"SmartDrive: {finding.kind.replace('_', ' ')}",
        text=f"{finding.text}\n`smartdrive status --check` shows what is still so.",
        opened_at=opened_at,
    )
