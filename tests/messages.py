"""Messages and landing objects for tests: short to write, valid unless told otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.store import LandingObject, LandingStore

VIN = "WVWZZZ1JZXW000001"
OTHER_VIN = "WVWZZZ1JZXW000002"
START = datetime(2025, 12, 1, 8, 0, tzinfo=UTC)
SECRET = b"a secret for tests, 32 bytes long"


def ms(at: datetime) -> int:
    """UTC epoch milliseconds."""
    return round(at.timestamp() * 1000)


def telemetry(seq: int = 1, *, at: datetime = START, samples: int = 3, **changes: Any) -> bytes:
    """A telemetry.v1 payload of a car driving at 36 km/h, one sample a second."""
    message = {
        "schema": "telemetry.v1",
        "vin": VIN,
        "device_id": "edge-00001",
        "boot_id": "boot-1",
        "seq": seq,
        "phase": "running",
        "t": [ms(at) + 1000 * i for i in range(samples)],
        "clock": "synced",
        "signals": {"RPM": [1500.0] * samples, "SPEED": [36] * samples},
    }
    return msgspec.json.encode(message | changes)


def event(seq: int = 1, *, at: datetime = START, type_: str = "ignition_on", **changes: Any) -> bytes:
    """An events.v1 payload."""
    message = {
        "schema": "events.v1",
        "vin": VIN,
        "device_id": "edge-00001",
        "boot_id": "boot-1",
        "seq": seq,
        "t": ms(at),
        "type": type_,
        "detail": {},
    }
    return msgspec.json.encode(message | changes)


def correction(
    kind: str = "merge", *, at: datetime = START, until: datetime | None = None, **changes: Any
) -> bytes:
    """A correction.v1 payload; of a split, `at` is its instant."""
    interval = {"at": ms(at)} if kind == "split" else {"from": ms(at), "to": ms(until or at)}
    message = {"schema": "correction.v1", "vin": VIN, "kind": kind, "set_at": ms(START), **interval}
    return msgspec.json.encode(message | changes)


def profile(*, at: datetime = START, **facts: Any) -> bytes:
    """A profile.v1 payload."""
    return msgspec.json.encode({"schema": "profile.v1", "vin": VIN, "set_at": ms(at)} | facts)


def weather(
    low_c: float = -5.0, *, issued: datetime = START, at: datetime | None = None, hours: int = 24, **changes: Any
) -> bytes:
    """A weather.v1 payload: every hour as cold."""
    begin = ms(at or issued)
    message = {
        "schema": "weather.v1",
        "vin": VIN,
        "issued_at": ms(issued),
        "source": "a test",
        "latitude": 47.5,
        "longitude": 19.1,
        "t": [begin + 3_600_000 * n for n in range(hours)],
        "temperature_c": [low_c] * hours,
    }
    return msgspec.json.encode(message | changes)


def land(
    store: LandingStore,
    *payloads: bytes,
    at: datetime = START + timedelta(minutes=1),
    channel: str = "telemetry",
    name: str | None = None,
) -> LandingObject:
    """Land payloads as one object that arrived at `at`."""
    envelopes = [Envelope("vehicle/edge-00001/telemetry", ms(at), payload) for payload in payloads]
    landed = store.land(channel, envelopes, at=at, name=name)
    assert landed is not None
    return landed
