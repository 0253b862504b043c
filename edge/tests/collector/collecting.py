"""A whole collector in a thread: simulated car, real spool, no broker. Whoever sends is asked what it was told."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from smartdrive_edge.collector import Collector
from smartdrive_edge.config import BrokerSection, Config
from smartdrive_edge.simulator import Key, SimulatedClock, Simulator
from smartdrive_edge.spool import Spool

BEGAN_MS = 1_800_000_000_000
OTHER_VIN = "WVWZZZ1JZXW000777"


class Uploads:
    """What the collector asked of the sender, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def notify(self) -> None:
        self.told.append("notify")

    def stop_uploading(self) -> None:
        self.told.append("stop")

    def resume_uploading(self) -> None:
        self.told.append("resume")


class KeyLine:
    """A wire to the simulated key."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def read(self) -> bool | None:
        return self._simulator.car.key_at(self._simulator.clock.now()) is Key.ON


class Running:
    """A collector that runs while the context is open."""

    def __init__(
        self,
        simulator: Simulator,
        folder: Path,
        *,
        has_line: bool = True,
        vin: str | None = None,
        is_synced: Callable[[], bool] = lambda: True,
        skips: bool = True,
        source: str = "none",
    ) -> None:
        self.simulator = simulator
        self.stop = threading.Event()
        self.uploads = Uploads()
        self.folder = folder
        self._broken: list[BaseException] = []
        config = Config(
            device_id="edge-00001",
            state_dir=folder,
            broker=BrokerSection(is_insecure=True),
            adapter={"port": simulator.port},  # type: ignore[arg-type]
            ignition={"source": source},  # type: ignore[arg-type]
            vehicle={"vin": vin},  # type: ignore[arg-type]
        )
        clock = _clock(simulator, self.stop, is_synced, skips=skips)
        self.spool = Spool(
            folder / "spool.db", "edge-00001", machine_boot=str(time.monotonic_ns()), wall_ms=clock.wall_ms
        )
        line = KeyLine(simulator) if has_line else None
        self.collector = Collector(config, self.spool, self.uploads, clock, line=line)
        self._thread = threading.Thread(target=self._run, name="collector")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self, *, after_scenario: bool = False) -> None:
        """Stop it, or wait for the scenario's end."""
        if not after_scenario:
            self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the collector did not end"
        self.spool.close()
        if self._broken:
            raise self._broken[0]

    def until(self, condition: Callable[[], object], within_s: float = 30.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s} s; phase {self.collector.phase}"
            assert not self._broken, self._broken
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            self.collector.run(self.stop)
        except BaseException as error:
            self._broken.append(error)
            raise


class _Clock(SimulatedClock):
    def __init__(self, *args: Any, is_synced: Callable[[], bool], skips: bool, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._is_synced = is_synced
        self._skips = skips

    def is_synced(self) -> bool:
        return self._is_synced()

    def wait(self, event: threading.Event, duration_s: float) -> bool:
        return super().wait(event, duration_s) if self._skips else event.wait(min(max(duration_s, 0.0), 0.02))


def _clock(
    simulator: Simulator, over: threading.Event, is_synced: Callable[[], bool], *, skips: bool
) -> SimulatedClock:
    return _Clock(
        simulator.clock,
        began_ms=BEGAN_MS,
        ends_at_s=simulator.car.scenario.duration_s,
        over=over,
        is_synced=is_synced,
        skips=skips,
    )


def messages(folder: Path) -> list[dict[str, Any]]:
    """All messages in the spool that have a payload, oldest first."""
    with sqlite3.connect(f"file:{folder / 'spool.db'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT payload FROM messages WHERE payload IS NOT NULL ORDER BY id").fetchall()
    return [json.loads(payload) for (payload,) in rows]


def events(folder: Path) -> list[str]:
    return [message["type"] for message in messages(folder) if message["schema"] == "events.v1"]


def telemetry(folder: Path, phase: str | None = None) -> list[dict[str, Any]]:
    return [
        message
        for message in messages(folder)
        if message["schema"] == "telemetry.v1" and phase in {None, message["phase"]}
    ]


def values(message: dict[str, Any], signal: str) -> list[tuple[float, float]]:
    """(simulated seconds, value) of the samples that have one."""
    column = message["signals"].get(signal, [])
    pairs = zip(message["t"], column, strict=False)
    return [((t - BEGAN_MS) / 1000, value) for t, value in pairs if value is not None]


def asked_of_the_car(simulator: Simulator, since_s: float = 0.0) -> list[str]:
    return [
        exchange.request
        for exchange in simulator.log
        if exchange.at_s >= since_s and not exchange.request.upper().startswith("AT")
    ]


def asks_for_rpm(request: str) -> bool:
    """Whether RPM (PID 0C) is among what a request asks for: in a group it may stand anywhere."""
    return request.startswith("01") and "0C" in [request[place : place + 2] for place in range(2, len(request), 2)]
