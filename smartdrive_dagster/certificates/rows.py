"""A certificate's rows beside those of the lake: as it is now, and as it was when they were published."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Any, Final, Literal

import polars as pl
from deltalake.exceptions import DeltaError

from smartdrive_dagster.certificates.contract import CarriedTable, Contract, Pins, Said, Value
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.tables import Table

Verdict = Literal["same", "recomputed", "gone", "other", "unpinned", "added"]
ByDay = dict[str, list[tuple[Value, ...]]]

# Of these none comes of rows that the lake published: each of its days has a version.
WRONG: Final[frozenset[Verdict]] = frozenset(("other", "unpinned"))
# What each verdict on a day means.
MEANINGS: Final[dict[Verdict, str]] = {
    "same": "the lake has the same rows today",
    "recomputed": "the lake had these rows when they were published, and has computed others since",
    "gone": "the lake has other rows or none today, and no longer the version that was published",
    "other": "the version that was published held other rows",
    "unpinned": "the lake has other rows today, and the certificate names no version",
    "added": "the lake has rows of days that the certificate does not carry",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """How the days of one table fared."""

    source: str
    days: dict[Verdict, list[str]] = field(default_factory=dict)


def compare(
    lakehouse: Lakehouse, tables: Mapping[str, Table], agreed: Contract, said: Said, vehicle_id: str
) -> list[Compared]:
    """Each day of each table of a certificate beside the lake's.

    Args:
        lakehouse: the lake.
        tables: by name.
        agreed: the contract.
        said: what the certificate says.
        vehicle_id: the lake's pseudonym of its vehicle.
    """
    return [
        _compared(lakehouse.open(tables[table.source]), table, said, said.rows[name], vehicle_id)
        for name, table in agreed.tables.items()
    ]


def _compared(
    now: Snapshot, table: CarriedTable, said: Said, rows: list[list[Value]], vehicle_id: str
) -> Compared:
    carried: ByDay = defaultdict(list)
    for row in rows:
        carried[str(row[0])].append(tuple(row))
    there = _of_lake(now, table, said, vehicle_id)
    verdicts: dict[Verdict, list[str]] = defaultdict(list)
    verdicts["same"] = [day for day, found in carried.items() if there.get(day) == found]
    pins = said.pins.get(table.source, Pins(None, "", {}))
    by_version: dict[int | None, list[str]] = defaultdict(list)
    for day in carried:
        if there.get(day) != carried[day]:
            by_version[pins.days.get(day)].append(day)
    for version, days in by_version.items():
        if version is None:
            verdicts["unpinned"] += days
            continue
        then = _at(now, version, table, said, vehicle_id)
        for day in days:
            verdicts[
                "gone" if then is None else "recomputed" if then.get(day) == carried[day] else "other"
            ].append(day)
    verdicts["added"] = sorted(there.keys() - carried.keys())
    return Compared(table.source, {name: sorted(days) for name, days in verdicts.items() if days})


def _at(now: Snapshot, version: int, table: CarriedTable, said: Said, vehicle_id: str) -> ByDay | None:
    """The rows of a version; None where it is there no longer."""
    if now.delta is None:
        return None
    try:
        now.delta.load_as_version(version)
        return _of_lake(now, table, said, vehicle_id)
    except (DeltaError, pl.exceptions.ComputeError, OSError):  # of its log, or of files that maintenance deleted
        return None


def _of_lake(snapshot: Snapshot, table: CarriedTable, said: Said, vehicle_id: str) -> ByDay:
    """The vehicle's rows by day, as the certificate would carry them."""
    began = pl.col(table.order[0])
    rows = snapshot.rows().filter(pl.col("vehicle_id") == vehicle_id)
    rows = rows.filter(pl.col(snapshot.table.partition_by or "") <= said.issued_at.astimezone(UTC).date())
    if said.data_from is not None:
        since = said.data_from.astimezone(UTC)
        is_day = snapshot.table.by_name[table.order[0]].dtype == "date"
        rows = rows.filter(began > since.date() if is_day else began >= since)
    wanted = rows.sort(table.order).select(
        pl.col(column.of or name).alias(name) for name, column in table.columns.items()
    )
    instants = [name for name, column in table.columns.items() if column.kind == "date"]
    # Publishing replaces what PostgreSQL's text cannot hold.
    text = pl.selectors.string().str.replace_all("\0", "\ufffd", literal=True)
    frame = wanted.with_columns(pl.col(instants).cast(pl.Date), text).collect()
    found: ByDay = defaultdict(list)
    for row in frame.iter_rows():
        found[row[0].isoformat()].append(tuple(map(_plain, row)))
    return dict(found)


def _plain(value: Any) -> Value:
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
