"""What the simulated car does: lists of timed segments, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal

from smartdrive_edge.simulator.battery import Battery


class Key(StrEnum):
    """Where the ignition key stands."""

    OFF = "off"
    ACCESSORY = "accessory"
    ON = "on"


class Engine(StrEnum):
    """What the engine does."""

    OFF = "off"
    CRANKING = "cranking"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time in which the car does one thing.

    Attributes:
        duration_s: how long it lasts; the last segment lasts for ever.
        key: where the key stands.
        engine: what the engine does.
        speed_kmh: speed at the segment's end, reached linearly from the end of the segment before.
        load_a: current of what was left on, beside the car's own consumption.
    """

    duration_s: float
    key: Key = Key.OFF
    engine: Engine = Engine.OFF
    speed_kmh: float = 0.0
    load_a: float = 0.0


@dataclass(frozen=True, slots=True)
class TroubleCode:
    """A diagnostic trouble code (SAE J2012) that an ECU reports.

    Attributes:
        code: for example ``P0301``.
        memory: which of service 03 (stored), 07 (pending) and 0A (permanent) reports it.
        since_s: when it appears, seconds of the scenario.
        ecu: 0 the engine's, 1 the transmission's.
    """

    code: str
    memory: Literal["stored", "pending", "permanent"] = "stored"
    since_s: float = 0.0
    ecu: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A car, its surroundings and a script.

    Attributes:
        name: as ``--scenario`` takes it.
        description: one line for the user.
        segments: the script.
        ambient_c: air temperature; a car that was parked long is as cold.
        battery: as it is at the start.
        codes: the trouble codes.
        parasitic_a: what the parked car draws.
        coolant_c: at the start; ``None`` is ambient.
        fuel_level_pct: at the start.
        odometer_km: at the start.
        vin: 17 characters.
    """

    name: str
    description: str
    segments: tuple[Segment, ...]
    ambient_c: float = 15.0
    battery: Battery = field(default_factory=Battery)
    codes: tuple[TroubleCode, ...] = ()
    parasitic_a: float = 0.03
    coolant_c: float | None = None
    fuel_level_pct: float = 62.0
    odometer_km: float = 48_210.4
    vin: str = "XSMZZZDRVEX000001"

    @property
    def duration_s(self) -> float:
        """Length of the script."""
        return sum(segment.duration_s for segment in self.segments)


def names() -> list[str]:
    """The scenarios that come with the simulator."""
    return list(_SCENARIOS)


def scenario(name: str, seed: int = 0) -> Scenario:
    """A scenario by name.

    Raises:
        ValueError: there is no such scenario; the message lists those that exist.
    """
    if name not in _SCENARIOS:
        msg = f"no scenario {name!r}; there are {', '.join(names())}"
        raise ValueError(msg)
    script = _SCENARIOS[name](random.Random(seed))  # noqa: S311 # repeatable, not secret
    return replace(script, vin=f"{script.vin[:-6]}{seed % 999_999 + 1:06d}")  # another car


def _start(cranking_s: float) -> tuple[Segment, ...]:
    return (
        Segment(2.0, Key.ON),
        Segment(cranking_s, Key.ON, Engine.CRANKING),
        Segment(8.0, Key.ON, Engine.RUNNING),
    )


def _to(speed_kmh: float, duration_s: float) -> Segment:
    return Segment(duration_s, Key.ON, Engine.RUNNING, speed_kmh)


def _blocks(chance: random.Random, count: int) -> Iterator[Segment]:
    for _ in range(count):
        cruise = chance.uniform(32, 54)
        yield _to(cruise, cruise / chance.uniform(4.5, 6.5))
        yield _to(cruise + chance.uniform(-4, 4), chance.uniform(15, 50))
        yield _to(0, cruise / chance.uniform(5, 7))
        yield _to(0, chance.uniform(4, 25))


_PARKED: Final = Segment(600.0)
_DAY_S: Final = 86_400.0


def _parked(_: random.Random) -> Scenario:
    return Scenario("parked", "locked and asleep, 30 mA of quiescent current", (_PARKED,))


def _winter_start(chance: random.Random) -> Scenario:
    segments = (Segment(20.0), *_start(1.8), _to(0, 40), *_blocks(chance, 3), _PARKED)
    return Scenario(
        "winter-start",
        "a healthy battery starts a car at -12 °C",
        segments,
        ambient_c=-12.0,
        battery=Battery(soc_pct=85.0),
    )


def _weak_battery(chance: random.Random) -> Scenario:
    segments = (Segment(20.0), *_start(2.2), _to(0, 20), *_blocks(chance, 3), _PARKED)
    return Scenario(
        "weak-battery",
        "a battery with doubled internal resistance starts a car at 18 °C",
        segments,
        ambient_c=18.0,
        battery=Battery(soc_pct=84.0, ageing=2.0),
    )


def _drive(chance: random.Random) -> Scenario:
    motorway = (_to(118, 28), _to(chance.uniform(112, 126), chance.uniform(180, 260)), _to(60, 20))
    # 13.3 and 9.2 km/h a second: 0.38 g and 0.26 g
    harsh = (_to(60, 6.5), _to(60, 12), _to(0, 4.5), _to(0, 6))
    segments = (Segment(20.0), *_start(0.9), *_blocks(chance, 4), *motorway, _to(0, 12), *harsh)
    segments = (*segments, *_blocks(chance, 3), _PARKED)
    return Scenario(
        "drive",
        "town, motorway, one harsh start and stop; a misfire is pending, then stored",
        segments,
        ambient_c=18.0,
        codes=(
            TroubleCode("P0301", "pending", since_s=120.0),
            TroubleCode("P0301", "stored", since_s=300.0),
            TroubleCode("P0420", "permanent"),
            TroubleCode("P0715", "pending", since_s=200.0, ecu=1),
        ),
    )


def _stop_start(chance: random.Random) -> Scenario:
    segments = [Segment(10.0), *_start(0.8)]
    for _ in range(4):
        segments += [*_blocks(chance, 1), Segment(chance.uniform(8, 40), Key.ON)]
        segments += [Segment(0.7, Key.ON, Engine.CRANKING)]
    segments += [*_blocks(chance, 1), _PARKED]
    return Scenario(
        "stop-start",
        "a warm car stops its engine at lights and starts it again",
        tuple(segments),
        ambient_c=20.0,
        coolant_c=82.0,
    )


def _lights_left_on(_: random.Random) -> Scenario:
    segments = (
        Segment(120.0, Key.ON, Engine.RUNNING),
        Segment(7 * 3600.0, load_a=10.0),
        Segment(1800.0),
        Segment(5.0, Key.ON),
        # pushed: no starter turns on a battery this flat
        _to(30, 10),
        _to(0, 900),
        _PARKED,
    )
    return Scenario(
        "lights-left-on", "10 A of lights flatten the battery in hours; then it is push-started", segments
    )


def _day(chance: random.Random) -> Scenario:
    there = (
        *_start(chance.uniform(0.8, 1.2)),
        *_blocks(chance, 3),
        _to(96, 24),
        _to(96, chance.uniform(120, 240)),
        _to(0, 20),
    )
    back = (*_start(chance.uniform(0.7, 1.0)), *_blocks(chance, 5))
    first_s, between_s = chance.uniform(7, 7.5) * 3600.0, chance.uniform(8, 9) * 3600.0
    segments = (Segment(first_s), *there, Segment(between_s), *back, _to(0, 5))
    segments = (*segments, Segment(_DAY_S - sum(segment.duration_s for segment in segments)))
    return Scenario(
        "day",
        "parked over night, to work in the morning, back in the evening",
        segments,
        ambient_c=chance.uniform(-4, 16),
        battery=Battery(soc_pct=chance.uniform(78, 96)),
        fuel_level_pct=chance.uniform(30, 80),
        odometer_km=chance.uniform(20_000, 120_000),
    )


_SCENARIOS: Final[dict[str, Callable[[random.Random], Scenario]]] = {
    "parked": _parked,
    "winter-start": _winter_start,
    "weak-battery": _weak_battery,
    "drive": _drive,
    "stop-start": _stop_start,
    "lights-left-on": _lights_left_on,
    "day": _day,
}
