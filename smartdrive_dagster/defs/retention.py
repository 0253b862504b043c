"""What is older than the configured retention, deleted; and nothing of it comes back.

An object goes from landing only when the ledger holds all its lines, and stays in bronze.objects: so there is
nothing to take in again. Days of Gold whose inputs have expired are never computed anew, and the ledger counts a
line's expired samples before they go, so that what was accepted still adds up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.defs.floors import expiring, floor_of, kept_days
from smartdrive_dagster.defs.recomputation import CHUNK_DAYS
from smartdrive_dagster.defs.work import stale_gold_days
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Table, bronze, ranges, silver

_LINE: Final = ["object_key", "line_no"]


class RetentionError(RuntimeError):
    """Nothing can be deleted now; the text says why."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What has expired in one place.

    Attributes:
        place: a table's name, or landing.
        before: days before this one go.
        count: rows, or objects of landing.
        waiting: objects that stay although they are old, since the ledger lacks lines of them; for Silver, days of
            Gold that are still to be computed from it, and for which all of its days wait.
    """

    place: str
    before: date
    count: int
    waiting: int = 0

    def __str__(self) -> str:
        things, others = ("objects", "objects") if self.place == "landing" else ("rows", "objects")
        why = f"; {self.waiting} {others} wait for the ledger" if self.waiting else ""
        if self.waiting and self.place == str(silver.TELEMETRY):
            why = f"; its days wait for {self.waiting} days of Gold that are not computed yet"
        return f"{self.place}: {self.count:,} {things} from before {self.before}{why}"


def expire(
    lakehouse: Lakehouse, store: LandingStore, settings: Settings, *, until: date, dry_run: bool = False
) -> Iterator[Expired]:
    """Delete what has expired, what is made of others first; yields what was deleted, place by place.

    Args:
        lakehouse: the lake.
        store: the landing zone.
        settings: with the retention.
        until: today, UTC.
        dry_run: only tell what would go.
    """
    for table in reversed(expiring()):
        floor = floor_of(table, settings, until)
        if floor is None or not lakehouse.exists(table):
            continue
        if table.layer == "bronze":
            yield _expire_bronze(lakehouse, floor, dry_run)
        elif table == silver.TELEMETRY:
            yield _expire_samples(lakehouse, floor, dry_run)
        else:
            yield Expired(
                str(table), floor, _delete_days(lakehouse, table, _days(lakehouse, table, floor), dry_run)
            )
    days = kept_days(settings).get("landing")
    if days is not None:
        yield _expire_landing(lakehouse, store, date.fromordinal(until.toordinal() - days), dry_run)


def judged_objects(lakehouse: Lakehouse) -> pl.DataFrame:
    """Objects of Bronze (object_key, landing_date), and whether the ledger holds all their lines (is_judged)."""
    ledger = lakehouse.scan(silver.MESSAGES).group_by("object_key").agg(judged=pl.len())
    objects = lakehouse.scan(bronze.OBJECTS).join(ledger, on="object_key", how="left")
    is_judged = pl.col("judged").fill_null(0) >= pl.col("lines")
    return objects.select("object_key", "landing_date", is_judged=is_judged).collect(engine="streaming")


def _expire_landing(lakehouse: Lakehouse, store: LandingStore, floor: date, dry_run: bool) -> Expired:
    objects = judged_objects(lakehouse)
    judged = set(objects.filter("is_judged").get_column("object_key"))
    old = [entry.key for entry in store.list().objects if entry.landing_date < floor]
    doomed = [key for key in old if key in judged]
    if not dry_run:
        for key in doomed:
            store.delete(key)
    return Expired("landing", floor, len(doomed), len(old) - len(doomed))


def _expire_bronze(lakehouse: Lakehouse, floor: date, dry_run: bool) -> Expired:
    old = judged_objects(lakehouse).filter(pl.col("landing_date") < floor)
    waiting = old.filter(~pl.col("is_judged"))
    held = set(_days(lakehouse, bronze.MESSAGES, floor)) - set(waiting.get_column("landing_date"))
    known = set(old.get_column("landing_date"))  # lines without their object are of a writer that has not finished
    rows = _delete_days(lakehouse, bronze.MESSAGES, sorted(held & known), dry_run)
    return Expired(str(bronze.MESSAGES), floor, rows, waiting.height)


def _expire_samples(lakehouse: Lakehouse, floor: date, dry_run: bool) -> Expired:
    stale = [day for day in stale_gold_days(lakehouse, until=floor, floor=0) if day < floor]
    if stale:
        return Expired(str(silver.TELEMETRY), floor, 0, len(stale))
    days = _days(lakehouse, silver.TELEMETRY, floor)
    if not dry_run:
        _count_in_ledger(lakehouse, days, floor)
    return Expired(str(silver.TELEMETRY), floor, _delete_days(lakehouse, silver.TELEMETRY, days, dry_run))


def _count_in_ledger(lakehouse: Lakehouse, days: list[date], floor: date) -> None:
    """Let the ledger say of each line how many of its samples are no longer in Silver."""
    for part in ranges(days):
        lines = (
            lakehouse.scan(silver.TELEMETRY, part)
            .select(*_LINE, "landing_date")
            .unique()
            .collect(engine="streaming")
        )
        stay = (
            lakehouse.scan(silver.TELEMETRY)
            .filter(pl.col("event_date") >= floor)
            .join(lines.lazy(), on=_LINE, how="semi")
            .group_by(_LINE)
            .agg(stay=pl.len())
            .collect(engine="streaming")
        )
        marked = (
            lines.drop("landing_date").join(stay, on=_LINE, how="left").with_columns(pl.col("stay").fill_null(0))
        )
        for day in sorted(set(lines.get_column("landing_date"))):

            def counted(snapshot: Snapshot, day: date = day, marked: pl.DataFrame = marked) -> pl.DataFrame:
                held = snapshot.rows().filter(pl.col("landing_date") == day).collect()
                gone = (pl.col("samples_accepted") - pl.col("stay")).cast(pl.Int64)
                joined = held.join(marked, on=_LINE, how="left", maintain_order="left")
                return joined.with_columns(samples_expired=pl.coalesce(gone, "samples_expired")).drop("stay")

            lakehouse.replace(silver.MESSAGES, counted, predicate=f"landing_date = DATE '{day}'")


def _days(lakehouse: Lakehouse, table: Table, floor: date) -> list[date]:
    column = table.partition_by or ""
    old = lakehouse.scan(table).filter(pl.col(column) < floor).select(pl.col(column).unique().sort())
    return old.collect(engine="streaming").get_column(column).to_list()


def _delete_days(lakehouse: Lakehouse, table: Table, days: list[date], dry_run: bool) -> int:
    """Delete whole days of a table; returns how many rows they had."""
    column, rows = table.partition_by or "", 0
    for start in range(0, len(days), CHUNK_DAYS):
        part = days[start : start + CHUNK_DAYS]
        if dry_run:
            chosen = lakehouse.scan(table).filter(pl.col(column).is_in(part))
            rows += int(chosen.select(pl.len()).collect(engine="streaming").item())
        else:
            listed = ", ".join(f"DATE '{day}'" for day in part)
            rows += lakehouse.delete(table, lambda _, listed=listed: f"{column} IN ({listed})").rows  # type: ignore[misc]
    return rows
