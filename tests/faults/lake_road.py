"""The road from landing to Gold as campaigns drive it, without Dagster, and how its end is compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final, TypeVar

from smartdrive_dagster.defs import ingestion as ingestion_module
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import Ledger, recompute, stale
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Table, bronze, facts, gold, silver
from tests.comparison import contents
from tests.faults.harness import Result
from tests.messages import SECRET

T = TypeVar("T")
Again = Callable[[Callable[[], T]], T]
Rows = dict[str, Counter[str]]
TRIPS: Final = computations()[gold.TRIPS]
TABLES: Final = (
    bronze.MESSAGES,
    bronze.OBJECTS,
    silver.TELEMETRY,
    silver.EVENTS,
    silver.DTC_READINGS,
    silver.QUARANTINE,
    facts.VEHICLES,
    silver.MESSAGES,
    gold.TRIPS,
)
"""What the road fills, in the order of its commits."""


def once(step: Callable[[], T]) -> T:
    """Do a step that has to succeed at once."""
    return step()


def ingest(lakehouse: Lakehouse, store: LandingStore, days: Iterable[date], again: Again[bool] = once) -> None:
    """Take arrival days into Bronze and Silver until nothing is left."""
    ingestion = Ingestion(lakehouse, store, SECRET)
    for day in days:
        while again(lambda day=day: ingestion.advance(day, Progress())):  # type: ignore[misc]
            pass


def stale_days(lakehouse: Lakehouse) -> list[date]:
    """Event days on which gold.trips lags behind the ledger."""
    until = datetime.now(UTC).date()
    return stale(lakehouse, TRIPS, Ledger(lakehouse.open(silver.MESSAGES)), until=until)


def recompute_trips(lakehouse: Lakehouse) -> bool:
    """Bring gold.trips up to date; False where no day was stale."""
    if days := stale_days(lakehouse):
        until = datetime.now(UTC).date()
        list(recompute(lakehouse, TRIPS, days, Settings(), redo=False, until=until))
    return bool(days)


def rows_of(lakehouse: Lakehouse, tables: Iterable[Table] = TABLES) -> Rows:
    """All rows without their provenance, counted, by table."""
    return {name: Counter(rows) for name, rows in contents(lakehouse, tables).items()}


def compare(result: Result, lakehouse: Lakehouse, expected: Rows) -> None:
    """Count what a lake lost and doubled against the clean run's, and hold its promises against it."""
    got = rows_of(lakehouse)
    result.lost += sum((expected[name] - got[name]).total() for name in expected)
    result.duplicated += sum((got[name] - expected[name]).total() for name in expected)
    if not balances(lakehouse).close:
        result.broken.append("a balance stays open")
    if days := stale_days(lakehouse):
        result.broken.append(f"{len(days)} days of Gold stay stale")


@contextmanager
def batches_of(objects: int) -> Iterator[None]:
    """Micro-batches of at most so many landing objects: many commits for little data."""
    before = ingestion_module.BATCH_OBJECTS
    ingestion_module.BATCH_OBJECTS = objects  # type: ignore[misc]
    try:
        yield
    finally:
        ingestion_module.BATCH_OBJECTS = before  # type: ignore[misc]
