"""The daemon as `make ui` runs it: what lands becomes trips by itself, and a killed run costs nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import gold, silver
from smartdrive_dagster.watch.facts import look
from smartdrive_dagster.watch.findings import Limits, findings
from tests.comparison import repeated
from tests.messages import land, telemetry

ROOT = Path(__file__).parents[2]


class Home:
    """A home with its daemon."""

    def __init__(self, directory: Path) -> None:
        self.lakehouse = Lakehouse(str(directory / "lake"))
        self.store = LandingStore(str(directory / "landing"))
        self.dagster_home = directory / "dagster"

    def drive(self, seq: int) -> None:
        began = datetime.now(UTC) - timedelta(minutes=20)
        land(self.store, telemetry(seq, at=began + timedelta(seconds=60 * seq), samples=60), at=datetime.now(UTC))

    def samples(self) -> int:
        return self.lakehouse.open(silver.TELEMETRY).count()

    def trips(self) -> int:
        return self.lakehouse.open(gold.TRIPS).count()

    def runs(self, job: str, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            return list(instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(statuses))))

    def silence(self, at: datetime) -> list[str]:
        """What a look from outside tells of the daemon."""
        facts = look(self.lakehouse, self.store, Limits(), at=at, dagster_home=self.dagster_home)
        return [finding.text for finding in findings(facts, Limits()) if finding.kind == "daemon"]

    def process_of(self, run: dg.DagsterRun) -> int:
        """The process that executes a run, as it told the event log."""
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            told = [re.search(r"pid: (\d+)", entry.user_message) for entry in instance.all_logs(run.run_id)]
        return next(int(found[1]) for found in told if found)


def until(reached: Callable[[], bool], what: str, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.5)


@contextmanager
def daemon(directory: Path) -> Iterator[None]:
    home = directory / "dagster"
    home.mkdir()
    (home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "SMARTDRIVE_LAKE_URL": str(directory / "lake"),
        "SMARTDRIVE_LANDING_URL": str(directory / "landing"),
        "SMARTDRIVE_SECRET_FILE": str(directory / "secret"),
    }
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(ROOT / "workspace.yaml")]
    with (directory / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.timeout(420)
def test_what_lands_becomes_trips_by_itself_also_after_a_run_was_killed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.drive(1)
    with daemon(tmp_path):
        until(lambda: home.samples() == 60, "the first samples")
        until(lambda: home.trips() == 1, "the first trip")

        until(lambda: bool(home.runs("ingest", dg.DagsterRunStatus.STARTED)), "a looping run", 60)
        (looping,) = home.runs("ingest", dg.DagsterRunStatus.STARTED)
        os.kill(home.process_of(looping), signal.SIGKILL)
        home.drive(2)
        until(lambda: home.samples() == 120, "the samples after a run was killed", 240)
        until(lambda: balances(home.lakehouse).close, "the ledger, which is written last")
        assert home.silence(datetime.now(UTC)) == []
    (silence,) = home.silence(datetime.now(UTC) + timedelta(minutes=6))  # its daemon was killed just now
    assert "sensor" in silence
    assert repeated(home.lakehouse, readable_tables()) == {}
    assert [run.run_id for run in home.runs("ingest", dg.DagsterRunStatus.FAILURE)] == [looping.run_id]
