"""`smartdrive-edge status`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from smartdrive_edge.doctor import Finding
    from smartdrive_edge.status_file import Status

EPILOG = (
    "Examples:\n\n  sudo -u smartdrive-edge smartdrive-edge status\n\n"
    "  smartdrive-edge status --config smartdrive-edge.toml --json\n\n"
    "  smartdrive-edge status --metrics > smartdrive_edge.prom\n\n"
    "Exit code: 0 where it is healthy, 1 where something is wrong, 2 where no collector runs; with --metrics 0."
)
_WRONG: Final = 1
_NOT_RUNNING: Final = 2
_WIDTH: Final = 9
_MB: Final = 1_000_000


def status(
    config: Annotated[
        Path | None, typer.Option(help="TOML file; else ./smartdrive-edge.toml or the one in /etc")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The status file's content, and what is wrong")] = False,
    as_metrics: Annotated[
        bool, typer.Option("--metrics", help="Numbers for Prometheus, whether or not a collector runs")
    ] = False,
) -> None:
    """Show what the running collector does: phase, adapter, car, rates, spool and broker."""
    from smartdrive_edge.config import ConfigError, load
    from smartdrive_edge.doctor import Verdict
    from smartdrive_edge.doctor.running import find_collector, judge

    try:
        loaded = load(config)
    except ConfigError as error:
        typer.echo(f"smartdrive-edge: {error}", err=True)
        raise typer.Exit(_WRONG) from error
    collector = find_collector(loaded)
    found = collector.status
    if as_metrics:
        from smartdrive_edge.metrics import prometheus

        typer.echo(prometheus(found), nl=False)
        return
    if found is None:
        text = f"the collector {collector.doubt}" if collector.doubt else "no collector runs"
        step = "" if collector.doubt else ": sudo systemctl start smartdrive-edge"
        _print_json(None, [text]) if as_json else typer.echo(text + step)
        raise typer.Exit(_WRONG if collector.doubt else _NOT_RUNNING)
    wrong = [finding for finding in judge(found) if finding.verdict is Verdict.FAIL]
    if as_json:
        _print_json(found, [f"{finding.check}: {finding.text}" for finding in wrong])
    else:
        for name, text in _lines(found):
            typer.echo(f"{name:<{_WIDTH}} {text}")
        _print_wrong(wrong)
    raise typer.Exit(_WRONG if wrong else 0)


def _lines(status: Status) -> Iterator[tuple[str, str]]:
    since = "" if status.phase_for_s is None else f" for {_duration(status.phase_for_s)}"
    yield "phase", f"{status.phase}{since}"
    yield "battery", "not read yet" if status.voltage_v is None else f"{status.voltage_v:.2f} V"
    if status.ignition is not None:
        yield "ignition", "on" if status.ignition else "off"
    yield "adapter", f"{status.adapter.state}: {status.adapter.identity or 'unknown'} at {status.adapter.port}"
    car = status.car
    vin = "known" if car.vin_known else "unknown"
    yield "car", f"{car.protocol}, {car.pids} PIDs, VIN {vin}" if car.protocol else f"silent so far, VIN {vin}"
    yield "clock", "synced" if status.clock_synced else "not synced"
    yield "samples", f"{status.samples} since the start"
    for name, rate_hz in sorted(status.rates_hz.items()):
        yield "", f"{rate_hz:6.2f} Hz  {name}"
    yield "spool", _spool(status)
    lost = ", ".join(f"{count} {kind}" for kind, count in sorted(status.spool.drops.items()))
    yield "dropped", lost or "nothing"
    broker = status.broker
    yield "broker", f"connected, {broker.protocol}" if broker.connected else "not connected"
    if not status.uploading:
        yield "upload", "stopped, to spare the battery"


def _spool(status: Status) -> str:
    spool = status.spool
    text = f"{spool.messages} messages, {spool.used_bytes / _MB:.1f} MB"
    if spool.waiting:
        text += f", {spool.waiting} waiting for the clock"
    if spool.oldest_age_s is not None:
        text += f", the oldest {_duration(spool.oldest_age_s)} old"
    return text


def _duration(seconds: float) -> str:
    """Two units at most: `3 h 20 min`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _print_wrong(wrong: list[Finding]) -> None:
    for finding in wrong:
        typer.echo(f"\nWRONG     {finding.check}: {finding.text}\n          -> {finding.next_step}")


def _print_json(status: Status | None, wrong: list[str]) -> None:
    import dataclasses
    import json

    content = None if status is None else dataclasses.asdict(status)
    typer.echo(json.dumps({"status": content, "wrong": wrong}, indent=2))
