"""The road from a car to landing, as the demo drives it: a broker, a lander and simulated cars, each a process.

All of it is the product's own: `smartdrive-edge broker`, `smartdrive land`, `smartdrive-edge run --simulate`. Only
the car and its adapter are simulated, and time passes fast.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Final

import msgspec

from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.up.preflight import require_edge
from smartdrive_dagster.up.programs import script

SPEED: Final = 180.0
"""Simulated seconds per second while a car drives; while it is parked, hours pass at once."""
_DAY_S: Final = 86_400.0
_STARTED_WITHIN_S: Final = 30.0
_ENDED_WITHIN_S: Final = 300.0
_LANDER: Final = "lander"
_OF_THE_FLEET: Final = re.compile(r"/demo-\d{8}-")


class RoadError(RuntimeError):
    """A part of the road failed; the text says which, and where its log is."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How far the road is.

    Attributes:
        text: what happens now.
        done: share of it, 0 to 1.
    """

    text: str
    done: float


@dataclass(frozen=True, slots=True)
class Driven:
    """What the simulated cars did.

    Attributes:
        day: the day that they drove through, UTC.
        devices: names of the cars' collectors.
        is_new: whether they drove now, and not in an earlier demo.
    """

    day: date
    devices: tuple[str, ...]
    is_new: bool


def drive(
    directory: Path,
    landing_url: str,
    *,
    cars: int,
    now: datetime,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> Driven:
    """Let simulated cars drive through yesterday and land what their collectors send.

    Once driven, a second call finds it done. One that was interrupted goes on with the day before: no car drives
    the same day twice.

    Args:
        directory: for certificates, spools and logs of the demo.
        landing_url: where the lander lands.
        cars: how many.
        now: the present, UTC.
        on_stage: is told how far it is.

    Raises:
        RoadError: a part of it failed.
        PreflightError: the edge's command is not installed.
    """
    edge = require_edge()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        lock = stack.enter_context((directory / ".lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RoadError(f"another demo drives in {directory} now: wait for its end") from error
        earlier = _remembered(directory)
        if earlier is not None and earlier.is_done and earlier.landing == landing_url and _has_landed(landing_url):
            if len(earlier.devices) != cars:
                raise RoadError(
                    f"a demo with --road {len(earlier.devices)} lies here: run it with the same option, or begin "
                    "anew with `make clean`"
                )
            return Driven(earlier.day, earlier.devices, is_new=False)
        day = (now - timedelta(days=1)).date()
        if earlier is not None:
            day = min(day, earlier.day - timedelta(days=1))
        drive = _Drive(day, tuple(f"demo-car-{number + 1}" for number in range(cars)), landing_url)
        _remember(directory, drive)
        _Road(edge, directory, landing_url, stack, on_stage).drive(day, list(drive.devices))
        _remember(directory, replace(drive, is_done=True))
        return Driven(day, drive.devices, is_new=True)


@dataclass(frozen=True, slots=True)
class _Drive:
    """What is remembered of the last drive: where it went, and whether it got there."""

    day: date
    devices: tuple[str, ...]
    landing: str
    is_done: bool = False


def _remembered(directory: Path) -> _Drive | None:
    """The last drive; None where none is known, or where its memory is damaged."""
    try:
        return msgspec.json.decode((directory / "road.json").read_bytes(), type=_Drive)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _remember(directory: Path, drive: _Drive) -> None:
    fresh = directory / ".road.json"
    fresh.write_bytes(msgspec.json.encode(drive))
    fresh.replace(directory / "road.json")


def _has_landed(landing_url: str) -> bool:
    """Whether the landing zone still holds what a lander wrote."""
    return any(not _OF_THE_FLEET.search(entry.key) for entry in LandingStore(landing_url).list().objects)


class _Road:
    def __init__(
        self,
        edge: str,
        directory: Path,
        landing_url: str,
        stack: ExitStack,
        on_stage: Callable[[Stage], None],
    ) -> None:
        self._edge = edge
        self._directory = directory
        self._landing_url = landing_url
        self._stack = stack
        self._on_stage = on_stage
        self._certificates = directory / "certificates"
        self._port = _free_port()

    def drive(self, day: date, names: list[str]) -> None:
        self._on_stage(Stage("Road: certificates", 0.0))
        self._certify(names)
        self._on_stage(Stage("Road: broker and lander", 0.0))
        self._start_broker()
        lander = self._start_lander()
        collectors = {name: self._start_car(name, number, day) for number, name in enumerate(names)}
        deadline = time.monotonic() + _ENDED_WITHIN_S
        while any(process.poll() is None for process in collectors.values()):
            if time.monotonic() > deadline:
                raise RoadError(f"the cars did not end their day: see {self._directory}")
            if lander.poll() is not None:
                raise RoadError(f"the lander ended: see {self._log('lander')}")
            self._on_stage(self._progress(names, day))
            time.sleep(0.25)
        for name, process in collectors.items():
            if process.returncode:
                raise RoadError(f"{name} did not get rid of its messages: see {self._log(name)}")
        self._on_stage(Stage("Road: cars have driven", 1.0))

    def _certify(self, names: list[str]) -> None:
        folder = ("--folder", str(self._certificates), "--if-missing")
        devices = [("device", name) for name in names]
        for arguments in (("init",), ("broker", "localhost", "127.0.0.1"), ("lander", _LANDER), *devices):
            command = [self._edge, "certs", *arguments, *folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise RoadError(f"certificates in {self._certificates}: {done.stderr.strip()}")

    def _start_broker(self) -> None:
        command = [self._edge, "broker", "--folder", str(self._directory / "broker"), "--kind", "embedded"]
        command += ["--certificates", str(self._certificates), "--address", "127.0.0.1", "--port", str(self._port)]
        broker = self._start("broker", [*command, "--lander", _LANDER])
        deadline = time.monotonic() + _STARTED_WITHIN_S
        while "listening on" not in self._log("broker").read_text():
            if broker.poll() is not None or time.monotonic() > deadline:
                raise RoadError(f"the broker did not start: see {self._log('broker')}")
            time.sleep(0.05)

    def _start_lander(self) -> subprocess.Popen[bytes]:
        command = [script("smartdrive"), "land", "--host", "localhost", "--port", str(self._port)]
        command += ["--client-id", _LANDER, "--authority", str(self._certificates / "ca.crt")]
        command += ["--certificate", str(self._certificates / f"{_LANDER}.crt")]
        command += ["--key", str(self._certificates / f"{_LANDER}.key")]
        return self._start("lander", command, {"SMARTDRIVE_LANDING_URL": self._landing_url})

    def _start_car(self, name: str, seed: int, day: date) -> subprocess.Popen[bytes]:
        state = self._directory / name
        state.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "device_id": name,
            "state_dir": str(state),
            "broker": {
                "host": "localhost",
                "port": self._port,
                "authority": str(self._certificates / "ca.crt"),
                "certificate": str(self._certificates / f"{name}.crt"),
                "key": str(self._certificates / f"{name}.key"),
            },
            "upload": {"flush_period_s": 3.0},
            "log": {"format": "text"},
        }
        config = state / "config.toml"
        config.write_text("\n".join(_toml(settings)) + "\n")
        began = datetime.combine(day, time_of_day(), UTC).isoformat()
        command = [self._edge, "run", "--config", str(config), "--simulate", "day", "--speed", f"{SPEED:g}"]
        return self._start(name, [*command, "--seed", str(seed), "--from", began])

    def _start(
        self, name: str, command: list[str], more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A process that ends with this one, in whatever way that ends."""
        bound = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        settings = {key: value for key, value in os.environ.items() if not key.startswith("SMARTDRIVE_EDGE_")}
        environment = {**settings, **(more or {})}
        with self._log(name).open("wb") as log:
            process = subprocess.Popen([*bound, *command], stdout=log, stderr=log, env=environment)  # noqa: S603
        self._stack.enter_context(_ended(process))
        return process

    def _progress(self, names: list[str], day: date) -> Stage:
        """What the collectors tell of themselves, as anyone may read it."""
        began = datetime.combine(day, time_of_day(), UTC).timestamp()
        shares, waiting, phases = [], 0, []
        for name in names:
            try:
                status = json.loads((self._directory / name / "status.json").read_bytes())
            except (OSError, ValueError):
                shares.append(0.0)
                continue
            shares.append(min(1.0, max(0.0, (status["written_at"] - began) / _DAY_S)))
            waiting += status["spool"]["messages"]
            phases.append(status["phase"])
        text = f"Road: cars {', '.join(phases) or 'start'}; {waiting} messages on their way"
        return Stage(text, sum(shares) / len(shares))

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _toml(settings: Mapping[str, object]) -> Iterator[str]:
    """Strings and numbers, and tables of them; JSON's strings are TOML's."""
    for key, value in settings.items():
        if not isinstance(value, Mapping):
            yield f"{key} = {json.dumps(value)}"
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield f"[{key}]"
            yield from _toml(value)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
