"""The `smartdrive-edge` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="smartdrive-edge",
    help="The collector that runs beside the car.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _commands() -> None:
    """The collector that runs beside the car."""


@app.command(
    epilog="Examples:\n\n  smartdrive-edge simulate --list\n\n"
    "  smartdrive-edge simulate --scenario winter-start\n\n"
    "  smartdrive-edge simulate --scenario lights-left-on --speed 600 --latency 15/60 --link /tmp/elm327"
)
def simulate(
    scenario: Annotated[str, typer.Option(help="What the car does; --list shows the choice")] = "drive",
    latency: Annotated[str, typer.Option(help="Milliseconds for AT commands / requests to the car")] = "15/60",
    speed: Annotated[float, typer.Option(help="Simulated seconds per second")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed is another drive")] = 0,
    link: Annotated[Path | None, typer.Option(help="Path for the port; a link is made there")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the scenarios and stop")] = False,
) -> None:
    """Simulate an ELM327 adapter in a car: print its serial port, serve it until Ctrl-C."""
    import signal

    from smartdrive_edge import simulator as sim

    if show_list:
        for name in sim.names():
            script = sim.scenario(name, seed)
            typer.echo(f"{name:<15} {script.duration_s / 60:6.1f} min  {script.description}")
        return
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        simulator = sim.Simulator(scenario, latency=latency, speed=speed, seed=seed, link=link)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with simulator:
        typer.echo(simulator.port)
        signal.sigwait(ends)


def main() -> None:
    """Run the command line; what a user can mend is said in one line, without a traceback."""
    try:
        app()
    except OSError as error:
        typer.echo(f"smartdrive-edge: {error}", err=True)
        sys.exit(2)
