"""A car's 12 V battery and starter as physics: the ground truth that the analysis of starts is judged against.

Nothing here knows the analysis's lines or slopes. The battery is a voltage source behind a resistance that grows
with age, cold and emptiness. The starter is a permanent-magnet motor geared to an engine whose drag is
compression (a constant torque, with a ripple twice a turn) and oil (a torque that grows with speed and with cold).
The voltage at the terminals follows from Kirchhoff's and Newton's laws, stepped in time: the inrush is the motor
before it turns, the plateau where drive and drag balance.

Sources of the constants: workshop literature says that a 12 V battery gives about 65 % of its cranking current at
-18 °C, hence 1 % of resistance per kelvin, and that turning a warm engine takes 125 to 200 A. The rest is chosen
within what these leave, in the range of a four-cylinder car; each car draws its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random
from typing import Final

REFERENCE_C: Final = 25.0
_EMPTY_V: Final = 11.89
_FULL_V: Final = 12.65
_CURVE_V: Final = 0.03  # the true curve of rest voltage over charge is no straight line
_EMF_PER_K: Final = 0.0012
_THIN_ACID_PER_PCT: Final = 0.004  # below 80 % the acid conducts worse
_TURN_COMPRESSIONS: Final = 2
STEP_S: Final = 0.004
_IN_SERVICE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Battery:
    """A lead-acid battery.

    Attributes:
        resistance_ohm: internal resistance when new, full, at 25 °C, with the polarisation of a second's load.
        growth: factor that age has put on it; 1 is new.
        resistance_per_k: relative growth of the resistance per kelvin of cold.
    """

    resistance_ohm: float
    growth: float = 1.0
    resistance_per_k: float = 0.010

    def rest_v(self, soc_pct: float, temperature_c: float) -> float:
        """Terminal voltage after a long rest, V."""
        share = soc_pct / 100
        curved = _EMPTY_V + (_FULL_V - _EMPTY_V) * share + _CURVE_V * 4 * share * (1 - share)
        return curved + _EMF_PER_K * (temperature_c - REFERENCE_C)

    def internal_ohm(self, soc_pct: float, temperature_c: float) -> float:
        """Internal resistance: grows with age, cold and emptiness."""
        cold = math.exp(self.resistance_per_k * (REFERENCE_C - temperature_c))
        emptiness = 1 + _THIN_ACID_PER_PCT * max(0.0, 80.0 - soc_pct)
        return self.resistance_ohm * self.growth * cold * emptiness


@dataclass(frozen=True, slots=True)
class Starter:
    """A starter with its cables, and the engine that it turns, both as seen at the crankshaft.

    Attributes:
        motor_ohm: armature, brushes and cables.
        constant_v_s: volts per radian per second, and newton metres per ampere.
        compression_nm: mean drag that does not depend on speed.
        oil_nm_s: drag per radian per second at 25 °C.
        oil_per_k: relative growth of that per kelvin of cold.
        ripple: amplitude of the compression's swing, as a share of its mean.
        inertia_kgm2: engine and armature.
    """

    motor_ohm: float = 0.020
    constant_v_s: float = 0.384
    compression_nm: float = 45.0
    oil_nm_s: float = 0.76
    oil_per_k: float = 0.015
    ripple: float = 0.6
    inertia_kgm2: float = 0.18

    def oil(self, temperature_c: float) -> float:
        """Drag per radian per second at a temperature."""
        return self.oil_nm_s * math.exp(self.oil_per_k * (REFERENCE_C - temperature_c))


@dataclass(frozen=True, slots=True)
class Conditions:
    """State of charge in % and temperature in °C at a start."""

    soc_pct: float
    temperature_c: float


REFERENCE: Final = Conditions(soc_pct=100.0, temperature_c=REFERENCE_C)


def steady_v(battery: Battery, starter: Starter, at: Conditions) -> float:
    """Mean terminal voltage once the starter turns the engine steadily: drive and drag balance."""
    source = battery.rest_v(at.soc_pct, at.temperature_c)
    internal = battery.internal_ohm(at.soc_pct, at.temperature_c)
    oil, k = starter.oil(at.temperature_c), starter.constant_v_s
    current = (starter.compression_nm * k + oil * source) / (k * k + oil * (internal + starter.motor_ohm))
    stalled = source / (internal + starter.motor_ohm)
    return source - min(current, stalled) * internal


def waveform(
    battery: Battery, starter: Starter, at: Conditions, *, duration_s: float, phase: float
) -> list[float]:
    """Terminal voltage from the starter's engagement on, V, in steps of `STEP_S`.

    Args:
        battery: it.
        starter: it and its engine.
        at: charge and temperature.
        duration_s: how long the starter pulls.
        phase: crank angle at the beginning, radians; it decides where compression begins.
    """
    source = battery.rest_v(at.soc_pct, at.temperature_c)
    internal = battery.internal_ohm(at.soc_pct, at.temperature_c)
    oil, k = starter.oil(at.temperature_c), starter.constant_v_s
    loop_ohm = internal + starter.motor_ohm
    compression, ripple = starter.compression_nm, starter.ripple
    gain, step = STEP_S / starter.inertia_kgm2, STEP_S
    speed, angle, volts = 0.0, phase, []
    for _ in range(round(duration_s / step)):
        current = max(0.0, (source - k * speed) / loop_ohm)
        volts.append(source - current * internal)
        drag = compression * (1 + ripple * math.sin(_TURN_COMPRESSIONS * angle)) + oil * speed
        speed = max(0.0, speed + (k * current - drag) * gain)
        angle += speed * step
    return volts


@dataclass(frozen=True, slots=True)
class Adapter:
    """What reads the voltage.

    Attributes:
        rate_hz: requests per second; each may take up to 20 % longer or less.
        noise_v: standard deviation of a reading.
        gain: what the voltmeter makes of a volt; 1 is right.
        resolution_v: the steps in which it prints; an ELM327 prints tenths of a volt.
        every_nth_is_engine: so many requests, and one of them asks the engine speed instead.
    """

    rate_hz: float
    noise_v: float = 0.03
    gain: float = 1.0
    resolution_v: float = 0.1
    every_nth_is_engine: int = 20

    def read(self, rng: Random, volts: float) -> float:
        """One reading of a true voltage."""
        noisy = volts * self.gain + rng.gauss(0, self.noise_v)
        return round(round(noisy / self.resolution_v) * self.resolution_v, 3)


@dataclass(frozen=True, slots=True)
class Start:
    """One start and what is true about it.

    Attributes:
        at_s: when the starter engaged, seconds since the epoch.
        battery: as it was then.
        starter: it and its engine.
        conditions: charge and temperature.
        duration_s: how long the starter pulled.
        volts: the true terminal voltage while it did.
    """

    at_s: float
    battery: Battery
    starter: Starter
    conditions: Conditions
    duration_s: float
    volts: tuple[float, ...]

    @property
    def reference_v(self) -> float:
        """What this battery would give its starter at 25 °C and fully charged, V."""
        return steady_v(self.battery, self.starter, REFERENCE)

    @property
    def mean_v(self) -> float:
        """True mean of 100 to 600 ms, or less where the starter let go before, V."""
        window = self.volts[round(0.1 / STEP_S) : round(0.6 / STEP_S)]
        return sum(window) / len(window)


@dataclass(frozen=True, slots=True)
class Car:
    """A car whose battery has two times of life: of the first starts, and later.

    Attributes:
        number: names the car.
        starts: in order of time.
        later_from: place of the first start of the later time.
    """

    number: int
    starts: tuple[Start, ...]
    later_from: int


def drawn_car(rng: Random, number: int, *, early: int = 30, later: int = 10, cold: float = 1.0) -> Car:
    """Draw a car, its battery, its climate and its starts, twelve hours or more apart.

    Between the early and the later starts lie years: six cars of ten are in service with a resistance of 1 to 1.5
    times the new one, four are worn with 1.5 to 3.2 times. Both times have a season of their own.

    Args:
        rng: chance.
        number: names the car.
        early: starts of the first time.
        later: starts of the second.
        cold: factor on what a kelvin does to resistance and oil.
    """
    battery = Battery(
        resistance_ohm=0.008 * rng.uniform(0.85, 1.15),
        growth=rng.uniform(1.0, 1.1),
        resistance_per_k=cold * rng.gauss(0.010, 0.001),
    )
    starter = Starter(
        motor_ohm=0.020 * rng.uniform(0.9, 1.1),
        compression_nm=45.0 * rng.uniform(0.9, 1.15),
        oil_nm_s=0.76 * rng.uniform(0.8, 1.2),
        oil_per_k=cold * max(0.0, rng.gauss(0.015, 0.003)),
        ripple=rng.uniform(0.4, 0.8),
    )
    aged = replace(battery, growth=rng.uniform(1.0, 1.5) if rng.random() < _IN_SERVICE else rng.uniform(1.5, 3.2))
    charge = rng.uniform(78, 95)
    starts: list[Start] = []
    at_s = 1_700_000_000.0 + number
    for count, one in ((early, battery), (later, aged)):
        season_c = rng.gauss(11, 8)
        for _ in range(count):
            at = Conditions(min(100.0, rng.gauss(charge, 5)), rng.gauss(season_c, 4))
            starts.append(_drawn_start(rng, at_s, one, starter, at))
            at_s += 3600 * rng.uniform(12, 36)
        at_s += 86_400 * 700
    return Car(number, tuple(starts), early)


def _drawn_start(rng: Random, at_s: float, battery: Battery, starter: Starter, at: Conditions) -> Start:
    # A cold engine takes longer to fire.
    duration_s = rng.uniform(0.5, 1.1) + 0.02 * max(0.0, 15.0 - at.temperature_c)
    volts = waveform(battery, starter, at, duration_s=duration_s, phase=rng.uniform(0, math.tau))
    return Start(at_s, battery, starter, at, duration_s, tuple(volts))
