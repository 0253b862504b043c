"""Who holds a file, as Linux tells it in /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LOCK_FIELDS: Final = 6


def lock_holders(path: Path) -> list[int]:
    """Processes that hold an advisory lock (`flock`) on a file, whosever they are; [] where there is no such file.

    Asking by taking the lock would turn away a collector that starts at that moment.
    """
    try:
        file = path.stat()
        locks = (_PROC / "locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    wanted = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    fields = [line.split() for line in locks]
    return sorted(
        {int(one[4]) for one in fields if len(one) > _LOCK_FIELDS and one[1:2] == ["FLOCK"] and one[5] == wanted}
    )


def openers(path: Path) -> list[int]:
    """Other processes that have a file open; those of other users are seen by root only."""
    target = path.resolve()
    found = set()
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_points_to(descriptor, target) for descriptor in (process / "fd").iterdir()):
                found.add(int(process.name))
    return sorted(found - {os.getpid()})


def named(pids: list[int]) -> str:
    """Numbers and names for a person: `4211 (screen)`."""
    return ", ".join(f"{pid} ({_name(pid)})" for pid in pids)


def _points_to(descriptor: Path, target: Path) -> bool:
    try:
        return os.readlink(descriptor) == str(target)
    except OSError:  # closed meanwhile
        return False


def _name(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown"
