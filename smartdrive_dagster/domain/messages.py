"""One message: from its bytes to a validated value, or to the reason why it is rejected.

The structs mirror `contracts/`; the contract's examples are decoded in the tests. A rejection's detail says where
the message is at fault and never quotes a value of it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from smartdrive_dagster.domain.identity import digest, is_vin, message_id

MAX_PAYLOAD_BYTES: Final = 102_400
MAX_SAMPLES: Final = 10_000
MAX_DEPTH: Final = 64

# Patterns end in \Z: Python's $ would let a line feed pass.
_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
_Seq = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_SignalName = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}\Z")]
_Instant = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Instants = Annotated[list[_Instant], msgspec.Meta(min_length=1, max_length=MAX_SAMPLES)]
_Signals = Annotated[dict[_SignalName, list[float | None]], msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Measure = Annotated[float, msgspec.Meta(ge=0)]
_Phase = Literal["ready", "cranking", "running", "post_drive", "sentinel", "suspended"]
_EventType = Literal[
    "ignition_on",
    "ignition_off",
    "external_drain",
    "power_saving",
    "low_voltage",
    "resumed",
    "dtc_scan",
    "health",
]
# The v0 senders' own names of signals; any other pid_code is a python-OBD name already.
_V0_SIGNALS: Final = {"BATTERY_VOLTAGE": "ELM_VOLTAGE"}


@dataclass(frozen=True, slots=True)
class Sender:
    """Which message of which boot of which device; a rejected message may tell it too."""

    device_id: str
    boot_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message is not accepted: a reason code and where the fault lies."""

    reason: str
    detail: str
    sender: Sender | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A decoded telemetry message.

    Attributes:
        t_ms: UTC epoch milliseconds of each sample.
        signals: per signal one value a sample; None was not measured.
        sender: None for telemetry.v0.
    """

    vin: str
    device_id: str | None
    message_id: str
    content_digest: str
    phase: str | None
    is_synced: bool
    t_ms: list[int]
    signals: dict[str, list[float | None]]
    sender: Sender | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Dtc:
    """One trouble code of a scan."""

    code: str
    status: str
    title: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded event message; counts as one sample."""

    vin: str
    device_id: str
    message_id: str
    content_digest: str
    t_ms: int
    type: str
    detail: str
    dtcs: tuple[Dtc, ...]
    sender: Sender | None = field(default=None, compare=False)


class _Head(msgspec.Struct):
    schema: Any = msgspec.UNSET


class _Sender(msgspec.Struct):
    device_id: _Name
    boot_id: _Name
    seq: _Seq


class _TelemetryV1(msgspec.Struct):
    vin: str
    device_id: _Name
    boot_id: _Name
    seq: _Seq
    phase: _Phase
    t: _Instants
    clock: Literal["synced", "unsynced"]
    signals: _Signals


class _EventV1(msgspec.Struct):
    vin: str
    device_id: _Name
    boot_id: _Name
    seq: _Seq
    t: _Instant
    type: _EventType
    detail: dict[str, Any]


class _ScannedCode(msgspec.Struct):
    code: Annotated[str, msgspec.Meta(pattern=r"^[PCBU][0-3][0-9A-F]{3}\Z")]
    title: str | None = None


_Codes = Annotated[list[_ScannedCode], msgspec.Meta(max_length=256)]


class _DtcScan(msgspec.Struct):
    stored: _Codes | None
    pending: _Codes | None
    permanent: _Codes | None
    mil: bool | None = None


class _Health(msgspec.Struct):
    spool_age_s: _Measure
    achieved_hz: dict[_SignalName, _Measure]
    restarts: _Count
    drops: _Count


_TimestampV0 = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
        r"(Z|[+-][0-9]{2}:[0-9]{2})?\Z"
    ),
]


class _PidV0(msgspec.Struct):
    pid_code: _SignalName
    value: float | None
    timestamp: _TimestampV0


class _TelemetryV0(msgspec.Struct):
    vin: str
    timestamp: _TimestampV0
    rpm: float | None
    voltage: float | None
    pids: Annotated[list[_PidV0], msgspec.Meta(max_length=256)]
    speed: float | None = None


_FIELDS_V1: Final = 1 + len(_TelemetryV1.__struct_fields__)  # and the name of the schema
_Shape = TypeVar("_Shape", _DtcScan, _Health)
_HEAD = msgspec.json.Decoder(_Head)
_SENDER = msgspec.json.Decoder(_Sender)
_TELEMETRY_V1 = msgspec.json.Decoder(_TelemetryV1)
_EVENT_V1 = msgspec.json.Decoder(_EventV1)
_TELEMETRY_V0 = msgspec.json.Decoder(_TelemetryV0)


def decode_message(payload: bytes) -> Telemetry | Event | Rejection:
    """Decode one message's bytes by the schema that it names; without a name it is telemetry.v0.

    Any bytes at all give a value; nothing is raised.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        return Rejection("payload_too_large", f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are allowed")
    rejection: Rejection
    try:
        payload.decode()
        return _by_schema(payload)
    except UnicodeDecodeError as error:
        rejection = Rejection("not_utf8", f"byte {error.start}")
    except msgspec.ValidationError as error:
        rejection = validation_rejection(str(error), _sender(payload))
    except (msgspec.DecodeError, ValueError) as error:
        rejection = Rejection("not_json", str(error))
    except FieldTwiceError:
        rejection = Rejection("schema_violated", "A field stands twice in one object")
    except RecursionError:
        rejection = Rejection("not_json", "nested too deeply")
    return rejection


def _by_schema(payload: bytes) -> Telemetry | Event | Rejection:
    match _HEAD.decode(payload).schema:
        case "telemetry.v1":
            telemetry = _TELEMETRY_V1.decode(payload)
            # As many colons as fields: each field stands once, and there is none that we do not know.
            if payload.count(b":") != _FIELDS_V1 + len(telemetry.signals):
                refuse_a_field_twice(payload)
            return _telemetry_v1(telemetry)
        case "events.v1":
            event = _EVENT_V1.decode(payload)
            refuse_a_field_twice(payload)
            return _event_v1(event)
        case msgspec.UNSET:
            sample = _TELEMETRY_V0.decode(payload)
            refuse_a_field_twice(payload)
            return _telemetry_v0(sample)
        case _:
            return Rejection("schema_unknown", "known are telemetry.v1, events.v1 and telemetry.v0 (no name)")


class FieldTwiceError(Exception):
    """A message names a field twice."""


def refuse_a_field_twice(payload: bytes) -> None:
    """Of a field that stands twice readers take the first or the last: whose message it is would depend on them.

    Raises:
        FieldTwiceError: an object names a field twice.
        RecursionError: it is nested too deeply.
    """
    json.loads(
        payload.decode(),
        object_pairs_hook=_each_once,
        parse_int=str,  # no value is looked at, however long
        parse_float=str,
        strict=False,
    )


def _each_once(fields: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in fields}) != len(fields):
        raise FieldTwiceError


def validation_rejection(text: str, sender: Sender | None = None) -> Rejection:
    """Turn the words of a failed validation into a rejection that quotes no value."""
    if text.startswith("Invalid enum value"):  # the only text that quotes what was sent
        return Rejection("schema_violated", f"Expected a known value{text[text.rindex(' - at `$') :]}", sender)
    if "out of range" in text or (text.startswith("Expected `object`") and "$" not in text):
        return Rejection("not_json", text, sender)
    return Rejection("schema_violated", text, sender)


def _sender(payload: bytes) -> Sender | None:
    """Who sent a message that fits no schema, if that much of it can be read."""
    try:
        found = _SENDER.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return None
    return Sender(found.device_id, found.boot_id, found.seq)


def _telemetry_v1(message: _TelemetryV1) -> Telemetry | Rejection:
    sender = Sender(message.device_id, message.boot_id, message.seq)
    if not is_vin(message.vin):
        return Rejection("vin_invalid", "$.vin", sender)
    samples = len(message.t)
    for position, values in enumerate(message.signals.values()):
        if len(values) != samples:
            detail = f"signal {position + 1} has {len(values)} values for {samples} times"
            return Rejection("length_mismatch", detail, sender)
    content = (message.vin, message.phase, message.clock, message.t, message.signals)
    return Telemetry(
        vin=message.vin,
        device_id=message.device_id,
        message_id=message_id(message.device_id, message.boot_id, message.seq),
        content_digest=content_digest("telemetry.v1", content),
        phase=message.phase,
        is_synced=message.clock == "synced",
        t_ms=message.t,
        signals=message.signals,
        sender=sender,
    )


def _event_v1(message: _EventV1) -> Event | Rejection:
    sender = Sender(message.device_id, message.boot_id, message.seq)
    if not is_vin(message.vin):
        return Rejection("vin_invalid", "$.vin", sender)
    canonical = _canonical(message.detail)
    dtcs: tuple[Dtc, ...] = ()
    match message.type:
        case "dtc_scan":
            scan = _shaped(message.detail, _DtcScan)
            statuses = (("stored", scan.stored), ("pending", scan.pending), ("permanent", scan.permanent))
            dtcs = tuple(Dtc(code.code, status, code.title) for status, codes in statuses for code in codes or ())
        case "health":
            _shaped(message.detail, _Health)
    return Event(
        vin=message.vin,
        device_id=message.device_id,
        message_id=message_id(message.device_id, message.boot_id, message.seq),
        content_digest=content_digest("events.v1", (message.vin, message.t, message.type, canonical)),
        t_ms=message.t,
        type=message.type,
        detail=msgspec.json.encode(message.detail, order="sorted").decode(),
        dtcs=dtcs,
        sender=sender,
    )


def _shaped(detail: dict[str, Any], shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.convert(detail, shape)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{error} - of `$.detail`") from error


def _canonical(value: Any, depth: int = 0) -> Any:
    """The same value for equal numbers, so that 1 and 1.0 are one content.

    Raises:
        msgspec.ValidationError: a whole number is beyond the range of a 64-bit float.
        RecursionError: it is nested deeper than `MAX_DEPTH`, whatever the caller's own depth.
    """
    if depth > MAX_DEPTH:
        raise RecursionError
    match value:
        case dict():
            return {name: _canonical(part, depth + 1) for name, part in value.items()}
        case list():
            return [_canonical(part, depth + 1) for part in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case int() if abs(value) > sys.float_info.max:
            raise msgspec.ValidationError("Number out of range - at `$.detail`")
        case _:
            return value


def _telemetry_v0(message: _TelemetryV0) -> Telemetry | Rejection:
    if not is_vin(message.vin):
        return Rejection("vin_invalid", "$.vin")
    try:
        at = datetime.fromisoformat(message.timestamp)
    except ValueError:
        return Rejection("schema_violated", "Expected an ISO 8601 time - at `$.timestamp`")
    try:
        t_ms = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (OverflowError, ValueError):
        return Rejection("schema_violated", "Expected a time of the years 1 to 9999 - at `$.timestamp`")
    signals: dict[str, list[float | None]] = {}
    for pid in message.pids:
        signals[_V0_SIGNALS.get(pid.pid_code, pid.pid_code)] = [pid.value]
    own = {"RPM": message.rpm, "ELM_VOLTAGE": message.voltage, "SPEED": message.speed}
    signals |= {name: [value] for name, value in own.items() if value is not None}
    content = content_digest("telemetry.v0", (message.vin, t_ms, signals))
    return Telemetry(
        vin=message.vin,
        device_id=None,
        message_id=content,
        content_digest=content,
        phase=None,
        is_synced=True,
        t_ms=[t_ms],
        signals=signals,
    )


def content_digest(schema: str, content: tuple[object, ...]) -> str:
    """128 bits over a message's content, the same for the same values however they were written."""
    return digest(schema.encode() + b"\x1f" + msgspec.json.encode(content, order="sorted"))
