"""Memory and CPU of the real `smartdrive-edge run`, phase by phase and adapter by adapter.

Three programs run beside each other: the collector that is measured, `smartdrive-edge simulate` as its adapter
and car, and Mosquitto with TLS 1.3 and client certificates as its broker. In `ready` the voltage is read as fast
as the adapter answers, as it is in a start; `running` polls the car; the others leave it alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table
from smartdrive_edge import status_file
from smartdrive_edge.broker_config import BrokerConfig
from smartdrive_edge.certificates import Authority
from smartdrive_edge.collector.program import STATUS_EVERY_S
from smartdrive_edge.policy import RESTING, Phase, State, to_json
from smartdrive_edge.spool import Spool
from smartdrive_edge.status_file import Status

DEVICE: Final = "bench"
STARTED_WITHIN_S: Final = 90.0
SETTLED_S: Final = 8.0  # longer than the search for a car that is asleep
DOCS: Final = Path(__file__).parents[1] / "docs"
_TABLE_BEGINS: Final = "<!-- written by edge/benchmarks/collector_resources.py: begin -->"
_TABLE_ENDS: Final = "<!-- end -->"
EPILOG: Final = """examples:
  python edge/benchmarks/collector_resources.py           about 8 minutes
  python edge/benchmarks/collector_resources.py --quick   about a minute, one adapter, 5 s each
  python edge/benchmarks/collector_resources.py --write   also renew the table in edge/docs/resources.md
"""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: `latency` of the adapter, ms for AT commands / requests; the ignition line it has."""

    phase: Phase
    latency: str
    ignition: str = "none"

    @property
    def scenario(self) -> str:
        """A car that brings the collector into that phase."""
        return "drive" if self.phase is Phase.RUNNING else "parked"


CASES: Final = (
    Case(Phase.READY, "90/90"),
    Case(Phase.READY, "30/90"),
    Case(Phase.READY, "15/60"),
    Case(Phase.READY, "8/25"),
    Case(Phase.RUNNING, "30/90"),
    Case(Phase.RUNNING, "15/60"),
    Case(Phase.RUNNING, "8/25"),
    Case(Phase.POST_DRIVE, "15/60"),
    Case(Phase.SENTINEL, "15/60", "adapter"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case took: CPU of one core, resident memory in MiB at the end, values a second."""

    case: Case
    cpu_pct: float
    rss_mib: float
    values_hz: float


def measure(case: Case, folder: Path, mosquitto: str, over_s: float) -> Measured:
    """Bring the collector into the case's phase and watch it."""
    port, link = free_port(), folder / "elm327"
    authority = Authority.create(folder / "certificates")
    server, device = authority.issue_server(["127.0.0.1"]), authority.issue_device(DEVICE)
    broker = BrokerConfig(
        folder / "broker", authority.certificate_path, server.certificate, server.key, port=port
    ).write()
    settings = folder / "config.toml"
    settings.write_text(f'''
device_id = "{DEVICE}"
state_dir = "{folder}"
[adapter]
port = "{link}"
[ignition]
source = "{case.ignition}"
[clock]
is_trusted = true
[broker]
host = "127.0.0.1"
port = {port}
authority = "{authority.certificate_path}"
certificate = "{device.certificate}"
key = "{device.key}"
has_lander = false
''')
    if case.phase in RESTING:  # as if the last process had ended there: a drive and half an hour to get there
        with closing(Spool(folder / "spool.db", DEVICE)) as spool:
            spool.commit([], {"policy": to_json(State(phase=case.phase, ignition=False))})
    command = str(Path(sys.executable).with_name("smartdrive-edge"))
    simulate = [command, "simulate", "--scenario", case.scenario, "--latency", case.latency, "--link", str(link)]
    with (
        running([mosquitto, "-c", str(broker)], folder / "mosquitto.log"),
        running(simulate, folder / "simulate.log"),
    ):
        wait_for(link.exists)
        with running([command, "run", "--config", str(settings)], folder / "run.log") as collector:
            status_path = folder / "status.json"
            wait_for(lambda: _is_there(collector, status_path, case.phase, folder / "run.log"))
            time.sleep(SETTLED_S)
            process = psutil.Process(collector.pid)
            stale = status_file.read(status_path).written_at
            wait_for(lambda: status_file.read(status_path).written_at > stale)
            before, began = process.cpu_times(), time.monotonic()
            samples_before = status_file.read(status_path)
            time.sleep(over_s)
            after, lasted_s = process.cpu_times(), time.monotonic() - began
            rss = process.memory_info().rss
            status = status_file.read(status_path)
    if Phase(status.phase) is not case.phase:
        raise SystemExit(f"the collector left {case.phase.value} for {status.phase} while it was watched")
    apart_s = status.written_at - samples_before.written_at
    return Measured(
        case,
        100 * (after.user + after.system - before.user - before.system) / lasted_s,
        rss / 2**20,
        (status.samples - samples_before.samples) / apart_s if apart_s > 0 else float("nan"),
    )


def _is_there(collector: subprocess.Popen[bytes], path: Path, phase: Phase, log: Path) -> bool:
    if collector.poll() is not None:
        raise SystemExit(f"the collector ended:\n{log.read_text()}")
    status: Status | None = status_file.read(path) if path.exists() else None
    return (
        status is not None
        and status.phase == phase.value
        and status.adapter.state == "open"
        and status.broker is not None
        and status.broker.connected
    )


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program, as long as the context is open."""
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"what was waited for did not come within {STARTED_WITHIN_S:.0f} s")
        time.sleep(0.1)


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


HEADINGS: Final = ("phase", "adapter", "ignition line", "values/s", "CPU, % of a core", "RSS, MiB")


def cells(one: Measured) -> tuple[str, ...]:
    """One row of the table."""
    line = {"none": "none", "adapter": "AT IGN, looked at twice a second"}[one.case.ignition]
    return (
        one.case.phase.value,
        f"{one.case.latency} ms",
        line,
        f"{one.values_hz:.1f}",
        f"{one.cpu_pct:.1f}",
        f"{one.rss_mib:.0f}",
    )


def machine() -> str:
    """What this ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    cpus, version = os.cpu_count(), platform.python_version()
    return f"{cpus} CPUs {model or platform.machine()}, {platform.system()}, Python {version}"


def write(found: Sequence[Measured], over_s: float) -> None:
    """Renew the table of the page."""
    page = DOCS / "resources.md"
    before, _, rest = page.read_text().partition(_TABLE_BEGINS)
    _, _, after = rest.partition(_TABLE_ENDS)
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, {over_s:.0f} s each, on this machine, not a Pi: {machine()}.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---|---|---|---:|---:|---:|",
        *("| " + " | ".join(cells(one)) + " |" for one in found),
    ]
    page.write_text(f"{before}{_TABLE_BEGINS}\n\n" + "\n".join(lines) + f"\n\n{_TABLE_ENDS}{after}")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each case is watched (default 30)")
    parser.add_argument("--quick", action="store_true", help="one adapter, 5 s for each phase")
    parser.add_argument("--write", action="store_true", help="renew the table in edge/docs/resources.md")
    arguments = parser.parse_args()
    mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if mosquitto is None:
        raise SystemExit("mosquitto is not installed: on Debian `apt install mosquitto`")
    over_s = 5.0 if arguments.quick else arguments.seconds
    if over_s < STATUS_EVERY_S:
        parser.error("--seconds is at least 5: the status is written that often")
    cases = [CASES[3], CASES[6], CASES[7]] if arguments.quick else CASES
    found: list[Measured] = []
    for case in track(cases, "watching", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(case, Path(folder), mosquitto, over_s))
    table = Table(title=f"{over_s:.0f} s each; {machine()}", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading)
    for one in found:
        table.add_row(*cells(one))
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table)
    console.print(f"median memory {statistics.median(one.rss_mib for one in found):.0f} MiB")
    if arguments.write:
        write(found, over_s)


if __name__ == "__main__":
    main()
