"""One ELM327 on a serial port: one request at a time, each under a deadline, no answer given to another's request.

An ELM327 works through its input in order and ends every answer with a prompt. After a timeout that prompt is
owed, and awaited before anything else is sent. Then a barrier is sent: a request whose answer cannot be mistaken
for one that is owed. What came before the barrier's answer is stale and thrown away.
"""

from __future__ import annotations

import contextlib
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import serial

from smartdrive_edge.adapter.answers import (
    EXPECTED,
    Answer,
    Failure,
    NoAnswer,
    Outcome,
    classify,
    is_restart,
    text_lines,
)
from smartdrive_edge.adapter.requests import IDENTITY, RESET, Request

DEFAULT_TIMEOUT_S: Final = 2.0
BAUD_RATE: Final = 38_400
"""Default of the ELM327 with its pin 6 high; Bluetooth adapters ignore it."""

_PROMPT: Final = b">"
_BLANK: Final = b"\r\n >\x00"
_SLICE_S: Final = 0.02
_QUIET_S: Final = 0.06
_OWED_PROMPT_S: Final = 1.0
_BARRIER_S: Final = 1.0
_WRITE_S: Final = 0.5
# The longest answer of J1979 stays far below; more is an adapter that babbles.
_MAX_ANSWER_BYTES: Final = 16_384
_IN_DOUBT: Final = {
    Failure.TIMEOUT,
    Failure.STOPPED,
    Failure.ADAPTER_RESET,
    Failure.ADAPTER_FAULT,
    Failure.GARBAGE,
}
_BANNERS: Final[dict[Request, None]] = {RESET: None, IDENTITY: None}
"""Requests that are answered by the adapter's name."""


class AdapterGoneError(ConnectionError):
    """The port cannot be opened, or was unplugged. Close this transport and open another, after a pause."""


class Transport:
    """An open adapter. One thread owns it.

    Args:
        port: Device path, or a URL of pyserial such as `socket://192.168.0.10:35000`.
        baud_rate: Bits per second.
        clock: Monotonic seconds, for the times of answers. Deadlines are kept on the machine's own clock: a
            simulated second may be short, but the time that a computer takes is not.

    Raises:
        AdapterGoneError: the port does not exist, or another process holds it.
    """

    def __init__(
        self, port: str, baud_rate: int = BAUD_RATE, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._in_step = False
        self._prompt_owed = False
        # Requests whose answers may still come, the latest last; at first the banner of an adapter just powered.
        self._owed = dict(_BANNERS)
        try:
            self._port = serial.serial_for_url(
                port, baudrate=baud_rate, timeout=_SLICE_S, write_timeout=_WRITE_S, exclusive=True
            )
        except (OSError, ValueError, termios.error) as error:
            raise AdapterGoneError(f"cannot open {port}: {error}; is the adapter plugged in and free?") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the port. May be called twice, and after an unplug."""
        with contextlib.suppress(OSError):
            self._port.close()

    def query(self, request: Request, timeout_s: float = DEFAULT_TIMEOUT_S) -> Outcome:
        """Send one request and read until the prompt, all within the timeout, whatever trickles in.

        Args:
            request: What to ask.
            timeout_s: For everything: getting into step after an earlier failure, sending, and reading.

        Raises:
            AdapterGoneError: the port failed; it is closed.
        """
        wire = request.wire
        if not self._port.is_open:
            raise AdapterGoneError("the adapter is gone: its port is closed")
        asked_at = self._clock()
        deadline = time.monotonic() + timeout_s
        try:
            hindrance = self._get_in_step(deadline)
            if hindrance:
                return NoAnswer(request, hindrance, "", asked_at, self._clock())
            asked_at = self._clock()
            raw = self._exchange(request, wire, deadline)
        except OSError as error:
            self.close()
            raise AdapterGoneError(f"the adapter is gone: {error}") from error
        outcome = _judge(request, raw, asked_at, self._clock())
        self._in_step = not (isinstance(outcome, NoAnswer) and outcome.reason in _IN_DOUBT)
        if self._in_step:
            self._owed.clear()
        return outcome

    def _exchange(self, request: Request, wire: bytes, deadline: float) -> bytes:
        """Send, and return all that came with the first prompt that ends something, or until time ran out."""
        self._owed.pop(request, None)
        self._owed[request] = None
        self._prompt_owed = True
        self._in_step = False
        self._port.write(wire)
        raw = bytearray()
        while (now := time.monotonic()) < deadline and len(raw) < _MAX_ANSWER_BYTES:
            raw += self._read(deadline - now)
            head, prompt, tail = raw.partition(_PROMPT)
            if prompt and text_lines(request, bytes(head)):
                self._prompt_owed = False
                break
            if prompt:
                # A prompt with nothing before it ended something earlier: no request is answered by silence.
                raw = bytearray(tail)
        return bytes(raw)

    def _read(self, at_most_s: float) -> bytes:
        """What is there, or the next byte; waits one slice at most."""
        if at_most_s < _SLICE_S and not self._port.in_waiting:
            time.sleep(at_most_s)
        return bytes(self._port.read(max(1, self._port.in_waiting)))

    def _get_in_step(self, deadline: float) -> Failure | None:
        """Throw away what is stale, so that the next answer belongs to the next request.

        Returns:
            Why the request cannot be sent now; None when it can.
        """
        stale = bytearray()
        if self._in_step:
            while self._port.in_waiting and len(stale) < _MAX_ANSWER_BYTES and time.monotonic() < deadline:
                stale += self._port.read(min(self._port.in_waiting, _MAX_ANSWER_BYTES))
            if not stale.strip(_BLANK):
                return None
            self._in_step = False
        stale += self._read_stale(deadline)
        if is_restart(bytes(stale)) and not self._owed.keys() & _BANNERS.keys():
            self._owed = dict(_BANNERS)
            self._prompt_owed = False
            return Failure.ADAPTER_RESET
        return None if self._pass_barrier(deadline) else Failure.OUT_OF_SYNC

    def _read_stale(self, deadline: float) -> bytes:
        """Read until the owed prompt came, or long silence, and then until the adapter is quiet."""
        stale = bytearray()
        heard_at = time.monotonic()
        while (now := time.monotonic()) < deadline:
            patience = _OWED_PROMPT_S if self._prompt_owed and _PROMPT not in stale else _QUIET_S
            if now - heard_at >= patience:
                break
            received = self._read(deadline - now)
            if received:
                stale = (stale + received)[-_MAX_ANSWER_BYTES:]
                heard_at = time.monotonic()
        return bytes(stale)

    def _pass_barrier(self, deadline: float) -> bool:
        for barrier in _barriers(self._owed):
            if time.monotonic() >= deadline:
                return False
            raw = self._exchange(barrier, barrier.wire, min(deadline, time.monotonic() + _BARRIER_S))
            self._prompt_owed = False  # what is left of it is drained here, or found by the next barrier
            self._read_stale(deadline)
            outcome = _judge(barrier, raw, 0.0, 0.0)
            if isinstance(outcome, Answer) and EXPECTED[barrier].fullmatch("\n".join(outcome.lines)):
                self._in_step = True
                self._owed.clear()
                return True
        return False


def _barriers(owed: dict[Request, None]) -> list[Request]:
    """What to try as a barrier: first what no owed answer looks like, then what was sent longest ago."""
    order = {request: place for place, request in enumerate(owed, start=1)}
    order[IDENTITY] = max((order.get(request, 0) for request in _BANNERS), default=0)
    return sorted(EXPECTED, key=lambda barrier: order.get(barrier, 0))


def _judge(request: Request, raw: bytes, asked_at: float, ended_at: float) -> Outcome:
    head, prompt, tail = raw.partition(_PROMPT)
    if prompt and not tail.strip(_BLANK):
        return classify(request, head, asked_at, ended_at)
    # More after the prompt: there are two answers, and nobody knows which is ours.
    reason = Failure.GARBAGE if prompt or len(raw) >= _MAX_ANSWER_BYTES else Failure.TIMEOUT
    return NoAnswer(request, reason, "\n".join(text_lines(request, raw)), asked_at, ended_at)
