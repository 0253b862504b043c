"""All that one car's sender spools over the period: drives, parkings, events, each message with its identity."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Final

import msgspec

from smartdrive_dagster.fleet.cars import Car
from smartdrive_dagster.fleet.drive import AMBIENT_C, State, Trace, drive
from smartdrive_dagster.fleet.messages import Event, FlatSample, Message, Reading, Telemetry
from smartdrive_dagster.fleet.parked import park
from smartdrive_dagster.fleet.period import HOUR_MS, MINUTE_MS, SECOND_MS, Period, instant

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_FLAT_EVERY: Final = 5  # seconds between the samples of a telemetry.v0 sender
_FLAT_AT: Final = 1  # where in those seconds the coolant temperature has its turn
_SCAN_AFTER: Final = 90  # seconds into a drive
_DRAIN_V_PER_H: Final = 0.1  # of the weak battery in the last nights


def spool(rng: Random, car: Car, period: Period) -> list[Message]:
    """Everything that the car's sender makes in the period, in the order in which it is made."""
    messages: list[Message] = []
    state = State(fuel_pct=rng.uniform(30, 95))
    parked_ms = period.begin_ms
    for trip, (began_ms, seconds) in enumerate(_schedule(rng, car, period)):
        messages += _parking(rng, car, period, parked_ms, began_ms)
        trace, state = drive(rng, car, began_ms, seconds, _cooled(state, began_ms - parked_ms))
        messages += _flat_samples(car, trace, trip) if car.device_id is None else _batches(rng, car, trace, trip)
        messages += _drive_events(car, trace, period)
        parked_ms = trace.t[-1]
    messages += _parking(rng, car, period, parked_ms, period.end_ms)
    messages += _health(rng, car, period)
    return _identified(rng, period, sorted(messages, key=lambda message: (message.t[-1], message.channel)))


def _schedule(rng: Random, car: Car, period: Period) -> Iterator[tuple[int, int]]:
    """Begin (epoch ms) and rough duration (s) of each drive; local time is UTC + 1 h.

    Windows are so far apart that two drives never lie within the limit that joins them to one trip.
    """
    for day in range(period.days):
        commute = [(9.0, 10.5)] if period.is_weekend(day) else [(5.7, 6.8), (15.2, 16.7)]
        errands = [
            window for window, share in (((11.5, 12.5), 0.45), ((18.5, 19.5), 0.35)) if rng.random() < share
        ]
        for earliest, latest in sorted(commute + errands):
            yield period.at(day, rng.uniform(earliest, latest)), rng.randint(6, 34) * 60
        if car.crosses_midnight and day == max(0, period.days // 2 - 1) and day + 1 < period.days:
            yield period.at(day, 23.75), 26 * 60


def _cooled(state: State, parked_ms: int) -> State:
    remaining = math.exp(-parked_ms / (1.5 * HOUR_MS))
    return replace(state, coolant_c=AMBIENT_C + (state.coolant_c - AMBIENT_C) * remaining)


def _parking(rng: Random, car: Car, period: Period, began_ms: int, ended_ms: int) -> list[Message]:
    """Park between two drives; a weak battery loses more from night to night."""
    drain = 0.0
    if car.has_weak_battery:
        share = (period.day_of(began_ms) + 1) / max(1, period.days - 1)
        drain = _DRAIN_V_PER_H * min(1.0, share) ** 2
    return park(rng, car, began_ms, ended_ms, after_drive=began_ms > period.begin_ms, drain_v_per_h=drain)


def _batches(rng: Random, car: Car, trace: Trace, trip: int) -> Iterator[Message]:
    """Cut a drive into messages of 30 to 60 samples, each sent when it is full."""
    first = 0
    while first < len(trace.t):
        part = slice(first, first + rng.randint(30, 60))
        content = Telemetry(
            vin=car.vin,
            device_id=car.device_id or "",
            phase="running",
            t=trace.t[part],
            signals={name: values[part] for name, values in trace.signals.items()},
        )
        yield Message(car, content, tuple(content.t), content.t[-1], trip)
        first = part.stop


def _flat_samples(car: Car, trace: Trace, trip: int) -> Iterator[Message]:
    """telemetry.v0 knows whole seconds only, and sends every sample by itself."""
    for second in range(_FLAT_AT, len(trace.t), _FLAT_EVERY):
        t = trace.t[second] // SECOND_MS * SECOND_MS
        timestamp = instant(t).replace(tzinfo=None).isoformat()
        coolant = trace.signals["COOLANT_TEMP"][second]
        content = FlatSample(
            vin=car.vin,
            timestamp=timestamp,
            rpm=trace.signals["RPM"][second],
            voltage=trace.signals["ELM_VOLTAGE"][second],
            speed=trace.signals["SPEED"][second],
            pids=[] if coolant is None else [Reading(pid_code="COOLANT_TEMP", value=coolant, timestamp=timestamp)],
        )
        yield Message(car, content, (t,), t, trip)


def _drive_events(car: Car, trace: Trace, period: Period) -> list[Message]:
    if car.device_id is None:
        return []
    scanned_ms = trace.t[min(_SCAN_AFTER, len(trace.t) - 1)]
    return [
        _event(car, "ignition_on", trace.t[0], {}),
        _event(car, "dtc_scan", scanned_ms, _scan(car, period.day_of(scanned_ms))),
        _event(car, "ignition_off", trace.t[-1] + 500, {}),
    ]


def _scan(car: Car, day: int) -> dict[str, object]:
    codes: dict[str, object] = {
        status: [
            {"code": fault.code, "title": fault.title}
            for fault in car.faults
            if fault.status == status and fault.days[0] <= day <= fault.days[1]
        ]
        for status in ("stored", "pending", "permanent")
    }
    codes["mil"] = bool(codes["stored"])
    return codes if car.answers_permanent else {**codes, "permanent": None}


def _health(rng: Random, car: Car, period: Period) -> Iterator[Message]:
    for day in range(period.days) if car.device_id else ():
        detail = {
            "spool_age_s": round(rng.uniform(0, 40), 1),
            "achieved_hz": {"RPM": round(rng.uniform(0.97, 1.0), 2), "SPEED": round(rng.uniform(0.97, 1.0), 2)},
            "restarts": int(day >= period.days // 2),
            "drops": 0,
        }
        yield _event(car, "health", period.at(day, 13.0) + rng.randrange(20 * MINUTE_MS), detail)


def _event(car: Car, kind: str, t: int, detail: dict[str, object]) -> Message:
    content = Event(vin=car.vin, device_id=car.device_id or "", t=t, type=kind, detail=detail)
    return Message(car, content, (t,), t)


def _identified(rng: Random, period: Period, messages: list[Message]) -> list[Message]:
    """Number the messages of each boot; every sender starts anew once, in the middle of the period."""
    boots = ["".join(rng.choices(_CROCKFORD, k=26)) for _ in range(2)]
    restarted_ms = period.at(period.days // 2, 3.0)
    sent: Counter[str] = Counter()
    numbered = []
    for message in messages:
        if isinstance(message.content, FlatSample):
            numbered.append(message)
            continue
        boot = boots[message.t[-1] >= restarted_ms]
        content = msgspec.structs.replace(message.content, boot_id=boot, seq=sent[boot])
        sent[boot] += 1
        numbered.append(replace(message, content=content))
    return numbered
