"""Lines of landing objects erased in place: the one change that a landing object may see.

The object keeps its key and its number of lines. An erased line becomes a stub, all others stay byte for byte, and
what made an object unreadable beyond some line goes on doing so.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

import zstandard

from smartdrive_dagster.landing.backends import STAGED
from smartdrive_dagster.landing.reader import MAX_EXPANDED_BYTES, STUB, BrokenError, expand
from smartdrive_dagster.landing.store import LandingObject, LandingStore, UnreadableError

Names = Callable[[bytes], bool]
"""Whether a line, as it is stored, names somebody who was erased."""

# After a whole member or frame: the beginning of another one that never ends, and what begins none.
_BREAKS: Final = {
    (".gz", "object_truncated"): b"\x1f\x8b\x08",
    (".gz", "object_corrupt"): b"\0\0\0\0",
    (".zst", "object_truncated"): b"\x28\xb5\x2f\xfd",
    (".zst", "object_corrupt"): b"\0\0\0\0\0\0\0\0",
}


@dataclass(frozen=True, slots=True)
class Searched:
    """One landing object after a search.

    Attributes:
        entry: as it is now.
        lines: how many were erased.
        is_whole: whether all of it could be searched; an object beyond the bound on its size is not.
    """

    entry: LandingObject
    lines: int = 0
    is_whole: bool = True


class _TooLargeError(Exception):
    """More than is ever kept of an object."""


def erase_lines(store: LandingStore, entry: LandingObject, names: Names) -> Searched:
    """Replace the lines of one object that name somebody by stubs.

    Raises:
        FileNotFoundError: the object is gone.
        UnreadableError: it is there and cannot be read.
    """
    try:
        if not any(names(line) for line, _ in _lines(store.read(entry.key), entry.key)):
            return Searched(entry)
    except _TooLargeError:
        return Searched(entry, is_whole=False)
    kept: list[bytes] = []
    erased, fault = 0, None
    for line, broken in _lines(store.read(entry.key), entry.key):
        if broken is not None:  # what came after the last end of a line is no line
            erased, fault = erased + names(line), broken
            kept.append(b"")
            break
        is_named = names(line)
        erased += is_named
        kept.append(STUB if is_named else line)
    body = _compressed(b"\n".join(kept), entry.key, fault)
    store.replace(entry.key, body)
    return Searched(replace(entry, size_bytes=len(body)), erased)


def erase_copies(store: LandingStore, names: Names) -> int:
    """Delete what nobody sees and holds somebody: older versions in a bucket, and files of writers that died.

    Returns:
        How many were deleted.
    """
    deleted = 0
    for copy in store.copies():
        is_staged = PurePosixPath(copy.key).name.startswith(STAGED)
        if is_staged or _is_named(store.read_copy(copy), copy.key, names):
            store.delete_copy(copy)
            deleted += 1
    return deleted


def named_strays(store: LandingStore, strays: tuple[str, ...], names: Names) -> int:
    """How many files that are no landing objects hold somebody; they are nobody's to change."""
    found = 0
    for key in strays:
        try:
            found += names(key.encode()) or _is_named(store.read(key), key, names)
        except (OSError, UnreadableError):
            continue
    return found


def _is_named(stored: Iterator[bytes], key: str, names: Names) -> bool:
    try:
        return any(names(line) for line, _ in _lines(stored, key))
    except _TooLargeError:
        return False


def _lines(stored: Iterator[bytes], key: str) -> Iterator[tuple[bytes, str | None]]:
    """Lines without their ends; where an object breaks off, last what no reader counts as a line, and why."""
    pending = bytearray()
    size = 0
    try:
        for chunk in expand(stored, key):
            size += len(chunk)
            if size > MAX_EXPANDED_BYTES:
                raise _TooLargeError
            *complete, rest = chunk.split(b"\n")
            for piece in complete:
                yield bytes(pending) + piece, None
                pending.clear()
            pending += rest
    except BrokenError as error:
        yield bytes(pending), error.fault
        return
    yield bytes(pending), None


def _compressed(body: bytes, key: str, fault: str | None) -> bytes:
    suffix = PurePosixPath(key).suffix
    if suffix == ".gz":
        body = gzip.compress(body, 6, mtime=0)
    elif suffix == ".zst":
        body = zstandard.ZstdCompressor().compress(body)
    return body + _BREAKS[suffix, fault] if fault else body
