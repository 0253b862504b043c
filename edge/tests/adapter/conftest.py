"""A scripted peer behind a pseudo terminal: it says exactly these bytes at exactly these times."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from smartdrive_edge.adapter.transport import Transport

settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

Step = bytes | float
"""Bytes to say, or seconds to wait."""


class Peer:
    """Answers each line with the next script for it; the last script of a line repeats."""

    def __init__(self) -> None:
        self._own, port = os.openpty()
        tty.setraw(port)
        os.set_blocking(self._own, False)
        self._port: int | None = port
        self.port = os.ttyname(port)
        self.lines: list[str] = []
        self.received = b""
        self._scripts: dict[str, list[list[Step]]] = {
            "ATI": [[b"ELM327 v1.4b\r\r>"]],
            "ATRV": [[b"12.3V\r\r>"]],
            "ATIGN": [[b"ON\r\r>"]],
            "ATDPN": [[b"A6\r\r>"]],
        }
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def on(self, line: str, *scripts: list[Step]) -> None:
        self._scripts[line] = list(scripts)

    def say(self, data: bytes) -> None:
        os.write(self._own, data)

    def unplug(self) -> None:
        self._ending.set()
        self._thread.join(5)
        if self._port is not None:
            os.close(self._own)
            os.close(self._port)
            self._port = None

    def _serve(self) -> None:
        buffer = b""
        while not self._ending.is_set():
            if not select.select([self._own], [], [], 0.005)[0]:
                continue
            data = os.read(self._own, 1024)
            self.received += data
            *lines, buffer = (buffer + data).split(b"\r")
            for line in lines:
                self.lines.append(line.decode())
                self._act(line.decode())

    def _act(self, line: str) -> None:
        scripts = self._scripts.get(line, [[b"?\r\r>"]])
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        for step in script:
            if isinstance(step, bytes):
                with contextlib.suppress(BlockingIOError):  # a port that nobody reads overruns
                    os.write(self._own, step)
            elif self._ending.wait(step):
                return


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.unplug()


@pytest.fixture
def transport(peer: Peer) -> Iterator[Transport]:
    with Transport(peer.port) as transport:
        yield transport


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def recorded_pairs() -> list[tuple[str, list[str]]]:
    """Requests and lines of answers (headers and spaces off) of real adapters, which the repository lacks."""
    directory = Path(os.environ.get("SMARTDRIVE_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data")
    path = directory / "elm327_pairs.json"
    if not path.is_file():
        if os.environ.get("CI"):
            pytest.fail(f"no {path}: set SMARTDRIVE_SHARED_DATA")
        pytest.skip(f"no {path}; SMARTDRIVE_SHARED_DATA names another directory")
    pairs = json.loads(path.read_text(encoding="utf-8"))["pairs"]
    return [(request.upper(), _lines(answer)) for request, answer in pairs]


def _lines(answer: str) -> list[str]:
    """The lines of a recorded answer, which has lost its line ends."""
    text = re.sub(r"\\[rnt]|\s|>|SEARCHING\.\.\.", "", answer).upper()
    long = re.fullmatch(r"([0-9A-F]{3})0:(.*)", text)
    if long:
        first, *others = re.split(r"([0-9A-F]):", f"0:{long[2]}")[1:]
        return [
            long[1],
            *(f"{number}:{part}" for number, part in zip([first, *others[1::2]], others[::2], strict=True)),
        ]
    masks = re.fullmatch(r"(41[0-9A-F]0[0-9A-F]{8})(41[0-9A-F]0[0-9A-F]{8})", text)
    return list(masks.groups()) if masks else [text]
