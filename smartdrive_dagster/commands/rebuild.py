"""`smartdrive rebuild`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from smartdrive_dagster.commands.bars import progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smartdrive_dagster.defs.rebuild import Comparison, Rebuild
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.settings import Settings

EPILOG: Final = (
    "Examples:\n\n  smartdrive rebuild\n\n  smartdrive rebuild --swap\n\n"
    "  smartdrive rebuild --into s3://my-lake-2\n\n"
    "A rebuild that was killed goes on where it was. It needs the secret of the lake, and room for a second lake."
)
_FIRST_DAY: Final = date(2008, 1, 1)


def rebuild(
    into: Annotated[
        str | None, typer.Option(help="Root of the new lake; by default {lake}.rebuilding. Needed on S3")
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="On disk: put it into place, keep the old one as {lake}.before-{time}")
    ] = False,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="End well, and swap, though rows differ")
    ] = False,
) -> None:
    """Make the whole lake anew from landing, and from Bronze what has expired there; then compare both lakes."""
    from smartdrive_dagster.defs.rebuild import RebuildError, has_tables
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.screens import console
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    present = Lakehouse(settings.lake_url)
    is_there = has_tables(present)
    retractions = Retractions(Lakehouse(settings.state_url))
    new = retractions.lakehouse(_target(present, into, is_there=is_there))
    if swap and (into or "://" in present.url):
        raise typer.BadParameter("only a new lake beside one on disk can be swapped", param_hint="--swap")
    store = LandingStore(settings.landing_url)
    work = _work(settings, present, new, store, retractions)
    if new.url != present.url and has_tables(new):
        typer.echo(f"going on with what lies at {new.url}; remove it to begin anew", err=True)
    with progress() as bars:
        _build(work, bars)
        compared = list(work.compare()) if is_there else []
    if not is_there:
        if not has_tables(new):
            raise RebuildError(f"nothing has landed at {store.url}: there is nothing to build a lake from")
        if new.url != present.url and not into:
            Path(new.url).rename(present.url)
        typer.echo(f"there was no lake at {present.url}: it has been built{f' at {into}' if into else ''}")
        return
    console().print(show_comparison(compared))
    differing = [entry.table for entry in compared if not entry.is_equal]
    if differing:
        typer.echo(f"rows differ in {', '.join(differing)}{_behind(work)}")
    if differing and not accept_differences:
        typer.echo(f"the new lake stays at {new.url}; nothing has been swapped", err=True)
        raise typer.Exit(1)
    if swap:
        _swap(present, new)
    else:
        typer.echo(f"the new lake is at {new.url}")


def show_comparison(compared: Sequence[Comparison]) -> RenderableType:
    """Rows of both lakes, table by table."""
    from rich.table import Table as Grid

    grid = Grid(title="Both lakes", title_justify="left", title_style="bold", header_style="dim")
    for column in ("table", "rows", "rows anew", "content"):
        grid.add_column(column, justify="right" if "rows" in column else "left")
    for entry in compared:
        said = "equal" if entry.is_equal else "differs"
        if entry.is_reordered:
            said = "equal, but for which copy of a message, or whether its retraction, came first"
        grid.add_row(entry.table, f"{entry.rows:,}", f"{entry.new_rows:,}", said)
    return grid


def _target(present: Lakehouse, into: str | None, *, is_there: bool) -> str:
    from smartdrive_dagster.defs.rebuild import RebuildError

    if into is not None:
        if into.rstrip("/") == present.url or str(Path(into).absolute()) == present.url:
            raise RebuildError("--into names the lake itself: choose another place")
        return into
    if "://" not in present.url:
        return f"{present.url}.rebuilding"
    if is_there:
        raise RebuildError("nothing can be renamed on S3: say with --into s3://… where the new lake shall lie")
    return present.url


def _work(
    settings: Settings, present: Lakehouse, new: Lakehouse, store: LandingStore, retractions: Retractions
) -> Rebuild:
    from smartdrive_dagster.defs.backfill import recomputations
    from smartdrive_dagster.defs.floors import FOR_EVER
    from smartdrive_dagster.defs.rebuild import Rebuild, RebuildError, is_secret_of
    from smartdrive_dagster.domain.erasures import Erased

    if settings.secret is None and not settings.secret_file.exists():
        raise RebuildError(
            f"no secret: set SMARTDRIVE_SECRET or restore {settings.secret_file}. With another one than the lake "
            "was made with, every vehicle would get a new vehicle_id"
        )
    secret = settings.lake_secret()
    for lakehouse in (present, new):
        if not is_secret_of(lakehouse, secret):
            raise RebuildError(
                f"the lake at {lakehouse.url} was made with another secret than the one configured: every vehicle "
                "would get a new vehicle_id"
            )
    until = datetime.now(UTC).date()
    return Rebuild(
        present,
        new,
        store,
        secret,
        recomputations(settings.model_copy(update=FOR_EVER), until=until),  # whatever is there is computed
        until,
        retractions.keys(),
        Erased(secret, retractions.vehicles()),
    )


def _build(work: Rebuild, bars: Any) -> None:
    objects = work.objects()
    task = bars.add_task("Bronze and Silver", total=sum(objects.values()))
    before = 0
    for day, count in objects.items():
        for done in work.take_in(day):
            bars.update(task, completed=before + min(done, count), description=f"Bronze and Silver {day}")
        before += count
        bars.update(task, completed=before)
    task = bars.add_task("Gold and marts", total=None)
    for table, _, _ in work.compute():
        bars.update(task, advance=1, description=str(table))
    bars.update(task, total=bars.tasks[task].completed, description="Gold and marts")


def _behind(work: Rebuild) -> str:
    """Why the present lake may differ without anything being wrong: it has not done its work yet."""
    from smartdrive_dagster.defs.work import pending_days, stale_gold_days

    pending = pending_days(work.present, work.store, since=_FIRST_DAY, until=work.until)
    stale = stale_gold_days(work.present, until=work.until, floor=0)
    if not pending and not stale:
        return ""
    return (
        f"; the present lake is behind ({len(pending)} arrival days to do, {len(stale)} stale Gold days): "
        "smartdrive process brings it up to date, then repeat"
    )


def _swap(present: Lakehouse, new: Lakehouse) -> None:
    from smartdrive_dagster.defs.rebuild import RebuildError
    from smartdrive_dagster.processing import dagster_instance, who_is_at_work

    with dagster_instance() as instance:
        busy = who_is_at_work(instance, datetime.now(UTC))
    if busy:
        raise RebuildError(
            f"{busy}: a writer whose table is renamed under it would damage the new one. "
            "Stop it, wait a minute, and repeat"
        )
    kept = f"{present.url}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    os.rename(present.url, kept)
    os.rename(new.url, present.url)
    typer.echo(f"the new lake is in place; the old one is at {kept}")
