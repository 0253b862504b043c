"""The adapter's voltmeter against a multimeter: the offset, or why these figures give none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

LOWEST_V: Final = 9.0
ENGINE_RUNS_V: Final = 13.2
"""No battery rests above: the alternator or a charger holds it there."""
MOST_SPREAD_V: Final = 0.25
"""The adapter's own step is 0.1 V; more means that the voltage itself moved."""
MOST_OFFSET_V: Final = 3.0
"""The chip is within 2 %, a diode before it takes 0.3 to 0.7 V: more is another battery, or a typing error."""


class CalibrationError(ValueError):
    """These figures cannot be compared; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Result:
    """The mean of the readings, V, and what to add after scaling them, V."""

    mean_v: float
    offset_v: float


def calibrated(readings: Sequence[float], measured_v: float, *, scale: float = 1.0) -> Result:
    """The offset that makes the readings' mean what the multimeter showed.

    Args:
        readings: of the adapter, uncalibrated, V; at least one.
        measured_v: of the multimeter, V.
        scale: readings are multiplied by it first.

    Raises:
        CalibrationError: the voltage moves, the engine runs, or the two are too far apart.
    """
    if not (math.isfinite(measured_v) and LOWEST_V <= measured_v <= ENGINE_RUNS_V):
        raise CalibrationError(
            f"{measured_v} V is no 12 V battery at rest ({LOWEST_V} to {ENGINE_RUNS_V} V): switch the engine and "
            "any charger off, wait ten minutes, and measure again"
        )
    spread_v = max(readings) - min(readings)
    if spread_v > MOST_SPREAD_V:
        raise CalibrationError(
            f"the voltage moves by {spread_v:.2f} V from reading to reading: switch engine and consumers off"
        )
    mean_v = fmean(readings)
    offset_v = measured_v - scale * mean_v
    if abs(offset_v) > MOST_OFFSET_V:
        raise CalibrationError(
            f"the adapter reads {mean_v:.2f} V and the multimeter {measured_v:.2f} V: not the same battery, "
            "or the adapter is broken"
        )
    if scale * mean_v > ENGINE_RUNS_V:
        raise CalibrationError(
            f"the adapter reads {mean_v:.2f} V: the engine runs or a charger is connected; switch it off, "
            "wait ten minutes, and measure again"
        )
    return Result(mean_v, round(offset_v, 3))
