"""How battery health is judged, held against simulated batteries whose truth is known.

The truth is physics (`smartdrive_dagster/fleet/battery_model.py`): a battery's resistance, the starter's torque
and the oil's drag, at what would be 25 °C and a full charge. What is judged are the same functions that make Gold.
A battery is truly critical where it would give its starter less than 9.6 V then, or has lost more than 35 % of the
way from what it gave in its first time of life down to 8.5 V.

Only the later time of life is counted. A day on which no start was conclusive is neither miss nor alarm: it lowers
the coverage. So do the first two conclusive starts after the battery has aged, which by rule decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from random import Random
from typing import Any, Final

import polars as pl

from smartdrive_dagster.domain.battery_health import assess_battery
from smartdrive_dagster.domain.battery_lines import CRITICAL_SOH_PCT, DEBOUNCE_CYCLES, FAILING_V, REPLACE_V
from smartdrive_dagster.domain.cranks import detect_cranks
from smartdrive_dagster.domain.voltage_dips import MIN_PLATEAU_SAMPLES
from smartdrive_dagster.fleet.battery_model import Adapter, Car, drawn_car
from smartdrive_dagster.fleet.battery_readings import readings
from smartdrive_dagster.tables import Days, silver

EARLY: Final = 30
LATER: Final = 10
GAIN_SD: Final = 0.003
EVER: Final = Days(date(2008, 1, 1), date(2060, 12, 31))
TARGET_HZ: Final = 10.0
MAX_FALSE_ALARMS: Final = 0.02
MAX_MISSES: Final = 0.05
_TYPES: Final = {"string": pl.String(), "double": pl.Float64(), "timestamp": pl.Datetime("us", "UTC")}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One day of one car in its later time of life, as judged and as true.

    Attributes:
        soh_pct, low_pct, high_pct: the state of health and its interval; None where there is none.
        status: as judged.
        is_decided: whether the rules had what they need: an own conclusive start, three since it aged.
        true_soh_pct: physics.
        is_critical: physics.
        temperature_c: true, of the last start.
    """

    soh_pct: float | None
    low_pct: float | None
    high_pct: float | None
    status: str
    is_decided: bool
    true_soh_pct: float
    is_critical: bool
    temperature_c: float


@dataclass(frozen=True, slots=True)
class Cell:
    """All starts as read by one kind of adapter.

    Attributes:
        rate_hz, noise_v: the adapter.
        starts: how many there were.
        found: how many of them were found.
        invented: rows of gold.cranks that are none of them.
        plateaus: how many had a plateau.
        conclusive: how many were conclusive.
        least_samples: the fewest readings behind a plateau; None without any.
        plateau_errors_v: measured minus true mean of the same half second.
        verdicts: the later days.
    """

    rate_hz: float
    noise_v: float
    starts: int
    found: int
    invented: int
    plateaus: int
    conclusive: int
    least_samples: int | None
    plateau_errors_v: tuple[float, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def decided(self) -> list[Verdict]:
        """Days on which there was something to be right or wrong about."""
        return [one for one in self.verdicts if one.is_decided]

    @property
    def false_alarms(self) -> float | None:
        """Share of truly not critical days that were called critical."""
        return share([one.status == "critical" for one in self.decided if not one.is_critical])

    @property
    def misses(self) -> float | None:
        """Share of truly critical days that were not called critical."""
        return share([one.status != "critical" for one in self.decided if one.is_critical])

    @property
    def soh_errors(self) -> list[float]:
        """Judged minus true state of health, points; the truth cut off at 0 and 100 as the scale is."""
        return [one.soh_pct - _on_scale(one.true_soh_pct) for one in self.decided if one.soh_pct is not None]

    @property
    def held(self) -> float | None:
        """Share of intervals that hold the truth."""
        return share(
            [
                one.low_pct - 1e-6 <= _on_scale(one.true_soh_pct) <= one.high_pct + 1e-6
                for one in self.decided
                if one.low_pct is not None and one.high_pct is not None
            ]
        )


def _on_scale(soh_pct: float) -> float:
    return min(100.0, max(0.0, soh_pct))


def share(found: Sequence[bool]) -> float | None:
    """Share of true ones; None of nothing."""
    return sum(found) / len(found) if found else None


def drawn_cars(starts: int, seed: int, *, cold: float = 1.0) -> list[Car]:
    """Cars with so many starts in all; `cold` makes them feel the cold more or less than the model's usual."""
    rng = Random(f"{seed}/cars")  # noqa: S311 - a simulation
    count = max(1, starts // (EARLY + LATER))
    return [drawn_car(rng, number, early=EARLY, later=LATER, cold=cold) for number in range(count)]


def telemetry(cars: Iterable[Car], *, rate_hz: float, noise_v: float, seed: int) -> pl.DataFrame:
    """What one kind of adapter reads of all cars, as silver.telemetry; each voltmeter is off by its own share."""
    names = (
        *("at_us", "phase", "adapter_voltage_v"),
        *("engine_speed_rpm", "ambient_air_temp_c", "ignition"),
    )
    types = (pl.Int64, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Float64)
    schema = dict(zip(names, types, strict=True))
    frames = []
    for car in cars:
        rng = Random(f"{seed}/{rate_hz}/{noise_v}/{car.number}")  # noqa: S311 - a simulation
        adapter = Adapter(rate_hz, noise_v, gain=rng.gauss(1.0, GAIN_SD))
        read = list(readings(car, adapter, rng))
        columns = {name: [getattr(one, name) for one in read] for name in names}
        # Car by car, because rows of Python take ten times the room of columns.
        frames.append(pl.DataFrame(columns, schema=schema).with_columns(vehicle_id=pl.lit(str(car.number))))
    frame = pl.concat(frames)
    others = {
        column.name: pl.lit(None, dtype=_TYPES[column.dtype])
        for column in silver.TELEMETRY.columns
        if column.name not in frame.columns and column.dtype in _TYPES
    }
    at = pl.from_epoch("at_us", time_unit="us").dt.replace_time_zone("UTC")
    return frame.with_columns(**{**others, "event_at": at}).drop("at_us")


def judge(cars: Sequence[Car], *, rate_hz: float, noise_v: float, seed: int) -> Cell:
    """Read all cars' starts with one kind of adapter, judge them as Gold does, and hold that against the truth."""
    frame = telemetry(cars, rate_hz=rate_hz, noise_v=noise_v, seed=seed)
    cranks = detect_cranks(frame.lazy(), days=EVER).collect()
    health = assess_battery(cranks.lazy()).collect()
    seen: dict[str, list[dict[str, Any]]] = {}
    for row in cranks.iter_rows(named=True):
        seen.setdefault(row["vehicle_id"], []).append(row)
    found, errors = 0, []
    for car in cars:
        rows = {start.at_s: _near(seen.get(str(car.number), []), start.at_s) for start in car.starts}
        found += sum(row is not None for row in rows.values())
        errors += [
            float(row["plateau_v"]) - start.mean_v
            for start in car.starts
            if (row := rows[start.at_s]) is not None and row["plateau_v"] is not None
        ]
    samples = cranks.filter(pl.col("plateau_v").is_not_null())["plateau_samples"]
    return Cell(
        rate_hz,
        noise_v,
        starts=sum(len(car.starts) for car in cars),
        found=found,
        invented=cranks.height - found,
        plateaus=samples.len(),
        conclusive=int(health["conclusive_cranks"].sum()),
        least_samples=None if samples.is_empty() else int(samples.min()),
        plateau_errors_v=tuple(errors),
        verdicts=tuple(_verdicts(cars, health)),
    )


def _near(rows: Sequence[dict[str, Any]], at_s: float) -> dict[str, Any] | None:
    # In a second the dip has been seen if it ever is.
    return next((row for row in rows if abs(row["started_at"].timestamp() - at_s) < 1), None)


def _day(at_s: float) -> date:
    return datetime.fromtimestamp(at_s, UTC).date()


def _verdicts(cars: Sequence[Car], health: pl.DataFrame) -> list[Verdict]:
    found: list[Verdict] = []
    by_car = {key[0]: rows for key, rows in health.partition_by("vehicle_id", as_dict=True).items()}
    for car in cars:
        later = car.starts[car.later_from :]
        aged_v, young_v = later[0].reference_v, car.starts[0].reference_v
        true_soh = 100 * (aged_v - REPLACE_V) / (young_v - REPLACE_V)
        is_critical = aged_v < FAILING_V or true_soh < CRITICAL_SOH_PCT
        began = _day(later[0].at_s - 86_400 * 30)
        temperatures = {_day(start.at_s): start.conditions.temperature_c for start in later}
        conclusive = 0
        for row in (
            by_car.get(str(car.number), health.clear()).filter(pl.col("event_date") > began).iter_rows(named=True)
        ):
            conclusive += row["conclusive_cranks"]
            found.append(
                Verdict(
                    row["soh_pct"],
                    row["soh_low_pct"],
                    row["soh_high_pct"],
                    row["status"],
                    row["method"] == "plateau" and conclusive >= DEBOUNCE_CYCLES,
                    true_soh,
                    is_critical,
                    temperatures.get(row["event_date"], math.nan),
                )
            )
    return found


def is_within_targets(cell: Cell) -> bool:
    """Whether a cell keeps what is asked: alarms and misses from 10 Hz on, 5 readings a plateau at any rate."""
    if cell.least_samples is not None and cell.least_samples < MIN_PLATEAU_SAMPLES:
        return False
    alarms, misses = cell.false_alarms, cell.misses
    holds = alarms is not None and misses is not None and alarms < MAX_FALSE_ALARMS and misses < MAX_MISSES
    return cell.rate_hz < TARGET_HZ or holds
