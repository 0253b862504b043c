"""The road from a simulated car to landing, as processes that can be killed: collector, broker, lander.

The car lives here, in the harness, so that it drives on whoever dies, and its log tells when sampling went on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from smartdrive_edge.simulator import Engine, Key, Scenario, Segment, Simulator

from edge.tests.collector.collecting import asks_for_rpm
from edge.tests.publisher.broker import Mosquitto
from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.landing.store import LandingStore

ROOT: Final = Path(__file__).parents[2]
COLLECTOR: Final = (str(Path(sys.executable).with_name("smartdrive-edge")), "run")
UNGUARDED: Final = (sys.executable, "-m", "tests.faults.delete_on_puback", "run")
ENDLESS: Final = Scenario(
    "endless",
    "a drive that does not end",
    (
        Segment(2.0, Key.ON),
        Segment(1.0, Key.ON, Engine.CRANKING),
        Segment(86_400.0, Key.ON, Engine.RUNNING, 80.0),
    ),
)

Identity = tuple[str, str, int]


class TrialError(Exception):
    """Something that had to happen did not; the text says what."""


class Road:
    """Car, collector, broker, lander; a context manager.

    Args:
        folder: for everything.
        device_id: of the collector.
        state_dir: of the collector; by default in `folder`.
        collector: how the collector is started.
    """

    def __init__(
        self,
        folder: Path,
        device_id: str,
        *,
        state_dir: Path | None = None,
        collector: tuple[str, ...] = COLLECTOR,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.landing = folder / "landing"
        self.device_id = device_id
        self.state_dir = state_dir or folder / "state"
        self.broker = Mosquitto(folder, landers=("lander-1",))
        self.simulator = Simulator(ENDLESS)
        self._start = collector
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._config = folder / "collector.toml"
        self._write_config()

    def __enter__(self) -> Self:
        self.simulator.__enter__()
        self.broker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._processes):
            self.kill(name)
        self.broker.kill()
        self.simulator.__exit__(kind, error, trace)

    @property
    def spool_path(self) -> Path:
        return self.state_dir / "spool.db"

    def start_collector(self, *more: str) -> None:
        self._launch("collector", [*self._start, "--config", str(self._config), *more])

    def start_lander(self) -> None:
        issued = self.broker.authority.issue_lander("lander-1")
        given = {
            "port": str(self.broker.port),
            "client_id": "lander-1",
            "authority": str(self.broker.authority.certificate_path),
            "certificate": str(issued.certificate),
            "key": str(issued.key),
            "landing": str(self.landing),
        }
        self._launch(
            "lander", [sys.executable, "-m", "tests.landing.lander_processes", "lander", json.dumps(given)]
        )

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(60)

    def is_running(self, name: str) -> bool:
        return name in self._processes and self._processes[name].poll() is None

    def asked_since(self, at_s: float) -> list[float]:
        """When the car was asked for its speed of rotation: the times of the simulated clock."""
        return [e.at_s for e in list(self.simulator.log) if e.at_s > at_s and asks_for_rpm(e.request)]

    def until_sampling(self, since_s: float, within_s: float = 60.0) -> float:
        """Seconds from a moment of the simulated clock to the next sample; the car lives in real time."""
        self.wait(lambda: bool(self.asked_since(since_s)), "sampling did not go on", within_s)
        return self.asked_since(since_s)[0] - since_s

    def until_landing(self, within_s: float = 90.0) -> float:
        """Seconds until something more has landed."""
        before, began = self.landed_objects(), time.monotonic()
        self.wait(lambda: self.landed_objects() > before, "nothing more landed", within_s)
        return time.monotonic() - began

    def wait(self, condition: Callable[[], bool], complaint: str, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            for name, process in self._processes.items():
                if process.poll() not in {None, 0}:
                    raise TrialError(f"the {name} died by itself: {self.log(name)[-2000:]}")
            if time.monotonic() > deadline:
                raise TrialError(f"{complaint} within {within_s:g} s: {self.log('collector')[-2000:]}")
            time.sleep(0.02)

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def empty_the_spool(self, within_s: float = 120.0) -> None:
        """Stop collecting, and let a sender alone finish; the lander and the broker have to run."""
        self.kill("collector", signal.SIGTERM)
        command = [sys.executable, "-m", "tests.faults.sender", str(self._config)]
        self._launch("sender", command)
        self.wait(lambda: self._waiting() == 0, "the spool did not become empty", within_s)
        self.kill("sender", signal.SIGTERM)

    def committed(self) -> int:
        """Messages that were ever on the spool's disk: its counter survives what is deleted."""
        return int(self._ask("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"))

    def dropped(self) -> int:
        return int(self._ask("SELECT coalesce(sum(count), 0) FROM drops"))

    def landed(self) -> dict[Identity, set[str]]:
        """What has landed: each identity with the digests of its contents."""
        found: dict[Identity, set[str]] = defaultdict(set)
        store = LandingStore(str(self.landing))
        for entry in store.list().objects:
            for line in read_lines(store, entry):
                payload = line.payload or b""
                message = json.loads(payload)
                identity = (message["device_id"], message["boot_id"], message["seq"])
                found[identity].add(sha256(payload).hexdigest())
        return found

    def landed_objects(self) -> int:
        return sum(1 for path in self.landing.rglob("*.jsonl*") if path.is_file())

    def _waiting(self) -> int:
        return int(self._ask("SELECT count(*) FROM messages"))

    def _ask(self, query: str) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self.spool_path}?mode=ro", uri=True, timeout=10)) as spool:
            return int(spool.execute(query).fetchone()[0])

    def _launch(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )

    def _write_config(self) -> None:
        issued = self.broker.authority.issue_device(self.device_id)
        lines = [
            f'device_id = "{self.device_id}"',
            f'state_dir = "{self.state_dir}"',
            f'run_dir = "{self.folder}"',
            "[adapter]",
            f'port = "{self.simulator.port}"',
            "[clock]",
            "is_trusted = true",
            "[broker]",
            'host = "127.0.0.1"',
            f"port = {self.broker.port}",
            f'authority = "{self.broker.authority.certificate_path}"',
            f'certificate = "{issued.certificate}"',
            f'key = "{issued.key}"',
            "[sampling]",
            "batch_s = 1",
            "[upload]",
            "flush_period_s = 0.3",
            "[spool]",
            "limit_mb = 50",
        ]
        self._config.write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 2) -> Iterator[Path]:
    """A file system that is soon full.

    Raises:
        PermissionError: mounting needs root, or `sudo` without a password.
    """
    folder.mkdir(parents=True)
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    mount = [*as_root, "mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=1777", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        raise PermissionError("a small file system cannot be mounted: that needs root")
    try:
        yield folder
    finally:
        subprocess.run([*as_root, "umount", "-l", str(folder)], check=True)
