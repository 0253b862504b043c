"""`smartdrive alerts`: what is wrong with the cars, and whether telling somebody works."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

TEST_EPILOG: Final = (
    "Examples:\n\n  SMARTDRIVE_SLACK_WEBHOOK=https://… smartdrive alerts test\n\n"
    "  SMARTDRIVE_SMTP_URL=smtp://user:password@mail.home SMARTDRIVE_EMAIL_RECIPIENTS=me@home.example "
    "smartdrive alerts test --channel email"
)
LIST_EPILOG: Final = "Examples:\n\n  smartdrive alerts list\n\n  smartdrive alerts list --all"

alerts = typer.Typer(help="What is wrong with the cars, and whether telling somebody works.", no_args_is_help=True)


@alerts.command(name="test", epilog=TEST_EPILOG)
def send_test(
    channel: Annotated[str | None, typer.Option(help="Only this channel: slack, email, sns or webhook")] = None,
) -> None:
    """Send a test message over every channel that the settings name; exit 1 where one was not taken."""
    from smartdrive_dagster.alerting.channels import ChannelError, channels
    from smartdrive_dagster.alerting.message import Notice, message_of
    from smartdrive_dagster.settings import Settings

    known = channels(Settings())
    chosen = [each for each in known if channel in {None, each.name}]
    if not chosen:
        names = ", ".join(each.name for each in known) or "none"
        raise typer.BadParameter(
            f"no such channel is configured (there are: {names}); set SMARTDRIVE_SLACK_WEBHOOK, "
            "SMARTDRIVE_SMTP_URL and SMARTDRIVE_EMAIL_RECIPIENTS, SMARTDRIVE_SNS_TOPIC_ARN or "
            "SMARTDRIVE_WEBHOOK_URL"
        )
    words = ("SmartDrive test message", "If you can read this, alerts will reach you.")
    message = message_of([Notice("test", "info", *words, datetime.now(UTC))])
    is_good = True
    for each in chosen:
        try:
            each.send(message)
        except ChannelError as error:
            is_good = False
            typer.echo(f"{each.name}: not taken: {error}")
        else:
            typer.echo(f"{each.name}: taken")
    if not is_good:
        raise typer.Exit(1)


@alerts.command(name="list", epilog=LIST_EPILOG)
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too")] = False,
) -> None:
    """Show the alerts of the lake, newest first, each with what has become of telling it."""
    import polars as pl

    from smartdrive_dagster.alerting.outbox import Outbox
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.screens import console, show_alerts
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.tables.alerts import ALERTS

    settings = Settings()
    rows = Lakehouse(settings.lake_url).scan(ALERTS).sort("opened_at", descending=True)
    if not everything:
        rows = rows.filter(pl.col("state") == "open")
    console().print(show_alerts(rows.collect(), Outbox(Lakehouse(settings.state_url)).states()))
