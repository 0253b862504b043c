"""Which unit a signal's numbers can be in where nothing names one, and whether numbers can be the signal at all.

The ranges are editorial: wide enough for any car, and used to leave a column out or to ask, never to drop a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, to_contract

_LIKELY_UNITS: Final = {
    "km/h": ("km/h", "mph"),
    "°C": ("°C", "°F"),
    "V": ("V", "mV"),
    "kPa": ("kPa", "psi", "bar"),
    "L/h": ("L/h", "gal/h"),
    "km": ("km", "mi"),
}
# Least and greatest value in the contract's unit, and the least that the greatest of a whole log must reach.
_RANGES: Final[dict[str, tuple[float, float, float]]] = {
    "RPM": (0, 12_000, 0),
    "SPEED": (0, 400, 0),
    "COOLANT_TEMP": (-45, 135, 60),
    "OIL_TEMP": (-45, 165, 50),
    "INTAKE_TEMP": (-45, 95, -45),
    "AMBIANT_AIR_TEMP": (-45, 60, -45),
    "CATALYST_TEMP_B1S1": (-45, 1200, -45),
    "ELM_VOLTAGE": (0, 32, 5),
    "CONTROL_MODULE_VOLTAGE": (0, 32, 5),
    "INTAKE_PRESSURE": (8, 400, 25),
    "BAROMETRIC_PRESSURE": (50, 115, 50),
    "MAF": (0, 700, 0),
    "TIMING_ADVANCE": (-64, 64, -64),
    "COMMANDED_EQUIV_RATIO": (0, 2, 0),
    "IGNITION": (0, 1, 0),
    "LATITUDE": (-90, 90, -90),
    "LONGITUDE": (-180, 180, -180),
    "FUEL_RATE": (0, 200, 0),
    "ODOMETER": (0, 3_000_000, 0),
}
_TRIM: Final = "FUEL_TRIM"
_SHARE_LIMITS: Final = (-100.0, 200.0)
_MOST: Final = 0.98
_HALF: Final = 0.5


def likely_units(signal: str, values: Sequence[float]) -> list[str]:
    """The units in which numbers of unknown unit can be the signal, most usual first; empty where in none."""
    wanted = UNIT_OF_SIGNAL[signal]
    likely = _LIKELY_UNITS.get(wanted, (wanted,))
    fitting = [unit for unit in likely if _fits(signal, unit, values, with_peak=True)]
    return fitting or [unit for unit in likely if _fits(signal, unit, values, with_peak=False)]  # a cold engine


def is_plausible(signal: str, unit: str | None, values: Sequence[float]) -> bool:
    """Whether at least half of the numbers lie where the signal's values can lie."""
    convert = to_contract(signal, unit)
    least, most, _ = _range(signal)
    good = sum(least <= convert(value) <= most for value in values)
    return good >= _HALF * len(values)


def could_be_fractions(signal: str, values: Sequence[float]) -> bool:
    """Whether what should be percent never exceeds 1, so that 0.35 may be 35 % as well."""
    if UNIT_OF_SIGNAL[signal] != "%" or _TRIM in signal or not values:
        return False
    return max(values) <= 1 and min(values) >= 0 and any(value != round(value) for value in values)


def _fits(signal: str, unit: str, values: Sequence[float], *, with_peak: bool) -> bool:
    convert = to_contract(signal, unit or None)
    least, most, peak = _range(signal)
    converted = [convert(value) for value in values]
    good = sum(least <= value <= most for value in converted)
    reaches = not with_peak or max(converted, default=peak) >= peak
    return good >= _MOST * len(converted) and reaches


def _range(signal: str) -> tuple[float, float, float]:
    if signal in _RANGES:
        return _RANGES[signal]
    if UNIT_OF_SIGNAL[signal] == "%":
        return (*_SHARE_LIMITS, _SHARE_LIMITS[0])
    return (-1e12, 1e12, -1e12)
