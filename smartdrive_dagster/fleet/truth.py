"""What the generator knows to be true, in the lake's own terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from smartdrive_dagster.fleet.cars import Car
from smartdrive_dagster.fleet.messages import Event, FlatSample, Message, Telemetry
from smartdrive_dagster.fleet.network import Arrival
from smartdrive_dagster.fleet.period import HOUR_MS, instant

_LONGEST_INTERVAL_MS: Final = 10_000  # distance is never assumed across more
_MALFORMED: Final = ("not_json", "not_utf8", "length_mismatch", "vin_invalid", "schema_unknown", "schema_violated")


@dataclass(frozen=True, slots=True)
class Trip:
    """One drive as its acceptable samples show it.

    Attributes:
        started_at: first sample, UTC.
        ended_at: last sample, UTC.
        distance_km: trapezoid rule on the speeds as sent, never across an interval over 10 s.
        max_speed_kmh: highest speed as sent.
        samples: acceptable samples; ignition is on in all of them (or, for telemetry.v0, the engine turns).
    """

    started_at: datetime
    ended_at: datetime
    distance_km: float
    max_speed_kmh: float
    samples: int


@dataclass(frozen=True, slots=True)
class Truth:
    """Counts of one delivery of the whole fleet. An event or a telemetry.v0 message counts as one sample.

    Attributes:
        cars: the fleet.
        trips: by VIN, in order; every car has an entry.
        lines: all landed lines.
        messages: lines to accept: each acceptable message once.
        samples: samples to accept, each once.
        telemetry_v0_messages: how many of `messages` are telemetry.v0.
        events: how many of `messages` are events, by type.
        late_messages: how many of `messages` arrive on a later UTC day than that of their last sample.
        skewed_messages: how many of `messages` have some (never all) samples over 5 minutes ahead of receipt.
        skewed_samples: those samples; not among `samples`.
        duplicate_lines: redeliveries, byte for byte.
        duplicate_samples: samples of the redeliveries.
        conflict_lines: lines with an accepted identity and other content, later than it and of the same day.
        conflict_samples: their samples.
        unsynced_lines: decodable messages whose clock was not synchronised.
        unsynced_samples: their samples.
        malformed: lines that cannot be decoded, by reason code. They have no samples.
    """

    cars: tuple[Car, ...]
    trips: Mapping[str, tuple[Trip, ...]]
    lines: int
    messages: int
    samples: int
    telemetry_v0_messages: int
    events: Mapping[str, int]
    late_messages: int
    skewed_messages: int
    skewed_samples: int
    duplicate_lines: int
    duplicate_samples: int
    conflict_lines: int
    conflict_samples: int
    unsynced_lines: int
    unsynced_samples: int
    malformed: Mapping[str, int]

    @property
    def malformed_lines(self) -> int:
        """Lines that cannot be decoded."""
        return sum(self.malformed.values())

    @property
    def quarantined_samples(self) -> int:
        """Decoded samples that must not become telemetry: ahead of time, unsynced or in conflict."""
        return self.skewed_samples + self.unsynced_samples + self.conflict_samples


def truth_of(cars: tuple[Car, ...], arrivals: list[Arrival]) -> Truth:
    """Count the arrivals by their fates."""
    by_fate: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        by_fate.setdefault(arrival.fate, []).append(arrival)
    accepted = by_fate.get("accepted", [])
    skewed = [sum(arrival.ahead) for arrival in accepted if any(arrival.ahead)]
    duplicates, conflicts, unsynced = (
        by_fate.get(fate, []) for fate in ("duplicate", "conflict", "clock_unsynced")
    )
    contents = [arrival.message.content for arrival in accepted]
    return Truth(
        cars=cars,
        trips=_trips(cars, accepted),
        lines=len(arrivals),
        messages=len(accepted),
        samples=_samples(accepted) - sum(skewed),
        telemetry_v0_messages=sum(isinstance(content, FlatSample) for content in contents),
        events=dict(sorted(Counter(content.type for content in contents if isinstance(content, Event)).items())),
        late_messages=sum(_is_late(arrival) for arrival in accepted),
        skewed_messages=len(skewed),
        skewed_samples=sum(skewed),
        duplicate_lines=len(duplicates),
        duplicate_samples=_samples(duplicates),
        conflict_lines=len(conflicts),
        conflict_samples=_samples(conflicts),
        unsynced_lines=len(unsynced),
        unsynced_samples=_samples(unsynced),
        malformed={reason: len(by_fate[reason]) for reason in _MALFORMED if reason in by_fate},
    )


def _samples(arrivals: list[Arrival]) -> int:
    return sum(len(arrival.message.t) for arrival in arrivals)


def _is_late(arrival: Arrival) -> bool:
    return instant(arrival.received_at_ms).date() > instant(arrival.message.t[-1]).date()


def _trips(cars: tuple[Car, ...], accepted: list[Arrival]) -> dict[str, tuple[Trip, ...]]:
    samples: dict[str, dict[int, list[tuple[int, float]]]] = {car.vin: {} for car in cars}
    for arrival in accepted:
        message = arrival.message
        if message.trip is not None:
            trip = samples[message.car.vin].setdefault(message.trip, [])
            trip += [sample for sample, ahead in zip(_speeds(message), arrival.ahead, strict=True) if not ahead]
    return {vin: tuple(_trip(sorted(trips[number])) for number in sorted(trips)) for vin, trips in samples.items()}


def _speeds(message: Message) -> list[tuple[int, float]]:
    """Time (epoch ms) and speed (km/h) of each sample of a running message."""
    match message.content:
        case Telemetry(signals=signals):
            speeds = signals["SPEED"]
        case FlatSample(speed=speed):
            speeds = [speed]
        case Event():
            speeds = []
    return [(t, speed or 0.0) for t, speed in zip(message.t, speeds, strict=True)]


def _trip(samples: list[tuple[int, float]]) -> Trip:
    distance_km = sum(
        (before + after) / 2 * (end - begin) / HOUR_MS
        for (begin, before), (end, after) in pairwise(samples)
        if end - begin <= _LONGEST_INTERVAL_MS
    )
    fastest = max(speed for _, speed in samples)
    return Trip(instant(samples[0][0]), instant(samples[-1][0]), distance_km, fastest, len(samples))
