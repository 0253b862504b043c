"""An ingestion that kills itself at a chosen commit; run as a process of its own.

Usage: python -m tests.faults.worker LAKE LANDING DAY COMMIT WHEN DELAY GUARD
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import date
from typing import Any

from smartdrive_dagster.defs import ingestion as module
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.domain import claims
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from tests.messages import SECRET


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(commit: int, when: str, delay_s: float) -> None:
    """Die at the given commit: before it, after it, or `delay_s` after it began."""
    write = Lakehouse._try_write
    seen = 0

    def deadly(self: Lakehouse, *arguments: Any) -> Commit | None:
        nonlocal seen
        seen += 1
        if seen == commit and when == "before":
            kill()
        if seen == commit and when == "inside":
            threading.Timer(delay_s, kill).start()
        done = write(self, *arguments)
        if seen == commit:
            kill()
        return done

    Lakehouse._try_write = deadly  # type: ignore[method-assign]


def drop_guard() -> None:
    """The negative control: nobody asks what is there already."""
    module.settle = lambda batch, held: claims.settle(batch, held.clear())
    module._missing = lambda rows, table, days, replacing: lambda snapshot: rows.select(list(table.by_name))  # type: ignore[assignment]


def main() -> None:
    lake, landing, day, commit, when, delay, guard = sys.argv[1:]
    if guard == "off":
        drop_guard()
    if int(commit):
        arm(int(commit), when, float(delay))
    ingestion = Ingestion(Lakehouse(lake), LandingStore(landing), SECRET)
    while ingestion.advance(date.fromisoformat(day), Progress()):
        pass


if __name__ == "__main__":
    main()
