"""The car: what is true of it at any time, as a pure function of the scenario, the seed and the time."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from smartdrive_edge.simulator import battery as electric
from smartdrive_edge.simulator.scenarios import Engine, Key, Scenario, Segment, TroubleCode
from smartdrive_edge.simulator.state import CarState, Crank

IDLE_RPM: Final = 780.0
STOICHIOMETRIC_RATIO: Final = 14.7  # petrol
PETROL_G_PER_L: Final = 745.0

_CHARGE_A: Final = 20.0
_KEY_ON_A: Final = 8.0
_ACCESSORY_A: Final = 3.0
_WARM_C: Final = 90.0
_WARM_UP_S: Final = 240.0
_COOL_DOWN_S: Final = 7200.0
_TANK_L: Final = 50.0
_DISPLACEMENT_L: Final = 1.6
_AIR_G_PER_L: Final = 1.18
_GEARS: Final = (
    (15.0, 120.0),
    (30.0, 75.0),
    (50.0, 50.0),
    (75.0, 37.0),
    (math.inf, 29.0),
)  # km/h up to, rpm per km/h


@dataclass(frozen=True, slots=True)
class _Knot:
    """What has come together when a segment begins."""

    at_s: float
    segment: Segment
    speed_kmh: float
    distance_km: float
    soc_pct: float
    coolant_c: float
    running_since_s: float | None  # of an engine that runs now
    started_from_v: float
    stopped_at_s: float | None  # when the engine last stopped


class Car:
    """A car that follows a scenario.

    Args:
        scenario: what it does.
        seed: of the ripple's phase and of the idle's and the alternator's unrest.
    """

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self.scenario = scenario
        chance = random.Random(seed)  # noqa: S311 # repeatable, not secret
        self._phase = chance.uniform(0, 2 * math.pi)
        self._tones = [(chance.uniform(0.7, 9.0), chance.uniform(0, 2 * math.pi)) for _ in range(3)]
        self._knots: list[_Knot] = []
        for segment in scenario.segments:
            self._knots.append(self._begin(segment))
        self._starts = [knot.at_s for knot in self._knots]
        self._fuel_l = self._integrate_fuel()
        self.cranks = tuple(self._crank(knot) for knot in self._knots if knot.segment.engine is Engine.CRANKING)

    def voltage_at(self, t_s: float) -> float:
        """The battery's true terminal voltage."""
        return self._voltage(self._knot(t_s), t_s)

    def codes_at(self, t_s: float) -> list[TroubleCode]:
        """The trouble codes that have appeared."""
        return [code for code in self.scenario.codes if code.since_s <= t_s]

    def key_at(self, t_s: float) -> Key:
        """Where the key stands."""
        return self._knot(t_s).segment.key

    def state_at(self, t_s: float) -> CarState:
        """Everything that is true at a time."""
        knot = self._knot(t_s)
        speed, acceleration = _speed(knot, t_s)
        running = knot.segment.engine is Engine.RUNNING
        rpm, load, maf = self._breathing(knot, t_s)
        distance = knot.distance_km + _distance(knot, t_s)
        return CarState(
            t_s=t_s,
            key=knot.segment.key,
            engine=knot.segment.engine,
            voltage_v=self._voltage(knot, t_s),
            soc_pct=self._soc(knot, t_s),
            rpm=rpm,
            speed_kmh=speed,
            acceleration_mps2=acceleration,
            coolant_c=self._coolant(knot, t_s),
            intake_c=self.scenario.ambient_c + (8.0 if running else 0.0),
            ambient_c=self.scenario.ambient_c,
            load_pct=load,
            throttle_pct=12 + 0.75 * max(load - 20, 0) if running else 12.0,
            maf_gps=maf,
            fuel_rate_lph=_litres_per_hour(maf),
            fuel_level_pct=max(0.0, self.scenario.fuel_level_pct - 100 * self._fuel(t_s) / _TANK_L),
            distance_km=distance,
            odometer_km=self.scenario.odometer_km + distance,
            run_time_s=t_s - knot.running_since_s if running and knot.running_since_s is not None else 0.0,
        )

    def fuel_used_l(self, t_s: float) -> float:
        """Fuel burnt since the start of the scenario."""
        return self._fuel(t_s)

    def _knot(self, t_s: float) -> _Knot:
        return self._knots[max(bisect_right(self._starts, t_s) - 1, 0)]

    def _begin(self, segment: Segment) -> _Knot:
        """The knot of the next segment."""
        if not self._knots:
            coolant = self.scenario.ambient_c if self.scenario.coolant_c is None else self.scenario.coolant_c
            running_since = 0.0 if segment.engine is Engine.RUNNING else None
            # a scenario that begins with the engine running began long after its start
            return _Knot(
                at_s=0.0,
                segment=segment,
                speed_kmh=0.0,
                distance_km=0.0,
                soc_pct=self.scenario.battery.soc_pct,
                coolant_c=coolant,
                running_since_s=running_since,
                started_from_v=electric.ALTERNATOR_V,
                stopped_at_s=None,
            )
        last = self._knots[-1]
        at = last.at_s + last.segment.duration_s
        was, now = last.segment.engine, segment.engine
        fired = now is Engine.RUNNING and was is not Engine.RUNNING
        return _Knot(
            at_s=at,
            segment=segment,
            speed_kmh=last.segment.speed_kmh,
            distance_km=last.distance_km + _distance(last, at),
            soc_pct=self._soc(last, at),
            coolant_c=self._coolant(last, at),
            running_since_s=at if fired else last.running_since_s if now is Engine.RUNNING else None,
            started_from_v=self._voltage(last, at) if fired else last.started_from_v,
            stopped_at_s=at if was is Engine.RUNNING and now is not Engine.RUNNING else last.stopped_at_s,
        )

    def _voltage(self, knot: _Knot, t_s: float) -> float:
        if knot.segment.engine is Engine.RUNNING:
            since = t_s - (knot.running_since_s or 0.0)
            return electric.regulated_v(since, knot.started_from_v) + 0.03 * self._unrest(t_s)
        if knot.segment.engine is Engine.CRANKING:
            return self._cranking_voltage(knot, t_s)
        return self._resting_voltage(knot, t_s)

    def _resting_voltage(self, knot: _Knot, t_s: float) -> float:
        soc = self._soc(knot, t_s)
        loaded = self.scenario.battery.loaded_v(soc, self.scenario.ambient_c, self._consumption_a(knot.segment))
        return loaded if knot.stopped_at_s is None else electric.after_run_v(t_s - knot.stopped_at_s, loaded)

    def _cranking_voltage(self, knot: _Knot, t_s: float) -> float:
        ambient, battery = self.scenario.ambient_c, self.scenario.battery
        # the state of charge at the start: what a second of cranking takes is far below a reading's resolution
        return electric.start_waveform(
            t_s - knot.at_s,
            resting_v=self._resting_voltage(knot, knot.at_s),
            inrush_v=battery.inrush_v(knot.soc_pct, ambient),
            cranking_v=battery.cranking_v(knot.soc_pct, ambient),
            rpm=electric.cranking_rpm(ambient),
            phase=self._phase,
        )

    def _crank(self, knot: _Knot) -> Crank:
        window = electric.INRUSH_S + electric.PLATEAU_S
        plateau = None
        if knot.segment.duration_s >= window:
            steps = 500
            times = (knot.at_s + electric.INRUSH_S + (i + 0.5) * electric.PLATEAU_S / steps for i in range(steps))
            plateau = math.fsum(self._voltage(knot, t) for t in times) / steps
        inrush = self.scenario.battery.inrush_v(knot.soc_pct, self.scenario.ambient_c)
        return Crank(knot.at_s, knot.segment.duration_s, inrush, plateau)

    def _consumption_a(self, segment: Segment) -> float:
        own = {Key.OFF: self.scenario.parasitic_a, Key.ACCESSORY: _ACCESSORY_A, Key.ON: _KEY_ON_A}
        return own[segment.key] + segment.load_a

    def _soc(self, knot: _Knot, t_s: float) -> float:
        drawn_a = self._consumption_a(knot.segment)
        if knot.segment.engine is Engine.RUNNING:
            drawn_a = -_CHARGE_A
        elif knot.segment.engine is Engine.CRANKING:
            drawn_a = self.scenario.battery.cranking_a(knot.soc_pct, self.scenario.ambient_c)
        drawn_ah = drawn_a * (t_s - knot.at_s) / 3600
        return min(max(knot.soc_pct - 100 * drawn_ah / self.scenario.battery.capacity_ah, 0.0), 100.0)

    def _coolant(self, knot: _Knot, t_s: float) -> float:
        running = knot.segment.engine is Engine.RUNNING
        goal, pace_s = (_WARM_C, _WARM_UP_S) if running else (self.scenario.ambient_c, _COOL_DOWN_S)
        return goal + (knot.coolant_c - goal) * math.exp(-(t_s - knot.at_s) / pace_s)

    def _breathing(self, knot: _Knot, t_s: float) -> tuple[float, float, float]:
        """Engine speed (rpm), load (%) and air mass flow (g/s)."""
        if knot.segment.engine is Engine.OFF:
            return 0.0, 0.0, 0.0
        if knot.segment.engine is Engine.CRANKING:
            turning = electric.cranking_rpm(self.scenario.ambient_c) * (1 + 0.05 * self._unrest(t_s))
            return turning, 30.0, 0.8
        speed, acceleration = _speed(knot, t_s)
        cold = min(max(70 - self._coolant(knot, t_s), 0) * 6, 500)
        flare = 500 * math.exp(-(t_s - (knot.running_since_s or 0.0)))
        idle = IDLE_RPM + cold + flare + 12 * self._unrest(t_s)
        rpm = max(idle, speed * next(ratio for limit, ratio in _GEARS if speed <= limit))
        load = min(max(22 + 0.0022 * speed**2 + 22 * acceleration, 12), 96)
        return rpm, load, _DISPLACEMENT_L / 2 * rpm / 60 * _AIR_G_PER_L * load / 100

    def _unrest(self, t_s: float) -> float:
        """Smooth noise between -1 and 1, a function of time alone."""
        return sum(math.sin(2 * math.pi * tone * t_s + phase) for tone, phase in self._tones) / len(self._tones)

    def _integrate_fuel(self) -> list[tuple[float, float]]:
        """Fuel burnt (litres) by times (s): each second while the engine runs, and where segments meet."""
        burnt, table = 0.0, [(0.0, 0.0)]
        for knot in self._knots:
            end = knot.at_s + knot.segment.duration_s
            seconds = math.ceil(knot.segment.duration_s) if knot.segment.engine is not Engine.OFF else 0
            times = [knot.at_s + i for i in range(seconds)] + [end]
            rates = [_litres_per_hour(self._breathing(knot, t)[2]) for t in times]
            for (t, rate), (until, then) in pairwise(zip(times, rates, strict=True)):
                burnt += (rate + then) / 2 * (until - t) / 3600
                table.append((until, burnt))
            if not seconds:
                table.append((end, burnt))
        return table

    def _fuel(self, t_s: float) -> float:
        after = bisect_right(self._fuel_l, (t_s, math.inf))
        at, burnt = self._fuel_l[after - 1]
        if after == len(self._fuel_l):
            return burnt + _litres_per_hour(self._breathing(self._knots[-1], t_s)[2]) * (t_s - at) / 3600
        until, then = self._fuel_l[after]
        return burnt + (then - burnt) * (t_s - at) / (until - at)


def _speed(knot: _Knot, t_s: float) -> tuple[float, float]:
    """Speed (km/h) and acceleration (m/s²)."""
    elapsed = t_s - knot.at_s
    if elapsed >= knot.segment.duration_s:
        return knot.segment.speed_kmh, 0.0
    slope = (knot.segment.speed_kmh - knot.speed_kmh) / knot.segment.duration_s
    return knot.speed_kmh + slope * elapsed, slope / 3.6


def _distance(knot: _Knot, t_s: float) -> float:
    """Kilometres since the segment began; exact, as speed is linear."""
    ramp_s = min(t_s - knot.at_s, knot.segment.duration_s)
    beyond_s = max(t_s - knot.at_s - knot.segment.duration_s, 0.0)
    mean_kmh = (knot.speed_kmh + _speed(knot, knot.at_s + ramp_s)[0]) / 2
    return (mean_kmh * ramp_s + knot.segment.speed_kmh * beyond_s) / 3600


def _litres_per_hour(maf_gps: float) -> float:
    return maf_gps / STOICHIOMETRIC_RATIO / PETROL_G_PER_L * 3600
