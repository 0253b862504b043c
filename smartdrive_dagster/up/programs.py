"""What a home runs: one entry each, in the order of their start. A new program is one more entry of `plan`."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from smartdrive_dagster.up import probes
from smartdrive_dagster.up.files import Files

PROBER = "health"


class Program(msgspec.Struct, frozen=True):
    """One program of the group.

    Attributes:
        name: what commands, logs and messages call it.
        command: program and arguments; empty for one that runs elsewhere and is only watched.
        probe: how one sees that it works.
        starts_after: names of programs that have to be healthy before its first start.
        stops_within_s: how long it may take to end before it is killed.
        looked_at_every_s: how often a healthy one is looked at again; one that is not, every second.
    """

    name: str
    command: tuple[str, ...]
    probe: probes.Probe
    starts_after: tuple[str, ...] = ()
    stops_within_s: int = 10
    looked_at_every_s: float = 5.0


class Plan(msgspec.Struct, frozen=True):
    """All that the prober needs to know.

    Attributes:
        programs: in the order of their start; they stop in the reverse order.
        patience_s: how long a program may be unhealthy before it is started again, seconds.
        summary: what is said when all are healthy for the first time.
    """

    programs: tuple[Program, ...]
    patience_s: float
    summary: str


@dataclass(frozen=True, slots=True)
class Home:
    """What differs from home to home.

    Attributes:
        certificates: folder with the authority's certificate, and certificates and keys of broker and lander.
        broker: folder of the broker's own state; None where the broker is not ours to run.
        broker_host: name or address under which the lander reaches the broker.
        broker_address: address on which our broker listens.
        broker_port: where it listens, ours or not.
        lander: name of the lander's certificate, and of its session.
        ui_port: of the Dagster UI, on 127.0.0.1.
        patience_s: see `Plan`.
        api_port: of the REST API, on 127.0.0.1; None where it is not run.
    """

    certificates: Path
    broker: Path | None
    broker_host: str
    broker_address: str
    broker_port: int
    lander: str
    ui_port: int
    patience_s: float
    api_port: int | None = None

    @property
    def ui(self) -> str:
        """URL of the Dagster UI."""
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def api(self) -> str:
        """URL of the REST API."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def api_summary(self) -> str:
        """What is said of the API beside the rest; nothing where it is not run."""
        return "" if self.api_port is None else f", API {self.api}"


def plan(home: Home, files: Files) -> Plan:
    """The programs of a home."""
    authority = home.certificates / "ca.crt"
    certificate, key = (home.certificates / f"{home.lander}.{end}" for end in ("crt", "key"))
    where = f"{home.broker_host}:{home.broker_port}"
    programs = (
        Program(
            "broker",
            _broker(home),
            probes.TlsHandshake(home.broker_host, home.broker_port, str(authority), str(certificate), str(key)),
            looked_at_every_s=10,  # each look stands in its log
        ),
        Program(
            "lander",
            (
                script("smartdrive"),
                *("land", "--host", home.broker_host, "--port", str(home.broker_port)),
                *("--client-id", home.lander, "--heartbeat", str(files.heartbeat)),
                *("--authority", str(authority), "--certificate", str(certificate), "--key", str(key)),
            ),
            probes.LanderHeartbeat(str(files.heartbeat)),
            looked_at_every_s=1,
        ),
        Program(
            "code-server",
            (
                script("dagster"),
                *("api", "grpc", "--socket", str(files.code_server)),
                *("--module-name", "smartdrive_dagster.definitions", "--location-name", "smartdrive"),
            ),
            probes.CodeServerHealth(str(files.code_server)),
            stops_within_s=20,  # its runs are its children
        ),
        Program(
            "daemon",
            (script("dagster-daemon"), "run", "-w", str(files.workspace)),
            probes.DaemonHeartbeats(home.ui),
            starts_after=("code-server",),
        ),
        Program(
            "webserver",
            (
                script("dagster-webserver"),
                *("-h", "127.0.0.1", "-p", str(home.ui_port), "-w", str(files.workspace)),
            ),
            probes.ServerInfo(home.ui),
            starts_after=("code-server",),
        ),
        *_api(home),
    )
    return Plan(programs, home.patience_s, f"UI {home.ui}, broker {where}{home.api_summary}")


def script(name: str) -> str:
    """Path of a command: the one beside this interpreter, else the one on the PATH, else its bare name."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name) or name


def _api(home: Home) -> tuple[Program, ...]:
    if home.api_port is None:
        return ()
    return (
        Program(
            "api",
            (script("smartdrive-api"), "serve", "--port", str(home.api_port)),
            probes.ApiReady(home.api),
            stops_within_s=30,  # with its database
        ),
    )


def _broker(home: Home) -> tuple[str, ...]:
    if home.broker is None:
        return ()
    return (
        script("smartdrive-edge"),
        *("broker", "--folder", str(home.broker), "--certificates", str(home.certificates)),
        *("--address", home.broker_address, "--port", str(home.broker_port), "--lander", home.lander),
    )
