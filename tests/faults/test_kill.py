"""SIGKILL between and inside commits: nothing lost, nothing twice. And proof that the trial can fail."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import bronze, silver
from tests.comparison import contents, repeated
from tests.messages import SECRET, START, event, land, telemetry

# The suite kills 20 times; `SMARTDRIVE_KILLS=200 pytest tests/faults` does it on demand.
KILLS = int(os.environ.get("SMARTDRIVE_KILLS", "20"))
KILLS_PER_LAKE = 4
# messages, objects, telemetry, events, dtc_readings, quarantine, ledger: one micro-batch commits seven times.
COMMITS = 7
COMPARED = (bronze.MESSAGES, bronze.OBJECTS, silver.TELEMETRY, silver.EVENTS, silver.DTC_READINGS, silver.MESSAGES)
DAY = START.date().isoformat()


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("landing")
    store = LandingStore(str(directory))
    scan = {"stored": [{"code": "P0171", "title": None}], "pending": [], "permanent": []}
    for number in range(3):
        drive = [telemetry(10 * number + n, at=START + timedelta(minutes=n)) for n in range(6)]
        land(
            store,
            *drive,
            drive[0],
            b"{",
            event(100 + number),
            event(200 + number, type_="dtc_scan", detail=scan),
            at=START + timedelta(minutes=10 + number),
        )
    return directory


def finish(lake: Path, landing: Path) -> Lakehouse:
    ingestion = Ingestion(Lakehouse(str(lake)), LandingStore(str(landing)), SECRET)
    while ingestion.advance(START.date(), Progress()):
        pass
    return ingestion.lakehouse


def die(lake: Path, landing: Path, commit: int, when: str, delay_s: float = 0, guard: str = "on") -> None:
    worker = [sys.executable, "-m", "tests.faults.worker", str(lake), str(landing), DAY]
    command = [*worker, str(commit), when, str(delay_s), guard]
    died = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert died.returncode in {-signal.SIGKILL, 0}, died.stderr


@pytest.fixture(scope="module")
def expected(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return contents(finish(tmp_path_factory.mktemp("clean"), landing), COMPARED)


@pytest.mark.parametrize("trial", range(KILLS // KILLS_PER_LAKE))
def test_a_killed_run_loses_nothing_and_repeats_nothing(
    trial: int, tmp_path: Path, landing: Path, expected: dict[str, list[str]]
) -> None:
    chance = random.Random(trial)
    for _ in range(KILLS_PER_LAKE):
        when = chance.choice(["before", "inside", "inside", "after"])
        die(tmp_path, landing, chance.randint(1, COMMITS), when, chance.uniform(0, 0.03))
    lakehouse = finish(tmp_path, landing)
    assert repeated(lakehouse) == {}
    assert balances(lakehouse).close
    assert contents(lakehouse, COMPARED) == expected


@pytest.mark.parametrize("commit", range(1, COMMITS + 1))
def test_a_run_killed_right_after_each_commit_recovers(
    commit: int, tmp_path: Path, landing: Path, expected: dict[str, list[str]]
) -> None:
    die(tmp_path, landing, commit, "after")
    lakehouse = finish(tmp_path, landing)
    assert contents(lakehouse, COMPARED) == expected


def test_without_the_guard_the_same_trial_repeats_rows(tmp_path: Path, landing: Path) -> None:
    die(tmp_path, landing, COMMITS - 1, "after", guard="off")
    die(tmp_path, landing, 0, "never", guard="off")
    assert "silver.telemetry" in repeated(Lakehouse(str(tmp_path)))
