"""`smartdrive-edge calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from smartdrive_edge.config import Config

EPILOG = (
    "Examples:\n\n  smartdrive-edge calibrate --measured 12.43\n\n"
    "  smartdrive-edge calibrate --measured 12.43 --config /etc/smartdrive-edge/config.toml\n\n"
    "Measure at the battery's poles with a multimeter, engine and consumers off, and call this within a minute. "
    "It changes no file: it prints the lines for the configuration."
)
_READINGS: Final = 20
_MOST_MISSES: Final = 3


def calibrate(
    measured: Annotated[float, typer.Option(help="What the multimeter shows at the battery, V")],
    config: Annotated[
        Path | None, typer.Option(help="TOML file; else ./smartdrive-edge.toml or the one in /etc")
    ] = None,
) -> None:
    """Compare the adapter's voltmeter with a multimeter, and print what to put into the configuration."""
    from smartdrive_edge.adapter.transport import AdapterGoneError
    from smartdrive_edge.calibration import CalibrationError, calibrated
    from smartdrive_edge.config import ConfigError, load

    try:
        loaded = load(config)
        readings = _readings(loaded)
        result = calibrated(readings, measured, scale=loaded.adapter.voltage_scale)
    except (AdapterGoneError, CalibrationError, ConfigError) as error:
        typer.echo(f"smartdrive-edge: {error}", err=True)
        raise typer.Exit(1) from error
    span = f"{min(readings):.2f} to {max(readings):.2f} V, mean {result.mean_v:.3f} V"
    typer.echo(f"# {len(readings)} readings, {span}; multimeter {measured:.2f} V")
    typer.echo(f"[adapter]\nvoltage_offset_v = {result.offset_v:.3f}")
    if loaded.adapter.voltage_scale != 1.0:
        typer.echo(f"voltage_scale = {loaded.adapter.voltage_scale}")


def _readings(config: Config) -> list[float]:
    """What the adapter's voltmeter shows, uncalibrated, V."""
    from smartdrive_edge.adapter.answers import Answer
    from smartdrive_edge.adapter.requests import VOLTAGE
    from smartdrive_edge.adapter.transport import Transport
    from smartdrive_edge.adapter.voltage import parse_voltage
    from smartdrive_edge.calibration import CalibrationError
    from smartdrive_edge.doctor.running import find_collector

    collector = find_collector(config)
    if collector.status is not None or collector.doubt is not None:
        why = collector.doubt or "holds the adapter"
        raise CalibrationError(f"a collector {why}; stop it first: sudo systemctl stop smartdrive-edge")
    readings: list[float] = []
    with Transport(config.adapter.port, config.adapter.baud_rate) as transport:
        for asked in range(_READINGS):
            if asked - len(readings) > _MOST_MISSES:
                break
            outcome = transport.query(VOLTAGE)
            volts = parse_voltage(outcome.lines[0]) if isinstance(outcome, Answer) else None
            readings += [] if volts is None else [volts]
    if len(readings) < _READINGS - _MOST_MISSES:
        raise CalibrationError(
            f"the adapter at {config.adapter.port} gave {len(readings)} readings: smartdrive-edge doctor says more"
        )
    return readings
