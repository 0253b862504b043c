"""A simple longitudinal model of one drive: from the driver's speed to what the engine control unit reports.

The numbers are plausible, not measured: they exist so that distances, trips and charts look like those of a car.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from smartdrive_dagster.fleet.cars import Car

Series = list[float | None]

AMBIENT_C: Final = 7.0
HOME_DEG: Final = (52.27, 10.54)
WARM_C: Final = 90.0

_STARTING_S: Final = 8  # idling before the first metre and after the last
_STOP_SHARE: Final = 0.4  # of the stretches that end at a light
_HARSH_SHARE: Final = 0.05  # of the brakings that exceed 0.3 g
_IDLE_RPM: Final = 800.0
_LABOURING_RPM: Final = {"petrol": 1500.0, "diesel": 1200.0}
_STOPS_ABOVE_C: Final = 50.0  # stop-start works with a warm engine only,
_STOPS_AFTER_S: Final = 2  # and once the car has stood for so long
_GRAMS_PER_LITRE: Final = {"petrol": 14.7 * 745, "diesel": 14.5 * 832}  # of air that burns a litre of fuel
_TANK_L: Final = 45.0
_REFILL_PCT: Final = (15.0, 95.0)  # under the first it is filled to the second
_TURNING_KMH: Final = 20.0  # corners are taken below
_ROTATION: Final = 5  # slow signals are asked for in turn, each every fifth second
_METRES_PER_DEGREE: Final = 111_320.0
_AIR_KG_PER_M3: Final = 1.184
_FAR_M: Final = 4_000.0


@dataclass(frozen=True, slots=True)
class State:
    """What a car carries from one drive to the next: position (degrees), fuel (%), coolant (°C)."""

    latitude: float = HOME_DEG[0]
    longitude: float = HOME_DEG[1]
    fuel_pct: float = 80.0
    coolant_c: float = AMBIENT_C


@dataclass(frozen=True, slots=True)
class Trace:
    """The samples of one drive.

    Attributes:
        t: when they were taken, epoch milliseconds.
        signals: per signal a list as long as `t`; None was not measured.
    """

    t: list[int]
    signals: dict[str, Series]


def drive(rng: Random, car: Car, began_ms: int, seconds: int, state: State) -> tuple[Trace, State]:
    """Drive for about so many seconds, at one sample a second.

    The first and the last sample have a turning engine, so that the drive is as long as its running samples.

    Returns:
        The samples, and the car as it stands at the end.
    """
    speed = _speeds(rng, car, seconds)
    coolant = _warming(state.coolant_c, len(speed))
    rpm = _engine_speed(rng, car, speed, coolant)
    load = _load(rng, speed, rpm)
    maf = [
        share * turns * car.displacement_l * _AIR_KG_PER_M3 / 120 / 100
        for share, turns in zip(load, rpm, strict=True)
    ]
    fuel = _fuel_level(car, state.fuel_pct, maf)
    latitude, longitude = _positions(rng, speed, state)
    measured: dict[str, Series] = {
        "RPM": [whole(round(value * 4) / 4) for value in rpm],
        "SPEED": [round(value) for value in speed],
        "IGNITION": [1] * len(speed),
        "ELM_VOLTAGE": [_tenths((14.2 if turns else 12.5) + rng.gauss(0, 0.06)) for turns in rpm],
        "ENGINE_LOAD": _in_turn(0, load),
        "COOLANT_TEMP": _in_turn(1, coolant, digits=0),
        "INTAKE_TEMP": _in_turn(2, [AMBIENT_C + value / 9 for value in coolant], digits=0),
        "THROTTLE_POS": _in_turn(3, [11 + value * 0.6 for value in load]),
        "MAF": _in_turn(4, maf, digits=2),
        "FUEL_LEVEL": _in_turn(0, fuel),
        "CARGO_TEMP": _in_turn(1, [4.5 + math.sin(second / 300) for second in range(len(speed))]),
        "LATITUDE": [round(value, 6) for value in latitude],
        "LONGITUDE": [round(value, 6) for value in longitude],
    }
    times = [began_ms + 1000 * second + rng.randrange(40) for second in range(len(speed))]
    trace = Trace(times, {name: measured[name] for name in car.signals})
    return trace, State(latitude[-1], longitude[-1], fuel[-1], coolant[-1])


def whole(value: float) -> float:
    """The same number, as an int where it is whole: JSON has it shorter that way."""
    return int(value) if value == int(value) else value


def _speeds(rng: Random, car: Car, seconds: int) -> list[float]:
    """Speed for each second, km/h: pull away, cruise, change speed or stop at a light."""
    speeds = [0.0] * _STARTING_S
    while len(speeds) < seconds - 3 * _STARTING_S:
        target = rng.choice(car.cruising_kmh)
        speeds += _ramp(rng, speeds[-1], target)
        speeds += _cruise(rng, target, rng.randint(15, 100))
        if rng.random() < _STOP_SHARE:
            speeds += _ramp(rng, speeds[-1], 0)
            speeds += [0.0] * rng.randint(5, 45)
    return [*speeds, *_ramp(rng, speeds[-1], 0), *[0.0] * _STARTING_S]


def _ramp(rng: Random, begin: float, end: float) -> list[float]:
    """Change speed at 3 to 8 km/h per second; some brakings are harsh."""
    step = rng.uniform(3, 6) if end > begin else rng.uniform(4, 8)
    if end < begin and rng.random() < _HARSH_SHARE:
        step = rng.uniform(11, 16)
    seconds = math.ceil(abs(end - begin) / step)
    return [begin + (end - begin) * second / seconds for second in range(1, seconds + 1)]


def _cruise(rng: Random, target: float, seconds: int) -> list[float]:
    """Hold a speed as well as traffic allows: noise that returns to the target (AR(1), sigma about 2 km/h)."""
    drift = 0.0
    speeds = []
    for _ in range(seconds):
        drift = 0.9 * drift + rng.gauss(0, 0.8)
        speeds.append(max(0.0, target + drift))
    return speeds


def _engine_speed(rng: Random, car: Car, speed: Sequence[float], coolant: Sequence[float]) -> list[float]:
    """Engine speed, 1/min: of the highest gear that does not labour; idle at least; 0 while stop-start rests."""
    labouring = _LABOURING_RPM[car.fuel]
    can_rest = range(2 * _STARTING_S, len(speed) - 2 * _STARTING_S) if car.has_stop_start else ()
    turns = []
    standing = 0
    for second, kmh in enumerate(speed):
        standing = standing + 1 if kmh == 0 else 0
        if second in can_rest and standing > _STOPS_AFTER_S and coolant[second] > _STOPS_ABOVE_C:
            turns.append(0.0)
            continue
        geared = next((ratio * kmh for ratio in reversed(car.rpm_per_kmh) if ratio * kmh >= labouring), None)
        driven = car.rpm_per_kmh[0] * kmh if geared is None else geared
        turns.append(max(_IDLE_RPM, driven) + rng.gauss(0, 8))
    return turns


def _load(rng: Random, speed: Sequence[float], rpm: Sequence[float]) -> list[float]:
    """Calculated engine load, %: idling, rolling and air resistance, acceleration; 0 with the engine at rest."""
    rises = [0.0, *(after - before for before, after in pairwise(speed))]
    return [
        min(98.0, max(6.0, 19 + kmh * kmh / 500 + 8 * rise + rng.gauss(0, 1.5))) if turns else 0.0
        for kmh, rise, turns in zip(speed, rises, rpm, strict=True)
    ]


def _warming(begin_c: float, seconds: int) -> list[float]:
    """Coolant temperature, °C: towards 90 °C with a time constant of five minutes."""
    return [WARM_C - (WARM_C - begin_c) * math.exp(-second / 300) for second in range(seconds)]


def _fuel_level(car: Car, begin_pct: float, maf: Sequence[float]) -> list[float]:
    """Fuel level, %, from the air that the engine took in (g/s); an emptying tank is filled before the drive."""
    reserve, filled = _REFILL_PCT
    level = begin_pct if begin_pct > reserve else filled
    levels = []
    for grams in maf:
        level -= grams / _GRAMS_PER_LITRE[car.fuel] / _TANK_L * 100
        levels.append(level)
    return levels


def _positions(rng: Random, speed: Sequence[float], state: State) -> tuple[list[float], list[float]]:
    """Integrate speed along a random walk of the heading, homewards at first for a car that is far from home."""
    latitude, longitude = state.latitude, state.longitude
    east = _METRES_PER_DEGREE * math.cos(math.radians(HOME_DEG[0]))
    north_m = (HOME_DEG[0] - latitude) * _METRES_PER_DEGREE
    east_m = (HOME_DEG[1] - longitude) * east
    heading = math.atan2(east_m, north_m) if math.hypot(east_m, north_m) > _FAR_M else rng.uniform(0, math.tau)
    latitudes, longitudes = [], []
    for kmh in speed:
        if kmh:
            heading += rng.gauss(0, 0.15 if kmh < _TURNING_KMH else 0.015)
            latitude += kmh / 3.6 * math.cos(heading) / _METRES_PER_DEGREE
            longitude += kmh / 3.6 * math.sin(heading) / east
        latitudes.append(latitude)
        longitudes.append(longitude)
    return latitudes, longitudes


def _in_turn(turn: int, values: Sequence[float], *, digits: int = 1) -> Series:
    """Keep every fifth value, from this turn on; the rest was not measured."""
    return [
        whole(round(value, digits)) if second % _ROTATION == turn else None for second, value in enumerate(values)
    ]


def _tenths(value: float) -> float:
    return whole(round(value, 1))
