"""Simulated time: as fast as the wall clock, faster, or skipping ahead."""

from __future__ import annotations

import math
import time


class Clock:
    """Simulated seconds since the scenario began.

    Whoever talks to an accelerated simulator takes the time and sleeps by the same clock, so that both agree on
    how long a second is.

    Args:
        speed: simulated seconds per wall second.

    Raises:
        ValueError: the speed is not a positive number.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not (speed > 0 and math.isfinite(speed)):
            msg = f"the speed must be a positive number of simulated seconds per second, not {speed}"
            raise ValueError(msg)
        self.speed = speed
        self._began = time.monotonic()
        self._skipped_s = 0.0

    def now(self) -> float:
        """Simulated seconds since the start."""
        return (time.monotonic() - self._began) * self.speed + self._skipped_s

    def sleep(self, duration_s: float) -> None:
        """Wait for simulated seconds."""
        time.sleep(max(self.wall(duration_s), 0.0))

    def wall(self, duration_s: float) -> float:
        """How many wall seconds some simulated seconds take."""
        return duration_s / self.speed

    def skip(self, duration_s: float) -> None:
        """Let simulated seconds pass at once: a parked night before a start in real time.

        Raises:
            ValueError: the duration is negative; simulated time never goes back.
        """
        if duration_s < 0:
            msg = f"time does not go back: cannot skip {duration_s} s"
            raise ValueError(msg)
        self._skipped_s += duration_s
