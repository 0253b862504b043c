"""Named points at which a process of the lake kills itself, armed from outside: what is tested has no seam for it.

A failpoint is armed by writing its name to a file, and goes off once, in whichever armed process reaches it first:
that process takes the file away and dies. So the file's being gone proves that the point was reached.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import Table

FOLDER: Final = "FAILPOINTS_FOLDER"
"""The variable that names a fuse's folder to the processes of a code location."""

LANDED: Final = "after-landing-write"
_ARMED, _OPEN, _FIRED = "armed", "open", "fired"


def before(table: Table | str) -> str:
    """The point at which a table is there and its commit has not begun."""
    return f"before-{table}-commit"


def inside(table: Table | str) -> str:
    """Some moment after a table's commit has begun; it may be over by then."""
    return f"inside-{table}-commit"


def data_files(table: Table | str) -> str:
    """The point at which a commit's Parquet is written, and the log does not name it yet."""
    return f"after-{table}-data-files"


def after(table: Table | str) -> str:
    """The point at which a table's commit is over."""
    return f"after-{table}-commit"


def between(first: Mapping[str, int], last: Mapping[str, int], grown: Collection[str]) -> list[str]:
    """Every failpoint on the way from one state of a lake to a later one.

    Args:
        first: version of each table by its name, in the order in which they are written.
        last: their later versions.
        grown: those to which rows were added, not only marks.
    """
    return [
        LANDED,
        *(
            point(name)
            for name in last
            if last[name] > first.get(name, -1)
            for point in (before, inside, data_files, after)
            if point is not data_files or name in grown
        ),
    ]


@dataclass(frozen=True, slots=True)
class Fuse:
    """Where a failpoint is armed.

    Attributes:
        folder: holds the file that arms, and the note of the process that died.
    """

    folder: Path

    def arm(self, name: str, *, passes: int = 0, delay_s: float = 0.0) -> None:
        """Arm a failpoint.

        Args:
            name: of the failpoint.
            passes: how often a process gets by before it dies.
            delay_s: how long after the begin of the commit an `inside` point goes off.
        """
        self.disarm()
        draft = self.folder / f".{_ARMED}"
        draft.write_text(json.dumps({"name": name, "passes": passes, "delay_s": delay_s}))
        draft.rename(self.folder / _ARMED)

    def disarm(self) -> None:
        """Arm nothing, and forget what went off."""
        for name in (_ARMED, _OPEN, _FIRED):
            (self.folder / name).unlink(missing_ok=True)

    def armed(self) -> dict[str, Any]:
        """What is armed; empty where nothing is."""
        with suppress(FileNotFoundError):
            return dict(json.loads((self.folder / _ARMED).read_text()))
        return {}

    def fired(self) -> dict[str, Any] | None:
        """What the process that died has noted: its number, the table's version before its commit."""
        with suppress(FileNotFoundError):
            return dict(json.loads((self.folder / _FIRED).read_text() or "{}"))
        return None

    def die(self, version: int) -> None:
        """Kill this process, unless another one was faster."""
        self._kill({"process": os.getpid(), "version": version})

    def offer(self, log: str, version: int) -> None:
        """Let `lets_through` kill this process as soon as it sends a commit to a table's log."""
        note = {"process": os.getpid(), "version": version, "log": log}
        (self.folder / _OPEN).write_text(json.dumps(note))

    def lets_through(self, path: str) -> bool:
        """Whether a PUT is none that an offered process shall not live to see: that one is killed instead."""
        with suppress(FileNotFoundError):
            note = json.loads((self.folder / _OPEN).read_text() or "{}")
            if note and path.startswith(note["log"]) and self.armed():
                self._kill(note)
                return False
        return True

    def _kill(self, note: dict[str, Any]) -> None:
        with suppress(FileNotFoundError):
            (self.folder / _ARMED).rename(self.folder / _FIRED)
            (self.folder / _FIRED).write_text(json.dumps(note))
            os.kill(note["process"], signal.SIGKILL)


class Failpoints:
    """All failpoints of this process, patched into the landing store and the lake.

    Args:
        fuse: says which of them is armed, and may say so later.
    """

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self._reached: dict[str, int] = {}
        self._patch_landing()
        self._patch_lake()

    def _is_due(self, name: str) -> bool:
        armed = self._fuse.armed()
        if armed.get("name") != name:
            return False
        self._reached[name] = self._reached.get(name, 0) + 1
        return self._reached[name] > armed["passes"]

    def _patch_landing(self) -> None:
        put = LandingStore.put

        def deadly(store: LandingStore, key: str, body: bytes) -> bool:
            done = put(store, key, body)
            if done and self._is_due(LANDED):
                self._fuse.die(-1)
            return done

        LandingStore.put = deadly  # type: ignore[method-assign]

    def _patch_lake(self) -> None:
        write = Lakehouse._try_write

        def deadly(lakehouse: Lakehouse, snapshot: Snapshot, *given: Any) -> bool:
            table, version = snapshot.table, snapshot.version
            if self._is_due(before(table)):
                self._fuse.die(version)
            if self._is_due(inside(table)):
                delay_s = self._fuse.armed().get("delay_s", 0.0)
                threading.Timer(delay_s, self._fuse.die, [version]).start()
            if self._is_due(data_files(table)):
                with self._dying_at_data_files(lakehouse.uri(table), version):
                    return write(lakehouse, snapshot, *given)
            done = write(lakehouse, snapshot, *given)
            if done and self._is_due(after(table)):
                self._fuse.die(version)
            return done

        Lakehouse._try_write = deadly  # type: ignore[method-assign]

    @contextmanager
    def _dying_at_data_files(self, uri: str, version: int) -> Iterator[None]:
        """On disk die as soon as a new Parquet file is seen; on S3 before the commit's PUT goes out."""
        if uri.startswith("s3://"):
            self._fuse.offer(f"{uri.removeprefix('s3:/')}/_delta_log/", version)
            yield
            return
        is_over = threading.Event()
        table = Path(uri)
        before = set(table.rglob("*.parquet"))

        def watch() -> None:
            while not is_over.is_set():
                if set(table.rglob("*.parquet")) - before:
                    self._fuse.die(version)
                time.sleep(0)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()
