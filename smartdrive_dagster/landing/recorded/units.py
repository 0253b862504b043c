"""Units of measure: from what a recorder wrote to the unit in which the telemetry contract carries a signal.

A signal's name is its python-OBD command, its unit the one that command's decoder returns (python-OBD 0.7.3,
`commands.py`, `decoders.py` and `UnitsAndScaling.py`).
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from smartdrive_dagster.tables.signals import SIGNALS

_DECIMALS = 9  # finer than any sensor, 0.1 mm of latitude, coarse enough to drop the noise of a conversion


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as a linear map to its dimension's base: base = value * factor + offset.

    Units convert into one another when their dimension is the same.
    """

    dimension: str
    factor: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Conversion:
    """A linear map from a recorded number to the contract's unit."""

    scale: float = 1.0
    offset: float = 0.0

    def after(self, scale: float, offset: float) -> Conversion:
        """The map that first applies ``value * scale + offset`` and then this one."""
        return Conversion(self.scale * scale, self.scale * offset + self.offset)

    def __call__(self, value: float) -> float:
        """Convert; an unchanged value stays exact, a converted one is rounded to 9 decimals."""
        if self.scale == 1.0 and self.offset == 0.0:
            return value
        return round(value * self.scale + self.offset, _DECIMALS)


class UnitError(ValueError):
    """A unit is unknown or measures another quantity than the signal.

    Attributes:
        reason: ``unit_unknown``, ``unit_mismatch`` or ``unit_missing``.
    """

    def __init__(self, reason: str, text: str, spelling: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self._spelling = spelling

    def __str__(self) -> str:
        # Looking for the nearest spelling takes a millisecond: for a mapping's author, not for each damaged row.
        return super().__str__() + (nearest(self._spelling, _UNITS) if self._spelling else "")


_INCH_OF_MERCURY_KPA = 3.386389
_POUND_G = 453.59237
_US_GALLON_L = 3.785411784
_MILE_KM = 1.609344

# Dimension, factor, offset, spellings. Factors: BIPM SI Brochure and NIST SP 811, appendix B.
_TABLE: tuple[tuple[str, float, float, str], ...] = (
    ("number", 1.0, 0.0, " ratio lambda λ count"),
    ("share", 1.0, 0.0, "% percent pct prozent porcentaje"),
    ("rotation", 1.0, 0.0, "rpm 1/min min-1 r/min rev/min u/min tr/min giri/min"),
    ("speed", 1.0, 0.0, "km/h kmh kph kmph km/hr km/hour kilometers/hour kilometres/hour"),
    ("speed", _MILE_KM, 0.0, "mph mi/h mi/hr miles/h miles/hour"),
    ("speed", 3.6, 0.0, "m/s mps m/sec meters/second metres/second"),
    ("speed", 1.852, 0.0, "kn kt knots"),
    ("temperature", 1.0, 0.0, "°c c degc celsius degreesc degreescelsius"),
    ("temperature", 5 / 9, -160 / 9, "°f f degf fahrenheit degreesf degreesfahrenheit"),
    ("temperature", 1.0, -273.15, "k kelvin"),
    ("pressure", 1.0, 0.0, "kpa"),
    ("pressure", 0.001, 0.0, "pa"),
    ("pressure", 0.1, 0.0, "hpa mbar"),
    ("pressure", 1000.0, 0.0, "mpa"),
    ("pressure", 100.0, 0.0, "bar"),
    ("pressure", 6.894757293, 0.0, "psi psia"),
    ("pressure", _INCH_OF_MERCURY_KPA, 0.0, "inhg in-hg in.hg"),
    ("pressure", _INCH_OF_MERCURY_KPA / 25.4, 0.0, "mmhg"),
    ("pressure", 101.325, 0.0, "atm"),
    ("voltage", 1.0, 0.0, "v volt volts"),
    ("voltage", 0.001, 0.0, "mv"),
    ("current", 1.0, 0.0, "ma"),
    ("current", 1000.0, 0.0, "a"),
    ("angle", 1.0, 0.0, "° deg degree degrees"),
    ("angle", 180 / math.pi, 0.0, "rad"),
    ("acceleration", 1.0, 0.0, "m/s2 m/s^2 m/s/s mps2"),
    ("acceleration", 9.80665, 0.0, "g g-force"),
    ("acceleration", 0.00980665, 0.0, "mg"),
    ("mass flow", 1.0, 0.0, "g/s g/sec gram/s gm/s gr/s grams/s grams/sec grams/second"),
    ("mass flow", 1 / 3.6, 0.0, "kg/h kg/hr kg/hour"),
    ("mass flow", _POUND_G / 60, 0.0, "lb/min lbs/min"),
    ("volume flow", 1.0, 0.0, "l/h l/hr lph l/hour litres/hour liters/hour"),
    ("volume flow", _US_GALLON_L, 0.0, "gal/h gal/hr gph"),
    ("volume flow", 0.06, 0.0, "ml/min cc/min cm3/min"),
    ("time", 1.0, 0.0, "s sec secs second seconds"),
    ("time", 0.001, 0.0, "ms msec millis millisecond milliseconds"),
    ("time", 0.000001, 0.0, "us μs"),
    ("time", 60.0, 0.0, "min minute minutes"),
    ("time", 3600.0, 0.0, "h hr hrs hour hours"),
    ("length", 1.0, 0.0, "km kilometer kilometers kilometre kilometres"),
    ("length", 0.001, 0.0, "m metre metres meter meters"),
    ("length", _MILE_KM, 0.0, "mi mile miles"),
    ("length", 0.0003048, 0.0, "ft feet"),
)
_UNITS: Final[dict[str, Unit]] = {
    spelling: Unit(dimension, factor, offset)
    for dimension, factor, offset, spellings in _TABLE
    for spelling in spellings.split(" ")
}

# What stands before a temperature's letter where software wrote a degree sign in one encoding and read it in
# another: UTF-8 read as Windows-1252 once or twice, anything read as UTF-8, code page 437 read as Windows-1252.
_DEGREE = re.compile(r"(?:Ã.Â°|Â°|Âº|Â|ï¿½|[º˚�ø¿])(?=\s*[CcFfKk]?\s*$)")

# Numeric mode 01 commands without a column of their own in silver.telemetry: they are kept as extra signals.
_FURTHER: dict[str, str] = {
    **dict.fromkeys(("SHORT_FUEL_TRIM_2", "LONG_FUEL_TRIM_2", "EGR_ERROR", "EVAPORATIVE_PURGE"), "%"),
    **dict.fromkeys(("THROTTLE_POS_B", "THROTTLE_POS_C", "THROTTLE_ACTUATOR", "RELATIVE_ACCEL_POS"), "%"),
    **dict.fromkeys(("ACCELERATOR_POS_E", "ACCELERATOR_POS_F"), "%"),
    **dict.fromkeys(("SHORT_O2_TRIM_B1", "LONG_O2_TRIM_B1", "SHORT_O2_TRIM_B2", "LONG_O2_TRIM_B2"), "%"),
    **dict.fromkeys(("FUEL_RAIL_PRESSURE_VAC", "FUEL_RAIL_PRESSURE_DIRECT", "FUEL_RAIL_PRESSURE_ABS"), "kPa"),
    **dict.fromkeys(("CATALYST_TEMP_B2S1", "CATALYST_TEMP_B1S2", "CATALYST_TEMP_B2S2"), "°C"),
    **dict.fromkeys(("RUN_TIME_MIL", "TIME_SINCE_DTC_CLEARED"), "min"),
    **dict.fromkeys(("EVAP_VAPOR_PRESSURE", "EVAP_VAPOR_PRESSURE_ALT"), "Pa"),
    **{f"O2_B{bank}S{sensor}": "V" for bank in (1, 2) for sensor in (1, 2, 3, 4)},
    **{f"O2_S{sensor}_WR_VOLTAGE": "V" for sensor in range(1, 9)},
    **{f"O2_S{sensor}_WR_CURRENT": "mA" for sensor in range(1, 9)},
    "EVAP_VAPOR_PRESSURE_ABS": "kPa",
    "FUEL_INJECT_TIMING": "°",
    "MAX_MAF": "g/s",
    "WARMUPS_SINCE_DTC_CLEAR": "",
}
UNIT_OF_SIGNAL: Final[dict[str, str]] = {
    **{column.signal: column.unit or "" for column in SIGNALS if column.signal},
    **_FURTHER,
}
"""The contract's unit of every signal that a format may name; an empty string for what has none."""

_LIMITS_OF_SIGNAL = {"LATITUDE": (-90.0, 90.0), "LONGITUDE": (-180.0, 180.0), "IGNITION": (0.0, 1.0)}
_LIMITS_OF_UNIT = {"rpm": (0.0, math.inf), "km/h": (0.0, math.inf), "°C": (-273.15, math.inf)}


def limits(signal: str) -> tuple[float, float]:
    """Least and greatest value that the quantity can have at all, in the contract's unit."""
    anything = (-math.inf, math.inf)
    return _LIMITS_OF_SIGNAL.get(signal) or _LIMITS_OF_UNIT.get(UNIT_OF_SIGNAL[signal], anything)


def parse_unit(text: str) -> Unit:
    """Find a unit by any of its spellings.

    Case, spaces, Unicode's compatibility forms (℉, ㎞) and a degree sign lost in translation do not matter.

    Raises:
        UnitError: it is unknown; the text names the nearest spelling.
    """
    # Before NFKC, which would turn the look-alikes of the degree sign into a letter or a combining ring.
    plain = _DEGREE.sub("°", text)
    spelling = "".join(unicodedata.normalize("NFKC", plain).split()).casefold()
    unit = _UNITS.get(spelling)
    if unit is None:
        raise UnitError("unit_unknown", f"{text[:20]!r} is no known unit", spelling[:20])
    return unit


def to_contract(signal: str, unit: str | None) -> Conversion:
    """How to convert a number in some unit into the contract's unit of a signal.

    Args:
        signal: a name in `UNIT_OF_SIGNAL`.
        unit: as written; None or blank where none is given, which only a signal without a unit may lack.

    Raises:
        UnitError: the unit is missing, unknown or of another dimension.
    """
    wanted = UNIT_OF_SIGNAL[signal]
    if wanted and not (unit and unit.strip()):
        raise UnitError("unit_missing", f"{signal} needs a unit, for example {wanted}")
    source, target = parse_unit(unit or ""), parse_unit(wanted)
    if source.dimension != target.dimension:
        raise UnitError(
            "unit_mismatch", f"{(unit or '')[:20]!r} does not measure {signal} ({wanted or 'no unit'})"
        )
    if source == target:
        return Conversion()
    return Conversion(source.factor / target.factor, (source.offset - target.offset) / target.factor)


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` where a known name is near, else an empty string."""
    by_fold = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), by_fold, n=1)
    return f"; did you mean {by_fold[found[0]]!r}?" if found else ""
