"""`smartdrive status --check`: what it prints, how it exits, and what it does not load."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from smartdrive_dagster.cli import app
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore, Listing
from smartdrive_dagster.status import status
from tests.messages import land, telemetry


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return tmp_path


def run(*options: str) -> Result:
    return CliRunner().invoke(app, ["status", *options])


def landed_an_hour_ago(here: Path) -> str:
    now = datetime.now(UTC)
    key = land(LandingStore(str(here / "landing")), telemetry(1), at=now).key
    written = (now - timedelta(hours=1)).timestamp()
    os.utime(here / "landing" / key, (written, written))
    return key


def test_a_calm_lake_is_one_line_and_no_failure(here: Path) -> None:
    done = run("--check", "--no-daemon")
    assert done.exit_code == 0
    assert done.stdout == "all is well: 0 landing objects, newest message none yet, both balances close\n"
    assert list(here.iterdir()) == []


def test_each_thing_that_is_wrong_is_one_line(here: Path) -> None:
    key = landed_an_hour_ago(here)
    (here / "landing" / "notes.txt").write_text("not a landing object")
    done = run("--check")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    lag = r"landing lags: 1 object landed more than 15 min ago and not in the ledger; the oldest landed 6\d min "
    assert re.fullmatch(f"{lag}ago: {re.escape(key)}", lines.pop(0))
    assert lines == [
        f"no Dagster instance at {here / '.smartdrive/dagster'}",
        "note: 1 key in landing of no landing object: nothing reads them",
    ]
    assert run("--check", "--no-daemon", "--max-lag", "99").exit_code == 0


def test_findings_can_be_had_as_json(here: Path) -> None:
    key = landed_an_hour_ago(here)
    done = run("--check", "--no-daemon", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["healthy"] is False
    assert [(one["kind"], key in one["text"]) for one in found["findings"]] == [("landing_lags", True)]
    assert json.loads(run("--check", "--no-daemon", "--json", "--max-lag", "999").stdout)["healthy"] is True


@pytest.mark.parametrize(
    "options", [["--check", "--max-lag", "-1"], ["--check", "--max-quarantine-share", "2"], ["--no-daemon"]]
)
def test_a_wrong_option_is_another_failure_than_a_wrong_lake(here: Path, options: list[str]) -> None:
    assert run(*options).exit_code == 2


def test_a_lake_that_cannot_be_looked_at_is_wrong(here: Path) -> None:
    log = here / "lake" / "silver" / "messages" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("no log")
    done = run("--check", "--no-daemon")
    assert done.exit_code == 1
    assert done.stdout.startswith("cannot be looked at: ")
    assert len(done.stdout.splitlines()) == 1


def test_a_check_without_the_daemon_loads_no_dagster(here: Path) -> None:
    program = (
        "import sys\n"
        "from smartdrive_dagster.cli import app\n"
        "try: app(['status', '--check', '--no-daemon'])\n"
        "except SystemExit as end: print(end.code, sorted({'dagster', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_the_landing_zone_is_listed_once(here: Path) -> None:
    class Counted(LandingStore):
        listings = 0

        def list(self, **options: object) -> Listing:
            self.listings += 1
            return super().list(**options)  # type: ignore[arg-type]

    landed_an_hour_ago(here)
    store = Counted(str(here / "landing"))
    now = datetime.now(UTC)
    found = status(Lakehouse(str(here / "lake")), store, now=now)
    assert store.listings == 1
    assert (found.landing_objects, found.unread_objects, found.pending_days) == (1, 1, [now.date()])
