"""`smartdrive backfill`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from smartdrive_dagster.commands.bars import progress

if TYPE_CHECKING:
    from datetime import date

    from rich.console import RenderableType

    from smartdrive_dagster.defs.backfill import Recomputation
    from smartdrive_dagster.domain.changes import Change
    from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.tables import Days

EPILOG: Final = (
    "Examples:\n\n  smartdrive backfill gold.trips --from 2025-12-01 --to 2025-12-31\n\n"
    "  SMARTDRIVE_TRIP_GAP_S=600 smartdrive backfill gold.trips --from 2025-12-01 --to 2025-12-31 --diff\n\n"
    "  SMARTDRIVE_TRIP_GAP_S=600 smartdrive backfill gold.trips --promote"
)
_SHOWN_CHANGES: Final = 60
_SHOWN_VALUES: Final = 3
_VEHICLE_LETTERS: Final = 8
_WHOLE: Final = 10_000
_T = TypeVar("_T")


class BackfillError(ValueError):
    """What was asked for cannot be computed anew; the text says what can."""


def backfill(
    table: Annotated[str, typer.Argument(help="A Gold table or a mart, for example gold.trips")],
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First event day (local date of a mart)"),
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day")] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Compute beside the lake and show what would change; change nothing")
    ] = False,
    take_over: Annotated[bool, typer.Option("--promote", help="Take over what the last --diff computed")] = False,
) -> None:
    """Compute days anew, for a changed algorithm or setting, and then what reads them; or only look."""
    from smartdrive_dagster.defs.backfill import recomputations
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    lakehouse = Retractions(Lakehouse(settings.state_url)).lakehouse(settings.lake_url)
    known = recomputations(settings, until=datetime.now(UTC).date())
    if table not in known:
        raise BackfillError(_unknown(table, known))
    if take_over and not diff:
        if first or last:
            raise typer.BadParameter("--promote takes over the days of the last --diff: leave out --from and --to")
    elif not (first and last):
        raise typer.BadParameter("--from and --to say which days")
    if first and last:
        days = _days(first, last)
        if diff:
            _diff(lakehouse, known[table], days, settings)
        else:
            _redo(lakehouse, known, known[table], days)
    if take_over:
        _promote(lakehouse, known, known[table], settings)


def _redo(lakehouse: Lakehouse, known: dict[str, Recomputation], entry: Recomputation, days: Days) -> None:
    from smartdrive_dagster.defs.backfill import chunks, possible_days, redo_readers

    possible = possible_days(lakehouse, entry, days)
    with progress() as bars:
        commits = _advancing(bars, str(entry.table), len(chunks(possible)), entry.redo(lakehouse, possible))
        readers = _advancing(bars, "what reads it", None, redo_readers(lakehouse, known, entry.table, possible))
        done = [*commits, *readers]
    _say_commits(done)


def _diff(lakehouse: Lakehouse, entry: Recomputation, days: Days, settings: Settings) -> None:
    from smartdrive_dagster.defs.backfill import chunks, possible_days
    from smartdrive_dagster.defs.shadow import compute_shadow, shadow_changes
    from smartdrive_dagster.screens import console

    with progress() as bars:
        total = len(chunks(possible_days(lakehouse, entry, days)))
        commits = compute_shadow(lakehouse, entry, days, settings)
        rows = sum(commit.rows for commit in _advancing(bars, f"{entry.table} beside the lake", total, commits))
        found = list(shadow_changes(lakehouse, entry))
    if found:
        console().print(show_changes(str(entry.table), found))
    typer.echo(
        f"{entry.table}, {days}: {rows:,} rows computed; {sum(c.added for c in found):,} added, "
        f"{sum(c.removed for c in found):,} removed, {sum(c.changed for c in found):,} changed"
    )
    typer.echo(
        f"nothing has been changed: smartdrive backfill {entry.table} --promote takes it over"
        if found
        else "the table is as it would be computed now"
    )


def _promote(
    lakehouse: Lakehouse, known: dict[str, Recomputation], entry: Recomputation, settings: Settings
) -> None:
    from smartdrive_dagster.defs.shadow import promote

    with progress() as bars:
        done = list(
            _advancing(bars, f"{entry.table} and its readers", None, promote(lakehouse, known, entry, settings))
        )
    _say_commits(part.commit for part in done)
    skipped = [day for part in done for day in part.skipped]
    if skipped:
        typer.echo(
            f"{len(skipped)} days were left alone, newer data had come: {_listed(skipped)}. Repeat --diff for them"
        )


def show_changes(title: str, found: Sequence[Change]) -> RenderableType:
    """What would change, one line for a vehicle and a day; the vehicle's pseudonym is shortened."""
    from rich.table import Table as Grid

    grid = Grid(
        title=f"What would change in {title}", title_justify="left", title_style="bold", header_style="dim"
    )
    for column in ("vehicle", "day", "added", "removed", "changed", "columns"):
        grid.add_column(column, justify="right" if column in {"added", "removed", "changed"} else "left")
    for change in found[:_SHOWN_CHANGES]:
        vehicle = f"{change.vehicle_id[:_VEHICLE_LETTERS]}…" if change.vehicle_id else ""
        counts = (change.added, change.removed, change.changed)
        grid.add_row(vehicle, str(change.day), *(str(count) if count else "" for count in counts), _told(change))
    if (hidden := len(found) - _SHOWN_CHANGES) > 0:
        grid.caption = f"and {hidden:,} more vehicles and days"
    return grid


def _told(change: Change) -> str:
    values = [f"{name} {_number(old)} → {_number(new)}" for name, (old, new) in change.values.items()]
    others = [name for name in change.columns if name not in change.values]
    shown = values[:_SHOWN_VALUES] + others[:_SHOWN_VALUES]
    hidden = len(values) + len(others) - len(shown)
    return ", ".join([*shown, *([f"{hidden} more"] if hidden else [])])


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:,.4g}" if abs(value) < _WHOLE else f"{value:,.0f}"


def _advancing(bars: Any, title: str, total: int | None, steps: Iterable[_T]) -> Iterator[_T]:
    """Pass steps on, a bar ahead with each."""
    task = bars.add_task(title, total=total)
    for step in steps:
        bars.advance(task)
        yield step
    bars.update(task, total=bars.tasks[task].completed)


def _say_commits(commits: Iterable[Commit]) -> None:
    written = [commit for commit in commits if commit.rows]
    for commit in written:
        typer.echo(f"{commit.table}: version {commit.version}, {commit.rows} rows written")
    if not written:
        typer.echo("every row is as before: nothing was written")


def _days(first: datetime, last: datetime) -> Days:
    from smartdrive_dagster.tables import Days

    try:
        return Days(first.date(), last.date())
    except ValueError as error:
        raise BackfillError(str(error)) from error


def _listed(days: Iterable[date]) -> str:
    from smartdrive_dagster.tables import ranges

    return ", ".join(map(str, ranges(days)))


def _unknown(name: str, known: Iterable[str]) -> str:
    from smartdrive_dagster.lake.nearest import did_you_mean

    if name.startswith(("bronze.", "silver.")):
        return (
            f"{name} is computed per day of arrival: smartdrive rebuild makes it anew, "
            "and so does a backfill in the Dagster UI"
        )
    return f"there is no Gold table or mart {name}{did_you_mean(name, known)}"
