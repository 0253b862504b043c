"""The landing zone: immutable objects under ``{channel}/dt=YYYY-MM-DD/hr=HH/{name}.jsonl[.gz|.zst]``."""

from __future__ import annotations

import gzip
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from smartdrive_dagster.landing.backends import Backend, Bucket, Copy, Directory
from smartdrive_dagster.landing.envelope import Envelope, encode

CHANNELS: Final = ("telemetry", "events", "weather", "corrections", "profiles")
_KEY = re.compile(
    r"(?P<channel>[a-z]+)/dt=(?P<date>\d{4}-\d{2}-\d{2})/hr=(?P<hour>[01]\d|2[0-3])/"
    r"(?P<name>[A-Za-z0-9._-]+)\.jsonl(?P<compression>\.gz|\.zst)?",
    re.ASCII,
)
_FOLDER = re.compile(
    rf"(?:(?:{'|'.join(CHANNELS)})(?:/dt=\d{{4}}-\d{{2}}-\d{{2}}(?:/hr=(?:[01]\d|2[0-3]))?)?)?/", re.ASCII
)
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True, order=True)
class LandingObject:
    """One object as the listing shows it.

    Attributes:
        key: below the landing root.
        channel: first part of the key.
        landing_date: the ``dt=`` of the key.
        size_bytes: as stored, compressed or not.
        landed_at: when it was written, as the disk or the object store says; None for one that was not listed.
    """

    key: str
    channel: str
    landing_date: date
    size_bytes: int
    landed_at: datetime | None = field(default=None, compare=False)


class UnreadableError(Exception):
    """An object is there and cannot be read now: its permissions, the disk, or the object store's answer."""


class LandingUrlError(ValueError):
    """The landing root is neither a local path nor on S3."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies under the landing root: objects of the layout, and the keys of everything else.

    Attributes:
        objects: sorted by key.
        strays: files and folders that nothing reads: other names, links that lead nowhere, what is no file.
        unreadable: folders that cannot be listed now, with the reason; nobody knows what lies in them.
    """

    objects: tuple[LandingObject, ...]
    strays: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


class LandingStore:
    """Immutable objects below one root: a directory or ``s3://bucket/prefix``, through the same code.

    An object is complete or invisible: on a file system it is written aside, synced and linked into place, on S3
    it is one conditional PUT. S3 is reached as the usual ``AWS_…`` variables say, an endpoint override included.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        if "://" in url and not url.startswith("s3://"):
            raise LandingUrlError(f"landing root {url!r}: only a local path or s3://bucket/prefix is known")
        self._backend: Backend = Bucket(url) if url.startswith("s3://") else Directory(Path(url).absolute())

    def land(
        self, channel: str, envelopes: Iterable[Envelope], *, at: datetime, name: str | None = None
    ) -> LandingObject | None:
        """Write envelopes as one gzip-compressed object.

        Args:
            channel: one of `CHANNELS`.
            envelopes: in the order in which their lines shall stand.
            at: time of arrival; names the object's day and hour.
            name: opaque name, for a sender whose retry must hit the same object; by default a fresh ULID.

        Returns:
            The object, or None where one of that name was there before: it is immutable and stays as it is.

        Raises:
            ValueError: the channel is unknown or the name is not opaque enough for a key.
        """
        if channel not in CHANNELS:
            raise ValueError(f"channel {channel!r} is not one of {', '.join(CHANNELS)}")
        at = at.astimezone(UTC)
        key = f"{channel}/dt={at:%Y-%m-%d}/hr={at:%H}/{name or ulid(at)}.jsonl.gz"
        if not _KEY.fullmatch(key):
            raise ValueError(f"object name {name!r} may hold letters, digits, dot, dash and underscore only")
        body = gzip.compress(b"".join(encode(envelope) + b"\n" for envelope in envelopes), 6, mtime=0)
        if not self.put(key, body):
            return None
        return LandingObject(key, channel, at.date(), len(body))

    def put(self, key: str, body: bytes) -> bool:
        """Write one object; False where the key was taken (then nothing changed)."""
        return self._backend.put(key, body)

    def replace(self, key: str, body: bytes) -> None:
        """Put an object in the place of another one: for an erasure alone, since objects are immutable."""
        self._backend.replace(key, body)

    def delete(self, key: str) -> None:
        """Delete an object whose retention has ended, older versions included."""
        self._backend.delete(key)

    def copies(self) -> Iterator[Copy]:
        """What lies under the root and no listing shows: older versions, files of writers that died."""
        return self._backend.copies()

    def read_copy(self, copy: Copy) -> Iterator[bytes]:
        """A copy's stored bytes."""
        return self._backend.read_copy(copy)

    def delete_copy(self, copy: Copy) -> None:
        """Delete a copy for good."""
        self._backend.delete_copy(copy)

    def list(self, *, since: date | None = None, on: date | None = None) -> Listing:
        """List objects, all of them or those of some arrival days.

        Args:
            since: only arrival days from this one on.
            on: only this arrival day.
        """
        objects: list[LandingObject] = []
        strays: list[str] = []
        unreadable: list[str] = []
        for prefix in self._prefixes(since=since, on=on):
            for found in self._backend.keys(prefix):
                if found.size_bytes is None:
                    unreadable.append(found.key)
                elif entry := _parse(found.key, found.size_bytes, found.written_at):
                    objects.append(entry)
                elif not _FOLDER.fullmatch(found.key):
                    strays.append(found.key)
        objects.sort(key=lambda entry: entry.key)
        return Listing(tuple(objects), tuple(sorted(strays)), tuple(sorted(unreadable)))

    def read(self, key: str) -> Iterator[bytes]:
        """Read an object's stored bytes in chunks of about 1 MiB.

        Raises:
            FileNotFoundError: the object is gone (its retention ended).
            UnreadableError: it is there and cannot be read.
        """
        try:
            yield from self._backend.read(key)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UnreadableError(error.strerror or str(error)) from error

    def _prefixes(self, *, since: date | None, on: date | None) -> Iterator[str]:
        if on is not None:
            yield from (f"{channel}/dt={on.isoformat()}" for channel in CHANNELS)
        elif since is not None:
            for channel in CHANNELS:
                try:
                    folders = list(self._backend.folders(channel))
                except OSError:  # the listing will say so
                    yield channel
                    continue
                yield from (f"{channel}/{name}" for name in folders if name >= f"dt={since.isoformat()}")
        else:
            yield ""


def ulid(at: datetime) -> str:
    """A time-ordered opaque name: 48 bits of milliseconds and 80 random bits in Crockford's base32."""
    number = (int(at.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def _parse(key: str, size: int, written_at: datetime | None) -> LandingObject | None:
    match = _KEY.fullmatch(key)
    if match is None or match["channel"] not in CHANNELS:
        return None
    day = _day(match["date"])
    return LandingObject(key, match["channel"], day, size, written_at) if day else None


@lru_cache(maxsize=4096)
def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
