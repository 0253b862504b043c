"""`smartdrive-edge simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = (
    "Examples:\n\n  smartdrive-edge simulate --list\n\n"
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
