"""`smartdrive-edge run`."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from smartdrive_edge.clock import Clock
    from smartdrive_edge.config import Config
    from smartdrive_edge.ignition_line import IgnitionLine

EPILOG = (
    "Examples:\n\n  smartdrive-edge run --config /etc/smartdrive-edge/config.toml\n\n"
    "  smartdrive-edge run --config bench.toml --simulate winter-start\n\n"
    "  smartdrive-edge run --config bench.toml --simulate day --speed 120 --from 2026-11-23T00:00:00Z"
)


_EARLIEST_MS = 1_199_145_600_000  # 2008-01-01, before which the lake takes no sample (contracts/README.md, rule 4)


def run(
    config: Annotated[
        Path | None, typer.Option(help="TOML file; by default ./smartdrive-edge.toml, then /etc/smartdrive-edge")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            "--simulate",
            help="A simulated car instead of the real one; `smartdrive-edge simulate --list` names them",
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(help="Simulated seconds per second, or more: waiting is skipped; a start is slower"),
    ] = 1.0,
    latency: Annotated[str, typer.Option(help="Of the simulated adapter, ms for AT commands / requests")] = "8/25",
    seed: Annotated[int, typer.Option(help="Another seed is another simulated car and drive")] = 0,
    began_at: Annotated[
        str | None, typer.Option("--from", help="When the scenario began, ISO 8601; by default it ends now")
    ] = None,
) -> None:
    """Collect from the car: sample, keep, send; until Ctrl-C, SIGTERM, or the end of the simulated scenario."""
    from smartdrive_edge import config as configuration
    from smartdrive_edge import logs
    from smartdrive_edge.clock import SystemClock
    from smartdrive_edge.collector import collect

    try:
        settings = configuration.load(config)
    except configuration.ConfigError as error:
        typer.echo(f"smartdrive-edge: {error}", err=True)
        raise typer.Exit(2) from error
    if scenario is None and (began_at is not None or speed != 1.0 or seed):
        raise typer.BadParameter("--from, --speed and --seed are for --simulate: a real car has its own time")
    logs.set_up(settings.log.format, settings.log.level)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        line: IgnitionLine | None = None
        clock: Clock = SystemClock(is_trusted=settings.clock.is_trusted)
        if scenario is not None:
            settings, clock, line = _simulation(
                settings,
                stack,
                stop,
                scenario=scenario,
                speed=speed,
                latency=latency,
                seed=seed,
                began_at=began_at,
            )
        elif settings.ignition.source == "gpio":
            from smartdrive_edge.ignition_line import GpioLine

            ignition = settings.ignition
            line = stack.enter_context(
                GpioLine(ignition.gpio_chip, ignition.gpio_line, is_active_low=ignition.is_active_low)
            )
        ended = collect(settings, clock, line, stop, is_simulated=scenario is not None)
    if scenario is not None and (ended.left or ended.dropped or not ended.samples):
        where = settings.spool_path
        if ended.left:
            why = ended.why or "no lander took them"
            typer.echo(f"smartdrive-edge: {ended.left} messages stay in {where}: {why}", err=True)
        if ended.dropped or not ended.samples:
            lost = f"{ended.dropped} samples were dropped" if ended.dropped else "nothing was sampled"
            typer.echo(f"smartdrive-edge: {lost}: try a lower --speed", err=True)
        raise typer.Exit(1)


def _simulation(
    settings: Config,
    stack: ExitStack,
    stop: threading.Event,
    *,
    scenario: str,
    speed: float,
    latency: str,
    seed: int,
    began_at: str | None,
) -> tuple[Config, Clock, IgnitionLine]:
    """A car in this process: its port, its time and its key take the place of the real ones."""
    from datetime import datetime

    from smartdrive_edge.simulator import Key, SimulatedClock, Simulator

    try:
        simulator = Simulator(scenario, latency=latency, speed=speed, seed=seed)
        duration_s = simulator.car.scenario.duration_s
        began_ms = round((time.time() - duration_s) * 1000)
        if began_at is not None:
            began = datetime.fromisoformat(began_at)
            if began.tzinfo is None:
                raise ValueError(f"--from {began_at} has no offset: write for example {began_at}Z")
            began_ms = round(began.timestamp() * 1000)
            if not _EARLIEST_MS <= began_ms <= (time.time() - duration_s) * 1000:
                raise ValueError(
                    f"--from {began_at} lets the scenario of {duration_s / 3600:.1f} h end in the future, or "
                    "begin before 2008: the lake would set its samples aside"
                )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    stack.enter_context(simulator)
    clock = SimulatedClock(simulator.clock, began_ms=began_ms, ends_at_s=duration_s, over=stop)

    class Line:
        def read(self) -> bool | None:
            return simulator.car.key_at(simulator.clock.now()) is Key.ON

    adapter = settings.adapter.model_copy(update={"port": simulator.port})
    return settings.model_copy(update={"adapter": adapter}), clock, Line()
