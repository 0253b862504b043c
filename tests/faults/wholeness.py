"""Whether a lake is whole: row by row against one that nothing has happened to, and by its own books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from smartdrive_dagster.defs.work import pending_days, stale_gold_days
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.landing.store import LandingStore
from tests.comparison import contents, repeated, versions
from tests.faults import failpoints
from tests.faults.harness import Result


@dataclass(frozen=True, slots=True)
class State:
    """What is in a lake.

    Attributes:
        contents: the rows of every table without their provenance, by its name.
        versions: the tables' Delta versions.
    """

    contents: Mapping[str, Sequence[str]]
    versions: Mapping[str, int]

    @classmethod
    def of(cls, lakehouse: Lakehouse) -> State:
        """Read all tables."""
        tables = readable_tables()
        return cls(contents(lakehouse, tables), versions(lakehouse, tables))

    def failpoints_to(self, later: State) -> list[str]:
        """Every failpoint on the way from here to a later state of the same lake."""
        grown = {name for name, rows in later.contents.items() if rows != self.contents[name]}
        return failpoints.between(self.versions, later.versions, grown)


def is_whole(lakehouse: Lakehouse, store: LandingStore, *, since: date, until: date) -> bool:
    """Whether nothing is left to do: all that landed is judged, and Gold has seen all of it."""
    return (
        not pending_days(lakehouse, store, since=since, until=until)
        and balances(lakehouse).close
        and not stale_gold_days(lakehouse, until=until, floor=0)
    )


def count_damage(result: Result, lakehouse: Lakehouse, expected: State, *, until: date, where: str) -> None:
    """Count every row that is missing or too much, and name every book that does not balance.

    Args:
        result: counts.
        lakehouse: the lake after its recovery.
        expected: of a lake to which nothing happened.
        until: the last day that Gold has to know.
        where: the trial, in words.
    """
    held = contents(lakehouse, readable_tables())
    for name, rows in held.items():
        lost, added = _differences(expected.contents[name], rows)
        result.lost += lost
        result.duplicated += added
        if lost or added:
            result.broken.append(f"{where}: {name} lacks {lost} rows and has {added} too many")
    if not balances(lakehouse).close:
        result.broken.append(f"{where}: a balance stays open")
    if doubled := repeated(lakehouse, readable_tables()):
        result.broken.append(f"{where}: keys appear twice in {', '.join(doubled)}")
    if stale := stale_gold_days(lakehouse, until=until, floor=0):
        result.broken.append(f"{where}: {len(stale)} days of Gold are stale, the first is {stale[0]}")


def _differences(expected: Iterable[str], held: Iterable[str]) -> tuple[int, int]:
    wanted, there = Counter(expected), Counter(held)
    return (wanted - there).total(), (there - wanted).total()
