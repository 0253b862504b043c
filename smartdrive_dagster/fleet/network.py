"""Between sender and landing zone: delays, lost networks, redeliveries, wrong clocks and damaged bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import msgspec

from smartdrive_dagster.fleet.messages import Event, FlatSample, Message, Telemetry
from smartdrive_dagster.fleet.period import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Period

CLOCK_TOLERANCE_MS: Final = 5 * MINUTE_MS

_OFFLINE_HOURS: Final = ((1, 12.0), (3, 12.0))  # day and hour
_BETWEEN_SPOOLED_MS: Final = 50  # twenty publishes a second
_SKEWED_SAMPLES: Final = (4, 8, 15)
_CONFLICTS: Final = 2


@dataclass(frozen=True, slots=True)
class Arrival:
    """One line as the lander will write it.

    Attributes:
        message: what the sender meant; for a damaged line the message that it was made from.
        received_at_ms: epoch milliseconds.
        payload: the bytes that arrived.
        fate: what a correct lake makes of it: accepted, duplicate, or a reason code of the quarantine.
    """

    message: Message
    received_at_ms: int
    payload: bytes
    fate: str = "accepted"

    @property
    def ahead(self) -> tuple[bool, ...]:
        """For each sample, whether it is further in the future than the lake tolerates."""
        return tuple(t > self.received_at_ms + CLOCK_TOLERANCE_MS for t in self.message.t)


def deliver(rng: Random, messages: list[Message], period: Period) -> list[Arrival]:
    """Everything that arrives within the period, by time of receipt: first deliveries and what goes wrong."""
    arrivals = [
        arrival for arrival in _first_deliveries(rng, messages, period) if arrival.received_at_ms < period.end_ms
    ]
    middles = _middles(arrivals)
    rng.shuffle(middles)
    chosen = _Choice(arrivals, middles, period)
    _set_clocks_wrong(arrivals, chosen)
    _forget_the_clock(rng, arrivals)
    extra = [
        *_damaged(rng, arrivals, chosen),
        *_conflicts(chosen),
        *_redelivered(rng, arrivals, chosen, period),
    ]
    return sorted([*arrivals, *extra], key=lambda arrival: arrival.received_at_ms)


class _Choice:
    """Hands out running messages of telemetry.v1, each once, so that no two faults meet in one message."""

    def __init__(self, arrivals: list[Arrival], pool: list[int], period: Period) -> None:
        self._arrivals = arrivals
        self._pool = pool
        self._end_ms = period.end_ms

    def take(self, count: int, *, ahead_ms: int = 0) -> list[int]:
        """Positions of up to so many messages, received so long before the period's end."""
        latest = self._end_ms - ahead_ms
        taken = [position for position in self._pool if self._arrivals[position].received_at_ms < latest][:count]
        self._pool = [position for position in self._pool if position not in taken]
        return taken

    def arrivals(self, count: int, *, ahead_ms: int = 0) -> list[Arrival]:
        """The same, as arrivals."""
        return [self._arrivals[position] for position in self.take(count, ahead_ms=ahead_ms)]


def _first_deliveries(rng: Random, messages: list[Message], period: Period) -> Iterator[Arrival]:
    begin_ms, end_ms = (period.at(day, hours) for day, hours in _OFFLINE_HOURS)
    goes_offline = end_ms < period.end_ms
    spooled = 0
    for message in messages:
        received_ms = message.sent_at_ms + rng.randint(1200, 5500)
        if goes_offline and message.car.goes_offline and begin_ms <= message.sent_at_ms < end_ms:
            received_ms = end_ms + spooled * _BETWEEN_SPOOLED_MS
            spooled += 1
        yield Arrival(message, received_ms, message.payload)


def _middles(arrivals: list[Arrival]) -> list[int]:
    """Positions of punctual telemetry.v1 messages inside a trip, so that a fault moves neither end of it."""
    inner = [position for trip in _trips(arrivals).values() for position in trip[1:-1]]
    return [position for position in inner if _is_punctual_v1(arrivals[position])]


def _is_punctual_v1(arrival: Arrival) -> bool:
    punctual = arrival.received_at_ms - arrival.message.t[-1] < MINUTE_MS
    return punctual and isinstance(arrival.message.content, Telemetry)


def _trips(arrivals: list[Arrival]) -> dict[tuple[str, int], list[int]]:
    """Positions of the messages of each trip, in order."""
    trips: dict[tuple[str, int], list[int]] = {}
    for position, arrival in enumerate(arrivals):
        if arrival.message.trip is not None:
            trips.setdefault((arrival.message.car.vin, arrival.message.trip), []).append(position)
    return trips


def _set_clocks_wrong(arrivals: list[Arrival], chosen: _Choice) -> None:
    """Put the last samples of some messages an hour ahead."""
    for count, position in zip(_SKEWED_SAMPLES, chosen.take(len(_SKEWED_SAMPLES)), strict=False):
        arrival = arrivals[position]
        content = arrival.message.content
        t = arrival.message.t
        skewed = (*t[:-count], *(at + HOUR_MS for at in t[-count:]))
        message = replace(arrival.message, t=skewed, content=msgspec.structs.replace(content, t=list(skewed)))
        arrivals[position] = replace(arrival, message=message, payload=message.payload)


def _forget_the_clock(rng: Random, arrivals: list[Arrival]) -> None:
    """Send the first message of one trip unsynced, as after a reboot without a network: the trip begins later."""
    starts = [trip[0] for trip in _trips(arrivals).values() if len(trip) > 2]  # noqa: PLR2004 (both ends and more)
    starts = [position for position in starts if isinstance(arrivals[position].message.content, Telemetry)]
    if not starts:
        return
    position = rng.choice(starts)
    arrival = arrivals[position]
    content = msgspec.structs.replace(arrival.message.content, clock="unsynced")
    message = replace(arrival.message, content=content)
    arrivals[position] = replace(arrival, message=message, payload=message.payload, fate="clock_unsynced")


def _damaged(rng: Random, arrivals: list[Arrival], chosen: _Choice) -> Iterator[Arrival]:
    """Damaged copies that arrive just before the good one: they must not claim its identity."""
    for reason, damage in _DAMAGES:
        for arrival in chosen.arrivals(2):
            yield _damaged_copy(rng, arrival, damage(arrival), reason)
    events = [arrival for arrival in arrivals if isinstance(arrival.message.content, Event)]
    for arrival in rng.sample(events, min(1, len(events))):
        yield _damaged_copy(
            rng, arrival, _substituted(arrival, rb'"type":"\w+"', rb'"type":"door_opened"'), "schema_violated"
        )
    flat = [arrival for arrival in arrivals if isinstance(arrival.message.content, FlatSample)]
    for arrival in rng.sample(flat, min(1, len(flat))):
        yield _damaged_copy(rng, arrival, _substituted(arrival, rb'"timestamp"', rb'"time"'), "schema_violated")


def _damaged_copy(rng: Random, arrival: Arrival, payload: bytes, reason: str) -> Arrival:
    return Arrival(arrival.message, arrival.received_at_ms - rng.randint(100, 1000), payload, reason)


def _conflicts(chosen: _Choice) -> Iterator[Arrival]:
    """The identity of an accepted message with other speeds, in a later object."""
    for arrival in chosen.arrivals(_CONFLICTS, ahead_ms=2 * HOUR_MS):
        payload = _substituted(arrival, rb'"SPEED":\[\d+', rb'"SPEED":[199')
        yield Arrival(arrival.message, arrival.received_at_ms + HOUR_MS, payload, "conflict")


def _redelivered(rng: Random, arrivals: list[Arrival], chosen: _Choice, period: Period) -> Iterator[Arrival]:
    """QoS 1 delivers at least once: again in the same object, in a later one, on a later day."""
    for arrival in [
        *chosen.arrivals(8),
        *_some(rng, arrivals, Event, 2, period),
        *_some(rng, arrivals, FlatSample, 2, period),
    ]:
        hour_ends = arrival.received_at_ms // HOUR_MS * HOUR_MS + HOUR_MS - 1
        yield _again(arrival, min(arrival.received_at_ms + rng.randint(1, 20) * SECOND_MS, hour_ends))
    for arrival in chosen.arrivals(6, ahead_ms=4 * HOUR_MS):
        yield _again(arrival, arrival.received_at_ms + rng.randint(HOUR_MS, 3 * HOUR_MS))
    for arrival in [*chosen.arrivals(4, ahead_ms=2 * DAY_MS), *_some(rng, arrivals, Event, 1, period)]:
        yield _again(arrival, arrival.received_at_ms + rng.randint(DAY_MS, DAY_MS + 6 * HOUR_MS))


def _some(
    rng: Random, arrivals: list[Arrival], kind: type[Event | FlatSample], count: int, period: Period
) -> list[Arrival]:
    latest = period.end_ms - 2 * DAY_MS
    found = [
        arrival
        for arrival in arrivals
        if isinstance(arrival.message.content, kind) and arrival.received_at_ms < latest
    ]
    return rng.sample(found, min(count, len(found)))


def _again(arrival: Arrival, received_at_ms: int) -> Arrival:
    return replace(arrival, received_at_ms=received_at_ms, fate="duplicate")


def _substituted(arrival: Arrival, pattern: bytes, replacement: bytes) -> bytes:
    return re.sub(pattern, replacement, arrival.payload, count=1)


def _with_a_value_missing(arrival: Arrival) -> bytes:
    return _substituted(arrival, rb'"RPM":\[[^,\]]+,', rb'"RPM":[')


_DAMAGES: Final[tuple[tuple[str, Callable[[Arrival], bytes]], ...]] = (
    ("not_json", lambda arrival: arrival.payload[: len(arrival.payload) // 2]),
    ("not_json", lambda arrival: _substituted(arrival, rb'"SPEED":\[\d+', rb'"SPEED":[NaN')),
    ("not_utf8", lambda arrival: _substituted(arrival, rb'"running"', b'"runn\xff\xfeing"')),
    ("length_mismatch", _with_a_value_missing),
    ("vin_invalid", lambda arrival: _substituted(arrival, rb'("vin":"\w{16})\w', rb"\1O")),
    ("schema_unknown", lambda arrival: _substituted(arrival, rb"telemetry[.]v1", rb"telemetry.v9")),
    ("schema_violated", lambda arrival: _substituted(arrival, rb'"SPEED":\[(\d+)', rb'"SPEED":["\1"')),
)
