"""The simulator as a serial port: a pty, a thread that serves it, and a link that outlives being unplugged."""

from __future__ import annotations

import contextlib
import math
import os
import select
import tempfile
import threading
import tty
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from smartdrive_edge.simulator.bus import Bus, ForbiddenRequest
from smartdrive_edge.simulator.car import Car
from smartdrive_edge.simulator.clock import Clock
from smartdrive_edge.simulator.elm327 import Chunk, Elm327
from smartdrive_edge.simulator.faults import Fault, FaultKind, FaultSchedule
from smartdrive_edge.simulator.latency import Latency
from smartdrive_edge.simulator.scenarios import Scenario
from smartdrive_edge.simulator.scenarios import scenario as scenario_named

_POLL_S: Final = 0.005
_BITS_PER_BYTE: Final = 10
_KEY_TURNS_S: Final = 2.0  # before the starter does


@dataclass(frozen=True, slots=True)
class Exchange:
    """One line that the adapter was sent, when, and all that it sent back."""

    at_s: float
    request: str
    answer: bytes


class Simulator:
    """An ELM327 in a car, behind a pseudo terminal; a context manager that serves while it is open.

    Args:
        scenario: its name, or one of your own.
        latency: milliseconds for AT commands and for requests to the car: ``"8/25"``, ``"15/60"``, ``"30/90"``.
        speed: simulated seconds per second; the adapter's delays shrink alike. Where the engine starts at most 4.
        seed: of everything that varies.
        ecus: how many control units answer, 1 or 2.
        protocol: ``"6"`` (CAN 11/500) or ``"7"`` (CAN 29/500).
        ignition_wired: whether the adapter's ignition input follows the key.
        baud: pace the adapter's bytes as a serial line of this rate does; ``None`` does not.
        link: path of the port; ``None`` makes one in a directory of its own.
        faults: what goes wrong and when, beside what ``fault`` adds later.

    Attributes:
        car: what is true: ``car.voltage_at(t)``, ``car.state_at(t)``, ``car.cranks``.
        clock: the scenario's time.
        log: every line that was sent to the adapter, with its answer.
        port: path to open, the same before and after being unplugged.
    """

    def __init__(
        self,
        scenario: str | Scenario = "drive",
        *,
        latency: str = "8/25",
        speed: float = 1.0,
        seed: int = 0,
        ecus: int = 1,
        protocol: str = "6",
        ignition_wired: bool = True,
        baud: int | None = None,
        link: Path | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        script = scenario_named(scenario, seed) if isinstance(scenario, str) else scenario
        self.car = Car(script, seed)
        self.log: list[Exchange] = []
        self._speed = speed
        self.clock = self._clock()
        self._faults = FaultSchedule(tuple(faults), seed)
        self._bus = Bus(self.car, protocol)
        self._adapter = Elm327(
            self._bus, Latency.parse(latency), self._faults, ecus=ecus, ignition_wired=ignition_wired
        )
        self._baud = baud
        self._directory = tempfile.TemporaryDirectory(prefix="smartdrive-simulator-") if link is None else None
        self._link = Path(self._directory.name) / "elm327" if self._directory is not None else Path(link or "")
        self._ends: tuple[int, int] | None = None
        self._received = bytearray()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="simulator", daemon=True)

    def __enter__(self) -> Self:
        """Plug in and begin the scenario."""
        self.clock = self._clock()
        self._plug()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop serving and remove the port."""
        self._ending.set()
        self._thread.join()
        self._unplug()
        if self._directory is not None:
            self._directory.cleanup()

    def _clock(self) -> Clock:
        starts = [(crank.at_s - _KEY_TURNS_S, crank.at_s + crank.duration_s) for crank in self.car.cranks]
        return Clock(self._speed, starts)

    @property
    def port(self) -> str:
        """Path of the serial port."""
        return str(self._link)

    @property
    def forbidden_requests(self) -> list[ForbiddenRequest]:
        """Requests that would have changed something in a real car."""
        return self._bus.forbidden_requests

    @property
    def eeprom_writes(self) -> list[str]:
        """Commands that would have changed the adapter for ever."""
        return self._adapter.eeprom_writes

    def fault(
        self,
        kind: FaultKind | str,
        *,
        after_s: float = 0.0,
        for_s: float = math.inf,
        times: int | None = None,
        only: str = "",
    ) -> None:
        """Let something go wrong, from now on or after some simulated seconds; see ``Fault``."""
        self._faults.add(Fault(FaultKind(kind), self.clock.now() + after_s, for_s, times, only))

    def heal(self, kind: FaultKind | str | None = None) -> None:
        """End the faults of a kind, or all."""
        self._faults.heal(None if kind is None else FaultKind(kind))

    def _serve(self) -> None:
        while not self._ending.is_set():
            if self._faults.holds(FaultKind.UNPLUG, self.clock.now()):
                self._unplug()
                self._ending.wait(_POLL_S)
            elif self._ends is None:
                self._adapter.power_up()
                self._plug()
            elif self._readable(_POLL_S):
                self._take()

    def _plug(self) -> None:
        adapter, port = os.openpty()
        tty.setraw(port)
        os.set_blocking(adapter, False)
        self._ends = adapter, port
        self._received.clear()
        _point(self._link, os.ttyname(port))

    def _unplug(self) -> None:
        if self._ends is not None:
            if self._link.is_symlink() and os.readlink(self._link) == os.ttyname(self._ends[1]):
                self._link.unlink()
            for end in self._ends:
                os.close(end)
            self._ends = None

    def _readable(self, timeout_s: float) -> bool:
        return self._ends is not None and bool(select.select([self._ends[0]], [], [], timeout_s)[0])

    def _read(self) -> bytes:
        return os.read(self._ends[0], 4096) if self._ends is not None else b""

    def _take(self) -> None:
        """Read what came and answer each whole line."""
        self._received += self._read()
        while b"\r" in self._received:
            line, _, rest = bytes(self._received).partition(b"\r")
            self._received[:] = rest
            self._answer(line.decode("latin-1"))

    def _answer(self, line: str) -> None:
        at, sent = self.clock.now(), b""
        chunks = self._adapter.reply(line, at)
        while chunks:
            chunk, *chunks = chunks
            if self._wait(chunk):
                data = chunk.data
            else:
                data, chunks = self._adapter.stopped(), []
            sent += data
            if not chunks:
                # before it is sent: whoever has read an answer finds it in the log
                self.log.append(Exchange(at, line, sent))
            self._send(data)
        if not sent:
            self.log.append(Exchange(at, line, b""))

    def _wait(self, chunk: Chunk) -> bool:
        """Wait until a chunk is due; ``False`` if a byte arrived that stops it."""
        line_s = len(chunk.data) * _BITS_PER_BYTE / self._baud if self._baud else 0.0
        wall_s = self.clock.wall(chunk.after_s + line_s)
        if not chunk.stoppable:
            self._ending.wait(wall_s)
            return True
        if not self._received and not self._readable(wall_s):
            return True
        # what interrupts a request is lost
        self._received.clear()
        if self._readable(0):
            self._read()
        return False

    def _send(self, data: bytes) -> None:
        if self._ends is not None:
            # a serial port that nobody reads overruns; it does not hold the adapter up
            with contextlib.suppress(BlockingIOError):
                os.write(self._ends[0], data)


def _point(link: Path, target: str) -> None:
    """Make the link point to a port, never for a moment to nothing.

    Raises:
        FileExistsError: something that is no link is there; it is left alone.
    """
    if link.exists() and not link.is_symlink():
        msg = f"{link} exists and is no link; choose another path for the port"
        raise FileExistsError(msg)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
