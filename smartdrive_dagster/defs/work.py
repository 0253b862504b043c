"""What is left to do, asked of the tables: for sensors, schedules and the command line alike."""

from __future__ import annotations

from datetime import date

import polars as pl

from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.recomputation import Ledger, stale
from smartdrive_dagster.domain.staleness import touched_pairs
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import CHANNELS, LandingStore
from smartdrive_dagster.tables import bronze, silver


def pending_days(lakehouse: Lakehouse, store: LandingStore, *, since: date, until: date) -> list[date]:
    """Arrival days with an object that Bronze lacks, or with lines that the ledger lacks.

    Args:
        lakehouse: the lake.
        store: the landing zone.
        since: first day to look at.
        until: last day to look at; a later one has not begun.
    """
    listed = pl.DataFrame(
        [(entry.key, entry.landing_date) for entry in store.list(since=since).objects],
        schema={"object_key": pl.String(), "landing_date": pl.Date()},
        orient="row",
    ).filter(pl.col("landing_date").is_between(since, until))
    recent = pl.col("landing_date").is_between(since, until)
    held = lakehouse.scan(bronze.OBJECTS).filter(recent).select("object_key", "landing_date", "lines").collect()
    judged = lakehouse.scan(silver.MESSAGES).filter(recent).select(pl.col("object_key").unique()).collect()
    unread = listed.join(held, on="object_key", how="anti")
    unjudged = held.filter(pl.col("lines") > 0).join(judged, on="object_key", how="anti")
    days = pl.concat([unread.get_column("landing_date"), unjudged.get_column("landing_date")])
    return sorted(set(days))


def ledger_batch(lakehouse: Lakehouse) -> int:
    """The ledger's newest batch."""
    return lakehouse.open(silver.MESSAGES).batch


def touches_after(lakehouse: Lakehouse, day: date, *, floor: int) -> bool:
    """Whether a batch above the floor touched an event day after this one, whose Gold is not due yet."""
    ledger = lakehouse.scan(silver.MESSAGES).filter(pl.col("batch") > floor)
    return not touched_pairs(ledger, CHANNELS).filter(pl.col("event_date") > day).collect().is_empty()


def stale_gold_days(lakehouse: Lakehouse, *, until: date, floor: int) -> list[date]:
    """Days on which a Gold table or mart is stale.

    Args:
        lakehouse: the lake.
        until: last day to look at.
        floor: a ledger batch up to which everything is known to be fresh.
    """
    ledger = Ledger(lakehouse.open(silver.MESSAGES))
    days: set[date] = set()
    for computation in computations().values():
        days.update(stale(lakehouse, computation, ledger, until=until, floor=floor))
    return sorted(days)
