"""From one landing object to its lines, in memory that does not grow with the object.

A small object is read once. A larger one is read twice: first to find out what it is (how many lines, whether it
breaks off, whether it is too large), keeping nothing; then line by line, in parts of bounded size.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import zstandard

from smartdrive_dagster.landing.envelope import EnvelopeError, decode
from smartdrive_dagster.landing.store import LandingObject, LandingStore, UnreadableError

MAX_EXPANDED_BYTES: Final = 256 * 1024 * 1024
MAX_LINES: Final = 1_000_000  # an envelope takes 250 bytes or more: only an object of blank lines has as many
MAX_KEPT_BYTES: Final = 16 * 1024 * 1024  # of one line; a message has a hundredth of it
MAX_LINE_BYTES: Final = 1024 * 1024  # beyond it a line is no envelope: it is kept and not parsed
PART_BYTES: Final = 16 * 1024 * 1024
PART_LINES: Final = 50_000
# Nobody lands as much; somebody who may write to a bucket can make a run read forever.
MAX_HASHED_BYTES: Final = 16 * 1024**3
_CHUNK: Final = 1 << 20
# Deflate expands 1,032 times at most: 4 KiB to 4 MiB. The rest of a piece is copied at the end of each member,
# which may be 20 bytes long; that forbids large pieces too.
_GZIP_STEP = 4096
# A zstd block expands to at most 128 KiB and may be stored in 4 bytes: 512 bytes expand to 16 MiB at most.
_ZSTD_STEP = 512
_WHOLE_OBJECT = 0

ERASED: Final = "erased"
STUB: Final = b'{"erased":true}'
"""What stands in the place of a line whose vehicle was erased, so that all others keep their numbers."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an object, or (line_no 0) the object as a whole where it could not be read.

    Attributes:
        line_no: from 1.
        topic: None where the line is no envelope.
        received_at_ms: UTC epoch milliseconds; None where the line is no envelope.
        payload: the message's bytes; the line itself where it is no envelope; None for a whole object and for a
            line too long to keep.
        fault: reason code; `ERASED` for a line that was erased; None where the line is an envelope.
    """

    line_no: int
    topic: str | None
    received_at_ms: int | None
    payload: bytes | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a first look at an object found, and the way to its lines.

    Attributes:
        entry: the object.
        sha256: of its stored bytes (of the first 16 GiB, if there are more).
        lines: how many lines `parts` will yield, the line 0 included.
        fault: why the object could not be read to its end; None where it could.
    """

    entry: LandingObject
    sha256: bytes
    lines: int
    fault: str | None
    _store: LandingStore = field(repr=False)
    _body: bytearray | None = field(repr=False)

    def parts(self) -> Iterator[list[Line]]:
        """All lines in order, each once, in parts of about `PART_BYTES` and at most `PART_LINES`.

        Raises:
            FileNotFoundError: the object is gone meanwhile.
            UnreadableError: it cannot be read any more, or is another than before.
        """
        part: list[Line] = [_whole(self.fault)] if self.fault else []
        size = 0
        for number, raw in enumerate(self._raw_lines(), start=1):
            part.append(_line(number, raw))
            size += len(raw or b"")
            if size >= PART_BYTES or len(part) >= PART_LINES:
                yield part
                part, size = [], 0
        if part:
            yield part

    def _raw_lines(self) -> Iterator[bytes | None]:
        if self.fault == _TooLargeError.fault:
            return
        if self._body is not None:
            body = memoryview(self._body)
            yield from _split((bytes(body[at : at + _CHUNK]) for at in range(0, len(body), _CHUNK)), self.fault)
            return
        stored = _Hashed(self._store.read(self.entry.key))
        with contextlib.suppress(_TruncatedError, _CorruptError):
            yield from _split(expand(stored, self.entry.key), self.fault)
        if stored.sha256() != self.sha256:
            raise UnreadableError("it changed while it was being read, and a landing object may not")


class BrokenError(Exception):
    """An object that cannot be read to its end; `fault` is the reason code."""

    fault: str


class _TooLargeError(BrokenError):
    fault = "object_too_large"


class _TruncatedError(BrokenError):
    fault = "object_truncated"


class _CorruptError(BrokenError):
    fault = "object_corrupt"


class _Hashed(Iterator[bytes]):
    """Chunks as they come, hashed on the way."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._left = MAX_HASHED_BYTES

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._hash.update(chunk[: self._left] if len(chunk) > self._left else chunk)
        self._left = max(0, self._left - len(chunk))
        return chunk

    def sha256(self) -> bytes:
        """The digest, after reading what nobody has asked for."""
        while self._left and next(self, None) is not None:
            pass
        return self._hash.digest()


def read_object(store: LandingStore, entry: LandingObject, *, max_bytes: int = MAX_EXPANDED_BYTES) -> Reading:
    """Look through one object; blank lines are lines too (and no envelopes).

    An object that expands to more than `max_bytes` or `MAX_LINES` becomes one line 0 with the fault
    ``object_too_large``. One whose compression breaks off or is damaged keeps the lines before the break; what
    follows is one line 0. A line of more than `MAX_KEPT_BYTES` is counted, and not kept.

    Raises:
        FileNotFoundError: the object is gone.
        UnreadableError: it is there and cannot be read.
    """
    stored = _Hashed(store.read(entry.key))
    body: bytearray | None = bytearray()
    size = ends = 0
    last = b"\n"
    fault: str | None = None
    try:
        if entry.size_bytes > max_bytes:
            raise _TooLargeError
        for chunk in expand(stored, entry.key):
            size += len(chunk)
            ends += chunk.count(b"\n")
            last = chunk[-1:] or last
            if size > max_bytes or ends > MAX_LINES:
                raise _TooLargeError
            if size > PART_BYTES or ends > PART_LINES:
                body = None
            if body is not None:
                body += chunk
    except BrokenError as error:
        fault = error.fault
    if fault == _TooLargeError.fault:
        return Reading(entry, stored.sha256(), 1, fault, store, None)
    lines = ends + 1 if fault or last != b"\n" else ends
    return Reading(entry, stored.sha256(), lines, fault, store, body)


def read_lines(store: LandingStore, entry: LandingObject) -> list[Line]:
    """All lines of one object at once, as `read_object` finds them: for objects that are known to be small."""
    return [line for part in read_object(store, entry).parts() for line in part]


def _split(chunks: Iterator[bytes], fault: str | None) -> Iterator[bytes | None]:
    """Lines without their ends; None for one too long to keep. What follows the last end is a line, or a break."""
    pending = bytearray()
    length = 0
    for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            length += len(piece)
            yield bytes(pending) + piece if length <= MAX_KEPT_BYTES else None
            pending.clear()
            length = 0
        length += len(rest)
        if length <= MAX_KEPT_BYTES:
            pending += rest
        else:
            pending.clear()
    if length and fault is None:
        yield bytes(pending) if length <= MAX_KEPT_BYTES else None


def _line(number: int, raw: bytes | None) -> Line:
    if raw is None:
        return Line(number, None, None, None, "line_too_large")
    if raw == STUB:
        return Line(number, None, None, None, ERASED)
    if len(raw) > MAX_LINE_BYTES:  # ten times the largest message: not worth the copies that parsing it takes
        return Line(number, None, None, raw, "envelope_malformed")
    try:
        envelope = decode(raw)
    except EnvelopeError:
        return Line(number, None, None, raw, "envelope_malformed")
    return Line(number, envelope.topic, envelope.received_at_ms, envelope.payload, None)


def _whole(fault: str) -> Line:
    return Line(_WHOLE_OBJECT, None, None, None, fault)


def expand(chunks: Iterator[bytes], key: str) -> Iterator[bytes]:
    """Stored bytes as they were before they were compressed, which the key's ending tells.

    Raises:
        BrokenError: the compression breaks off or is damaged; what could be read was given before.
    """
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
