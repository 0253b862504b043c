"""The spool's file: opened, locked, kept under its limit, and set aside where it is damaged."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from smartdrive_edge.spool_schema import connect, is_damage, primary_code, transaction

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ROOM_ATTEMPTS: Final = 6
_FREED_AT_FIRST: Final = 8
_MOST_PAGES: Final = 0xFFFFFFFE  # SQLite's own limit
_RESERVE_BYTES: Final = 512 * 1024  # twice the longest journal
_SLACK_BYTES: Final = 256 * 1024  # that must be free beside it before the file may grow again
_log: Final = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class SpoolInUseError(RuntimeError):
    """Another process holds the spool."""


class SpoolFile:
    """One SQLite file that survives a full disk and damage, and never holds more than its limit.

    Args:
        path: of the file.
        limit_bytes: of pages in use.
        wall_ms: UTC epoch milliseconds, right or not; names what is set aside.
        begin: called whenever a file was opened, the first time and after damage.

    Attributes:
        set_aside: files found damaged and renamed.
        uncounted: drops that could not be written down yet, by kind.
    """

    def __init__(
        self, path: Path, *, limit_bytes: int, wall_ms: Callable[[], int], begin: Callable[[SpoolFile], None]
    ) -> None:
        self.set_aside: list[Path] = []
        self.uncounted: Counter[str] = Counter()
        self._path = path
        self._limit_bytes = limit_bytes
        self._wall_ms = wall_ms
        self._begin = begin
        self._is_failing = False
        self._reserve = path.with_name(f"{path.name}.reserve")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock(path)
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise

    def execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement within a `write`."""
        return self._database.execute(statement, values)

    def executemany(self, statement: str, rows: Sequence[Sequence[object]]) -> int:
        """Run one statement for many rows within a `write`; the number of rows it changed."""
        return self._database.executemany(statement, rows).rowcount

    def read(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Rows of a query; none where the file could not be read, which is logged."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._survive(error)
            return []

    def write(self, operation: Callable[[], _Result], *, may_drop_all: bool = False) -> _Result | None:
        """Run an operation in one transaction that is on the disk on return.

        Args:
            operation: may run several times.
            may_drop_all: whether crank captures and events may go to make room on a full disk.

        Returns:
            What the operation returned; None where it failed as a whole: the disk is full and nothing can be
            freed, or does not write, or the file was damaged (then a fresh one is open).
        """
        try:
            for attempt in range(_ROOM_ATTEMPTS):
                try:
                    with transaction(self._database):
                        self._count(self.uncounted)
                        result = operation()
                except sqlite3.OperationalError as error:
                    if primary_code(error) != sqlite3.SQLITE_FULL or attempt == _ROOM_ATTEMPTS - 1:
                        raise
                    self._make_room(attempt, may_drop_all=may_drop_all)
                else:
                    self.uncounted.clear()
                    self._is_failing = False
                    self._keep_reserve()
                    self._survive_deletion()
                    return result
        except sqlite3.Error as error:
            self._survive(error)
        return None

    def trim(self) -> None:
        """Drop what is worth least, oldest first, until the limit holds; within a `write`."""
        while self.used_bytes() > self._limit_bytes:
            if not self._drop_oldest(1, may_drop_all=True):
                return

    def drop(self, rows: Sequence[tuple[int, str]]) -> None:
        """Delete rows (number, kind) and count them; within a `write`."""
        self._database.executemany("DELETE FROM messages WHERE id = ?", [(number,) for number, _ in rows])
        self._count(Counter(kind for _, kind in rows))

    def used_bytes(self) -> int:
        """Pages in use, as bytes. A file never shrinks, so its size would say how full it once was."""
        pages, free, size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        self._database.close()
        self._lock.close()

    def _open(self) -> None:
        try:
            self._database = connect(self._path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise OSError(f"the spool {self._path} cannot be used: {error}; is it this user's?") from error
            self._put_aside(error)
            self._database = connect(self._path)
        self._inode = self._path.stat().st_ino
        self._begin(self)

    def _keep_reserve(self) -> None:
        if self._reserve.exists():
            return
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES + _SLACK_BYTES)
                file.truncate(_RESERVE_BYTES)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            self._cap(None)
        else:
            self._cap(_MOST_PAGES)

    def _cap(self, pages: int | None) -> None:
        """Let the file hold so many pages; None for as many as it has."""
        with contextlib.suppress(sqlite3.Error):  # what was committed before stays committed
            pages = pages or self._database.execute("PRAGMA page_count").fetchone()[0]
            self._database.execute(f"PRAGMA max_page_count = {pages}")

    def _survive(self, error: sqlite3.Error) -> None:
        if not is_damage(error):
            if not self._is_failing:  # once, not with every sample: the log may be on the same full disk
                _log.error("the spool could not be used: %s", error)
            self._is_failing = True
            return
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        self._put_aside(error)
        self._open()

    def _survive_deletion(self) -> None:
        """A file that somebody deleted lives on while it is open: what is in it is written where it belongs."""
        try:
            if self._path.stat().st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        _log.error("the spool %s was deleted or replaced while in use: it is written anew", self._path)
        self._lock.close()
        self._lock = lock(self._path)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._database.execute("VACUUM INTO ?", (str(self._path),))
        self._database.close()
        self._open()

    def _put_aside(self, error: sqlite3.Error) -> None:
        self.set_aside.append(set_aside(self._path, self._wall_ms()))
        _log.error("the spool was damaged (%s) and is now %s", error, self.set_aside[-1].name)

    def _make_room(self, attempt: int, *, may_drop_all: bool) -> None:
        """Give the reserve back and fold the journal in, which loses nothing; then drop ever more rows.

        Without a reserve a full disk is a trap: deleting needs room in the journal, and the journal's pages may
        have no room in the file. So that the file does not grow into what was given back, it may not grow at all
        until the reserve is there again; then "full" comes from the cap, with room to delete.
        """
        self._reserve.unlink(missing_ok=True)
        self._cap(None)
        with contextlib.suppress(sqlite3.OperationalError):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if attempt:
            with contextlib.suppress(sqlite3.OperationalError), transaction(self._database):
                self._drop_oldest(_FREED_AT_FIRST << attempt, may_drop_all=may_drop_all)

    def _drop_oldest(self, limit: int, *, may_drop_all: bool) -> bool:
        query = "SELECT id, kind FROM messages WHERE keep_longest <= ? ORDER BY keep_longest, id LIMIT ?"
        rows = self._database.execute(query, (may_drop_all, limit)).fetchall()
        self.drop(rows)
        return bool(rows)

    def _count(self, drops: Mapping[str, int]) -> None:
        statement = (
            "INSERT INTO drops VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET count = count + excluded.count"
        )
        self._database.executemany(statement, list(drops.items()))


def ulid(at_ms: int) -> str:
    """48 bits of milliseconds and 80 random bits in Crockford's base32: unique even where the clock is not set."""
    number = (max(0, at_ms) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def machine_boot_id() -> str:
    """Names the span over which the monotonic clock counts: Linux gives each of its own starts a UUID."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ulid(0)  # unknown: every start counts as a new one, and what waited goes out unsynced


def lock(path: Path) -> IO[bytes]:
    """Hold the spool for this process until the file is closed or the process dies.

    Raises:
        SpoolInUseError: another process has it.
    """
    file = path.with_name(f"{path.name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise SpoolInUseError(f"the spool {path} is in use: stop the other collector first") from error
    return file


def set_aside(path: Path, at_ms: int) -> Path:
    """Rename the file and its journal so that a fresh one can begin; nothing in it is thrown away."""
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
    target = path.with_name(f"{path.name}.damaged-{stamp}-{secrets.token_hex(2)}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{target}{suffix}")
    return target
