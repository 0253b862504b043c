"""How the lake is: per table its rows, files, version and freshness, and how far it is behind landing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime

import polars as pl

from smartdrive_dagster.defs.work import stale_gold_days, waiting_objects
from smartdrive_dagster.lake.audit import Balances, balances
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.lake.models import load_models
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import ALL, Table, bronze, silver


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table.

    Attributes:
        table: layer and name.
        rows: rows of the newest version.
        files: data files of the newest version.
        version: Delta version; -1 where the table does not exist yet.
        committed_at: time of the newest commit.
    """

    table: str
    rows: int
    files: int
    version: int
    committed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole lake at one moment.

    Attributes:
        at: the moment.
        tables: one entry a table.
        landing_objects: objects that lie in the landing zone.
        strays: keys below the landing root that are no landing objects; nothing reads them.
        unreadable_folders: folders below the landing root that cannot be listed, with the reason.
        unread_objects: landing objects that Bronze lacks.
        lag_s: seconds from the newest receipt in Bronze to the moment; None for an empty lake.
        pending_days: arrival days with work left.
        stale_days: event days of Gold and the marts that are stale.
        quarantine_share: quarantined and conflicting lines over all judged lines; None where there are none.
        quarantine_reasons: quarantine rows by reason.
        balances: both balances.
    """

    at: datetime
    tables: list[TableStatus]
    landing_objects: int
    strays: int
    unreadable_folders: list[str]
    unread_objects: int
    lag_s: float | None
    pending_days: list[date]
    stale_days: list[date]
    quarantine_share: float | None
    quarantine_reasons: dict[str, int]
    balances: Balances

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for JSON."""
        return asdict(self) | {"balances": asdict(self.balances) | {"close": self.balances.close}}


def status(lakehouse: Lakehouse, store: LandingStore, *, now: datetime) -> Status:
    """Look at everything once; reads logs and ledgers, changes nothing."""
    marts = [model.table for model in load_models().values()]
    listing = store.list()
    newest = lakehouse.scan(bronze.OBJECTS).select(pl.col("last_received_at").max()).collect().item()
    held = balances(lakehouse)
    judged = sum(held.verdicts.values())
    bad = held.verdicts.get("quarantined", 0) + held.verdicts.get("conflict", 0)
    reasons = lakehouse.scan(silver.QUARANTINE).group_by("reason").agg(pl.len()).sort("reason").collect()
    today = now.date()
    waiting = waiting_objects(lakehouse, listing.objects)
    return Status(
        at=now,
        tables=[_table(lakehouse.open(table), table) for table in (*ALL, *marts)],
        landing_objects=len(listing.objects),
        strays=len(listing.strays),
        unread_objects=int(waiting.get_column("is_unread").sum()),
        unreadable_folders=list(listing.unreadable),
        lag_s=(now - newest).total_seconds() if newest is not None else None,
        pending_days=sorted({day for day in waiting.get_column("landing_date") if day <= today}),
        stale_days=stale_gold_days(lakehouse, until=today, floor=0),
        quarantine_share=bad / judged if judged else None,
        quarantine_reasons=dict(reasons.iter_rows()),
        balances=held,
    )


def _table(snapshot: Snapshot, table: Table) -> TableStatus:
    return TableStatus(
        table=str(table),
        rows=snapshot.count(),
        files=snapshot.files(),
        version=snapshot.version,
        committed_at=snapshot.committed_at(),
    )
