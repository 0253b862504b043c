"""A rebuild of the configured lake that kills itself after a number of commits: a process of its own.

Usage: python -m tests.commands.killed_rebuild COMMITS
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from smartdrive_dagster.cli import app
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse


def die_after(commits: int) -> None:
    """Kill this process right after so many commits."""
    write, done = Lakehouse._try_write, 0

    def deadly(lakehouse: Lakehouse, *given: Any) -> Commit | None:
        nonlocal done
        commit = write(lakehouse, *given)
        done += 1
        if done == commits:
            os.kill(os.getpid(), signal.SIGKILL)
        return commit

    Lakehouse._try_write = deadly  # type: ignore[method-assign]


if __name__ == "__main__":
    die_after(int(sys.argv[1]))
    app(["rebuild"])
