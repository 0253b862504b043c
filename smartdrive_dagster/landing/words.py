"""Facts on their way into landing: what an owner says, and the weather that a service told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.store import LandingObject, LandingStore


def payload_of(fact: Mapping[str, object]) -> bytes:
    """A fact's bytes; what it does not say is left out."""
    return msgspec.json.encode({name: value for name, value in fact.items() if value is not None})


def land_words(
    store: LandingStore, channel: str, payloads: Iterable[bytes], *, at: datetime, name: str | None = None
) -> LandingObject | None:
    """Land facts as one object; None where one of that name was there before.

    Args:
        store: the landing zone.
        channel: corrections, profiles or weather.
        payloads: one fact each.
        at: now.
        name: opaque name, for one that shall not be landed twice.
    """
    received_ms = round(at.timestamp() * 1000)
    lines = [Envelope(f"facts/{channel}", received_ms, payload) for payload in payloads]
    return store.land(channel, lines, at=at, name=name)
