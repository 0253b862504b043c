"""What an adapter and a collector make of a modelled car's starts: readings as silver.telemetry holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from smartdrive_dagster.fleet.battery_model import STEP_S, Adapter, Car, Start

SECOND_US: Final = 1_000_000
_SENTINEL_S: Final = (3000, 2400, 1800, 1200, 600)
_RING_S: Final = 2.6
_AFTER_S: Final = 0.6
_IGNITION_A: Final = 8.0
_CHARGING_V: Final = 14.2
_CRANKING_RPM: Final = 190.0
_IDLE_RPM: Final = 850.0
_AMBIENT_ERROR_C: Final = 1.0
_DRIVE_S: Final = 1200


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample.

    Attributes:
        at_us: UTC epoch microseconds.
        phase: the collector's.
        adapter_voltage_v: volts, or None where something else was asked.
        engine_speed_rpm: or None.
        ambient_air_temp_c: whole degrees, or None.
        ignition: 1 on, 0 off.
    """

    at_us: int
    phase: str
    adapter_voltage_v: float | None
    engine_speed_rpm: float | None
    ambient_air_temp_c: float | None
    ignition: int


def readings(car: Car, adapter: Adapter, rng: Random) -> Iterator[Reading]:
    """All samples of a car's starts, in order: parked, key on, start, a few of the drive.

    Args:
        car: whose starts.
        adapter: what reads the voltage.
        rng: chance: noise, and when the requests meet the start.
    """
    for start in car.starts:
        yield from _of_start(start, adapter, rng)


def _of_start(start: Start, adapter: Adapter, rng: Random) -> Iterator[Reading]:
    at = start.conditions
    rest_v = start.battery.rest_v(at.soc_pct, at.temperature_c)
    for before_s in _SENTINEL_S:
        at_us = _us(start.at_s - before_s + rng.uniform(-2, 2))
        yield Reading(at_us, "sentinel", adapter.read(rng, rest_v), None, None, 0)
    key_on_v = rest_v - _IGNITION_A * start.battery.internal_ohm(at.soc_pct, at.temperature_c)
    since_s = -_RING_S + rng.random() / adapter.rate_hz
    request = rng.randrange(adapter.every_nth_is_engine)
    while since_s < start.duration_s + _AFTER_S:
        at_us = _us(start.at_s + since_s)
        if request % adapter.every_nth_is_engine == 0:
            yield Reading(at_us, "cranking", None, _engine_speed(start, since_s), None, 1)
        else:
            volts = _true_v(start, since_s, key_on_v)
            yield Reading(at_us, "cranking", adapter.read(rng, volts), None, None, 1)
        request += 1
        since_s += rng.uniform(0.8, 1.2) / adapter.rate_hz
    ambient = round(at.temperature_c + rng.gauss(0, _AMBIENT_ERROR_C))
    for after_s, told in ((2.0, None), (4.0, ambient), (10.0, None), (_DRIVE_S, None)):
        at_us = _us(start.at_s + start.duration_s + after_s)
        yield Reading(at_us, "running", adapter.read(rng, _CHARGING_V), _IDLE_RPM, told, 1)


def _true_v(start: Start, since_s: float, key_on_v: float) -> float:
    """Key on before the start, the start's waveform, and then a second in which the alternator takes over."""
    if since_s < 0:
        return key_on_v
    place = int(since_s / STEP_S)
    if place < len(start.volts):
        return start.volts[place]
    risen = min(1.0, (since_s - start.duration_s) / 1.0)
    return key_on_v + (_CHARGING_V - key_on_v) * max(0.0, risen)


def _engine_speed(start: Start, since_s: float) -> float:
    if since_s < 0:
        return 0.0
    return _CRANKING_RPM if since_s < start.duration_s else _IDLE_RPM


def _us(seconds: float) -> int:
    return round(seconds * SECOND_US)
