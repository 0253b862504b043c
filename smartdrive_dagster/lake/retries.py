"""When to try again, and how long to wait before: for lost races and for an object store's passing faults."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError, TableNotFoundError

FIRST_WAIT_S: Final = 0.02
LONGEST_WAIT_S: Final = 10.0
MAX_FAULTS: Final = 10
# The clients have retries of their own: a store that is away for longer is for whoever starts runs.
PATIENCE_S: Final = 30.0
_T = TypeVar("_T")


def attempts(
    most: int, *, draw: Callable[[], float] = random.random, sleep: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Number attempts from 0, waiting before each but the first.

    The wait is uniform between nothing and a bound that doubles ("full jitter"): writers that collided once would
    collide again if all of them waited equally long. It starts from the length of the attempt before, since two
    attempts that take seconds are not kept apart by milliseconds.

    Args:
        most: how many attempts there are.
        draw: uniform over [0, 1).
        sleep: waits for so many seconds.
    """
    took_s = 0.0
    for number in range(most):
        if number:
            first_s = max(FIRST_WAIT_S, took_s)
            sleep(draw() * min(LONGEST_WAIT_S, first_s * 2.0 ** min(number - 1, 32)))
        began = time.monotonic()
        yield number
        took_s = time.monotonic() - began


def is_behind_a_purge(error: Exception) -> bool:
    """Whether an error says that the log of a version is gone: there is a newer one to begin anew on."""
    return isinstance(error, (DeltaError, FileNotFoundError)) and "_delta_log" in str(error)


class Faults:
    """The faults that one piece of work meets.

    Args:
        is_remote: it lies in an object store; a disk's faults do not pass.
        now: seconds of a monotonic clock.
    """

    def __init__(self, *, is_remote: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._is_remote = is_remote
        self._now = now
        self._count = 0
        self._first_at: float | None = None

    def allow(self, error: Exception) -> bool:
        """Count a fault, and say whether to try again: it may pass, and there were not too many for too long.

        delta-rs and Polars give refusals, time-outs and broken connections as `OSError` or as `DeltaError`, with
        nothing but their text to tell them from a wrong password; so these are tried again too, in vain.
        """
        now = self._now()
        self._first_at = now if self._first_at is None else self._first_at
        self._count += 1
        lasting = (CommitFailedError, SchemaMismatchError, TableNotFoundError, FileNotFoundError)
        may_pass = isinstance(error, (OSError, DeltaError)) and not isinstance(error, lasting)
        is_early = self._count < MAX_FAULTS and now - self._first_at < PATIENCE_S
        return self._is_remote and may_pass and is_early


def past_faults(work: Callable[[], _T], *, is_remote: bool) -> _T:
    """Do something that may be done twice, again after each passing fault of an object store.

    Raises:
        OSError: the fault did not pass, or it is one of a disk, which does not.
        DeltaError: likewise.
    """
    faults = Faults(is_remote=is_remote)
    for _ in attempts(MAX_FAULTS):
        try:
            return work()
        except Exception as error:
            if not faults.allow(error):
                raise
    raise AssertionError("the last attempt returns or raises")
