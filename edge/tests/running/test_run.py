"""`smartdrive-edge run` as a process: how it begins, what it says of itself, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge.tests.publisher.broker import free_port

PROGRAM = str(Path(sys.executable).with_name("smartdrive-edge"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(
        f'device_id = "edge-00001"\nstate_dir = "{tmp_path / "state"}"\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {free_port()}\nis_insecure = true\n'
    )
    return path


@contextmanager
def running(config: Path, *more: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [PROGRAM, "run", "--config", str(config), *more],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(path: Path, process: subprocess.Popen[str], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.05)


def messages(config: Path) -> int:
    with closing(sqlite3.connect(config.parent / "state" / "spool.db")) as database:
        return int(database.execute("SELECT count(*) FROM messages").fetchone()[0])


def test_sigterm_ends_it_soon_and_keeps_what_was_under_way(config: Path) -> None:
    with running(config, "--simulate", "drive", "--speed", "20") as process:
        status = config.parent / "state" / "status.json"
        until(status, process)
        deadline = time.monotonic() + 40
        while json.loads(status.read_text())["phase"] != "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.5)
        before = messages(config)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert time.monotonic() - began < 15
        assert process.returncode == 1, said
        assert "messages stay in" in said
        assert messages(config) > before
        assert not status.exists()
        assert "XSMZZZ" not in said
        assert "WVWZZZ" not in said


def test_a_second_collector_is_told_who_is_in_the_way(config: Path) -> None:
    with running(config, "--simulate", "parked") as first:
        until(config.parent / "state" / "status.json", first)
        with running(config, "--simulate", "parked") as second:
            _, said = second.communicate(timeout=30)
        assert second.returncode == 2
        assert said.strip().splitlines()[-1].startswith("smartdrive-edge: the spool ")
        assert "Traceback" not in said


def test_systemd_hears_that_it_is_ready_lives_and_stops(config: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        with running(config, "--simulate", "parked", **variables) as process:
            heard = ""
            while heard.count("WATCHDOG=1") < 3:
                heard += systemd.recv(4096).decode() + "\n"
            assert heard.startswith("READY=1")
            process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in heard:
                heard += systemd.recv(4096).decode() + "\n"
            process.wait(30)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--simulate", "nowhere"], "no scenario 'nowhere'"),
        (["--simulate", "drive", "--speed", "0"], "speed must be a positive number"),
        (["--simulate", "drive", "--from", "2026-01-01"], "has no offset"),
        (["--simulate", "drive", "--from", "yesterday"], "Invalid isoformat"),
        (["--simulate", "drive", "--from", "2099-01-01T00:00:00Z"], "end in the future"),
        (["--simulate", "drive", "--from", "1999-01-01T00:00:00Z"], "before 2008"),
        (["--speed", "60"], "are for --simulate"),
    ],
)
def test_nonsense_is_refused_before_anything_is_made(config: Path, more: list[str], words: str) -> None:
    with running(config, *more, COLUMNS="200") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert words in said
    assert not (config.parent / "state").exists()


def test_a_missing_configuration_names_an_example(tmp_path: Path) -> None:
    with running(tmp_path / "nowhere.toml") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "nowhere.toml: no such file" in said
    assert "example.toml" in said


def test_a_simulation_that_is_too_fast_to_be_understood_says_so(config: Path) -> None:
    for speed in ("3000", "100000"):
        with running(config, "--simulate", "parked", "--speed", speed) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "try a lower --speed" in said


@pytest.mark.parametrize("fault", ["file", "directory", "foreign"])
def test_a_state_directory_that_cannot_be_used_is_one_line(config: Path, fault: str) -> None:
    state = config.parent / "state"
    if fault == "file":
        state.write_text("")
    else:
        state.mkdir()
        spool = state / "spool.db"
        spool.mkdir() if fault == "directory" else spool.symlink_to("/proc/self/mem")
    with running(config, "--simulate", "parked") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"state_dir {state} cannot be used" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
