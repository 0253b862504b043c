"""The car's 12 V lead-acid battery and what a starter does to it: a voltage divider with two states.

The constants are this model's own, in the range of a 60 Ah battery and a 1.4 kW starter. They are chosen so that a
healthy plateau falls by about 0.018 V per kelvin, the slope by which the analysis compensates cranking voltage:
agreement with that slope is built in here and no evidence for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

EMPTY_V: Final = 11.89  # resting, 0 % and 100 % state of charge: the same line that the analysis uses
FULL_V: Final = 12.65
ALTERNATOR_V: Final = 14.2
INRUSH_S: Final = 0.100
PLATEAU_S: Final = 0.500

_REFERENCE_C: Final = 25.0
_RESISTANCE_PER_K: Final = 0.006  # acid conducts worse when cold
_KNEE_PCT: Final = 10.0  # below this state of charge the acid is so thin that resistance soars
_KNEE_GAIN: Final = 12.0
_LOCKED_ROTOR_OHM: Final = 0.022  # starter and cables before the armature turns
_TURNING_OHM: Final = 0.055  # the same seen through the turning armature's counter-voltage
_STIFFNESS_PER_K: Final = 0.004  # thick oil: slower, less counter-voltage, more current
_INRUSH_FALL_S: Final = 0.010
_RIPPLE_V: Final = 0.25
_COMPRESSIONS_PER_TURN: Final = 2  # four cylinders, four strokes
_SURFACE_CHARGE_V: Final = 0.6
_SURFACE_CHARGE_S: Final = 600.0
_FIELD_COLLAPSE_S: Final = 3.0
_REGULATION_S: Final = 0.35


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery at the scenario's start.

    Attributes:
        capacity_ah: charge between 0 and 100 %.
        soc_pct: state of charge.
        resistance_ohm: internal resistance when new, at 25 °C.
        ageing: factor on the resistance; 1 is new, at 2 a start at 25 °C falls below 9.6 V.
    """

    capacity_ah: float = 60.0
    soc_pct: float = 92.0
    resistance_ohm: float = 0.010
    ageing: float = 1.0

    def internal_ohm(self, soc_pct: float, temperature_c: float) -> float:
        """Internal resistance: grows with age, cold and emptiness."""
        cold = 1 + _RESISTANCE_PER_K * (_REFERENCE_C - temperature_c)
        emptiness = max(0.0, _KNEE_PCT - soc_pct) / _KNEE_PCT
        return self.resistance_ohm * self.ageing * cold * (1 + _KNEE_GAIN * emptiness**2)

    def loaded_v(self, soc_pct: float, temperature_c: float, current_a: float) -> float:
        """Terminal voltage under a small steady load."""
        return open_circuit_v(soc_pct) - current_a * self.internal_ohm(soc_pct, temperature_c)

    def inrush_v(self, soc_pct: float, temperature_c: float) -> float:
        """Lowest terminal voltage of a start, before the armature turns."""
        return self._divided(soc_pct, temperature_c, _LOCKED_ROTOR_OHM)

    def cranking_v(self, soc_pct: float, temperature_c: float) -> float:
        """Mean terminal voltage while the starter turns the engine."""
        return self._divided(soc_pct, temperature_c, _turning_ohm(temperature_c))

    def cranking_a(self, soc_pct: float, temperature_c: float) -> float:
        """Mean current while the starter turns the engine."""
        return self.cranking_v(soc_pct, temperature_c) / _turning_ohm(temperature_c)

    def _divided(self, soc_pct: float, temperature_c: float, load_ohm: float) -> float:
        internal = self.internal_ohm(soc_pct, temperature_c)
        return open_circuit_v(soc_pct) * load_ohm / (load_ohm + internal)


def open_circuit_v(soc_pct: float) -> float:
    """Resting voltage by state of charge, linear."""
    return EMPTY_V + (FULL_V - EMPTY_V) * soc_pct / 100


def cranking_rpm(temperature_c: float) -> float:
    """Engine speed under the starter: slower when cold."""
    return max(80.0, 200 * (1 - 0.005 * (_REFERENCE_C - temperature_c)))


def start_waveform(
    elapsed_s: float, *, resting_v: float, inrush_v: float, cranking_v: float, rpm: float, phase: float
) -> float:
    """Terminal voltage of a start: a steep fall, 100 ms of inrush that fades, then compression ripple.

    Args:
        elapsed_s: seconds since the starter engaged.
        resting_v: voltage just before.
        inrush_v: the lowest voltage, reached 10 ms after the start.
        cranking_v: mean voltage once the engine turns.
        rpm: engine speed under the starter; two compressions a turn.
        phase: of the ripple, radians.
    """
    if elapsed_s < _INRUSH_FALL_S:
        return resting_v + (inrush_v - resting_v) * elapsed_s / _INRUSH_FALL_S
    if elapsed_s < INRUSH_S:
        faded = (elapsed_s - _INRUSH_FALL_S) / (INRUSH_S - _INRUSH_FALL_S)
        return cranking_v + (inrush_v - cranking_v) * (1 + math.cos(math.pi * faded)) / 2
    turning = 2 * math.pi * _COMPRESSIONS_PER_TURN * rpm / 60 * (elapsed_s - INRUSH_S)
    # a turning engine never pulls harder than a locked rotor
    depth = min(_RIPPLE_V, (cranking_v - inrush_v) / 2)
    return cranking_v + depth * math.sin(turning + phase)


def regulated_v(since_start_s: float, started_from_v: float) -> float:
    """Terminal voltage while the engine runs: the alternator takes over within a second."""
    return ALTERNATOR_V - (ALTERNATOR_V - started_from_v) * math.exp(-since_start_s / _REGULATION_S)


def after_run_v(since_stop_s: float, loaded_v: float) -> float:
    """Terminal voltage after the engine stopped: surface charge keeps it up and fades within half an hour."""
    surface = _SURFACE_CHARGE_V * math.exp(-since_stop_s / _SURFACE_CHARGE_S)
    collapse = ALTERNATOR_V - loaded_v - _SURFACE_CHARGE_V
    return loaded_v + surface + collapse * math.exp(-since_stop_s / _FIELD_COLLAPSE_S)


def _turning_ohm(temperature_c: float) -> float:
    return _TURNING_OHM * max(0.3, 1 - _STIFFNESS_PER_K * (_REFERENCE_C - temperature_c))
