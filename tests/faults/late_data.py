"""A batch that comes a week late, killed between any two steps: only its own days change, and none stays stale."""

from __future__ import annotations

import random
import shutil
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from smartdrive_dagster.defs.computations import computations, reach_days
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import Days, Table, gold, silver
from tests.faults import failpoints, unguarded
from tests.faults.failpoints import Fuse
from tests.faults.harness import Campaign, Result, Step
from tests.faults.killed_process import dies
from tests.faults.lake_work import DAY, UNTIL, Home, delivery, work
from tests.faults.wholeness import State, count_damage

LATE_DAYS: Final = 7
_EARLY: Final = [delivery(0), delivery(1, day=LATE_DAYS)]
_LATE: Final = delivery(2, arrives=LATE_DAYS)
_LONGEST_INSIDE_S: Final = 0.03
# The steps between which a Gold day could be left stale are tried first.
_FIRST: Final = {failpoints.after(name) for name in (silver.MESSAGES, gold.TRIPS, "marts.vehicle_daily")}

Files = set[tuple[date, str]]


def late_batch(folder: Path, trials: int, step: Step) -> Result:
    """A week's lake gets a batch of its first day; it is killed on the way, and the sweep does the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    result = Result(f"a batch {LATE_DAYS} days late, killed at every step")
    chance, fuse = random.Random(1), Fuse(folder)
    base, clean = folder / "base", folder / "clean"
    work(Home(str(base)), _EARLY)
    shutil.copytree(base, clean)
    work(Home(str(clean)), [*_EARLY, _LATE])
    early, expected = (State.of(Home(str(place)).lakehouse) for place in (base, clean))
    points = early.failpoints_to(expected)
    points.sort(key=lambda name: name not in _FIRST)
    for number in result.count(trials, step):
        home = Home(str(folder / "home"))
        shutil.copytree(base, home.root)
        name = points[number % len(points)]
        where = f"kill {number + 1}, {name}"
        fuse.arm(name, delay_s=chance.uniform(0, _LONGEST_INSIDE_S))
        if not dies(home, [*_EARLY, _LATE], fuse):
            result.broken.append(f"{where}: was not reached")
        began = time.monotonic()
        work(home, [*_EARLY, _LATE])
        result.recovered_s.append(time.monotonic() - began)
        count_damage(result, home.lakehouse, expected, until=UNTIL, where=where)
        for table, halo in _halos().items():
            if strays := _changed_days(Home(str(base)).lakehouse, home.lakehouse, table, halo):
                result.broken.append(f"{where}: {table} was written anew on {', '.join(map(str, strays))}")
        shutil.rmtree(home.root)
    return result


def mark_before_rows(folder: Path, trials: int, step: Step) -> Result:
    """The control: a Gold day is marked as fresh in a commit of its own, before its rows."""
    result = Result("control: days marked fresh before their rows", must_fail=True)
    for number in result.count(trials, step):
        home, fuse = Home(str(folder / f"home-{number}")), Fuse(folder)
        folder.mkdir(parents=True, exist_ok=True)
        work(Home(str(folder / f"clean-{number}")), _EARLY[:1])
        expected = State.of(Home(str(folder / f"clean-{number}")).lakehouse)
        fuse.arm(failpoints.after(gold.TRIPS))
        dies(home, _EARLY[:1], fuse, guard=unguarded.ONE_COMMIT)
        work(home, _EARLY[:1])
        count_damage(result, home.lakehouse, expected, until=UNTIL, where=f"kill {number + 1}")
    return result


def _changed_days(before: Lakehouse, after: Lakehouse, table: Table, halo: int) -> list[date]:
    """Days whose files are not those of before, and that the late batch has no business with."""
    own = Days(DAY - timedelta(halo), DAY + timedelta(halo))
    changed = _files(before, table) ^ _files(after, table)
    return sorted({day for day, _ in changed if day not in own})


def _halos() -> dict[Table, int]:
    """Tables by event day of which no later day may change, and how far a sample reaches in them (days).

    What counts arrivals changes on the day of an arrival by right.
    """
    among = computations()
    windows = [
        (table, reach_days(computation, among))
        for table, computation in among.items()
        if table.partition_by and not computation.is_history and not computation.counts_arrivals
    ]
    return {silver.TELEMETRY: 0, silver.EVENTS: 0, silver.DTC_READINGS: 0, **dict(windows)}


def _files(lakehouse: Lakehouse, table: Table) -> Files:
    delta = lakehouse.open(table).delta
    if delta is None:
        return set()
    adds = pl.DataFrame(delta.get_add_actions(flatten=True))
    return set(adds.select(f"partition.{table.partition_by}", "path").iter_rows())


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "late": Campaign(late_batch, trials=74, quick=1),
    "late-control": Campaign(mark_before_rows, trials=3, quick=1),
}
"""By name."""
