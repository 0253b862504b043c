"""From one landing object to its lines, within a bound on what it may expand to."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import zstandard

from smartdrive_dagster.landing.envelope import EnvelopeError, decode
from smartdrive_dagster.landing.store import LandingObject, LandingStore

MAX_EXPANDED_BYTES: Final = 256 * 1024 * 1024
MAX_LINE_BYTES: Final = 1024 * 1024
MAX_LINES: Final = 1_000_000  # an envelope takes 250 bytes or more: only an object of blank lines has as many
# Deflate expands 1,032 times at most: 4 KiB to 4 MiB. The rest of a piece is copied at the end of each member,
# which may be 20 bytes long; that forbids large pieces too.
_GZIP_STEP = 4096
# A zstd block expands to at most 128 KiB and may be stored in 4 bytes: 512 bytes expand to 16 MiB at most.
_ZSTD_STEP = 512
_WHOLE_OBJECT = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an object, or (line_no 0) the object as a whole where it could not be read.

    Attributes:
        line_no: from 1.
        topic: None where the line is no envelope.
        received_at_ms: UTC epoch milliseconds; None where the line is no envelope.
        payload: the message's bytes; the line itself where it is no envelope; None for a whole object.
        fault: reason code, None where the line is an envelope.
    """

    line_no: int
    topic: str | None
    received_at_ms: int | None
    payload: bytes | None
    fault: str | None


class _TooLargeError(Exception):
    pass


class _TruncatedError(Exception):
    pass


class _CorruptError(Exception):
    pass


def read_lines(store: LandingStore, entry: LandingObject, *, max_bytes: int = MAX_EXPANDED_BYTES) -> list[Line]:
    """Read all lines of one object; blank lines are lines too (and no envelopes).

    An object that expands to more than `max_bytes` or `MAX_LINES` becomes one line 0 with the fault
    ``object_too_large``. One whose compression breaks off or is damaged keeps the lines before the break; what
    follows is one line 0.

    Raises:
        FileNotFoundError: the object is gone.
    """
    if entry.size_bytes > max_bytes:
        return [_whole("object_too_large")]
    expanded = bytearray()
    ends = 0
    fault: str | None = None
    try:
        for chunk in _expand(store.read(entry.key), entry.key):
            expanded += chunk
            ends += chunk.count(b"\n")
            if len(expanded) > max_bytes or ends > MAX_LINES:
                raise _TooLargeError
    except _TooLargeError:
        return [_whole("object_too_large")]
    except _TruncatedError:
        fault = "object_truncated"
    except _CorruptError:
        fault = "object_corrupt"
    raw = bytes(expanded).split(b"\n")
    tail = raw.pop()
    if tail and fault is None:
        raw.append(tail)
    lines = [_line(number, line) for number, line in enumerate(raw, start=1)]
    return [_whole(fault), *lines] if fault else lines


def _line(number: int, raw: bytes) -> Line:
    if len(raw) > MAX_LINE_BYTES:  # ten times the largest message: not worth the copies that parsing it takes
        return Line(number, None, None, raw, "envelope_malformed")
    try:
        envelope = decode(raw)
    except EnvelopeError:
        return Line(number, None, None, raw, "envelope_malformed")
    return Line(number, envelope.topic, envelope.received_at_ms, envelope.payload, None)


def _whole(fault: str) -> Line:
    return Line(_WHOLE_OBJECT, None, None, None, fault)


def _expand(chunks: Iterator[bytes], key: str) -> Iterator[bytes]:
    if key.endswith(".gz"):
        return _inflate(_pieces(chunks, _GZIP_STEP))
    if key.endswith(".zst"):
        return _unzstd(_pieces(chunks, _ZSTD_STEP))
    return chunks


def _pieces(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def _inflate(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Gzip, several members in a row included, in steps of bounded size."""
    state: zlib._Decompress | None = None
    for piece in pieces:
        pending = piece
        while pending:
            state = state or zlib.decompressobj(wbits=31)
            try:
                yield state.decompress(pending)
            except zlib.error as error:
                raise _CorruptError from error
            if state.eof:
                pending, state = state.unused_data, None
            else:
                pending = b""
    if state is not None:
        raise _TruncatedError


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Zstandard frames, decoded one by one so that a missing end is seen."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    state: zstandard.ZstdDecompressionObj | None = None
    for piece in pieces:
        pending = piece
        while pending:
            state = state or decompressor.decompressobj()
            try:
                yield state.decompress(pending)
            except zstandard.ZstdError as error:
                raise _CorruptError from error
            if state.eof:
                pending, state = state.unused_data, None
            else:
                pending = b""
    if state is not None:
        raise _TruncatedError
