"""Engine starts: the adapter's voltage around a start, and what it says about the battery.

A start is seen when the voltage lies 0.8 V or more under its median of the last 2 s. The first 100 ms of the dip
are the starter's inrush and are discarded; the mean of the next 500 ms is the plateau, given 5 samples or more.
Stopping the engine looks alike: only what was measured around a start is to be judged here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

Sample = tuple[float, float]
"""Monotonic seconds, and volts."""

DIP_V: Final = 0.8
MEDIAN_S: Final = 2.0
INRUSH_MS: Final = 100
PLATEAU_MS: Final = 500
MIN_PLATEAU_SAMPLES: Final = 5

_MIN_MEDIAN_SAMPLES: Final = 3


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
