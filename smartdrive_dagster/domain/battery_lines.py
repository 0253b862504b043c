"""The lines that a 12 V lead-acid battery is judged by, and the scale of its health.

They are numbers of this project's design; `docs/explanation/battery.md` says where each stands against workshop
tables. All take and return expressions, so that starts, parked days and forecasts are judged by the same ones.
"""

from __future__ import annotations

from typing import Final

import polars as pl

REFERENCE_C: Final = 25.0
SLOPE_V_PER_K: Final = 0.018
"""How far the failing and the replace line fall with the cold."""

DROP_PER_K: Final = 0.012
"""How much a battery's drop under the starter grows with the cold: 1 % per kelvin for the acid (a battery gives
about 65 % of its cranking current at -18 °C), and some for the oil. 0.018 V of a healthy 1.5 V are as much."""

FAILING_V: Final = 9.6
REPLACE_V: Final = 8.5
EMPTY_V: Final = 11.89
FULL_V: Final = 12.65
MIN_SOC_PCT: Final = 70.0
SURFACE_CHARGE_V: Final = 13.0
"""No rested 12 V lead-acid battery reads as much: what does has just been charged."""

WARNING_SOH_PCT: Final = 80.0
CRITICAL_SOH_PCT: Final = 65.0
CRITICAL_SOH_DIESEL_PCT: Final = 70.0
DEBOUNCE_CYCLES: Final = 3
BASELINE_CRANKS: Final = 10

# What is not known exactly, as standard deviations; the evaluation counts how often the intervals hold.
RESOLUTION_V: Final = 0.1 / 12**0.5  # rounding to tenths of a volt
DROP_SD_PER_K: Final = 0.003
SEASON_DOUBT_SD: Final = 0.5
CHARGE_SD_V: Final = 0.05  # the plateau hangs on the charge a little, from 70 % on
TEMPERATURE_SD_K: Final = {"ambient": 2.0, "intake": 3.0, "weather": 3.0}
Z95: Final = 1.96

_UNKNOWN_LOAD_V: Final = 0.2
_UNKNOWN_REST_V: Final = 0.2


def soc_pct(resting_v: pl.Expr) -> pl.Expr:
    """State of charge from the resting voltage: 11.89 V is 0 %, 12.65 V is 100 %, linear, cut off at both ends."""
    return ((resting_v - EMPTY_V) * (100 / (FULL_V - EMPTY_V))).clip(0, 100).round(6)


def soc_interval_pct(resting_v: pl.Expr, *, is_loaded: pl.Expr, is_assumed: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """95 % interval of the state of charge, %.

    The reading's rounding to both sides; upwards what the ignition's load may hide (0.2 V), downwards what an
    unseen drive may have left as surface charge (0.2 V).
    """
    half = Z95 * RESOLUTION_V
    low = resting_v - half - pl.when(is_assumed).then(_UNKNOWN_REST_V).otherwise(0.0)
    high = resting_v + half + pl.when(is_loaded).then(_UNKNOWN_LOAD_V).otherwise(0.0)
    return soc_pct(low), soc_pct(high)


def at_25c_v(plateau_v: pl.Expr, resting_v: pl.Expr, temperature_c: pl.Expr) -> pl.Expr:
    """The plateau compensated to 25 °C: the drop from the resting voltage, less 1.2 % for each kelvin of cold.

    A fixed slope would fit healthy batteries only. Resistance grows by a share of itself, so a worn battery loses
    more volts to the same cold.
    """
    shrunk = (DROP_PER_K * (temperature_c - REFERENCE_C)).exp()
    return (resting_v - (resting_v - plateau_v) * shrunk).round(6)


def failing_below_v(temperature_c: pl.Expr) -> pl.Expr:
    """The failing line at a temperature: 9.6 V at 25 °C."""
    return (FAILING_V - SLOPE_V_PER_K * (REFERENCE_C - temperature_c)).round(6)


def soh_pct(plateau_25c_v: pl.Expr, baseline_v: pl.Expr) -> pl.Expr:
    """State of health between the replace line (0 %) and the baseline (100 %), cut off at both ends."""
    return ((plateau_25c_v - REPLACE_V) * 100 / (baseline_v - REPLACE_V)).clip(0, 100).round(6)


def critical_below_pct(fuel_type: pl.Expr) -> pl.Expr:
    """The critical limit of the state of health. An unknown fuel type gets the lower one: no alarm on a guess."""
    return pl.when(fuel_type == "diesel").then(CRITICAL_SOH_DIESEL_PCT).otherwise(CRITICAL_SOH_PCT)
