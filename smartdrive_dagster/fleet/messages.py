"""The sender's side of the contracts: what stands in a payload, before and after its identity is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from smartdrive_dagster.fleet.cars import Car
from smartdrive_dagster.fleet.drive import Series

Channel = Literal["telemetry", "events"]


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """telemetry.v1, fields in the order of the contract's example."""

    schema: str = "telemetry.v1"
    vin: str
    device_id: str
    boot_id: str = ""
    seq: int = 0
    phase: str
    t: list[int]
    clock: str = "synced"
    signals: dict[str, Series]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """events.v1."""

    schema: str = "events.v1"
    vin: str
    device_id: str
    boot_id: str = ""
    seq: int = 0
    t: int
    type: str
    detail: dict[str, object]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One further value of a telemetry.v0 sample."""

    pid_code: str
    value: float
    timestamp: str


class FlatSample(msgspec.Struct, frozen=True, kw_only=True):
    """telemetry.v0: one sample, whose naive timestamp is UTC; `t` is the same instant in epoch milliseconds."""

    vin: str
    timestamp: str
    rpm: float | None
    voltage: float | None
    speed: float | None
    pids: list[Reading]


Content = Telemetry | Event | FlatSample


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its sender spooled it.

    Attributes:
        car: who sends it.
        content: the payload before encoding.
        t: epoch milliseconds of its samples; one for an event.
        sent_at_ms: when its sender first tries to send it, epoch milliseconds.
        trip: number of the car's trip, from 0; None for what is no running sample.
    """

    car: Car
    content: Content
    t: tuple[int, ...]
    sent_at_ms: int
    trip: int | None = None

    @property
    def channel(self) -> Channel:
        """The landing channel."""
        return "events" if isinstance(self.content, Event) else "telemetry"

    @property
    def topic(self) -> str:
        """The MQTT topic; a telemetry.v0 sender has its VIN in it."""
        return f"vehicle/{self.car.device_id or self.car.vin}/{self.channel}"

    @property
    def payload(self) -> bytes:
        """Compact JSON."""
        return msgspec.json.encode(self.content)
