"""How often each signal really came: an adapter promises nothing, so the rate is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class Rates:
    """Counts values by signal since a phase began."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._counts: Counter[str] = Counter()

    def begin(self, now: float) -> None:
        """A phase begins."""
        self._since = now
        self._counts.clear()

    def count(self, names: Iterable[str]) -> None:
        """Signals that came with a value."""
        self._counts.update(list(names))  # a Counter would add a mapping's values

    def hz(self, now: float) -> dict[str, float]:
        """Values per second by signal since the phase began; none in its first second, which tells nothing."""
        duration_s = now - self._since
        if duration_s < 1.0:
            return {}
        return {name: round(count / duration_s, 3) for name, count in sorted(self._counts.items())}
