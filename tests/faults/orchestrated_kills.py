"""Kills through Dagster: runs at failpoints, the daemon, and everything at once, while messages go on landing.

Nobody helps: after each fault the sensors alone have to bring the lake to where a clean one is.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg

from smartdrive_dagster.tables import bronze, gold, silver
from tests.comparison import versions
from tests.faults import failpoints
from tests.faults.failpoints import Fuse
from tests.faults.gate import gate
from tests.faults.harness import Campaign, Result, Step
from tests.faults.lake_work import INGESTED, SCAN, Home, ingest, sweep
from tests.faults.orchestrator import ACTIVE, Orchestrator, WaitedInVainError, until
from tests.faults.wholeness import State, count_damage, is_whole
from tests.messages import OTHER_VIN, VIN, event, land, telemetry
from tests.object_store import fresh_bucket, object_store

_LANDS_EVERY_S: Final = 3.0
_NEW_CAR_EACH: Final = 5  # drives: or nothing would be written to silver.vehicles


class House:
    """A home with its daemon, and the cars that go on sending to it."""

    def __init__(self, folder: Path, home: Home, endpoint: str = "") -> None:
        self.home = home
        self.dagster = Orchestrator(folder, home, endpoint)
        self._sent = 0
        self._began = datetime.now(UTC) - timedelta(hours=6)

    def drive(self) -> None:
        """Land a minute of a drive, some of it twice, with a scan and a broken line; at times of a new car."""
        self._sent += 1
        at = self._began + timedelta(minutes=self._sent)
        vin = f"{VIN[:-6]}{self._sent:06}" if self._sent % _NEW_CAR_EACH == 0 else (VIN, OTHER_VIN)[self._sent % 2]
        part = telemetry(self._sent, at=at, samples=20, vin=vin)
        scan = event(100_000 + self._sent, at=at, type_="dtc_scan", detail=SCAN)
        land(self.home.store, part, part, scan, b"{", at=datetime.now(UTC))

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Go on landing meanwhile."""
        is_over = threading.Event()

        def drive() -> None:
            while not is_over.wait(_LANDS_EVERY_S):
                self.drive()

        self.drive()
        thread = threading.Thread(target=drive)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def failures(self) -> list[str]:
        """Runs that failed by themselves, not because they were killed."""
        return [
            f"a run of {run.job_name} failed by itself"
            for run in self.dagster.runs(dg.DagsterRunStatus.FAILURE)
            if self.dagster.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        ]

    def is_whole(self) -> bool:
        """Whether the lake holds all that landed, and no run is under way any more."""
        if self.dagster.runs(*ACTIVE):
            return False
        today = datetime.now(UTC).date()
        return is_whole(self.home.lakehouse, self.home.store, since=today - timedelta(1), until=today)


Fault = Callable[[House], None]


def at(name: str) -> Fault:
    """SIGKILL of the run that reaches a failpoint."""

    def kill(house: House) -> None:
        fuse = house.dagster.fuse
        fuse.arm(name)
        with house.driving():
            until(lambda: fuse.fired() is not None, f"a run to reach {name}")
        killed = (fuse.fired() or {})["process"]
        failed = dg.DagsterRunStatus.FAILURE
        until(lambda: killed in house.dagster.processes(failed), "the killed run to be seen as failed")

    return kill


def kill_the_daemon_alone(house: House) -> None:
    """SIGKILL of the daemon while a run is under way, which goes on without it."""
    with house.driving():
        until(lambda: bool(house.dagster.runs(dg.DagsterRunStatus.STARTED)), "a run")
        house.dagster.kill_daemon()
    house.dagster.start()


def lose_power_after_the_cursor(house: House) -> None:
    """SIGKILL of everything, right after the gold sensor has written that all is fresh."""
    before = house.dagster.cursor("gold_sensor")
    house.drive()
    until(lambda: house.dagster.cursor("gold_sensor") != before, "the gold sensor's cursor")
    house.dagster.lose_power()
    house.drive()
    house.dagster.start()


def lose_power_in_a_run(house: House) -> None:
    """SIGKILL of everything while a run is under way."""
    with house.driving():
        until(lambda: bool(house.dagster.runs(dg.DagsterRunStatus.STARTED)), "a run")
        time.sleep(random.uniform(0, 2))
        house.dagster.lose_power()
    house.dagster.start()


def cancel_a_run(house: House) -> None:
    """Cancel an ingestion in its loop."""
    with house.driving():
        until(lambda: bool(house.dagster.runs(dg.DagsterRunStatus.STARTED, job="ingest")), "a looping run")
        (run, *_) = house.dagster.runs(dg.DagsterRunStatus.STARTED, job="ingest")
        house.dagster.cancel(run)
        until(lambda: run.run_id not in {each.run_id for each in house.dagster.runs(*ACTIVE)}, "it to end")


def delete_the_cursor(house: House) -> None:
    """The gold sensor forgets where it was: nothing may be written, and it has to find out anew."""
    until(lambda: house.dagster.cursor("gold_sensor") is not None, "a cursor")
    before = versions(house.home.lakehouse)
    house.dagster.delete_cursor("gold_sensor")
    until(lambda: house.dagster.cursor("gold_sensor") is not None, "the cursor to be written anew")
    if versions(house.home.lakehouse) != before:
        raise WaitedInVainError("a deleted cursor made the lake write something")


FAULTS: Final[dict[str, Fault]] = {
    **{
        name: at(name)
        for name in (
            failpoints.after(silver.TELEMETRY),
            failpoints.after(gold.TRIPS),
            failpoints.data_files(bronze.MESSAGES),
        )
    },
    "power lost in a run": lose_power_in_a_run,
    "a run cancelled": cancel_a_run,
    "the cursor deleted": delete_the_cursor,
    "power lost after the cursor": lose_power_after_the_cursor,
    "the daemon alone killed": kill_the_daemon_alone,
    failpoints.after("marts.vehicle_daily"): at(failpoints.after("marts.vehicle_daily")),
    **{
        failpoints.after(table): at(failpoints.after(table)) for table in INGESTED if table is not silver.TELEMETRY
    },
}
"""What one home has to get over, one after the other, by name; the quick form begins with the first."""


def kill_through_dagster(folder: Path, trials: int, step: Step) -> Result:
    """Kill runs and daemons: first over a lake on disk, then over one on the S3 API."""
    folder.mkdir(parents=True, exist_ok=True)
    result = Result("SIGKILL of runs and daemon through Dagster")
    on_disk = list(FAULTS)[:trials]
    _get_over(result, House(folder / "disk", Home(str(folder / "disk-home"))), on_disk, step)
    if on_s3 := list(FAULTS)[: trials - len(on_disk)]:
        fuse = Fuse(folder / "s3")
        with object_store(folder / "store") as endpoint, gate(endpoint, fuse.lets_through) as door:
            _get_over(result, House(folder / "s3", Home(fresh_bucket(endpoint)), door), on_s3, step)
    return result


def _get_over(result: Result, house: House, faults: list[str], step: Step) -> None:
    """Do each fault to a home that is whole, and wait until it is whole again."""
    with house.dagster:
        for name in faults:
            where = f"{house.home.root}, {name}"
            step(f"{result.trials + 1}: {where}")
            try:
                FAULTS[name](house)
                ended = time.monotonic()
                until(house.is_whole, "a whole lake")
            except WaitedInVainError as error:
                result.broken.append(f"{where}: {error}")
                break
            result.recovered_s.append(time.monotonic() - ended)
            if taken := house.dagster.taken_slots():
                result.broken.append(f"{where}: slots stay taken in {', '.join(taken)}")
            result.trials += 1
        result.broken += house.failures()
    today = datetime.now(UTC).date()
    clean = Home(str(house.dagster.folder / "clean"), house.home.store.url)
    ingest(clean, until=today)
    sweep(clean, until=today)
    count_damage(result, house.home.lakehouse, State.of(clean.lakehouse), until=today, where=house.home.root)


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "dagster": Campaign(kill_through_dagster, trials=2 * len(FAULTS), quick=1)
}
"""By name."""
