"""What the collector sees of an engine start, against the simulated car's true voltage, for three adapters.

The whole pipeline runs in real time: a simulated ELM327 on a serial port, the collector that polls it, the spool.
The messages of phase `cranking` are taken from the spool and judged as the lake judges them: the lowest voltage
of the dip's first 100 ms, and the mean of the 500 ms after it. The simulator has a process of its own, so that it
does not share an interpreter with the collector; `--shared` lets it, to see what that changes.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table
from smartdrive_edge.adapter.crank import INRUSH_MS, PLATEAU_MS, CrankEstimate, Sample, estimate
from smartdrive_edge.collector import Collector
from smartdrive_edge.config import AdapterConfig, BrokerSection, Config
from smartdrive_edge.simulator import Car, Crank, Engine, Key, Scenario, Segment, Simulator, scenario
from smartdrive_edge.spool import Spool

LATENCIES: Final = ("8/25", "15/60", "30/90")
SCENARIOS: Final = ("winter-start", "weak-battery", "drive")
KEY_ON_S: Final = 2.5
RUNNING_S: Final = 2.0
PARKED_S: Final = 4.0
ACQUAINTANCE_S: Final = 8.0  # before the first start: the car is found
DOCS: Final = Path(__file__).parents[1] / "docs"
_INRUSH_S: Final = INRUSH_MS / 1000
_WINDOW_S: Final = (INRUSH_MS + PLATEAU_MS) / 1000
_AROUND_S: Final = 1.0
_TABLE_BEGINS: Final = "<!-- written by edge/benchmarks/crank_capture.py: begin -->"
_TABLE_ENDS: Final = "<!-- end -->"
EPILOG: Final = """examples:
  python edge/benchmarks/crank_capture.py                 a quarter of an hour
  python edge/benchmarks/crank_capture.py --quick         about a minute, one start for each adapter
  python edge/benchmarks/crank_capture.py --write         also renew edge/docs/crank-capture.md and its plot
  python edge/benchmarks/crank_capture.py --quick --shared  the simulator in the collector's own process
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: what was true, and what arrived of it.

    Attributes:
        latency: of the adapter.
        car: name of the scenario.
        truth: the simulator's.
        samples: seconds since the starter engaged, V; all of the start's message.
        measured: what the samples say; None where no dip was found in them.
    """

    latency: str
    car: str
    truth: Crank
    samples: tuple[Sample, ...]
    measured: CrankEstimate | None

    def count(self, begin_s: float, end_s: float) -> int:
        """How many samples lie between two times after the starter engaged."""
        return sum(begin_s <= at < end_s for at, _ in self.samples)

    @property
    def rate_hz(self) -> float:
        """Voltage samples per second from a second before the start to the end of the plateau."""
        return self.count(-_AROUND_S, _WINDOW_S) / (_AROUND_S + _WINDOW_S)

    @property
    def minimum_error_v(self) -> float | None:
        """How far the lowest sample lies above the true minimum, V."""
        return None if self.measured is None else self.measured.inrush_min_v - self.truth.inrush_v

    @property
    def plateau_error_v(self) -> float | None:
        """Measured minus true plateau, V; None where it is inconclusive."""
        if self.measured is None or self.measured.plateau_v is None or self.truth.plateau_v is None:
            return None
        return self.measured.plateau_v - self.truth.plateau_v


def starting_often(name: str, seed: int, starts: int) -> Scenario:
    """The car of a scenario, started so many times in a row; its cold and its battery are the scenario's."""
    script = scenario(name, seed)
    cranking_s = next(one.duration_s for one in script.segments if one.engine is Engine.CRANKING)
    segments = [Segment(1.0)]
    for number in range(starts):
        segments += [
            Segment(KEY_ON_S + (ACQUAINTANCE_S if number == 0 else 0.0), Key.ON),
            Segment(cranking_s, Key.ON, Engine.CRANKING),
            Segment(RUNNING_S, Key.ON, Engine.RUNNING),
            # Longer by a bit each time: the start meets the requests at another moment.
            Segment(PARKED_S + 0.137 * number),
        ]
    return replace(script, segments=tuple(segments))


def serve(script: Scenario, latency: str, seed: int, connection: Connection) -> None:
    """Be the car and the adapter until the other side hangs up."""
    with Simulator(script, latency=latency, seed=seed) as simulator:
        connection.send((simulator.port, time.monotonic() - simulator.clock.now()))
        connection.poll(None)


class SimulatorsTime:
    """The simulator's time in another process: both read the machine's one monotonic clock."""

    def __init__(self, zero_s: float) -> None:
        self._zero_s = zero_s

    def now(self) -> float:
        """Simulated seconds since the scenario began."""
        return time.monotonic() - self._zero_s

    def wall_ms(self) -> int:
        """UTC epoch milliseconds: the scenario began at 0."""
        return round(self.now() * 1000)

    def is_synced(self) -> bool:
        """It is right by definition."""
        return True

    def wait(self, event: threading.Event, duration_s: float) -> bool:
        """Wait in real time."""
        return event.wait(max(duration_s, 0.0))


class KeyLine:
    """A wire to the simulated key."""

    def __init__(self, car: Car, clock: SimulatorsTime) -> None:
        self._car = car
        self._clock = clock

    def read(self) -> bool | None:
        """Whether the ignition is on."""
        return self._car.key_at(self._clock.now()) is Key.ON


class NoUploads:
    """Nothing is sent: what is in the spool is what is judged."""

    def notify(self) -> None:
        """Nobody is told."""

    def stop_uploading(self) -> None:
        """Nobody is told."""

    def resume_uploading(self) -> None:
        """Nobody is told."""


def collect(port: str, clock: SimulatorsTime, car: Car) -> list[list[Sample]]:
    """Collect for the scenario's length; the voltage of each message of phase `cranking`, simulated seconds."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            device_id="bench",
            state_dir=Path(folder),
            broker=BrokerSection(is_insecure=True),
            adapter=AdapterConfig(port=port),
        )
        spool = Spool(Path(folder) / "spool.db", "bench", wall_ms=clock.wall_ms)
        stop = threading.Event()
        collector = Collector(config, spool, NoUploads(), clock, line=KeyLine(car, clock))
        thread = threading.Thread(target=collector.run, args=(stop,), name="collector")
        thread.start()
        stop.wait(max(0.0, car.scenario.duration_s - clock.now()))
        stop.set()
        thread.join()
        messages = [json.loads(row.payload) for row in spool.unsent(1 << 40, 100_000)]
        spool.close()
    return [
        [(t / 1000, v) for t, v in zip(m["t"], m["signals"].get("ELM_VOLTAGE", []), strict=False) if v is not None]
        for m in messages
        if m.get("phase") == "cranking"
    ]


def measure(name: str, latency: str, seed: int, starts: int, *, is_shared: bool) -> list[Start]:
    """Start one car so many times before one adapter."""
    script = starting_often(name, seed, starts)
    car = Car(script, seed)
    ours, theirs = multiprocessing.Pipe()
    arguments = (script, latency, seed, theirs)
    other: threading.Thread | multiprocessing.Process
    other = threading.Thread if is_shared else multiprocessing.get_context("spawn").Process  # type: ignore[assignment]
    other = other(target=serve, args=arguments)  # type: ignore[operator]
    other.start()
    try:
        port, zero_s = ours.recv()
        captures = collect(port, SimulatorsTime(zero_s), car)
    finally:
        ours.send(None)
        other.join()
    return [_start(latency, name, crank, captures) for crank in car.cranks]


def _start(latency: str, name: str, crank: Crank, captures: Iterable[Sequence[Sample]]) -> Start:
    for samples in captures:
        if samples and samples[0][0] < crank.at_s + _WINDOW_S and samples[-1][0] > crank.at_s:
            since = tuple((at - crank.at_s, volts) for at, volts in samples)
            return Start(latency, name, crank, since, estimate(since))
    return Start(latency, name, crank, (), None)


def rows(starts: Sequence[Start]) -> list[tuple[str, ...]]:
    """The table's cells, one row an adapter and then one a car of it."""
    found: list[tuple[str, ...]] = []
    for latency in dict.fromkeys(start.latency for start in starts):
        of_adapter = [start for start in starts if start.latency == latency]
        found.append(_row(f"{latency} ms", "all", of_adapter))
        cars = dict.fromkeys(start.car for start in of_adapter)
        found += [_row("", car, [one for one in of_adapter if one.car == car]) for car in cars]
    return found


HEADINGS: Final = (
    "adapter",
    "car",
    "captured",
    "conclusive",
    "rate, Hz",
    "samples in the inrush",
    "in the plateau",
    "minimum error, V: mean",
    "worst",
    "plateau error, V: mean",
    "worst",
)


def _row(adapter: str, car: str, starts: Sequence[Start]) -> tuple[str, ...]:
    seen = [start for start in starts if start.measured is not None]
    minima = [error for start in seen if (error := start.minimum_error_v) is not None]
    plateaus = [error for start in seen if (error := start.plateau_error_v) is not None]
    return (
        adapter,
        car,
        f"{len(seen)} of {len(starts)}",
        f"{len(plateaus)} of {len(starts)}",
        _mean([start.rate_hz for start in seen], ".0f"),
        _mean([start.count(0.0, _INRUSH_S) for start in seen], ".1f"),
        _mean([start.count(_INRUSH_S, _WINDOW_S) for start in seen], ".1f"),
        _mean(minima, "+.2f"),
        _worst(minima),
        _mean(plateaus, "+.3f"),
        _worst(plateaus, "+.3f"),
    )


def _mean(values: Sequence[float], form: str) -> str:
    return format(statistics.fmean(values), form) if values else "-"


def _worst(values: Sequence[float], form: str = "+.2f") -> str:
    return format(max(values, key=abs), form) if values else "-"


def machine() -> str:
    """What this ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    cpus, version = os.cpu_count(), platform.python_version()
    return f"{cpus} CPUs {model or platform.machine()}, {platform.system()}, Python {version}"


def markdown(starts: Sequence[Start], seeds: int) -> str:
    """The table for the page, with when and where."""
    table = rows(starts)
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}; {len(starts)} starts, {seeds} seeds a car.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * 2 + "---:|" * (len(HEADINGS) - 2),
        *("| " + " | ".join(f"**{cell}**" if row[0] and cell else cell for cell in row) + " |" for row in table),
    ]
    return "\n".join(lines)


def plot(starts: Sequence[Start], seed: int) -> str:
    """The first car's first start as SVG: its true voltage, and what each adapter saw of it."""
    first = [next(one for one in starts if one.latency == latency and one.samples) for latency in LATENCIES]
    begin_s, end_s, low_v, high_v = -0.2, 0.9, math.floor(first[0].truth.inrush_v), 13.0
    width, height, left, top = 860, 420, 60, 20

    def x(at: float) -> float:
        return round(left + (at - begin_s) / (end_s - begin_s) * (width - left - 20), 1)

    def y(volts: float) -> float:
        return round(top + (high_v - volts) / (high_v - low_v) * (height - top - 60), 1)

    car = Car(starting_often(first[0].car, seed, 1 + max(1, len(starts))), seed)
    began = first[0].truth.at_s
    ticks = [begin_s + (end_s - begin_s) * n / 1100 for n in range(1101)]
    line = " ".join(f"{x(at)},{y(car.voltage_at(began + at))}" for at in ticks)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<rect x="{x(0)}" y="{top}" width="{x(_INRUSH_S) - x(0)}" height="{y(low_v) - top}" fill="#f3d9d9"/>',
        f'<rect x="{x(_INRUSH_S)}" y="{top}" width="{x(_WINDOW_S) - x(_INRUSH_S)}" '
        f'height="{y(low_v) - top}" fill="#e0ecdf"/>',
    ]
    for volts in range(low_v, int(high_v) + 1):
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(volts)}" y2="{y(volts)}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(volts) + 4}" text-anchor="end">{volts} V</text>')
    parts += [
        f'<text x="{x(tenth / 10)}" y="{y(low_v) + 18}" text-anchor="middle">{tenth * 100} ms</text>'
        for tenth in range(round(begin_s * 10), round(end_s * 10) + 1)
    ]
    parts.append(f'<polyline points="{line}" fill="none" stroke="#555" stroke-width="1.5"/>')
    for number, (start, colour) in enumerate(zip(first, ("#1f77b4", "#d95f02", "#7a1fa2"), strict=True)):
        parts += [
            f'<circle cx="{x(at)}" cy="{y(volts)}" r="{2.5 + number}" fill="{colour}" fill-opacity="0.8"/>'
            for at, volts in start.samples
            if begin_s <= at <= end_s
        ]
        place = left + 10 + 210 * number
        parts.append(f'<circle cx="{place}" cy="{height - 14}" r="{2.5 + number}" fill="{colour}"/>')
        parts.append(f'<text x="{place + 10}" y="{height - 10}">adapter {start.latency} ms</text>')
    parts.append(f'<text x="{left + 650}" y="{height - 10}" fill="#555">line: true voltage</text></svg>')
    return "\n".join(parts) + "\n"


def write(starts: Sequence[Start], seeds: int) -> None:
    """Renew the page's table and its plot."""
    page = DOCS / "crank-capture.md"
    before, _, rest = page.read_text().partition(_TABLE_BEGINS)
    _, _, after = rest.partition(_TABLE_ENDS)
    page.write_text(f"{before}{_TABLE_BEGINS}\n\n{markdown(starts, seeds)}\n\n{_TABLE_ENDS}{after}")
    (DOCS / "images").mkdir(exist_ok=True)
    (DOCS / "images/crank-capture.svg").write_text(plot(starts, 0))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=4, help="starts of each car and seed (default 4)")
    parser.add_argument("--seeds", type=int, default=2, help="seeds for each car and adapter (default 2)")
    parser.add_argument("--quick", action="store_true", help="one start of one car for each adapter")
    parser.add_argument("--shared", action="store_true", help="run the simulator in the collector's process")
    parser.add_argument("--write", action="store_true", help="renew the table and the plot in edge/docs")
    arguments = parser.parse_args()
    if arguments.starts < 1 or arguments.seeds < 1:
        parser.error("--starts and --seeds are at least 1")
    starts, seeds = (1, 1) if arguments.quick else (arguments.starts, arguments.seeds)
    cells = [
        (name, latency, seed)
        for latency in LATENCIES
        for name in (SCENARIOS[:1] if arguments.quick else SCENARIOS)
        for seed in range(seeds)
    ]
    found: list[Start] = []
    for cell in track(cells, "starting cars", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        found += measure(*cell, starts, is_shared=arguments.shared)
    table = Table(title=f"{len(found)} starts; {machine()}", title_justify="left")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right")  # noqa: PLR2004 - names, then numbers
    for row in rows(found):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    if arguments.write:
        write(found, seeds)


if __name__ == "__main__":
    main()
