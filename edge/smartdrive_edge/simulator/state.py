"""What is true of the car: at one time, and of one start."""

from __future__ import annotations

from dataclasses import dataclass

from smartdrive_edge.simulator.scenarios import Engine, Key


@dataclass(frozen=True, slots=True)
class CarState:
    """What is true at one time; units are in the names."""

    t_s: float
    key: Key
    engine: Engine
    voltage_v: float
    soc_pct: float
    rpm: float
    speed_kmh: float
    acceleration_mps2: float
    coolant_c: float
    intake_c: float
    ambient_c: float
    load_pct: float
    throttle_pct: float
    maf_gps: float
    fuel_rate_lph: float
    fuel_level_pct: float
    distance_km: float
    odometer_km: float
    run_time_s: float


@dataclass(frozen=True, slots=True)
class Crank:
    """The truth about one start.

    Attributes:
        at_s: when the starter engaged.
        duration_s: how long it turned.
        inrush_v: the lowest voltage of the first 100 ms.
        plateau_v: mean voltage of the 500 ms that follow; ``None`` if the start was shorter.
    """

    at_s: float
    duration_s: float
    inrush_v: float
    plateau_v: float | None
