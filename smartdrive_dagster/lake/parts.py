"""The rows of very many days, a few days at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.tables import Table

_MAX_DAYS: Final = 64  # of a commit


@dataclass
class Part:
    """Some days of a write: each day that a writer holds open takes it more than a megabyte.

    Attributes:
        after: the last day that is written already.
        last: the last day of this part; None where it is the last part.
    """

    table: Table
    after: date | None = None
    last: date | None = None

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of the next days of a frame."""
        if (column := self.table.partition_by) is None:
            return frame
        if self.after is not None:
            frame = frame.filter(pl.col(column) > self.after)
        days = frame.get_column(column).unique().sort()
        self.last = days[_MAX_DAYS - 1] if len(days) > _MAX_DAYS else None
        return frame if self.last is None else frame.filter(pl.col(column) <= self.last)

    def within(self, predicate: str | None) -> str | None:
        """An SQL predicate, for these days alone."""
        bounds = [(">", self.after), ("<=", self.last)]
        said = [f"{self.table.partition_by} {sign} {sql_date(day)}" for sign, day in bounds if day]
        return " AND ".join([f"({predicate})", *said]) if predicate and said else predicate


def sql_date(day: date) -> str:
    """A day as an SQL literal."""
    return f"DATE {day.isoformat()!r}"
