"""How long what is kept: for each table the first day of it that the configured retention leaves there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from smartdrive_dagster.defs.computations import Computation, computations
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Table, bronze, silver

LAYERS: Final = ("landing", "bronze", "silver", "gold", "marts")
FOR_EVER: Final = {f"retention_{layer}_days": None for layer in LAYERS}
"""The settings of a lake in which nothing expires."""


def kept_days(settings: Settings) -> dict[str, int]:
    """The configured retention in days, by layer; a layer that is kept for ever is not there."""
    days = {layer: getattr(settings, f"retention_{layer}_days") for layer in LAYERS}
    return {layer: count for layer, count in days.items() if count is not None}


def expiring() -> tuple[Table, ...]:
    """The tables from which a retention deletes; the others are what these, and histories, are made of.

    Bronze's lines, Silver's samples and rejections, and the tables of Gold and the marts that no history reads.
    bronze.objects and the ledger stay, since they say what need not be taken in again.
    """
    among = computations()
    of_histories = {table for one in among.values() if one.is_history for table in one.reads}
    made = (table for table in among if table not in of_histories)
    return (bronze.MESSAGES, silver.TELEMETRY, silver.QUARANTINE, *made)


def floor_of(table: Table, settings: Settings, until: date) -> date | None:
    """The first day that stays in a table; None where all do.

    Args:
        table: a table.
        settings: with the retention.
        until: today, UTC.
    """
    days = kept_days(settings).get(table.layer)
    return None if days is None or table not in expiring() else until - timedelta(days)


def frozen_before(computation: Computation, settings: Settings, until: date) -> date | None:
    """Days before this one are left as they are: they, or what they would be computed from, may have expired."""
    found = list(_floors(computation, settings, until))
    return max(found) if found else None


def _floors(computation: Computation, settings: Settings, until: date) -> Iterator[date]:
    if (own := floor_of(computation.table, settings, until)) is not None:
        yield own
    for table in computation.reads:
        if (floor := floor_of(table, settings, until)) is not None:
            yield floor + timedelta(computation.halo_days)
