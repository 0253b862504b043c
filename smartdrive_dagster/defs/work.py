"""What is left to do, asked of the tables: for sensors, schedules and the command line alike."""

from __future__ import annotations

from datetime import date

import polars as pl

from smartdrive_dagster.defs.recomputation import MART_HALO_DAYS, stale
from smartdrive_dagster.domain.staleness import touched_pairs
from smartdrive_dagster.domain.trips import HALO_DAYS
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import load_models
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import bronze, gold, silver


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
    objects = store.list(since=since).objects
    listed = pl.DataFrame(
        {
            "object_key": [entry.key for entry in objects],
            "landing_date": pl.Series([entry.landing_date for entry in objects], dtype=pl.Date()),
        },
        schema_overrides={"object_key": pl.String()},
    )
    recent = pl.col("landing_date").is_between(since, until)
    held = lakehouse.scan(bronze.OBJECTS).filter(recent).select("object_key", "landing_date", "lines").collect()
    ledger = lakehouse.scan(silver.MESSAGES).filter(recent)
    judged = ledger.group_by("object_key").agg(judged=pl.len()).collect(engine="streaming")
    unread = listed.filter(recent).join(held, on="object_key", how="anti")
    unjudged = held.join(judged, on="object_key", how="left").filter(
        pl.col("lines") > pl.col("judged").fill_null(0)
    )
    days = pl.concat([unread.select("landing_date"), unjudged.select("landing_date")])
    return dict(days.group_by("landing_date").len().iter_rows())


def ledger_batch(lakehouse: Lakehouse) -> int:
    """The ledger's newest batch."""
    return lakehouse.open(silver.MESSAGES).batch


def touches_after(lakehouse: Lakehouse, day: date, *, floor: int) -> bool:
    """Whether a batch above the floor touched an event day after this one, whose Gold is not due yet."""
    ledger = lakehouse.scan(silver.MESSAGES).filter(pl.col("batch") > floor)
    return not touched_pairs(ledger).filter(pl.col("event_date") > day).collect().is_empty()


def stale_gold_days(lakehouse: Lakehouse, *, until: date, floor: int) -> list[date]:
    """Days on which gold.trips or a mart is stale.

    Args:
        lakehouse: the lake.
        until: last day to look at.
        floor: a ledger batch up to which everything is known to be fresh.
    """
    days = set(stale(lakehouse, gold.TRIPS, HALO_DAYS, until=until, floor=floor))
    for model in load_models().values():
        days |= set(stale(lakehouse, model.table, MART_HALO_DAYS, until=until, floor=floor))
    return sorted(days)
