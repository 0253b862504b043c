"""What is left to do, asked of the tables: for sensors, schedules and the command line alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from smartdrive_dagster.defs.computations import computations, reach_days
from smartdrive_dagster.defs.recomputation import Ledger, stale, touched_since
from smartdrive_dagster.domain.staleness import touched_pairs, with_neighbours
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingObject, LandingStore
from smartdrive_dagster.tables import Days, bronze, ranges, silver


def pending_days(lakehouse: Lakehouse, store: LandingStore, *, since: date, until: date) -> list[date]:
    """Arrival days with work left, as `pending_objects` counts it."""
    return sorted(pending_objects(lakehouse, store, since=since, until=until))


def pending_objects(lakehouse: Lakehouse, store: LandingStore, *, since: date, until: date) -> dict[date, int]:
    """Per arrival day the objects that Bronze lacks, and those of which the ledger lacks lines.

    Args:
        lakehouse: the lake.
        store: the landing zone.
        since: first day to look at.
        until: last day to look at; a later one has not begun.
    """
    waiting = waiting_objects(lakehouse, store.list(since=since).objects, since=since, until=until)
    return dict(waiting.group_by("landing_date").len().iter_rows())


def waiting_objects(
    lakehouse: Lakehouse, listed: Sequence[LandingObject], *, since: date = date.min, until: date = date.max
) -> pl.DataFrame:
    """Landing objects that Bronze lacks, and objects in Bronze with lines that the ledger lacks.

    Args:
        lakehouse: the lake.
        listed: what the landing zone holds.
        since: first arrival day to look at.
        until: last arrival day to look at.

    Returns:
        object_key, landing_date, landed_at (of an object that landing no longer holds, its latest receipt) and
        is_unread (Bronze lacks it).
    """
    landed = pl.DataFrame(
        {
            "object_key": [entry.key for entry in listed],
            "landing_date": pl.Series([entry.landing_date for entry in listed], dtype=pl.Date()),
            "landed_at": pl.Series([entry.landed_at for entry in listed], dtype=pl.Datetime("us", "UTC")),
        },
        schema_overrides={"object_key": pl.String()},
    )
    recent = pl.col("landing_date").is_between(since, until)
    columns = ("object_key", "landing_date", "lines", "last_received_at")
    held = lakehouse.scan(bronze.OBJECTS).filter(recent).select(columns).collect()
    ledger = lakehouse.scan(silver.MESSAGES).filter(recent)
    judged = ledger.group_by("object_key").agg(judged=pl.len()).collect(engine="streaming")
    unread = landed.filter(recent).join(held, on="object_key", how="anti").with_columns(is_unread=True)
    unjudged = (
        held.join(judged, on="object_key", how="left")
        .filter(pl.col("lines") > pl.col("judged").fill_null(0))
        .join(landed.select("object_key", "landed_at"), on="object_key", how="left")
        .with_columns(pl.col("landed_at").fill_null(pl.col("last_received_at")), is_unread=False)
    )
    return pl.concat([unread, unjudged.select(unread.columns)])


def ledger_batch(lakehouse: Lakehouse) -> int:
    """The ledger's newest batch."""
    return lakehouse.open(silver.MESSAGES).batch


def touches_after(lakehouse: Lakehouse, day: date, *, floor: int) -> bool:
    """Whether a batch above the floor touched an event day after this one, whose Gold is not due yet.

    Histories are computed beyond today at once: what only they read (a forecast) waits for nothing.
    """
    ledger = lakehouse.scan(silver.MESSAGES).filter(pl.col("batch") > floor)
    channels = {channel for one in computations().values() if not one.is_history for channel in one.channels}
    return not touched_pairs(ledger, channels).filter(pl.col("event_date") > day).collect().is_empty()


def stale_gold_days(lakehouse: Lakehouse, *, until: date, floor: int) -> list[date]:
    """Days on which any table of Gold or the marts is stale; see `stale_tables`."""
    tables = stale_tables(lakehouse, until=until, floor=floor)
    return sorted({day for days in tables.values() for day in days})


@dataclass(frozen=True, slots=True)
class GoldWork:
    """One Gold run's work.

    Attributes:
        days: touched days, which make these and days around them stale.
        tables: that have stale days there, by name.
    """

    days: Days
    tables: tuple[str, ...]


def gold_work(lakehouse: Lakehouse, *, until: date, floor: int) -> list[GoldWork]:
    """What Gold runs have to do: ranges of touched days, each with the tables that these made stale.

    Args:
        lakehouse: the lake.
        until: the last day that has begun.
        floor: a ledger batch up to which everything is known to be fresh.
    """
    among = computations()
    ledger = Ledger(lakehouse.open(silver.MESSAGES))
    touched = {
        str(table): touched_since(lakehouse, computation, ledger, until=until, floor=floor)
        for table, computation in among.items()
    }
    every = sorted({day for days in touched.values() for day in days})
    # Days whose reaches meet belong into one run: a table is not fresh before what it reads is.
    reach = max(reach_days(computation, among) for computation in among.values())
    work = []
    for wide in ranges(with_neighbours(every, reach)):
        within = [day for day in every if day in wide]
        days = Days(within[0], within[-1])
        work.append(
            GoldWork(days, tuple(name for name, own in touched.items() if any(day in days for day in own)))
        )
    return work


def stale_tables(
    lakehouse: Lakehouse, *, until: date, floor: int, ceiling: int | None = None
) -> dict[str, list[date]]:
    """The stale days of each table of Gold and the marts that has some, by its name.

    Args:
        lakehouse: the lake.
        until: last day to look at.
        floor: a ledger batch up to which everything is known to be fresh.
        ceiling: a ledger batch; what later ones touched does not count. None for all batches.
    """
    ledger = Ledger(lakehouse.open(silver.MESSAGES), ceiling)
    found = {
        str(table): stale(lakehouse, computation, ledger, until=until, floor=floor)
        for table, computation in computations().items()
    }
    return {name: days for name, days in found.items() if days}
