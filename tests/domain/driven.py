"""Drives for tests: rows of silver.telemetry that are short to write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.tables import Days, silver

G = 9.80665
DAY = date(2025, 3, 10)
MIDNIGHT = datetime(2025, 3, 10, tzinfo=UTC)
NOON_S = 43_200.0
DAY_S = 86_400
EVER = Days(date(2008, 1, 1), date(2060, 12, 31))

Sample = dict[str, Any]
Series = Callable[[float], float | None]


def drive(
    seconds: float,
    rate_hz: float,
    *,
    start_s: float = NOON_S,
    vehicle: str = "a",
    **signals: float | Series | None,
) -> list[Sample]:
    """Samples at a steady rate; a signal is a value or a function of the seconds since the start."""
    samples = []
    for number in range(round(seconds * rate_hz) + 1):
        at_s = number / rate_hz
        values = {name: signal(at_s) if callable(signal) else signal for name, signal in signals.items()}
        samples.append({"vehicle_id": vehicle, "event_at": MIDNIGHT + timedelta(seconds=start_s + at_s), **values})
    return samples


def telemetry(samples: Iterable[Sample]) -> pl.LazyFrame:
    """Rows of silver.telemetry, each a message of its own."""
    rows = [{"message_id": f"m{number:06}", "sample": 0, **row} for number, row in enumerate(samples)]
    schema = polars_schema(silver.TELEMETRY)
    columns = {name: [row.get(name) for row in rows] for name in schema}
    return pl.DataFrame(columns, schema=schema).lazy()


def window(samples: Iterable[Sample], days: Days) -> list[Sample]:
    """The samples of some UTC days, as a run over these days reads them."""
    return [row for row in samples if row["event_at"].date() in days]


def ramp(*points: tuple[float, float]) -> Callable[[float], float]:
    """A function that is linear between (second, value) points and level outside of them."""

    def value(at_s: float) -> float:
        if at_s <= points[0][0]:
            return points[0][1]
        for (begin, low), (end, high) in pairwise(points):
            if at_s <= end:
                return low + (high - low) * (at_s - begin) / (end - begin)
        return points[-1][1]

    return value


def recorded_drives(recordings: Path) -> pl.LazyFrame:
    """The 28 real drives as vehicles of their own, with speed, positions and accelerometer."""
    recorded = pl.read_csv(recordings / "drives_1hz.csv", infer_schema_length=None)
    return recorded.lazy().select(
        vehicle_id=pl.col("drive").cast(pl.String),
        event_at=pl.from_epoch("time_utc", time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        message_id=pl.lit("m"),
        sample=pl.int_range(pl.len(), dtype=pl.Int32),
        engine_speed_rpm="engine_rpm",
        speed_kmh=pl.col("speed_mph") * 1.609344,
        ignition=pl.lit(None, pl.Float64),
        latitude_deg="gps_lat",
        longitude_deg="gps_long",
        accel_x_mps2=pl.col("accel_x") * G,
        accel_y_mps2=pl.col("accel_y") * -G,
    )
