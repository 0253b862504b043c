"""Engine starts: the adapter's voltage around a start, and what it says about the battery.

A start is seen when the voltage lies 0.8 V or more under its median of the last 2 s. The first 100 ms of the dip
are the starter's inrush and are discarded; the mean of the next 500 ms is the plateau, given 5 samples or more.
Stopping the engine looks alike, so that readings are fed here only before a start.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

Sample = tuple[float, float]
"""Monotonic seconds, and volts."""

BEFORE_S: Final = 5.0
AFTER_S: Final = 5.0
DIP_V: Final = 0.8
MEDIAN_S: Final = 2.0
INRUSH_MS: Final = 100
PLATEAU_MS: Final = 500
MIN_PLATEAU_SAMPLES: Final = 5

_MIN_MEDIAN_SAMPLES: Final = 3
# The trigger is the reading after the last one kept, so that exactly the time before it would be a reading short.
_RING_SLACK: Final = 1.2


@dataclass(frozen=True, slots=True)
class Capture:
    """The voltage around one trigger; `samples` are in order of time."""

    triggered_at: float
    samples: tuple[Sample, ...]

    @property
    def rate_hz(self) -> float:
        """Samples per second that were achieved over the whole capture."""
        if len(self.samples) < 2:  # noqa: PLR2004
            return 0.0
        duration = self.samples[-1][0] - self.samples[0][0]
        return (len(self.samples) - 1) / duration if duration > 0 else 0.0


@dataclass(frozen=True, slots=True)
class CrankEstimate:
    """What a capture says.

    Attributes:
        dip_at: First sample of the dip, monotonic seconds.
        inrush_min_v: Lowest voltage of the first 100 ms, V. An upper bound: the true minimum lies between samples.
        plateau_v: Mean of the 500 ms after that, V; None when inconclusive.
        plateau_samples: How many samples that mean has, or would have.
    """

    dip_at: float
    inrush_min_v: float
    plateau_v: float | None
    plateau_samples: int

    @property
    def is_conclusive(self) -> bool:
        """Whether there were enough samples for a plateau."""
        return self.plateau_v is not None


class CrankRecorder:
    """Keeps the latest seconds of voltage, and after a trigger hands over what was before and after it."""

    def __init__(self, before_s: float = BEFORE_S, after_s: float = AFTER_S) -> None:
        self._before_s = before_s
        self._after_s = after_s
        self._ring: deque[Sample] = deque()
        self._triggered_at: float | None = None

    @property
    def is_recording(self) -> bool:
        """Whether a start is being recorded."""
        return self._triggered_at is not None

    def feed(self, at: float, volts: float) -> Capture | None:
        """Take one reading; returns the capture when this reading completes it."""
        if self._triggered_at is None and dips(self._ring, (at, volts)):
            self._triggered_at = at
        self._ring.append((at, volts))
        if self._triggered_at is not None:
            return self.finish(at) if at >= self._triggered_at + self._after_s else None
        while self._ring and self._ring[0][0] < at - self._before_s * _RING_SLACK:
            self._ring.popleft()
        return None

    def trigger(self, at: float) -> None:
        """Record from outside, for example because rpm rose; the first trigger of a start counts."""
        if self._triggered_at is None:
            self._triggered_at = at

    def finish(self, now: float) -> Capture | None:
        """End a recording whose time is over, also when readings have stopped; None if there is none to end."""
        if self._triggered_at is None or now < self._triggered_at + self._after_s:
            return None
        capture = Capture(self._triggered_at, tuple(self._ring))
        self._ring.clear()
        self._triggered_at = None
        return capture


def dips(before: Iterable[Sample], sample: Sample) -> bool:
    """Whether a sample lies 0.8 V or more under the median of the 2 s before it; never with fewer than 3 there."""
    at, volts = sample
    recent = [value for when, value in before if at - MEDIAN_S <= when < at]
    return len(recent) >= _MIN_MEDIAN_SAMPLES and statistics.median(recent) - volts >= DIP_V - 1e-9


def estimate(samples: Sequence[Sample]) -> CrankEstimate | None:
    """Find the dip in a capture and measure it; None when there is none."""
    start = next((place for place, sample in enumerate(samples) if dips(samples[:place], sample)), None)
    if start is None:
        return None
    dip_at = samples[start][0]
    since = [(round((at - dip_at) * 1000), volts) for at, volts in samples[start:]]
    plateau = [volts for ms, volts in since if INRUSH_MS <= ms < INRUSH_MS + PLATEAU_MS]
    return CrankEstimate(
        dip_at=dip_at,
        inrush_min_v=min(volts for ms, volts in since if ms < INRUSH_MS),
        plateau_v=statistics.fmean(plateau) if len(plateau) >= MIN_PLATEAU_SAMPLES else None,
        plateau_samples=len(plateau),
    )
