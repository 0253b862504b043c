"""The lake's work in a process that a failpoint may kill, started in milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from typing import Final

from tests.faults import unguarded
from tests.faults.failpoints import Fuse
from tests.faults.lake_work import Delivery, Home, work_under_fire

_SLOWEST_S: Final = 240.0
# Each process is forked from one that has imported everything and computed nothing: neither Polars' nor delta-rs'
# threads exist there yet, and jemalloc's survive a fork.
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.faults.lake_work"])


class TrialError(Exception):
    """A process ended as none should; the text says how."""


def dies(
    home: Home, deliveries: Sequence[Delivery], fuse: Fuse, *, endpoint: str = "", guard: str = unguarded.NONE
) -> bool:
    """Do the work in a process of its own; whether that was killed.

    Args:
        home: the lake and its landing zone.
        deliveries: what was sent so far.
        fuse: says at which failpoint it is to die.
        endpoint: where it finds S3, if not where this process does.
        guard: a guard of `unguarded` to drop.

    Raises:
        TrialError: it failed, or did not end.
    """
    variables = {**os.environ, **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})}
    given = (home, deliveries, fuse.folder, guard, variables)
    process = _PROCESSES.Process(target=work_under_fire, args=given)
    process.start()
    process.join(_SLOWEST_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TrialError(f"a process did not end within {_SLOWEST_S:g} s")
    if process.exitcode not in {0, -signal.SIGKILL}:
        raise TrialError(f"a process ended with {process.exitcode}")
    return process.exitcode != 0
