"""The demo's road, interrupted, repeated and crowded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from smartdrive_dagster.road import RoadError, drive

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
DRIVE = """
import sys
from datetime import datetime
from pathlib import Path
from smartdrive_dagster.road import drive
drive(Path(sys.argv[1]), sys.argv[2], cars=1, now=datetime.fromisoformat(sys.argv[3]))
"""


def landed(landing: Path) -> list[Path]:
    return [path for path in landing.rglob("*.jsonl*") if path.is_file()]


@pytest.mark.nightly
def test_a_killed_demo_leaves_nothing_running_and_the_next_drives_the_day_before(tmp_path: Path) -> None:
    directory, landing = tmp_path / "demo", tmp_path / "landing"
    killed = subprocess.Popen([sys.executable, "-c", DRIVE, str(directory), str(landing), NOW.isoformat()])
    try:
        deadline = time.monotonic() + 60
        while not (directory / "demo-car-1" / "status.json").exists():
            assert time.monotonic() < deadline
            assert killed.poll() is None
            time.sleep(0.1)
        with pytest.raises(RoadError, match="another demo drives"):
            drive(directory, str(landing), cars=1, now=NOW)
        children = psutil.Process(killed.pid).children(recursive=True)
        assert len(children) >= 3
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert psutil.wait_procs(children, timeout=40)[1] == []

    driven = drive(directory, str(landing), cars=1, now=NOW)
    assert driven.is_new
    assert driven.day == date(2026, 3, 3)
    assert landed(landing)
    assert not drive(directory, str(landing), cars=1, now=NOW + timedelta(days=3)).is_new
    with pytest.raises(RoadError, match="--road 1 lies here"):
        drive(directory, str(landing), cars=2, now=NOW)

    (directory / "road.json").write_text("")
    again = drive(directory, str(tmp_path / "elsewhere"), cars=1, now=NOW)
    assert again.is_new
    assert landed(tmp_path / "elsewhere")
    assert json.loads((directory / "road.json").read_text())["landing"] == str(tmp_path / "elsewhere")
    assert oct(os.stat(directory).st_mode)[-3:] == "700"
