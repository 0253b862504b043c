"""Messages of `telemetry.v1` and `events.v1`: collected in columns, encoded once their clock is known.

Everything here counts time on the machine's monotonic clock. Only `encode` turns it into UTC, by one offset,
because a Pi without a clock of its own learns the time long after its first samples.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, get_args

MAX_PAYLOAD_BYTES: Final = 102_400  # contracts/README.md, rule 1
MAX_SAMPLES: Final = 10_000  # telemetry.v1, maxItems
_IDENTITY_BYTES: Final = 512  # what identity, VIN, phase and field names take at their longest, rounded up
_TIME_BYTES: Final = 17  # the longest integer of the schema (2^53 - 1) and its comma
_NULL_BYTES: Final = 5
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SIGNAL: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")

Phase = Literal["ready", "cranking", "running", "post_drive", "sentinel", "suspended"]
EventType = Literal[
    "ignition_on", "ignition_off", "external_drain", "power_saving", "low_voltage", "resumed", "dtc_scan", "health"
]
Value = float | int | None
Channel = Literal["telemetry", "events"]


class Kind(StrEnum):
    """What a message is worth when room runs out."""

    EVENT = "event"
    CRANK = "crank"
    RUNNING = "running"
    SENTINEL = "sentinel"


KIND_OF_PHASE: Final[Mapping[Phase, Kind]] = {
    "ready": Kind.RUNNING,
    "cranking": Kind.CRANK,
    "running": Kind.RUNNING,
    "post_drive": Kind.SENTINEL,
    "sentinel": Kind.SENTINEL,
    "suspended": Kind.SENTINEL,
}


class MessageError(ValueError):
    """The message would break its contract; the text says which rule and never quotes the VIN."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Samples in columns, not yet numbered and not yet on UTC.

    Attributes:
        vin: ISO 3779.
        phase: what the collector was doing.
        t: monotonic milliseconds, one per sample.
        signals: by python-OBD's command name and in its unit; each list as long as `t`, None for not measured.
    """

    vin: str
    phase: Phase
    t: list[int]
    signals: dict[str, list[Value]]

    @property
    def kind(self) -> Kind:
        """What it is worth when room runs out."""
        return KIND_OF_PHASE[self.phase]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing noticed, not yet numbered and not yet on UTC: `event` makes it.

    Attributes:
        vin: ISO 3779.
        t: when it happened, monotonic milliseconds.
        type: one of the contract's types.
        detail: the event's own fields, all of them of JSON.
    """

    vin: str
    t: int
    type: EventType
    detail: Mapping[str, object]

    @property
    def kind(self) -> Kind:
        """Always an event."""
        return Kind.EVENT


Message = Telemetry | Event


@dataclass(frozen=True, slots=True)
class Identity:
    """What a message *is*: never given twice, never the clock."""

    device_id: str
    boot_id: str
    seq: int


def event(vin: str, event_type: EventType, t_ms: int, detail: Mapping[str, object]) -> Event:
    """Make an event.

    Args:
        vin: ISO 3779.
        event_type: one of the contract's types.
        t_ms: when it happened, monotonic milliseconds.
        detail: the event's own fields; a float that is no number becomes null.

    Raises:
        MessageError: the VIN or the type is not of the contract's form, or `detail` is no JSON.
    """
    check_vin(vin)
    if event_type not in get_args(EventType):
        raise MessageError(f"event type {event_type!r} is not one of {', '.join(get_args(EventType))}")
    try:
        # Through JSON and back: what is kept is then a copy that nobody changes, and certain to be encoded later.
        return Event(vin, t_ms, event_type, json.loads(_json(_without_nan(detail))))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the detail of {event_type} is no JSON: {error}") from error


def encode(message: Message, identity: Identity, *, offset_ms: int | None) -> bytes:
    """The payload as it is sent, to the byte.

    Args:
        message: with its times in monotonic milliseconds.
        identity: as the spool gave it.
        offset_ms: UTC epoch milliseconds minus monotonic milliseconds; None where that was never learnt. Then the
            monotonic times stand as they are, under ``"clock": "unsynced"``: the lake counts and sets them aside.

    Raises:
        MessageError: the payload is over 102,400 bytes.
    """
    shift, clock = (0, "unsynced") if offset_ms is None else (offset_ms, "synced")
    head: dict[str, object] = {"vin": message.vin}
    head |= {"device_id": identity.device_id, "boot_id": identity.boot_id, "seq": identity.seq}
    if isinstance(message, Telemetry):
        head |= {"phase": message.phase, "t": [max(0, t + shift) for t in message.t], "clock": clock}
        payload = _json({"schema": "telemetry.v1", **head, "signals": message.signals})
    else:
        head |= {"t": max(0, message.t + shift), "type": message.type, "detail": message.detail}
        # events.v1 has no clock of its own, but lets a sender add fields; readers go by the impossible time.
        head |= {"clock": clock} if offset_ms is None else {}
        payload = _json({"schema": "events.v1", **head})
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageError(f"a payload of {len(payload):,} bytes is over {MAX_PAYLOAD_BYTES:,}")
    return payload


def to_waiting(message: Message) -> bytes:
    """A message as the spool keeps it until the clock is known; `from_waiting` reads it."""
    if isinstance(message, Telemetry):
        return _json(["telemetry", message.vin, message.phase, message.t, message.signals])
    return _json(["events", message.vin, message.t, message.type, message.detail])


def from_waiting(waiting: bytes) -> Message:
    """The message that `to_waiting` wrote.

    Raises:
        MessageError: it is not what was written: the storage has lost bits.
    """
    try:
        match json.loads(waiting):
            case ["telemetry", str(vin), str(phase), list(t), dict(signals)] if _are_columns(phase, t, signals):
                return Telemetry(vin, phase, t, signals)  # type: ignore[arg-type]
            case ["events", str(vin), int(t), str(event_type), dict(detail)] if event_type in get_args(EventType):
                return Event(vin, t, event_type, detail)  # type: ignore[arg-type]
    except (ValueError, RecursionError):
        pass
    raise MessageError("a message that waited for the clock cannot be read back: the storage has lost bits")


def channel_of(message: Message) -> Channel:
    """The last part of the topic that a message travels on."""
    return "telemetry" if isinstance(message, Telemetry) else "events"


def check_device_id(device_id: str) -> str:
    """Give back a device's name if it may stand in a topic.

    Raises:
        MessageError: it has other characters than the contract allows, or looks like a VIN.
    """
    if not _IDENTIFIER.fullmatch(device_id):
        raise MessageError("a device_id is 1 to 64 letters, digits, dots, dashes and underscores")
    if _VIN.fullmatch(device_id.upper()):
        raise MessageError("a device_id that looks like a VIN would put it into topics and logs: choose another")
    return device_id


def check_vin(vin: str) -> str:
    """Give back a VIN if it is of ISO 3779's form.

    Raises:
        MessageError: it is not; the text does not quote it.
    """
    if not _VIN.fullmatch(vin):
        raise MessageError("the VIN must have 17 capital letters and digits without I, O and Q (ISO 3779)")
    return vin


class Batch:
    """Collects samples of one vehicle until a message is due, by time, by size, or because the phase changed.

    Args:
        vin: ISO 3779.
        flush_after_ms: a message holds no two samples further apart than this.
        max_bytes: of the payload.

    Attributes:
        vin: of the vehicle.
    """

    def __init__(self, vin: str, *, flush_after_ms: int = 30_000, max_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self.vin = check_vin(vin)
        self._flush_after_ms = flush_after_ms
        self._max_bytes = min(max_bytes, MAX_PAYLOAD_BYTES)
        self._phase: Phase = "ready"
        self._clear()

    def add(self, phase: Phase, t_ms: int, values: Mapping[str, Value]) -> list[Telemetry]:
        """Take one sample.

        Args:
            phase: what the collector was doing.
            t_ms: monotonic milliseconds.
            values: what was measured, in python-OBD's units; a signal left out, None or no finite number is null.

        Returns:
            The message that this sample completed, if any; the sample itself then stands in the next.

        Raises:
            MessageError: a signal's name is not of the contract's form, or this one sample is too large.
        """
        if not values:
            return []
        for name in values:
            if not _SIGNAL.fullmatch(name):
                raise MessageError(f"signal {name!r} is not of the form {_SIGNAL.pattern}")
        done: list[Telemetry] = []
        if phase != self._phase or self._is_due(t_ms) or self._bytes_with(values) > self._max_bytes:
            done = self.flush()
            if self._bytes_with(values) > self._max_bytes:
                raise MessageError(f"one sample of {len(values):,} signals does not fit into one message")
        self._bytes = self._bytes_with(values)
        self._phase = phase
        for name in values:
            self._signals.setdefault(name, [None] * len(self._t))
        self._t.append(t_ms)
        for name, column in self._signals.items():
            column.append(_finite(values.get(name)))
        return done

    def due(self, now_ms: int) -> list[Telemetry]:
        """The message whose time has come, if any: a parked car's sample must not wait for the next one."""
        return self.flush() if self._is_due(now_ms) else []

    def flush(self) -> list[Telemetry]:
        """The message so far, if any."""
        done = [Telemetry(self.vin, self._phase, self._t, self._signals)] if self._t else []
        self._clear()
        return done

    def _is_due(self, now_ms: int) -> bool:
        full = len(self._t) >= MAX_SAMPLES
        return bool(self._t) and (full or now_ms - self._t[0] >= self._flush_after_ms)

    def _bytes_with(self, values: Mapping[str, Value]) -> int:
        size = self._bytes + _TIME_BYTES
        size += sum(_NULL_BYTES for name in self._signals if name not in values)
        for name, value in values.items():
            size += len(_json(_finite(value))) + 1
            if name not in self._signals:
                size += len(name) + 6 + _NULL_BYTES * len(self._t)
        return size

    def _clear(self) -> None:
        self._t: list[int] = []
        self._signals: dict[str, list[Value]] = {}
        self._bytes = _IDENTITY_BYTES


def _finite(value: Value) -> Value:
    if isinstance(value, bool):
        return int(value)
    return value if value is not None and math.isfinite(value) else None


def _without_nan(value: object) -> object:
    match value:
        case Mapping():
            return {key: _without_nan(one) for key, one in value.items()}
        case list() | tuple():
            return [_without_nan(one) for one in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _are_columns(phase: str, t: list[object], signals: dict[str, object]) -> bool:
    columns = [t, *signals.values()]
    return phase in KIND_OF_PHASE and all(
        isinstance(column, list)
        and len(column) == len(t)
        and all(isinstance(one, int | float) or (one is None and column is not t) for one in column)
        for column in columns
    )


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
