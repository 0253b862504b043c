"""One column or PID of a recorded log: from the text of a cell to a value in the contract's unit."""

from __future__ import annotations

import math
import re
from typing import Final

from smartdrive_dagster.landing.recorded.format_model import MISSING, Decimal, Format, SignalMapping
from smartdrive_dagster.landing.recorded.times import parse_number
from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, Conversion, UnitError, limits, to_contract

SIGNAL_NAMES: Final = tuple(UNIT_OF_SIGNAL)
_INDEX_OF_SIGNAL = {name: index for index, name in enumerate(SIGNAL_NAMES)}
_KEPT: Final = 1000  # damaged units must not fill the memory
_WITH_UNIT = re.compile(r"([+-]?[\d.,]+(?:[eE][+-]?\d+)?)\s*([^\d\s.,+_-].*)")
PRIVATE = frozenset({"LATITUDE", "LONGITUDE"})  # a position is not quoted, not even a damaged one


class RejectedError(ValueError):
    """A cell gives no value; `reason` is the code under which it is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def number_and_unit(text: str, decimal: Decimal) -> tuple[float, str]:
    """Read a number and, behind it, perhaps a unit: ``82C``, ``48 km/h``, ``14.1V``.

    Raises:
        ValueError: it is no number, or what stands behind it is more than a unit.
    """
    try:
        return parse_number(text, decimal), ""
    except ValueError:
        match = _WITH_UNIT.fullmatch(text)
        if match is None:
            raise
        return parse_number(match[1], decimal), match[2]


class Meter:
    """Turns the cells of one column or PID into values in the contract's unit."""

    def __init__(self, name: str, mapping: SignalMapping, form: Format) -> None:
        self.name = name
        self.signal = _INDEX_OF_SIGNAL[mapping.signal]
        self._mapping = mapping
        self._decimal = form.decimal
        self._missing = MISSING | {text.strip().casefold() for text in form.missing + mapping.missing}
        least, most = limits(mapping.signal)
        self._least, self._most = (
            (max(least, mapping.range[0]), min(most, mapping.range[1])) if mapping.range else (least, most)
        )
        self._conversions: dict[str, Conversion | UnitError] = {}

    def is_missing(self, cell: str) -> bool:
        """Whether the cell says that nothing was measured."""
        return cell.strip().casefold() in self._missing

    def value(self, cell: str, unit: str) -> float:
        """Convert a cell that is not missing.

        Args:
            cell: as it stands in the file; a unit behind the number goes before any other.
            unit: of the row; where it is blank the mapping's holds.

        Raises:
            RejectedError: it is no finite number of a fitting unit within the limits.
        """
        try:
            number, own_unit = number_and_unit(cell.strip(), self._decimal)
        except ValueError:
            raise RejectedError("not_a_number") from None
        unit = own_unit or unit
        value = self._conversion(unit)(number)
        if not math.isfinite(value):
            raise RejectedError("not_finite")
        if not self._least <= value <= self._most:
            raise RejectedError("out_of_range")
        return value

    def detail(self, cell: str) -> str:
        """What to show of a rejected cell."""
        if self._mapping.signal in PRIVATE:
            return self.name
        return f"{self.name}: {cell.strip()[:40]!r}"

    def _conversion(self, unit: str) -> Conversion:
        found = self._conversions.get(unit)
        if found is None:
            try:
                found = to_contract(self._mapping.signal, unit if unit.strip() else self._mapping.unit)
                found = found.after(self._mapping.scale, self._mapping.offset)
            except UnitError as error:
                found = error
            if len(self._conversions) < _KEPT and len(unit) < _KEPT:
                self._conversions[unit] = found
        if isinstance(found, UnitError):
            raise RejectedError(found.reason)
        return found
