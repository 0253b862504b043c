"""A month of one-minute batches with maintenance every night: files, log, query and batch must not grow with it.

Simulated are the minutes in which a car drives: two drives of an hour a day. Each minute lands one object of 60
samples, which is taken through Bronze, Silver and the ledger as the looping run does it; after each drive
gold.trips is recomputed. Time is simulated too, and delta-rs knows the real clock only: so before each night the
two retention properties of every table are set to what the last seven simulated days took.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.lake.frames import empty
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.maintenance import maintain_apart, merge_where_fragmented
from smartdrive_dagster.lake.upkeep import MERGE_AT
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import Days, gold, silver
from tests.faults.harness import Campaign, Result, Step
from tests.faults.lake_road import TABLES, recompute_trips
from tests.faults.maintenance_faults import retention
from tests.faults.month_chart import draw
from tests.messages import SECRET, START, land, telemetry

_MINUTES: Final = 60  # of a drive
_RETAINED_DAYS: Final = 7
_FULL: Final = 14  # days from which weeks are compared
_LOOK_EVERY: Final = 64
_MOST_TIMES_SLOWER: Final = 2.0
_CHART: Final = Path(__file__).parents[2] / "docs" / "images" / "month.svg"


@dataclass
class SimulatedDay:
    """What one day left behind.

    Attributes:
        day: its date.
        took_s: real time it took.
        batch_ms: of each micro-batch, from the landed object to the ledger.
        most_files: of one table at any time of the day.
        files: by table, after the night.
        stored_files: data files on disk by table, old versions' included, after the night.
        log: entries by table, after the night.
        versions: by table, after the night.
        query_ms: median of a query for one day's mean speed, after the night.
        peak_memory_bytes: of the maintenance's processes.
    """

    day: date
    took_s: float = 0.0
    batch_ms: list[float] = field(default_factory=list)
    most_files: int = 0
    files: dict[str, int] = field(default_factory=dict)
    stored_files: dict[str, int] = field(default_factory=dict)
    log: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    query_ms: float = 0.0
    peak_memory_bytes: int = 0


def month(*, is_maintained: bool = True) -> Callable[[Path, int, Step], Result]:
    """A campaign of which a trial is a day."""

    def campaign(folder: Path, trials: int, step: Step) -> Result:
        name = f"{trials} days of one-minute batches"
        result = Result(name if is_maintained else "control: without maintenance", must_fail=not is_maintained)
        is_full = trials >= _FULL
        house = _House(folder, minutes=_MINUTES if is_full else 10, is_apart=is_full)
        lived: list[SimulatedDay] = []
        for number in result.count(trials, step):
            today = SimulatedDay(START.date() + timedelta(days=number))
            began = time.monotonic()
            house.drive(today, is_maintained)
            if is_maintained:
                house.night(today, lived)
            house.measure(today)
            today.took_s = time.monotonic() - began
            lived.append(today)
            step(f"day {number + 1} of {trials}, {today.took_s:.0f} s")
        _judge(result, lived)
        if is_full and is_maintained:
            _compare_weeks(result, lived)
            draw(_CHART, lived)
        return result

    return campaign


class _House:
    """A lake, its landing zone, and the days that pass in it."""

    def __init__(self, folder: Path, *, minutes: int, is_apart: bool) -> None:
        self.lakehouse = Lakehouse(str(folder / "lake"))
        self._store = LandingStore(str(folder / "landing"))
        self._ingestion = Ingestion(self.lakehouse, self._store, SECRET)
        self._minutes = minutes
        self._is_apart = is_apart
        self._steps = self._seq = 0

    def drive(self, today: SimulatedDay, is_maintained: bool) -> None:
        """Two drives; what they send is taken in minute by minute."""
        for hour in (8, 17):
            for minute in range(self._minutes):
                at = START.replace(hour=hour) + (today.day - START.date()) + timedelta(minutes=minute)
                self._seq += 1
                land(self._store, telemetry(self._seq, at=at, samples=60), at=at + timedelta(minutes=1))
                began = time.monotonic()
                while self._ingestion.advance(today.day, Progress()):
                    self._steps += 1
                    if is_maintained and self._steps % _LOOK_EVERY == 0:
                        today.most_files = max(today.most_files, *self._files().values())
                        merge_where_fragmented(self.lakehouse, TABLES)
                today.batch_ms.append(1000 * (time.monotonic() - began))
            recompute_trips(self.lakehouse)
        today.most_files = max(today.most_files, *self._files().values())

    def night(self, today: SimulatedDay, lived: list[SimulatedDay]) -> None:
        """Nightly maintenance, whose retention is what the last days took."""
        week_s = sum(day.took_s for day in lived[-_RETAINED_DAYS:])
        with retention(
            f"interval {max(1, round(week_s))} seconds" if len(lived) >= _RETAINED_DAYS else "interval 168 hours"
        ):
            for table in TABLES:
                if not self.lakehouse.exists(table):
                    continue
                # an append of nothing brings the table's properties up to date
                self.lakehouse.append_once(table, lambda _, table=table: empty(table))  # type: ignore[misc]
                if self._is_apart:
                    done = maintain_apart(self.lakehouse.url, table)
                    today.peak_memory_bytes = max(today.peak_memory_bytes, done["peak_memory_bytes"])
                else:
                    self.lakehouse.maintain(table)

    def measure(self, today: SimulatedDay) -> None:
        """Count files and log entries, and time a query."""
        today.files = self._files()
        for table in TABLES:
            folder = Path(self.lakehouse.uri(table))
            today.stored_files[str(table)] = sum(1 for _ in folder.rglob("part-*.parquet"))
            today.log[str(table)] = sum(1 for _ in (folder / "_delta_log").glob("*.json"))
            today.versions[str(table)] = self.lakehouse.open(table).version
        today.query_ms = statistics.median(self._query(today.day) for _ in range(9))

    def _files(self) -> dict[str, int]:
        return {str(table): self.lakehouse.open(table).files() for table in TABLES}

    def _query(self, day: date) -> float:
        began = time.monotonic()
        rows = self.lakehouse.scan(silver.TELEMETRY, Days(day, day))
        rows.select(pl.col("speed_kmh").mean(), pl.len()).collect()
        self.lakehouse.scan(gold.TRIPS, Days(day, day)).select(pl.col("distance_km").sum()).collect()
        return 1000 * (time.monotonic() - began)


def _judge(result: Result, lived: list[SimulatedDay]) -> None:
    """Files and log entries, counted exactly."""
    for number, today in enumerate(lived):
        for name, files in today.files.items():
            if files > number + 1:
                result.broken.append(f"{today.day}: {name} has {files} files for {number + 1} days")
        # a look every 64 steps, that is every 32 minutes, and so many may have come since
        if today.most_files > (most := number + 1 + MERGE_AT + _LOOK_EVERY // 2):
            result.broken.append(f"{today.day}: a table had {today.most_files} files, more than {most}")
        if number > _RETAINED_DAYS:
            before = lived[number - _RETAINED_DAYS - 1]
            for name, entries in today.log.items():
                # the checkpoint of the last night outside the retention must stay, and what came after it
                if entries > today.versions[name] - before.versions[name] + 1:
                    result.broken.append(f"{today.day}: the log of {name} has {entries} entries")
    if len(lived) > 2 * _RETAINED_DAYS:
        for name, stored in lived[-1].stored_files.items():
            if stored > 1.25 * lived[_RETAINED_DAYS + 2].stored_files[name] + len(lived):
                result.broken.append(f"{name}: {stored} data files are stored, and they grow")
    files, log = (
        max(max(counts.values()) for counts in of)
        for of in ([day.files for day in lived], [day.log for day in lived])
    )
    by_day = max(day.most_files for day in lived)
    result.notes.append(f"≤ {files} files a table after a night, ≤ {by_day} by day, ≤ {log} log entries")
    result.notes.append(f"batch {statistics.median(ms for day in lived for ms in day.batch_ms):.0f} ms")
    if peak := max(day.peak_memory_bytes for day in lived):
        result.notes.append(f"maintenance peaked at {peak / 2**20:.0f} MiB")


def _compare_weeks(result: Result, lived: list[SimulatedDay]) -> None:
    """Times, as the ratio of the last week's median to the first's."""
    for what, times in (("query", _queries), ("batch", _batches)):
        first, last = (statistics.median(times(week)) for week in (lived[:7], lived[-7:]))
        result.notes.append(f"{what} {first:.0f} ms in the first week, {last:.0f} ms in the last")
        if last > _MOST_TIMES_SLOWER * first:
            result.broken.append(f"a {what} took {first:.0f} ms in the first week and {last:.0f} ms in the last")


def _queries(days: list[SimulatedDay]) -> Iterator[float]:
    return (day.query_ms for day in days)


def _batches(days: list[SimulatedDay]) -> Iterator[float]:
    return (ms for day in days for ms in day.batch_ms)


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "month": Campaign(month(), trials=30, quick=0),
    "month-control": Campaign(month(is_maintained=False), trials=2, quick=0),
}
