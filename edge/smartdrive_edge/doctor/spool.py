"""The spool, opened for reading alone, and the room it has."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from smartdrive_edge.config import Config
from smartdrive_edge.doctor.findings import Finding, fail, ok, warn
from smartdrive_edge.spool_schema import MIGRATIONS

_MB: Final = 1_000_000
_LEAST_FREE: Final = 5 * _MB
_OWN: Final = "sudo install -d -m 700 -o smartdrive-edge -g smartdrive-edge"


def check_spool(config: Config) -> Iterator[Finding]:
    """Look at the folder, the file, what was set aside, and the disk."""
    folder = config.state_dir
    if not folder.is_dir():
        yield _missing(folder)
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield fail("spool", f"{folder} may not be written by this user", f"{_OWN} {folder}")
        return
    else:
        if stat.S_IMODE(folder.stat().st_mode) & stat.S_IRWXO:
            yield warn(
                "spool", f"{folder} may be entered by anyone, and the spool holds VINs", f"chmod 700 {folder}"
            )
        yield _content(config.spool_path)
        yield from _set_aside(config.spool_path)
    yield _room(folder, config.spool.limit_mb)


def _missing(folder: Path) -> Finding:
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if os.access(parent, os.W_OK):
        return ok("spool", f"{folder} is not there yet; the first run makes it")
    return fail(
        "spool", f"{folder} is not there, and {parent} may not be written by this user", f"{_OWN} {folder}"
    )


def _content(path: Path) -> Finding:
    if not path.exists():
        return ok("spool", f"{path} is not there yet; the first run makes it")
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5)
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            messages, waiting, oldest_ms = database.execute(
                "SELECT count(*), count(waiting), min(created_ms) FROM messages"
            ).fetchone()
            drops = dict(database.execute("SELECT kind, count FROM drops"))
        finally:
            database.close()
    except sqlite3.Error as error:
        return fail(
            "spool",
            f"{path} cannot be read: {error}",
            "where it is damaged, the collector sets it aside at its next start and goes on with a fresh one",
        )
    if version > len(MIGRATIONS):
        return fail(
            "spool", f"{path} is of version {version}", "it was made by a newer smartdrive-edge: install that"
        )
    text = f"{messages} messages"
    if waiting:
        text += f", {waiting} of them waiting for the clock"
    if oldest_ms is not None:
        text += f", the oldest of {datetime.fromtimestamp(oldest_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    if drops:
        lost = ", ".join(f"{count} {kind}" for kind, count in sorted(drops.items()))
        return warn(
            "spool",
            f"{text}; dropped for want of room since it was made: {lost}",
            "raise spool.limit_mb, or see why nothing lands",
        )
    return ok("spool", f"{text}, none dropped")


def _set_aside(path: Path) -> Iterator[Finding]:
    found = [one for one in path.parent.glob(f"{path.name}.damaged-*") if not one.name.endswith(("-wal", "-shm"))]
    if found:
        yield warn(
            "spool",
            f"{len(found)} damaged files were set aside, the last {max(one.name for one in found)}",
            "the card may be dying: replace it; then delete the files, which hold VINs and take room",
        )


def _room(folder: Path, limit_mb: float) -> Finding:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / _MB:,.0f} MB free at {there}"
    if free < _LEAST_FREE:
        return fail("disk", text, "make room: the collector drops what it cannot keep")
    if free < limit_mb * _MB:
        return warn("disk", f"{text}, less than spool.limit_mb", "make room, or lower spool.limit_mb")
    return ok("disk", text)
