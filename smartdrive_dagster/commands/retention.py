"""`smartdrive retention`: what is older than it is to be kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

EPILOG: Final = (
    "Examples:\n\n  SMARTDRIVE_RETENTION_LANDING_DAYS=90 smartdrive retention --dry-run\n\n"
    "  smartdrive retention\n\n"
    "SMARTDRIVE_RETENTION_LANDING_DAYS, …_BRONZE_DAYS, …_SILVER_DAYS, …_GOLD_DAYS and …_MARTS_DAYS say how long a "
    "layer is kept; what is not set is kept for ever. Dagster does the same every night."
)


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted")] = False,
) -> None:
    """Delete what is older than the configured retention, layer by layer."""
    from smartdrive_dagster.defs.floors import kept_days
    from smartdrive_dagster.defs.retention import RetentionError, expire
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.settings import Settings

    settings, now = Settings(), datetime.now(UTC)
    kept = kept_days(settings)
    if not kept:
        typer.echo("everything is kept for ever: no SMARTDRIVE_RETENTION_…_DAYS is set (see --help)")
        return
    if not dry_run:
        from smartdrive_dagster.processing import dagster_instance, who_is_at_work

        with dagster_instance() as instance:
            busy = who_is_at_work(instance, now)
        if busy:
            raise RetentionError(f"{busy}: the daemon deletes every night by itself; otherwise repeat this later")
    for one in expire(
        Lakehouse(settings.lake_url),
        LandingStore(settings.landing_url),
        settings,
        until=now.date(),
        dry_run=dry_run,
    ):
        typer.echo(str(one))
    if dry_run:
        typer.echo("nothing was deleted (--dry-run)")
