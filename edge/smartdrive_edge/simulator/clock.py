"""Simulated time: as fast as the wall clock, faster, or skipping ahead."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Final

SLOW: Final = 4.0
_FASTEST: Final = 100_000
_SKIPPED_FROM_S: Final = 0.4
_GRAIN_S: Final = 0.001  # no operating system waits for less


class Clock:
    """Simulated seconds since the scenario began.

    Whoever talks to an accelerated simulator takes the time and sleeps by the same clock, so that both agree on
    how long a second is.

    Args:
        speed: simulated seconds per wall second.
        slow: from when to when, simulated seconds, at most `SLOW` of them pass per wall second: what is over in a
            second is gone at a hundred times the speed before a busy machine has looked. In order of time.

    Raises:
        ValueError: the speed is not a positive number.
    """

    def __init__(self, speed: float = 1.0, slow: Sequence[tuple[float, float]] = ()) -> None:
        if not 0 < speed <= _FASTEST:
            msg = f"the speed must be a positive number of simulated seconds per second, at most 1e5, not {speed}"
            raise ValueError(msg)
        self._speed = speed
        self._slow = tuple(slow) if speed > SLOW else ()
        self._now_s = 0.0
        self._seen_s = time.monotonic()
        self._lock = threading.Lock()

    def now(self) -> float:
        """Simulated seconds since the start."""
        with self._lock:
            return self._advance()

    def sleep(self, duration_s: float) -> None:
        """Wait for simulated seconds."""
        time.sleep(max(self.wall(duration_s), 0.0))

    def wall(self, duration_s: float) -> float:
        """How many wall seconds some simulated seconds take from now on."""
        now_s = self.now()
        slow_s = sum(
            max(0.0, min(end_s, now_s + duration_s) - max(start_s, now_s)) for start_s, end_s in self._slow
        )
        return (duration_s - slow_s) / self._speed + slow_s / SLOW

    def skip(self, duration_s: float) -> None:
        """Let simulated seconds pass at once: a parked night before a start in real time.

        Raises:
            ValueError: the duration is negative; simulated time never goes back.
        """
        if duration_s < 0:
            msg = f"time does not go back: cannot skip {duration_s} s"
            raise ValueError(msg)
        with self._lock:
            self._now_s = self._advance() + duration_s

    def _advance(self) -> float:
        """Let the wall seconds since the last look pass."""
        wall_s = time.monotonic()
        left_s, self._seen_s = wall_s - self._seen_s, wall_s
        while self._slow and left_s > 0:
            start_s, end_s = self._slow[0]
            left_s -= self._pass(left_s, self._speed, until_s=start_s)
            left_s -= self._pass(left_s, SLOW, until_s=end_s)
            if self._now_s < end_s:
                return self._now_s
            self._slow = self._slow[1:]
        self._pass(left_s, self._speed)
        return self._now_s

    def _pass(self, wall_s: float, speed: float, until_s: float = math.inf) -> float:
        """Let wall seconds pass, at most until a moment; how many it took."""
        passed_s = max(0.0, min(wall_s * speed, until_s - self._now_s))
        self._now_s += passed_s
        return passed_s / speed


class SimulatedClock:
    """A simulated car's time as the collector's `smartdrive_edge.clock.Clock`.

    While the collector waits, nothing happens that it could see: simulated time is skipped then, so that parked
    hours pass at once and a drive at the simulator's speed.

    Args:
        clock: the simulator's.
        began_ms: when the scenario began, UTC epoch milliseconds.
        ends_at_s: when it ends, simulated seconds.
        over: set when it has ended.
    """

    def __init__(self, clock: Clock, *, began_ms: int, ends_at_s: float, over: threading.Event) -> None:
        self._clock = clock
        self._began_ms = began_ms
        self._ends_at_s = ends_at_s
        self._over = over

    def now(self) -> float:
        """Simulated seconds since the scenario began."""
        now = self._clock.now()
        if now >= self._ends_at_s:
            self._over.set()
        return now

    def wall_ms(self) -> int:
        """UTC epoch milliseconds."""
        return self._began_ms + round(self.now() * 1000)

    def is_synced(self) -> bool:
        """Simulated time is right."""
        return True

    def wait(self, event: threading.Event, duration_s: float) -> bool:
        """Let simulated time pass, at once where it is long."""
        wall_s = self._clock.wall(max(duration_s, 0.0))
        if duration_s < _SKIPPED_FROM_S and wall_s >= _GRAIN_S:
            return event.wait(wall_s)
        self._clock.skip(min(duration_s, max(0.0, self._ends_at_s - self._clock.now())))
        return event.is_set()
