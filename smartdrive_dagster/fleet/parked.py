"""What a sender spools while its car is parked: resting voltages, and what it makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Final

from smartdrive_dagster.fleet.cars import Car
from smartdrive_dagster.fleet.messages import Event, Message, Telemetry
from smartdrive_dagster.fleet.period import HOUR_MS, MINUTE_MS, SECOND_MS

_POST_DRIVE: Final = (MINUTE_MS, 30)  # interval and number of readings
_SENTINEL_MS: Final = 10 * MINUTE_MS
_PER_MESSAGE: Final = {"post_drive": 30, "sentinel": 6, "suspended": 6}
_LOW_V: Final = 12.2
_LOW_READINGS: Final = 2
_CUT_OFF_V: Final = 11.5
_CUT_OFF_READINGS: Final = 3


@dataclass(frozen=True, slots=True)
class _Reading:
    phase: str
    t: int
    volts: float


def park(
    rng: Random, car: Car, began_ms: int, ended_ms: int, *, after_drive: bool, drain_v_per_h: float
) -> list[Message]:
    """Spool one parking: a reading a minute for half an hour after a drive, then one every ten minutes.

    Two sentinel readings of at most 12.2 V send `low_voltage`, three of at most 11.5 V `external_drain`; after
    that the readings wait in the spool (phase ``suspended``) until the engine charges again.

    Args:
        rng: source of the noise.
        car: the parked car; a telemetry.v0 sender is silent while parked.
        began_ms: end of the drive before, epoch milliseconds.
        ended_ms: begin of the drive after.
        after_drive: False at the begin of the period, when nobody has driven yet.
        drain_v_per_h: how fast the resting voltage falls beyond its surface charge.
    """
    if car.device_id is None:
        return []
    readings: list[_Reading] = []
    events: list[Event] = []
    low = flat = 0
    phase = "sentinel"
    for t, is_post_drive in _times(began_ms, ended_ms, after_drive=after_drive):
        volts = _resting_voltage(rng, (t - began_ms) / HOUR_MS, drain_v_per_h)
        readings.append(_Reading("post_drive" if is_post_drive else phase, t, volts))
        low += volts <= _LOW_V
        flat += volts <= _CUT_OFF_V
        if low == _LOW_READINGS and volts <= _LOW_V:
            events.append(_event(car, "low_voltage", t, volts))
        if flat == _CUT_OFF_READINGS and phase != "suspended":
            events.append(_event(car, "external_drain", t, volts))
            phase = "suspended"
    resumed_ms = ended_ms + 5 * SECOND_MS
    if phase == "suspended":
        events.append(_event(car, "resumed", resumed_ms, 14.1))
    return [
        *_messages(car, readings, resumed_ms),
        *(Message(car, event, (event.t,), event.t) for event in events),
    ]


def _times(began_ms: int, ended_ms: int, *, after_drive: bool) -> Iterator[tuple[int, bool]]:
    interval_ms, count = _POST_DRIVE
    post_drive_ends = began_ms + interval_ms * count if after_drive else began_ms
    for t in range(began_ms + interval_ms, min(post_drive_ends + 1, ended_ms - MINUTE_MS), interval_ms):
        yield t, True
    for t in range(post_drive_ends + _SENTINEL_MS, ended_ms - MINUTE_MS, _SENTINEL_MS):
        yield t, False


def _resting_voltage(rng: Random, hours: float, drain_v_per_h: float) -> float:
    """Terminal voltage at rest, V, in the adapter's steps of 0.1: surface charge decays within hours."""
    return round(12.45 + 0.2 * math.exp(-hours / 2) - drain_v_per_h * hours + rng.gauss(0, 0.015), 1)


def _messages(car: Car, readings: list[_Reading], resumed_ms: int) -> Iterator[Message]:
    for phase, group in groupby(readings, key=lambda reading: reading.phase):
        run = list(group)
        size = _PER_MESSAGE[phase]
        for first in range(0, len(run), size):
            part = run[first : first + size]
            t = [reading.t for reading in part]
            content = Telemetry(
                vin=car.vin,
                device_id=car.device_id or "",
                phase=phase,
                t=t,
                signals={"IGNITION": [0] * len(part), "ELM_VOLTAGE": [reading.volts for reading in part]},
            )
            yield Message(car, content, tuple(t), resumed_ms if phase == "suspended" else t[-1])


def _event(car: Car, kind: str, t: int, volts: float) -> Event:
    return Event(vin=car.vin, device_id=car.device_id or "", t=t, type=kind, detail={"voltage_v": volts})
