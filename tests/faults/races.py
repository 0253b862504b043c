"""Writers, runs and daemons at once over one lake: each row once, whoever wins."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import silver
from tests.faults.harness import Campaign, Result, Step
from tests.faults.lake_road import batches_of, compare, ingest, recompute_trips, rows_of, stale_days
from tests.faults.lake_work import Home
from tests.faults.orchestrator import Orchestrator, until
from tests.faults.race_worker import TABLE, start, take_in, wait_until_ready, write
from tests.faults.s3_service import s3_service
from tests.messages import START, event, land, telemetry
from tests.object_store import fresh_bucket

_FINISHED_WITHIN_S: Final = 3600.0
_RUN_OBJECTS: Final = 12


def writers(*, on_s3: bool, is_guarded: bool = True) -> Callable[[Path, int, Step], Result]:
    """A campaign of processes that append to one table at once. A trial is a commit."""

    def campaign(folder: Path, trials: int, step: Step) -> Result:
        count, commits = _shape(trials)
        name = f"{count} writers of {commits} commits each, {'S3' if on_s3 else 'disk'}"
        result = Result(
            name if is_guarded else "control: writers that do not look what is there", must_fail=not is_guarded
        )
        with ExitStack() as stack:
            lake = fresh_bucket(stack.enter_context(s3_service(folder))) if on_s3 else str(folder / "lake")
            step(name)
            began = time.monotonic()
            with at_once(folder, result) as processes:
                for number in range(count):
                    processes.append(start(write, lake, number, commits, is_guarded, str(folder / "signals")))
            took_s = time.monotonic() - began
            result.trials = count * commits
            rows = Counter(
                Lakehouse(lake).scan(TABLE).collect().get_column("object_key").str.extract(r"/(\w[\w-]*)\.jsonl")
            )
        expected = Counter(f"own-{n}-{c}" for n in range(count) for c in range(commits))
        expected += Counter(f"shared-{c}" for c in range(commits))
        result.lost = (expected - rows).total()
        result.duplicated = (rows - expected).total()
        told = [json.loads(path.read_text()) for path in (folder / "signals").glob("done-*")]
        if told:
            lost, in_a_row = sum(t["lost"] for t in told), max(t["most_in_a_row"] for t in told)
            result.notes.append(f"{lost:,} races lost, at most {in_a_row} in a row")
            slowest_s = max(t["slowest_s"] for t in told)
            result.notes.append(f"slowest commit {slowest_s:.1f} s, all in {took_s:.0f} s")
        return result

    return campaign


def _shape(trials: int) -> tuple[int, int]:
    """Writers and commits of each: 20 of 50 in full, 4 of 5 in the quick form."""
    return (20, trials // 20) if trials >= 100 else (4, trials // 4)


@contextmanager
def at_once(folder: Path, result: Result) -> Iterator[list[BaseProcess]]:
    """Start processes in the block; then let them go at the same moment, and wait until all have finished."""
    signals = folder / "signals"
    shutil.rmtree(signals, ignore_errors=True)
    signals.mkdir(parents=True)
    processes: list[BaseProcess] = []
    try:
        yield processes
        wait_until_ready(signals, len(processes))
        deadline = time.monotonic() + _FINISHED_WITHIN_S
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode != 0:
                result.broken.append(f"a process ended with {process.exitcode}")
    finally:
        for process in processes:
            process.kill()
            process.join()


def runs(*, is_guarded: bool = True) -> Callable[[Path, int, Step], Result]:
    """A campaign of runs that overlap on the same arrival days, with micro-batches of different sizes."""

    def campaign(folder: Path, trials: int, step: Step) -> Result:
        result = Result(
            "ingestion runs that overlap" if is_guarded else "control: runs that do not look what is there",
            must_fail=not is_guarded,
        )
        landing = str(folder / "landing")
        _land_drives(LandingStore(landing), doubled=is_guarded)
        days = sorted({entry.landing_date for entry in LandingStore(landing).list().objects})
        expected = rows_of(_alone(folder / "clean", landing, days))
        for number in result.count(trials, step):
            lake = str(folder / f"lake-{number}")
            with at_once(folder, result) as processes:
                for run in range(4):
                    batch = 1 + (number + run) % 3
                    signals = str(folder / "signals")
                    processes.append(start(take_in, lake, landing, days, batch, is_guarded, signals, run))
            compare(result, Lakehouse(lake), expected)
        result.notes.append("4 runs at once over two arrival days")
        return result

    return campaign


def _land_drives(store: LandingStore, *, doubled: bool) -> None:
    """Drives over two arrival days; `doubled`: with duplicates within an object and across days."""
    scan = {"stored": [{"code": "P0171", "title": None}], "pending": [], "permanent": []}
    for number in range(_RUN_OBJECTS):
        at = START + timedelta(minutes=2 * number)
        drive = telemetry(number, at=at, samples=60)
        payloads = (
            drive,
            *([drive] if doubled else []),
            b"{",
            event(100 + number, at=at),
            event(200 + number, type_="dtc_scan", detail=scan),
        )
        land(store, *payloads, at=at + timedelta(days=number % 2, minutes=2), name=f"drive-{number}")
        if doubled:
            land(store, drive, at=at + timedelta(days=(number + 1) % 2, minutes=3), name=f"again-{number}")


def _alone(lake: Path, landing: str, days: list[date]) -> Lakehouse:
    lakehouse = Lakehouse(str(lake))
    with batches_of(3):
        ingest(lakehouse, LandingStore(landing), days)
    recompute_trips(lakehouse)
    return lakehouse


def daemons(folder: Path, trials: int, step: Step) -> Result:
    """Two daemons with run storages of their own work on one lake and one landing zone."""
    result = Result("two daemons over one lake")
    for number in result.count(trials, step):
        _race_daemons(folder / str(number), result)
    return result


def _race_daemons(folder: Path, result: Result) -> None:
    home = Home(str(folder / "shared"))
    lakehouse, store = home.lakehouse, home.store
    one, other = (Orchestrator(folder / name, home) for name in ("one", "other"))
    with one, other:
        for drive in range(_RUN_OBJECTS):
            _land_now(store, drive)
            time.sleep(1.0)
        began = time.monotonic()
        until(lambda: _samples(lakehouse) == 60 * _RUN_OBJECTS, "all samples", 1200)
        until(lambda: balances(lakehouse).close and not stale_days(lakehouse), "balances and trips", 1200)
        result.recovered_s.append(time.monotonic() - began)
    ran = [len(daemon.runs(job="ingest")) for daemon in (one, other)]
    if not all(ran):
        result.broken.append(f"a daemon had nothing to do: {ran} runs")
    days = sorted({entry.landing_date for entry in store.list().objects})
    compare(result, lakehouse, rows_of(_alone(folder / "clean", store.url, days)))
    result.notes.append(f"{ran[0]} and {ran[1]} ingestion runs")


def _land_now(store: LandingStore, drive: int) -> None:
    now = datetime.now(UTC)
    at = now - timedelta(minutes=20) + timedelta(seconds=60 * drive)
    land(store, telemetry(drive, at=at, samples=60), event(100 + drive, at=at), at=now)


def _samples(lakehouse: Lakehouse) -> int:
    return lakehouse.open(silver.TELEMETRY).count()


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "writers": Campaign(writers(on_s3=False), trials=1000, quick=20),
    "writers-s3": Campaign(writers(on_s3=True), trials=1000, quick=0),
    "writers-control": Campaign(writers(on_s3=False, is_guarded=False), trials=100, quick=20),
    "runs": Campaign(runs(), trials=20, quick=1),
    "runs-control": Campaign(runs(is_guarded=False), trials=5, quick=1),
    "daemons": Campaign(daemons, trials=3, quick=0),
}
