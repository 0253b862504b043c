"""Publishing: days of which the database holds something else than the lake does, until there is none.

What a day of a Delta table holds, its log says: the names of its files, which never change. A digest of these
names stands in the database beside the rows, written in the same transaction. So a crash, a second publisher, a
backfill, an erasure and a new column all come out right in the next round, and nothing has to be told to anybody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.serving.database import Part, Serving
from smartdrive_dagster.tables import Table

CODES: Final = "dtc_codes"
_WHOLE: Final = ""  # the part of a table without days
_ROWS_AT_ONCE: Final = 200_000


def held(snapshot: Snapshot, columns: Sequence[str]) -> dict[str, Part]:
    """What each day of a table holds, by ISO date.

    Args:
        snapshot: of a table that is partitioned by a date.
        columns: that are published: with others a day counts as holding something else.
    """
    if snapshot.delta is None:
        return {}
    files = pl.DataFrame(snapshot.delta.get_add_actions(flatten=True))
    if files.is_empty():
        return {}
    day = pl.col(f"partition.{snapshot.table.partition_by}").cast(pl.Date)
    days = files.group_by(day.alias("day")).agg(pl.col("path").sort(), pl.col("num_records").sum())
    wanted = ",".join(columns)
    return {
        one["day"].isoformat(): Part(_digest((wanted, *one["path"])), one["num_records"], snapshot.version)
        for one in days.iter_rows(named=True)
    }


def due_days(serving: Serving, lakehouse: Lakehouse, table: Table) -> list[str]:
    """Days of which the database holds something else than the lake, as ISO dates in order.

    Raises:
        ServingError: the database has no such table.
    """
    return _due(serving.parts(table.name), held(lakehouse.open(table), serving.columns(table)))


def publish(
    serving: Serving, lakehouse: Lakehouse, table: Table, progress: Callable[[int, int], None] = lambda *_: None
) -> int:
    """Bring a table up to date, the newest days first, in transactions of some days each.

    Args:
        serving: the database.
        lakehouse: the lake.
        table: partitioned by a date.
        progress: told the days that are done and the days that are left.

    Returns:
        How many rows were written.

    Raises:
        ServingError: the database has no such table, wants other columns, or fails.
    """
    rows = done = 0
    while True:
        with serving.writing(table.name):
            columns = serving.columns(table)
            snapshot = lakehouse.open(table)  # behind the lock: never older than what another publisher wrote
            there = held(snapshot, columns)
            due = _due(serving.parts(table.name), there)
            days = _some(due, there)
            if days:
                rows += _replace(serving, snapshot, columns, days)
                serving.mark(table.name, {day: there.get(day) for day in days})
        if not days:
            return rows
        done += len(days)
        progress(done, len(due) - len(days))


def miscounted(serving: Serving, table: Table) -> dict[str, tuple[int, int]]:
    """Days on which the database has another number of rows than was published: (rows there, rows published).

    They are forgotten, so that the next round publishes them anew.
    """
    with serving.writing(table.name):
        counts = serving.counts(table)
        published = {day: part.rows for day, part in serving.parts(table.name).items()}
        wrong = {
            day: (counts.get(day, 0), published.get(day, 0))
            for day in sorted(counts.keys() | published.keys())
            if counts.get(day, 0) != published.get(day, 0)
        }
        # A mark that no content has, so that rows without any mark are removed too.
        serving.mark(table.name, {day: Part("miscounted", there) for day, (there, _) in wrong.items()})
    return wrong


def publish_codes(serving: Serving, content: str, explanations: Callable[[], Iterable[Mapping[str, Any]]]) -> int:
    """Replace what the API knows of trouble codes, where it knows something else.

    Args:
        serving: the database.
        content: changes with the explanations.
        explanations: each with `code` (a code, or the three characters of a family) and `language`.

    Returns:
        How many rows were written.
    """
    with serving.writing(CODES):
        known = serving.parts(CODES).get(_WHOLE)
        if known is not None and known.content == content:
            return 0
        rows = [
            (one["code"], one["language"], json.dumps(one["explanation"], ensure_ascii=False))
            for one in explanations()
        ]
        serving.delete_all(CODES)
        serving.copy(CODES, {"code": "text", "language": "text", "explanation": "text"}, rows)
        serving.mark(CODES, {_WHOLE: Part(content, len(rows))})
    return len(rows)


def _replace(serving: Serving, snapshot: Snapshot, columns: Sequence[str], days: Sequence[str]) -> int:
    table = snapshot.table
    day = pl.col(table.partition_by or "")
    wanted = pl.Series(days, dtype=pl.String).str.to_date()
    # PostgreSQL's text has no NUL; a title that a device sent may.
    text = pl.selectors.string().str.replace_all("\0", "\ufffd", literal=True)
    rows = snapshot.rows().filter(day.is_in(wanted.implode())).select(columns).with_columns(text).collect()
    serving.delete_days(table, days)
    serving.copy(table.name, serving.types(table, columns), rows.iter_rows())
    return rows.height


def _due(published: Mapping[str, Part], there: Mapping[str, Part]) -> list[str]:
    return sorted(day for day in published.keys() | there.keys() if published.get(day) != there.get(day))


def _some(due: Sequence[str], there: Mapping[str, Part]) -> list[str]:
    """The newest of the days, of which the rows are few enough for one transaction."""
    chosen: list[str] = []
    rows = 0
    for day in reversed(due):
        rows += there[day].rows if day in there else 0
        if chosen and rows > _ROWS_AT_ONCE:
            break
        chosen.append(day)
    return chosen


def _digest(parts: Iterable[str]) -> str:
    from hashlib import sha256

    return sha256("\n".join(parts).encode()).hexdigest()[:32]
