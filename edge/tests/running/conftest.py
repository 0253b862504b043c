"""A bench: a simulated car, a real broker, a configuration, and the program as a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from smartdrive_edge.certificates import Issued
from smartdrive_edge.simulator import Simulator

from edge.tests.publisher.broker import Mosquitto

DEVICE = "edge-00001"
MOVING_S = 60.0
# The superuser's power to open everything is dropped, so that missing rights are seen by whoever runs the tests.
WITHOUT_POWERS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@dataclass
class Ran:
    """What a process printed, and how it ended."""

    code: int
    text: str
    errors: str

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    def finding(self, check: str, text: str = "") -> tuple[str, str, str]:
        """Verdict, text and next step of the one finding of this check that holds this text."""
        found = [one for one in self.report["findings"] if one["check"] == check and text in one["text"]]
        assert len(found) == 1, self.text
        return found[0]["verdict"], found[0]["text"], found[0]["next_step"]

    def verdicts(self) -> dict[str, str]:
        return {one["check"]: one["verdict"] for one in self.report["findings"]}


@dataclass
class Bench:
    """A configuration in parts, written anew for each run."""

    folder: Path
    values: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def set(self, section: str, **fields: object) -> None:
        self.values.setdefault(section, {}).update(fields)

    def write(self) -> Path:
        text = f'device_id = "{DEVICE}"\nstate_dir = "{self.state}"\n'
        for section, fields in self.values.items():
            lines = [f"{name} = {json.dumps(str(v) if isinstance(v, Path) else v)}" for name, v in fields.items()]
            text += "\n".join([f"[{section}]", *lines, ""])
        self.config.write_text(text, encoding="utf-8")
        return self.config

    def run(self, *arguments: str, prefix: list[str] | None = None) -> Ran:
        program = Path(sys.executable).with_name("smartdrive-edge")
        command = [*(prefix or []), str(program), *arguments, "--config", str(self.write())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    def use(self, broker: Mosquitto, issued: Issued) -> None:
        self.values["broker"] = {
            "host": "127.0.0.1",
            "port": broker.port,
            "authority": broker.authority.certificate_path,
            "certificate": issued.certificate,
            "key": issued.key,
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Without a car and without a broker: nothing listens on the port."""
    made = Bench(tmp_path)
    made.set("adapter", port=str(tmp_path / "no-adapter"))
    made.set("broker", host="127.0.0.1", port=9, is_insecure=True)
    return made


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    try:
        yield broker.start()
    finally:
        broker.kill()


@pytest.fixture
def car() -> Iterator[Simulator]:
    """A car that drives. Whoever looked at it has only read."""
    with Simulator("drive", latency="8/25") as simulator:
        simulator.clock.skip(MOVING_S)
        yield simulator
        assert simulator.forbidden_requests == []
        assert simulator.eeprom_writes == []


@pytest.fixture
def parked() -> Iterator[Simulator]:
    with Simulator("parked", latency="8/25") as simulator:
        yield simulator
        assert simulator.forbidden_requests == []
        assert simulator.eeprom_writes == []


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed, and in continuous integration these tests must run")
        pytest.skip(f"{program} is not installed")
    return found
