"""Made starts and parkings as silver.telemetry holds them, and rows of Gold's battery tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.tables import Days, Table, battery, silver

EVER = Days(date(2008, 1, 1), date(2060, 12, 31))
MORNING = datetime(2025, 3, 10, 7, 0, tzinfo=UTC)
RESTED_V = 12.6
Row = dict[str, Any]


def telemetry(rows: Iterable[Row]) -> pl.LazyFrame:
    """Rows of silver.telemetry; what is not given is null."""
    return _frame(silver.TELEMETRY, rows)


def cranks(rows: Iterable[Row]) -> pl.LazyFrame:
    """Rows of gold.cranks; what is not given is null."""
    return _frame(battery.CRANKS, rows)


def _frame(table: Table, rows: Iterable[Row]) -> pl.LazyFrame:
    schema = polars_schema(table)
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema).lazy()


def sample(at: datetime, *, vehicle: str = "a", **signals: Any) -> Row:
    return {"vehicle_id": vehicle, "device_id": "edge-1", "event_at": at, "event_date": at.date(), **signals}


def volts(at: datetime, voltage: float, **signals: Any) -> Row:
    return sample(at, adapter_voltage_v=voltage, **signals)


def seconds(value: float) -> timedelta:
    return timedelta(microseconds=round(value * 1e6))


def parked(until: datetime, voltage: float = RESTED_V, *, hours: float = 1.0, **signals: Any) -> list[Row]:
    """A sentinel reading every ten minutes up to ten minutes before an instant."""
    count = round(hours * 6)
    return [
        volts(until - timedelta(minutes=10 * (count - n)), voltage, phase="sentinel", ignition=0.0, **signals)
        for n in range(count)
    ]


def start(
    at: datetime = MORNING,
    plateau_v: float = 10.6,
    *,
    rest_v: float = RESTED_V,
    inrush_v: float | None = None,
    rate_hz: float = 20.0,
    lasts_s: float = 0.9,
    ambient_c: float | None = 25.0,
    source: str = "adapter_voltage_v",
    phase: str | None = "cranking",
    shape: Callable[[float], float | None] = lambda since_s: None,
    vehicle: str = "a",
) -> list[Row]:
    """A start as the collector captures it: 3 s before, inrush, plateau, 2 s after, and the running engine.

    `shape` gives the voltage at so many seconds after the starter engaged, where it differs from that.
    """
    lowest = plateau_v - 1 if inrush_v is None else inrush_v

    def voltage(since_s: float) -> float:
        if (given := shape(since_s)) is not None:
            return given
        if since_s < 0:
            return rest_v
        if since_s < 0.1:
            return lowest
        return plateau_v if since_s < lasts_s else 13.9

    count = round(5 * rate_hz)
    rows = [
        sample(at + seconds(since_s), vehicle=vehicle, phase=phase, ignition=1.0, **{source: voltage(since_s)})
        for since_s in (round(n / rate_hz - 3, 6) for n in range(count))
    ]
    for since_s, rpm in ((-2.02, 0.0), (-1.02, 0.0), (0.52, 190.0), (1.52, 850.0), (6.0, 900.0), (600.0, 2000.0)):
        after = phase if since_s < 2 else ("running" if phase else None)
        temperature = {"ambient_air_temp_c": ambient_c} if since_s == 6.0 else {}
        rows.append(
            sample(
                at + seconds(since_s),
                vehicle=vehicle,
                phase=after,
                engine_speed_rpm=rpm,
                ignition=1.0,
                **temperature,
            )
        )
    return rows


def rested_start(at: datetime = MORNING, plateau_v: float = 10.6, **options: Any) -> list[Row]:
    """A parking of an hour, and the start that ends it."""
    rest_v, vehicle = options.get("rest_v", RESTED_V), options.get("vehicle", "a")
    return [*parked(at, rest_v, vehicle=vehicle), *start(at, plateau_v, **options)]


def crank(day: int, plateau_v: float | None = 10.6, *, vehicle: str = "a", **columns: Any) -> Row:
    """A row of gold.cranks on the so-manieth day, conclusive unless told otherwise."""
    at = MORNING + timedelta(days=day)
    row: Row = {
        "crank_id": f"{vehicle}-{at.isoformat()}-{plateau_v}",
        "vehicle_id": vehicle,
        "started_at": at,
        "event_date": at.date(),
        "method": "voltage_dip",
        "confirmed_by": "engine_speed",
        "voltage_source": "adapter",
        "resting_voltage_v": RESTED_V,
        "resting_method": "parked",
        "off_s": 36_000.0,
        "off_method": "observed",
        "plateau_v": plateau_v,
        "plateau_low_v": None if plateau_v is None else plateau_v - 0.1,
        "plateau_high_v": None if plateau_v is None else plateau_v + 0.1,
        "plateau_samples": 0 if plateau_v is None else 12,
        "inrush_samples": 2,
        "sampling_rate_hz": 20.0,
        "ambient_air_temp_c": 25.0,
        "quality": "good",
        "algo_version": "1",
    }
    return {**row, **columns}
