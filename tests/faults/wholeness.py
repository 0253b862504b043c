"""Whether a lake is whole: row by row against one that nothing has happened to, and by its own books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from smartdrive_dagster.defs.work import pending_days, stale_gold_days
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.landing.store import LandingStore
from tests.comparison import contents, repeated
from tests.faults.harness import Result

Contents = Mapping[str, Sequence[str]]


def all_contents(lakehouse: Lakehouse) -> Contents:
    """The rows of every table without their provenance."""
    return contents(lakehouse, readable_tables())


def is_whole(lakehouse: Lakehouse, store: LandingStore, *, since: date, until: date) -> bool:
    """Whether nothing is left to do: all that landed is judged, and Gold has seen all of it."""
    return (
        not pending_days(lakehouse, store, since=since, until=until)
        and balances(lakehouse).close
        and not stale_gold_days(lakehouse, until=until, floor=0)
    )


def count_damage(result: Result, lakehouse: Lakehouse, expected: Contents, *, until: date, where: str) -> None:
    """Count every row that is missing or too much, and name every book that does not balance.

    Args:
        result: counts.
        lakehouse: the lake after its recovery.
        expected: `all_contents` of a lake to which nothing happened.
        until: the last day that Gold has to know.
        where: the trial, in words.
    """
    held = all_contents(lakehouse)
    for name in held.keys() | expected.keys():
        lost, added = _differences(expected.get(name, ()), held.get(name, ()))
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
