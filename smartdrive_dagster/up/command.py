"""`smartdrive up`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.up.files import Files
    from smartdrive_dagster.up.health import Health
    from smartdrive_dagster.up.programs import Home

EPILOG: Final = (
    "Examples:\n\n  smartdrive up\n\n  smartdrive up --broker-address 0.0.0.0 --broker-name home.local\n\n"
    "  smartdrive up --no-broker --broker-host broker.home --certificates ~/certificates\n\n"
    "  smartdrive up --status\n\n"
    "Ctrl-C ends everything in order. --status exits with 0 if all is healthy, 1 if something is wrong, 2 if "
    "nothing runs."
)
STATE: Final = Path(".smartdrive/up")
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_NOT_RUNNING: Final = 2


def up(
    status: Annotated[bool, typer.Option("--status", help="Tell how the running programs are, and stop")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --status: print one JSON object")] = False,
    lake: Annotated[
        str, typer.Option(envvar="SMARTDRIVE_LAKE_URL", help="Root of the tables: a path or s3://bucket/prefix")
    ] = "lake",
    landing: Annotated[
        str, typer.Option(envvar="SMARTDRIVE_LANDING_URL", help="Root of the landing objects, likewise")
    ] = "landing",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the Dagster UI, on 127.0.0.1")] = 3000,
    own_broker: Annotated[bool, typer.Option("--broker/--no-broker", help="Run a broker here")] = True,
    broker_host: Annotated[
        str | None, typer.Option(help="With --no-broker: the broker, as its certificate names it")
    ] = None,
    broker_address: Annotated[
        str, typer.Option(help="Address the broker listens on; 0.0.0.0 for all, so that cars reach it")
    ] = "127.0.0.1",
    broker_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the broker")] = 8883,
    broker_name: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or address by which devices reach the broker, for its certificate; may be repeated"
        ),
    ] = None,
    certificates: Annotated[Path, typer.Option(help="Folder of the certificates; made where missing")] = Path(
        ".smartdrive/certificates"
    ),
    lander: Annotated[str, typer.Option(help="Name of the lander's certificate")] = "lander",
    api: Annotated[
        bool | None,
        typer.Option(
            "--api/--no-api", help="Run the REST API, with its database  [default: where it is installed]"
        ),
    ] = None,
    api_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the REST API, on 127.0.0.1")] = 8000,
    patience: Annotated[
        float, typer.Option(min=5, max=3600, help="Seconds that a program may hang before it is restarted")
    ] = 60.0,
) -> None:
    """Run what a home needs until Ctrl-C: broker, lander, Dagster, its UI and the API; restart what fails."""
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.up import preflight
    from smartdrive_dagster.up.files import Files
    from smartdrive_dagster.up.programs import Home

    files = Files(STATE.absolute())
    if status:
        _show_status(files, as_json=as_json)
    if as_json:
        raise typer.BadParameter("goes with --status", param_hint="--json")
    if own_broker == (broker_host is not None):
        raise typer.BadParameter("give --no-broker and --broker-host together, or neither")
    folder = certificates.expanduser().absolute()
    home = Home(
        certificates=folder,
        broker=STATE.with_name("broker").absolute() if own_broker else None,
        broker_host=broker_host or _EVERYWHERE.get(broker_address, broker_address),
        broker_address=broker_address,
        broker_port=broker_port,
        lander=lander,
        ui_port=port,
        patience_s=patience,
        api_port=api_port if preflight.has_api(api) else None,
    )
    _start(home, files, Settings(lake_url=_absolute(lake), landing_url=_absolute(landing)), broker_name or [])


def _start(home: Home, files: Files, settings: Settings, names: list[str]) -> NoReturn:
    import os
    import signal

    import msgspec

    from smartdrive_dagster.up import preflight, supervisord
    from smartdrive_dagster.up.files import write
    from smartdrive_dagster.up.health import Health
    from smartdrive_dagster.up.programs import plan

    files.make()
    lock = files.take()
    if lock is None:
        _fail_running(Health.read(files.health), files)
    preflight.check(home)
    settings.lake_secret()
    if home.broker is not None:
        if names and (home.certificates / "broker.crt").exists():
            typer.echo(
                "the broker has a certificate already, and --broker-name does not change it: see `smartdrive-edge "
                "certs broker --help` for --renew",
                err=True,
            )
        here = ["localhost", "127.0.0.1", home.broker_host]
        names = [*dict.fromkeys([*(names or preflight.names_of_this_machine()), *here])]
        preflight.issue_certificates(home, names)
    preflight.require_certificates(home)
    dagster_home = Path(os.environ.get("DAGSTER_HOME") or STATE.with_name("dagster")).absolute()
    preflight.prepare_dagster(dagster_home)
    planned = plan(home, files)
    write(files.plan, msgspec.json.encode(planned))
    write(files.workspace, supervisord.workspace(files))
    write(files.configuration, supervisord.configuration(planned, files))
    files.health.unlink(missing_ok=True)
    files.heartbeat.unlink(missing_ok=True)
    typer.echo(
        f"UI {home.ui}, broker {home.broker_host}:{home.broker_port}{home.api_summary}; logs in {files.logs}"
    )
    typer.echo("starting; Ctrl-C ends all programs in order" + _warning(preflight.has_setpriv()))
    os.environ.update(
        {
            "SMARTDRIVE_LAKE_URL": settings.lake_url,
            "SMARTDRIVE_LANDING_URL": settings.landing_url,
            "DAGSTER_HOME": str(dagster_home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "PYTHONUNBUFFERED": "1",
        }
    )
    if home.api_port is not None:
        for name, value in preflight.api_environment(settings, STATE.with_name("api").absolute()).items():
            os.environ.setdefault(name, value)
    os.set_inheritable(lock, True)  # supervisord holds the lock as long as it lives
    # supervisord takes a hang-up for an order to start everything anew: a closed terminal shall change nothing.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    command = [*supervisord.program(), "-c", str(files.configuration)]
    os.execv(command[0], command)  # noqa: S606


def _show_status(files: Files, *, as_json: bool) -> NoReturn:
    import json

    import msgspec

    from smartdrive_dagster.up.health import Health

    running = files.is_taken()
    health = Health.read(files.health) if running else None
    is_healthy = health is not None and health.is_healthy
    if as_json:
        found = {"running": running, "healthy": is_healthy, "folder": str(files.folder)}
        typer.echo(json.dumps(found | (msgspec.to_builtins(health) if health else {}), indent=2))
    elif not running:
        typer.echo(f"nothing runs on {files.folder}; `smartdrive up` starts it")
    elif health is None:
        typer.echo(f"starting: no health has been written to {files.health} yet")
    else:
        _print(health, files)
    raise typer.Exit((0 if is_healthy else 1) if running else _NOT_RUNNING)


def _print(health: Health, files: Files) -> None:
    import time

    from rich.console import Console
    from rich.table import Table

    colours = {"healthy": "green", "unhealthy": "red"}
    grid = Table(title=health.summary, title_justify="left", title_style="bold", header_style="dim")
    for column in ("program", "state", "pid", "restarts", "why"):
        grid.add_column(column)
    for one in health.programs:
        state = f"[{colours.get(one.state, 'yellow')}]{one.state}[/]"
        grid.add_row(one.name, state, str(one.pid or ""), str(one.restarts), one.reason)
    out = Console(highlight=False)
    out.print(grid)
    if not health.is_fresh:
        out.print(f"[red]looked at last {time.time() - health.at:.0f} s ago: the prober hangs or is gone[/]")
    out.print(f"logs in {files.logs}; `kill {health.supervisor}` ends all programs in order", soft_wrap=True)


def _fail_running(health: Health | None, files: Files) -> NoReturn:
    where = f": {health.summary}, process {health.supervisor}" if health else ""
    typer.secho(f"smartdrive: it runs already on {files.folder}{where}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)


def _warning(is_bound: bool) -> str:
    return "" if is_bound else " (without setpriv, programs outlive a killed supervisord for a second)"


def _absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).expanduser().absolute())
