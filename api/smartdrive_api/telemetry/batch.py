"""What a batch holds: its messages as they were written, and why one of them may not come from this caller.

Of a message only that is judged which says whose it is. Everything else the lake judges, which keeps what it
refuses and says why. Nothing here does I/O, and no error quotes a message.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from smartdrive_api.problems import FieldError, Problem, invalid

MAX_SENT: Final = 1_048_576  # bytes of a body, compressed or not: what an AWS balancer hands to a function
MAX_EXPANDED: Final = 2_097_152  # bytes: seven hours of driving, or so
MAX_MESSAGES: Final = 1_000
MAX_MESSAGE: Final = 102_400  # bytes, contracts/README.md
_GZIP: Final = 16 + zlib.MAX_WBITS
_SPACE: Final = re.compile(r"[ \t\n\r]*")  # RFC 8259
_LINE: Final = re.compile(r"[^\n]+")


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        text: as it was written.
        fields: what stands in it.
    """

    text: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sender:
    """What an account may send.

    Attributes:
        device_id: the one that its messages name.
        vehicles: by VIN, the instant from which samples are its own; None: no bound.
    """

    device_id: str
    vehicles: Mapping[str, datetime | None]


def expanded(body: bytes, encoding: str) -> bytes:
    """A body without its Content-Encoding.

    Raises:
        Problem: 413, where it is larger than `MAX_EXPANDED`; 415 or 400, where it cannot be expanded.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding != "gzip":
        raise Problem(
            415,
            "unsupported_encoding",
            "A body is sent as it is or compressed with gzip.",
            headers={"Accept-Encoding": "gzip"},
        )
    reader = zlib.decompressobj(_GZIP)
    try:
        found = reader.decompress(body, MAX_EXPANDED + 1)
    except zlib.error:
        raise Problem(400, "invalid_gzip", "The body is not what gzip writes.") from None
    if len(found) > MAX_EXPANDED:
        raise Problem(413, "too_large", f"A batch has at most {MAX_EXPANDED:,} bytes when it is expanded.")
    if not reader.eof or reader.unused_data:
        raise Problem(400, "invalid_gzip", "The body is cut off, or something follows its end.")
    return found


def read(body: bytes, media_type: str) -> list[Message]:
    """The messages of a batch.

    Args:
        body: UTF-8, expanded.
        media_type: `application/json`, an array of messages, or `application/x-ndjson`, a message a line.

    Raises:
        Problem: 400, 413, 415 or 422, where it is not 1 to `MAX_MESSAGES` JSON objects that can be told apart.
    """
    split = _SPLITS.get(media_type)
    if split is None:
        raise Problem(415, detail=f"The body has to be {' or '.join(_SPLITS)}.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _not_json() from None
    found: list[Message] = []
    for message in split(text):
        if len(found) == MAX_MESSAGES:
            raise Problem(413, "too_many_messages", f"A batch has at most {MAX_MESSAGES:,} messages.")
        found.append(message)
    if not found:
        raise invalid(FieldError(pointer="#", code="too_short", detail="At least one message is expected."))
    return found


def objections(messages: list[Message], sender: Sender) -> list[FieldError]:
    """What keeps messages from being this sender's, one error each at most; their indexes count from 0."""
    found = []
    for index, message in enumerate(messages):
        if wrong := _objection(message.fields, sender):
            field, code, detail = wrong
            found.append(FieldError(pointer=f"#/{index}/{field}", code=code, detail=detail))
    return found


def _objection(fields: Mapping[str, Any], sender: Sender) -> tuple[str, str, str] | None:
    vin = fields.get("vin")
    if fields.get("schema") != "telemetry.v1":
        return "schema", "schema_unknown", "telemetry.v1 is expected."
    if fields.get("device_id") != sender.device_id:
        return "device_id", "not_your_device", "The device_id that GET /v1/account tells is expected."
    if not isinstance(vin, str) or vin not in sender.vehicles:
        return "vin", "not_your_vehicle", "The VIN of a vehicle is expected that is confirmed as yours."
    begins = sender.vehicles[vin]
    return None if begins is None else _objection_to_times(fields.get("t"), begins)


def _objection_to_times(times: object, begins: datetime) -> tuple[str, str, str] | None:
    if not isinstance(times, list) or not all(type(at) is int for at in times):
        return "t", "not_times", "Whole milliseconds are expected, to compare them with the vehicle's data_from."
    if times and min(times) < begins.timestamp() * 1000:
        return "t", "before_yours", "Samples are older than the vehicle's data_from: it was another's then."
    return None


def _array(text: str) -> Iterator[Message]:
    at = _after_space(text, 0)
    if text[at : at + 1] != "[":
        raise _not_json()
    inner = _after_space(text, at + 1)
    if text[inner : inner + 1] == "]":
        at = inner
    index = 0
    while text[at : at + 1] != "]":
        begins = _after_space(text, at + 1)
        # A window, because a message's length is known only once it is read, and reading takes memory.
        message, length = _message(text[begins : begins + MAX_MESSAGE + 1], index)
        yield message
        at = _after_space(text, begins + length)
        index += 1
        if text[at : at + 1] not in {",", "]"}:
            raise _not_json()
    if _after_space(text, at + 1) != len(text):
        raise _not_json()


def _lines(text: str) -> Iterator[Message]:
    index = 0
    for line in _LINE.finditer(text):
        content = line[0].strip(" \t\r")
        if content:
            message, length = _message(content, index)
            if length != len(content):
                raise _unreadable(index)
            yield message
            index += 1


_SPLITS: Final[Mapping[str, Callable[[str], Iterator[Message]]]] = {
    "application/json": _array,
    "application/x-ndjson": _lines,
}


def _message(text: str, index: int) -> tuple[Message, int]:
    """The object with which a text begins, and its length in characters."""
    try:
        fields, length = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        raise _unreadable(index) from None
    if not isinstance(fields, dict) or len(text[:length].encode()) > MAX_MESSAGE:
        raise _unreadable(index)
    return Message(text[:length], fields), length


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice: whose message it is would depend on the reader")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_each_once, parse_constant=_no_number)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _not_json() -> Problem:
    return Problem(400, "invalid_json", "The body is not an array of JSON objects, or not one JSON object a line.")


def _unreadable(index: int) -> Problem:
    detail = f"A JSON object of at most {MAX_MESSAGE:,} bytes is expected, in which no name stands twice."
    return invalid(FieldError(pointer=f"#/{index}", code="unreadable", detail=detail))
