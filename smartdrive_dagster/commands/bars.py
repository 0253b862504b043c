"""How long work shows on standard error that it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smartdrive_dagster.settings import Settings


@contextmanager
def progress() -> Iterator[Any]:
    """Bars of done and total, with the time that passed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from smartdrive_dagster.screens import console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(error=True)) as bars:
        yield bars


def process_now(settings: Settings, bars: Any) -> int:
    """Bring the lake up to date under bars; returns how many runs that took."""
    from smartdrive_dagster.processing import Step, dagster_instance, process

    titles = {"ingest": "Bronze and Silver", "gold": "Gold and marts", "publish": "REST API's database"}
    tasks: dict[str, Any] = {}

    def on_step(step: Step) -> None:
        if step.job not in tasks:
            tasks[step.job] = bars.add_task(titles[step.job], total=step.total)
        bars.update(tasks[step.job], completed=step.number - 1, description=f"{titles[step.job]} {step.days}")

    with dagster_instance() as instance:
        runs = process(settings, instance, on_step)
    for job, task in tasks.items():
        bars.update(task, completed=bars.tasks[task].total, description=titles[job])
    return runs
