"""The event days that the generator fills, and the instants in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Period:
    """So many UTC days from the first one on; instants are epoch milliseconds."""

    first: date
    days: int

    @property
    def begin_ms(self) -> int:
        """Midnight before the first day."""
        return int(datetime.combine(self.first, time(), UTC).timestamp()) * SECOND_MS

    @property
    def end_ms(self) -> int:
        """Midnight after the last day."""
        return self.begin_ms + self.days * DAY_MS

    def at(self, day: int, hours: float) -> int:
        """So many hours into a day, which is counted from 0."""
        return self.begin_ms + day * DAY_MS + int(hours * HOUR_MS)

    def day_of(self, at_ms: int) -> int:
        """The day that an instant lies in, counted from 0."""
        return (at_ms - self.begin_ms) // DAY_MS

    def is_weekend(self, day: int) -> bool:
        """Whether it is a Saturday or a Sunday."""
        return (self.first + timedelta(day)).weekday() >= 5  # noqa: PLR2004 (Saturday)


def instant(at_ms: int) -> datetime:
    """Epoch milliseconds as a UTC datetime, exactly."""
    return datetime.fromtimestamp(at_ms // SECOND_MS, UTC) + timedelta(milliseconds=at_ms % SECOND_MS)
