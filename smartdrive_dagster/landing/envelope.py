"""One landed line: topic, time of receipt and the message, as text or as base64 of its bytes."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

_LATEST_MS = 4_102_444_800_000  # 2100-01-01: a receipt beyond it is a fault of the lander, not a date


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as it was received.

    Attributes:
        topic: the MQTT topic, or what an importer puts in its place.
        received_at_ms: UTC epoch milliseconds.
        payload: the message's bytes.
    """

    topic: str
    received_at_ms: int
    payload: bytes


class EnvelopeError(ValueError):
    """The line is no envelope; the text says where and never quotes the line."""


class _Line(msgspec.Struct):
    topic: str
    received_at: int
    payload: str | msgspec.UnsetType = msgspec.UNSET
    payload_b64: str | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_Line)
_ENCODER = msgspec.json.Encoder()


def encode(envelope: Envelope) -> bytes:
    """One line without its newline; bytes that are no UTF-8 travel as base64."""
    line: dict[str, str | int] = {"topic": envelope.topic, "received_at": envelope.received_at_ms}
    try:
        line["payload"] = envelope.payload.decode()
    except UnicodeDecodeError:
        line["payload_b64"] = base64.b64encode(envelope.payload).decode("ascii")
    return _ENCODER.encode(line)


def decode(line: bytes) -> Envelope:
    """Parse one landed line.

    Raises:
        EnvelopeError: it is not JSON, lacks a field, carries both kinds of payload or neither, or its time of
            receipt lies outside 1970 to 2100.
    """
    try:
        parsed = _DECODER.decode(line)
        text, encoded = parsed.payload, parsed.payload_b64
        if (text is msgspec.UNSET) == (encoded is msgspec.UNSET):
            raise EnvelopeError("exactly one of payload and payload_b64 is needed")
        if not 0 <= parsed.received_at < _LATEST_MS:
            raise EnvelopeError("received_at is outside 1970 to 2100")
        if isinstance(text, str):
            payload = text.encode()
        else:
            payload = base64.b64decode(str(encoded).encode("ascii"), validate=True)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error) as error:
        raise EnvelopeError(_without_values(error)) from error
    return Envelope(parsed.topic, parsed.received_at, payload)


def _without_values(error: Exception) -> str:
    return str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
