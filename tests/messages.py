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
