"""The units as systemd's own tools judge them. None was started: there is no systemd in charge here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from edge.tests.running.conftest import needs

UNITS = Path(__file__).parents[2] / "systemd"
COLLECTOR = UNITS / "smartdrive-edge.service"
MOST_EXPOSED = 2.0


@pytest.mark.parametrize("name", ["smartdrive-edge.service", "smartdrive-edge-rfcomm.service"])
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    text = (UNITS / name).read_text(encoding="utf-8")
    unit = tmp_path / name
    # The programs are not installed where this runs, and that is all that may be wrong.
    unit.write_text(re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", text, flags=re.MULTILINE), encoding="utf-8")
    done = subprocess.run(
        [needs("systemd-analyze"), "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if name in line]
    assert complaints == []
    assert done.returncode == 0


def test_the_collector_is_little_exposed() -> None:
    done = subprocess.run(
        [needs("systemd-analyze"), "security", "--offline=true", "--no-pager", str(COLLECTOR)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for smartdrive-edge.service: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) <= MOST_EXPOSED


def test_the_clocks_state_can_be_read() -> None:
    """What the filter lets through is judged by systemd: the last of its lines that names a call counts."""
    done = subprocess.run(
        [needs("systemd-analyze"), "security", "--offline=true", "--no-pager", str(COLLECTOR)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "@clock is included (e.g. adjtimex is allowed)" in done.stdout
    text = COLLECTOR.read_text(encoding="utf-8")
    assert not re.search(r"^ProtectClock=(yes|true|on|1)", text, re.MULTILINE)
    assert not re.search(r"^ProcSubset=pid", text, re.MULTILINE)
    assert re.search(r"^CapabilityBoundingSet=$", text, re.MULTILINE)


def test_the_watchdog_restarts_a_collector_that_hangs_and_never_gives_up() -> None:
    text = COLLECTOR.read_text(encoding="utf-8")
    for line in ("Type=notify", "WatchdogSec=60", "Restart=always", "StartLimitIntervalSec=0"):
        assert f"\n{line}\n" in text
