"""A range of days: the window in which partitions are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True, order=True)
class Days:
    """A closed range of days; iterates over them in order."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"the range ends ({self.last}) before it begins ({self.first})")

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(n) for n in range((self.last - self.first).days + 1))

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}…{self.last}"

    def widened(self, days: int) -> Days:
        """The range with so many days more on both sides."""
        return Days(self.first - timedelta(days), self.last + timedelta(days))


def ranges(days: Iterable[date]) -> list[Days]:
    """The fewest ranges that hold exactly these days, in order."""
    found: list[Days] = []
    for day in sorted(set(days)):
        if found and day - found[-1].last == timedelta(1):
            found[-1] = Days(found[-1].first, day)
        else:
            found.append(Days(day, day))
    return found
