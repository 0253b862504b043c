"""The adapter's own voltmeter: what `AT RV` printed, and its calibration against a multimeter."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

_VOLTS: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?) ?V?", re.IGNORECASE)
# Below, the adapter's divider is not connected: such a battery cannot power an adapter. Above, it is no car's net.
_LOWEST_V: Final = 1.0
_HIGHEST_V: Final = 36.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a multimeter at the port would show: `scale * reading + offset_v`.

    The ELM327 measures within 2 % uncalibrated (data sheet, "Reading the Battery Voltage"): 0.25 V at 12.5 V.
    """

    offset_v: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset_v) and math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"calibration needs a finite offset and a positive scale, not {self}")

    def apply(self, volts: float) -> float:
        """The calibrated reading, V."""
        return self.scale * volts + self.offset_v


UNCALIBRATED: Final = Calibration()


def parse_voltage(line: str, calibration: Calibration = UNCALIBRATED) -> float | None:
    """Volts from `12.3V`, `12.34 V` or `12v`; None for anything else, and for what no car's battery can be."""
    match = _VOLTS.fullmatch(line.strip())
    if match is None or not (line.strip()[-1] in "Vv" or "." in line):
        return None
    volts = float(match[1])
    return calibration.apply(volts) if _LOWEST_V <= volts <= _HIGHEST_V else None
