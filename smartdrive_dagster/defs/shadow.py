"""A recomputation beside the lake: look at what it would change, then take it over.

The shadow of a table is a Delta table at ``{lake}/shadow/{layer}/{name}``, where no reader looks. The very code
that computes the table computes it, on the lake's own Silver, and it records for each day the ledger's batch that
was seen. Promotion commits the shadow's rows with that batch: a day that was computed from newer data meanwhile is
left alone, and one that newer data has only touched stays stale, so that the next Gold run computes it again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from smartdrive_dagster.defs.backfill import Recomputation, chunks, possible_days, present_days, redo_readers
from smartdrive_dagster.defs.outliving import carry_over
from smartdrive_dagster.domain.changes import Change, changes
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse
from smartdrive_dagster.lake.removal import remove_folder
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Column, Days, Table

# What has no say in what is computed.
_BESIDE = {
    *("lake_url", "landing_url", "state_url", "secret_file", "secret"),
    *("slack_webhook", "smtp_url", "email_sender", "email_recipients", "sns_topic_arn", "webhook_url"),
    *("alert_severity", "alert_digest"),
}


class ShadowError(RuntimeError):
    """The shadow cannot be promoted; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """One commit of a promotion.

    Attributes:
        commit: what was written; of the table, then of what reads it.
        skipped: days that have been computed from newer data since the shadow was.
    """

    commit: Commit
    skipped: tuple[date, ...] = ()


class Shadow(Lakehouse):
    """The lake as it is, but for one table, which is read from and written to its shadow."""

    def __init__(self, lakehouse: Lakehouse, table: Table) -> None:
        super().__init__(lakehouse.url, lakehouse.guard)
        self.table = table
        self.plan = _plan(table)

    def uri(self, table: Table) -> str:
        """Where a table lies: the shadowed one and its plan aside."""
        is_aside = str(table) in {str(self.table), str(self.plan)}
        return f"{self.root_of(table.layer)}/shadow/{table.path}" if is_aside else super().uri(table)

    def remove(self) -> None:
        """Leave nothing of the shadow; its plan goes first, so that half a shadow is never promoted."""
        remove_folder(self.uri(self.plan))
        remove_folder(self.uri(self.table))


def _plan(table: Table) -> Table:
    """What a finished shadow holds: one row, written last, so that it proves the rest is there."""
    return Table(
        layer=table.layer,
        name=f"{table.name}.plan",
        description="The days and the settings of a finished shadow.",
        columns=(
            Column("first_date", "date", "First day that was asked for", required=True),
            Column("last_date", "date", "Last day that was asked for", required=True),
            Column("settings", "string", "Settings that it was computed with, as JSON", required=True),
        ),
        key=("first_date",),
        partition_by=None,
    )


def compute_shadow(lakehouse: Lakehouse, entry: Recomputation, days: Days, settings: Settings) -> Iterator[Commit]:
    """Compute days of a table into its shadow, a chunk of days a commit; an earlier shadow goes first.

    Args:
        lakehouse: the lake, of which nothing else changes.
        entry: how the table is computed.
        days: event days, or local dates of a mart.
        settings: those that `entry` was made with.

    Raises:
        ShadowError: all of these days are frozen, because what they were made of may have expired.
    """
    if (frozen := entry.frozen_before) is not None:
        if days.last < frozen:
            raise ShadowError(f"{entry.table} is left as it is before {frozen}: what it was made of has expired")
        days = Days(max(days.first, frozen), days.last)
    shadow = Shadow(lakehouse, entry.table)
    shadow.remove()
    if entry.computation.outlives_samples:
        carry_over(lakehouse, shadow, entry.table, days)
    yield from entry.redo(shadow, possible_days(lakehouse, entry, days))
    row = {"first_date": days.first, "last_date": days.last, "settings": _thresholds(settings)}
    shadow.append_once(shadow.plan, lambda _: pl.DataFrame([row]))


def shadow_changes(lakehouse: Lakehouse, entry: Recomputation) -> Iterator[Change]:
    """What the finished shadow would change, per vehicle and day, reading a chunk of days at a time.

    Raises:
        ShadowError: there is none, or its computation was broken off.
    """
    shadow = Shadow(lakehouse, entry.table)
    days, _ = _finished(shadow)
    for part in chunks(list(_computed(lakehouse, shadow, entry, days))):
        yield from changes(entry.table, *(_rows(place, entry.table, part) for place in (lakehouse, shadow)))


def promote(
    lakehouse: Lakehouse, known: Mapping[str, Recomputation], entry: Recomputation, settings: Settings
) -> Iterator[Promoted]:
    """Take the shadow over, bring what reads the table up to date, and remove the shadow.

    It may be killed at any point and repeated: what is taken over already is equal and is not written again.

    Raises:
        ShadowError: there is no finished shadow, or it was computed with other settings than those of now.
    """
    shadow = Shadow(lakehouse, entry.table)
    days, thresholds = _finished(shadow)
    if thresholds != _thresholds(settings):
        raise ShadowError(
            f"the shadow of {entry.table} was computed with {thresholds}, and the settings are now "
            f"{_thresholds(settings)}: later runs would compute otherwise. Set the same, here and for Dagster"
        )
    seen = _computed(lakehouse, shadow, entry, days)
    taken: set[date] = set()
    for part in chunks(list(seen)):
        for batch in sorted({seen[day] for day in part}):
            same = [day for day in part if seen[day] == batch]
            rows = _rows(shadow, entry.table, same)
            commit = lakehouse.replace_days(
                entry.table,
                lambda _, rows=rows: rows,  # type: ignore[misc]
                same,
                batch=batch,
                as_history=entry.computation.is_history,
            )
            fresh = _fresh_until(lakehouse, entry, same)
            skipped = tuple(day for day in same if fresh[day] > batch)
            taken.update(set(same).difference(skipped))
            yield Promoted(commit, skipped)
    for commit in redo_readers(lakehouse, known, entry.table, taken):
        yield Promoted(commit)
    shadow.remove()


def _finished(shadow: Shadow) -> tuple[Days, str]:
    plan = shadow.scan(shadow.plan).collect()
    if plan.is_empty():
        raise ShadowError(
            f"there is no finished shadow of {shadow.table}: smartdrive backfill {shadow.table} "
            "--from … --to … --diff computes one"
        )
    first, last, thresholds = plan.row(0)
    return Days(first, last), thresholds


def _computed(lakehouse: Lakehouse, shadow: Shadow, entry: Recomputation, days: Days) -> dict[date, int]:
    """The days that the shadow holds, each with the ledger's batch that its computation had seen."""
    if entry.computation.is_history:
        days = Days(days.first, date.max)
    asked = {*possible_days(lakehouse, entry, days), *present_days(shadow, entry.table)}
    seen = _fresh_until(shadow, entry, asked)
    return {day: batch for day, batch in sorted(seen.items()) if batch}


def _fresh_until(lakehouse: Lakehouse, entry: Recomputation, days: Collection[date]) -> dict[date, int]:
    if entry.computation.is_history:
        return dict.fromkeys(days, lakehouse.history_fresh_until(entry.table))
    return lakehouse.fresh_until(entry.table, days)


def _rows(lakehouse: Lakehouse, table: Table, days: Iterable[date]) -> pl.DataFrame:
    return lakehouse.scan(table).filter(pl.col(table.partition_by or "").is_in(list(days))).collect()


def _thresholds(settings: Settings) -> str:
    return json.dumps(settings.model_dump(mode="json", exclude=_BESIDE), sort_keys=True)
