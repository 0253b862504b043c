"""`smartdrive status`."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from smartdrive_dagster.alerting.channels import Channel
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.watch.findings import Facts, Finding, Limits

EPILOG: Final = (
    "Examples:\n\n  smartdrive status\n\n  smartdrive status --json | jq .balances\n\n"
    "  smartdrive status --check\n\n  smartdrive status --check --no-daemon --max-lag 60\n\n"
    "  SMARTDRIVE_SLACK_WEBHOOK=https://… smartdrive status --check --notify\n\n"
    "--check exits with 0 if all is well, 1 if something is wrong or cannot be looked at, 2 if an option is wrong."
)
_DAGSTER_HOME: Final = Path(".smartdrive/dagster")
_UP: Final = Path(".smartdrive/up")
_OF_CHECK: Final = (
    "max_lag",
    "max_quarantine_share",
    "gap_grace",
    "max_staleness",
    "max_silence",
    "daemon",
    "notify",
)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print what is wrong, one line each, and exit with 1")
    ] = False,
    max_lag: Annotated[
        float, typer.Option(min=0, help="With --check: minutes that a landed object may wait for the ledger")
    ] = 15.0,
    max_quarantine_share: Annotated[
        float, typer.Option(min=0, max=1, help="With --check: rejected lines over the lines of 24 or 48 hours")
    ] = 0.01,
    gap_grace: Annotated[
        float, typer.Option(min=0, help="With --check: minutes that a missing message may still take")
    ] = 60.0,
    max_staleness: Annotated[
        float, typer.Option(min=0, help="With --check: minutes that Gold may be behind the ledger")
    ] = 60.0,
    max_silence: Annotated[
        float, typer.Option(min=0, help="With --check: minutes without a heartbeat of the daemon or the lander")
    ] = 5.0,
    daemon: Annotated[
        bool, typer.Option("--daemon/--no-daemon", help="With --check: look for heartbeats of the daemon")
    ] = True,
    notify: Annotated[
        bool,
        typer.Option(
            "--notify", help="With --check: tell the channels of alerts, once until it is over and comes back"
        ),
    ] = False,
) -> None:
    """Show rows, files, version and freshness per table, the lag behind landing, and both balances."""
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.watch.findings import Limits

    if not check:
        for name in _OF_CHECK:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise typer.BadParameter("goes with --check", param_hint=f"--{name.replace('_', '-')}")
        _show(Settings(), as_json=as_json)
        return
    limits = Limits(
        lag=timedelta(minutes=max_lag),
        quarantine_share=max_quarantine_share,
        gap_grace=timedelta(minutes=gap_grace),
        staleness=timedelta(minutes=max_staleness),
        silence=timedelta(minutes=max_silence),
    )
    settings = Settings()
    _check(settings, limits, _channels(settings) if notify else None, daemon=daemon, as_json=as_json)


def _channels(settings: "Settings") -> "list[Channel]":
    from smartdrive_dagster.alerting.channels import channels

    if found := channels(settings):
        return found
    raise typer.BadParameter(
        "there is nobody to tell: set SMARTDRIVE_SLACK_WEBHOOK, SMARTDRIVE_SMTP_URL and "
        "SMARTDRIVE_EMAIL_RECIPIENTS, SMARTDRIVE_SNS_TOPIC_ARN or SMARTDRIVE_WEBHOOK_URL",
        param_hint="--notify",
    )


def _show(settings: "Settings", *, as_json: bool) -> None:
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.screens import console, show_balances, show_freshness, show_quarantine, show_tables
    from smartdrive_dagster.status import status as look

    found = look(Lakehouse(settings.lake_url), LandingStore(settings.landing_url), now=datetime.now(UTC))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), default=lambda moment: moment.isoformat(), indent=2))
        return
    out = console()
    out.print(show_tables(found))
    out.print(show_balances(found.balances))
    if found.quarantine_reasons:
        out.print(show_quarantine(found.quarantine_reasons))
    out.print(show_freshness(found))


def _check(
    settings: "Settings",
    limits: "Limits",
    channels: "Sequence[Channel] | None",
    *,
    daemon: bool,
    as_json: bool,
) -> NoReturn:
    from smartdrive_dagster.watch.findings import KINDS, Finding, calm, findings, notes

    at = datetime.now(UTC)
    unseen = set() if daemon else {"daemon"}
    try:
        facts = _facts(settings, limits, at, daemon=daemon)
    except (
        Exception
    ) as error:  # to its caller, a lake that cannot be looked at is as wrong as a lake that is behind
        name = type(error).__name__
        found, told = [{"kind": "look", "text": f"cannot be looked at: {name}: {error}"}], []
        # An error's own words may hold an address: they stay here.
        wrong, unseen, summary = [Finding("look", f"the lake cannot be looked at: {name}")], set(KINDS), ""
    else:
        wrong = findings(facts, limits)
        found = [{"kind": one.kind, "text": one.text} for one in wrong]
        told, summary = notes(facts), calm(facts)
    if channels is not None:
        told += _tell(settings, wrong, channels, unseen, at)
    if as_json:
        typer.echo(
            json.dumps({"at": at.isoformat(), "healthy": not found, "findings": found, "notes": told}, indent=2)
        )
    else:
        for line in [one["text"] for one in found] or [summary]:
            typer.echo(" ".join(line.split()))
        for line in told:
            typer.echo(f"note: {' '.join(line.split())}")
    raise typer.Exit(1 if found else 0)


def _tell(
    settings: "Settings",
    wrong: "Sequence[Finding]",
    channels: "Sequence[Channel]",
    unseen: "Collection[str]",
    at: datetime,
) -> list[str]:
    """Tell people; what came of it is for whoever reads the output, for example cron's mail."""
    from smartdrive_dagster.alerting.outbox import Outbox
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.watch.telling import tell

    try:
        outbox = Outbox(Lakehouse(settings.state_url))
        done = tell(wrong, outbox, channels, severity=settings.alert_severity, unseen=unseen, now=at)
    except Exception as error:  # what is wrong with the lake is said all the same
        return [f"nobody could be told: {type(error).__name__} at the outbox, SMARTDRIVE_STATE_URL"]
    said = [f"told {done.sent} over {', '.join(channel.name for channel in channels)}"] if done.sent else []
    return said + [f"{channel} took nothing: {fault}" for channel, fault in done.faults.items()]


def _facts(settings: "Settings", limits: "Limits", at: datetime, *, daemon: bool) -> "Facts":
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.watch.facts import look

    return look(
        Lakehouse(settings.lake_url),
        LandingStore(settings.landing_url),
        limits,
        at=at,
        dagster_home=Path(os.environ.get("DAGSTER_HOME") or _DAGSTER_HOME).absolute() if daemon else None,
        up=_UP.absolute(),
    )
