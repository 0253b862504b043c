"""A small synthetic fleet's traffic: what the demo lands and what tests compare the lake with.

Pure: no I/O, no clock, no randomness but the seed's. The same arguments give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from random import Random

from smartdrive_dagster.fleet.cars import Car, Fault, garage
from smartdrive_dagster.fleet.messages import Channel
from smartdrive_dagster.fleet.network import Arrival, deliver
from smartdrive_dagster.fleet.period import HOUR_MS, Period, instant
from smartdrive_dagster.fleet.spool import spool
from smartdrive_dagster.fleet.truth import Trip, Truth, truth_of
from smartdrive_dagster.landing.envelope import Envelope

__all__ = ["Car", "Delivery", "Fault", "Trip", "Truth", "fleet"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes one landing object: the messages of one channel that arrive within one hour.

    Attributes:
        channel: the landing channel.
        at: arrival of the last message, UTC.
        envelopes: in order of arrival.
    """

    channel: Channel
    at: datetime
    envelopes: tuple[Envelope, ...]


def fleet(seed: int, *, cars: int = 5, days: int = 6, until: date) -> tuple[list[Delivery], Truth]:
    """Generate the traffic of a fleet and what is true about it.

    Every kind of fault appears in the default fleet; a smaller one has those that its cars and days have room for
    (the late spool needs four days, a redelivery on a later day two).

    Args:
        seed: equal seeds give equal bytes. A car's drives depend on the seed, its number and the days alone.
        cars: how many; the fifth of each five sends telemetry.v0.
        days: how many event days.
        until: the last event day, UTC. Nothing arrives after it.

    Returns:
        Deliveries in order of arrival, and the truth.

    Raises:
        ValueError: cars or days is less than 1.
    """
    if cars < 1 or days < 1:
        raise ValueError(f"a fleet needs at least one car and one day, not {cars} and {days}")
    period = Period(until - timedelta(days - 1), days)
    garaged = garage(cars)
    messages = [
        message
        for number, car in enumerate(garaged)
        for message in spool(_random(f"{seed}/car/{number}"), car, period)
    ]
    arrivals = deliver(_random(f"{seed}/network"), messages, period)
    return _deliveries(arrivals), truth_of(garaged, arrivals)


def _deliveries(arrivals: list[Arrival]) -> list[Delivery]:
    def place(arrival: Arrival) -> tuple[int, Channel]:
        return arrival.received_at_ms // HOUR_MS, arrival.message.channel

    found = []
    for (_, channel), group in groupby(sorted(arrivals, key=place), key=place):
        lines = list(group)
        envelopes = tuple(Envelope(line.message.topic, line.received_at_ms, line.payload) for line in lines)
        found.append(Delivery(channel, instant(lines[-1].received_at_ms), envelopes))
    return sorted(found, key=lambda delivery: (delivery.at, delivery.channel))


def _random(name: str) -> Random:
    return Random(name)  # noqa: S311 (a simulation, no secret)
