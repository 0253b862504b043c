"""Time as the collector sees it: seconds that never jump, and a wall clock that may be wrong until it is synced.

A Pi has no battery-backed clock: it starts in the past and learns the time when it gets a network, often long
after the first sample. Samples are therefore taken on the monotonic clock and stamped once the kernel says that
the wall clock is disciplined.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Final, Protocol

_TIME_ERROR: Final = 5  # adjtimex(2): the system clock is not synchronized to a reliable server
_TIMEX_BYTES: Final = 256  # more than `struct timex` takes on any architecture


class Clock(Protocol):
    """What the collector needs of time."""

    def now(self) -> float:
        """Monotonic seconds; the origin is free."""

    def wall_ms(self) -> int:
        """UTC epoch milliseconds, right or not."""

    def is_synced(self) -> bool:
        """Whether `wall_ms` can be believed."""

    def wait(self, event: threading.Event, duration_s: float) -> bool:
        """Wait for an event, at most so many seconds of this clock; whether it is set."""


class SystemClock:
    """The machine's own clocks.

    Args:
        is_trusted: believe the wall clock without asking the kernel: for a machine with a battery-backed clock,
            or a container whose host keeps the time.
    """

    def __init__(self, *, is_trusted: bool = False) -> None:
        self._is_trusted = is_trusted

    def now(self) -> float:
        """Monotonic seconds since the machine's start; the time that it slept counts."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_ms(self) -> int:
        """UTC epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def is_synced(self) -> bool:
        """Whether the kernel's clock is disciplined: chrony, ntpd and systemd-timesyncd all tell it so."""
        return self._is_trusted or is_disciplined()

    def wait(self, event: threading.Event, duration_s: float) -> bool:
        """Wait for an event, at most so many seconds."""
        return event.wait(max(duration_s, 0.0))


def is_disciplined() -> bool:
    """What adjtimex(2) says of the wall clock; False where the kernel cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = int(libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))  # modes = 0: read only
    except (OSError, AttributeError):
        return False
    return state >= 0 and state != _TIME_ERROR
