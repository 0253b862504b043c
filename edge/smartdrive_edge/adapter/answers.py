"""What an adapter said, told apart: an answer, or the reason why there is none.

The words are those of the ELM327 data sheet (Elm Electronics, "Error Messages and Alerts") and of its clones.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from smartdrive_edge.adapter.requests import IDENTITY, IGNITION, PROTOCOL, RESET, VOLTAGE, Request


class Failure(enum.Enum):
    """Why a query has no answer. None of them is a measurement of 0."""

    TIMEOUT = "no prompt before the deadline"
    OUT_OF_SYNC = "not sent: the adapter still owes the end of an earlier answer"
    NOT_UNDERSTOOD = "the adapter does not know the request"
    NO_DATA = "the car did not answer"
    UNABLE_TO_CONNECT = "no protocol works: ignition off, or no OBD-II car"
    BUS_ERROR = "the bus could not be initialised or used"
    CAN_ERROR = "the CAN controller reports errors"
    DATA_ERROR = "a frame came with a wrong checksum or format"
    BUFFER_FULL = "the adapter lost a part of the answer"
    STOPPED = "the adapter was interrupted"
    ADAPTER_RESET = "the adapter restarted and has forgotten its settings"
    ADAPTER_FAULT = "the adapter reports a fault of its own"
    GARBAGE = "the answer is not what an adapter writes"


@dataclass(frozen=True, slots=True)
class Answer:
    """Lines that answer a request, without echo, prompt and progress words. Times are monotonic seconds."""

    request: Request
    lines: tuple[str, ...]
    asked_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A query that failed; `text` is what was received instead. Times are monotonic seconds."""

    request: Request
    reason: Failure
    text: str
    asked_at: float
    ended_at: float


Outcome = Answer | NoAnswer

# First match wins. Spaces are removed before, since clones write NODATA and UNABLETOCONNECT too.
_FAILURES: Final = (
    (re.compile(r"^\?$"), Failure.NOT_UNDERSTOOD),
    (re.compile(r"NODATA"), Failure.NO_DATA),
    (re.compile(r"UNABLETOCONNECT|NOTCONNECTED"), Failure.UNABLE_TO_CONNECT),
    (re.compile(r"BUSINIT.*ERROR|BUSERROR|BUSBUSY|FBERROR"), Failure.BUS_ERROR),
    (re.compile(r"CANERROR"), Failure.CAN_ERROR),
    (re.compile(r"DATAERROR|RXERROR"), Failure.DATA_ERROR),
    (re.compile(r"BUFFERFULL"), Failure.BUFFER_FULL),
    (re.compile(r"STOPPED"), Failure.STOPPED),
    (re.compile(r"ERR\d\d|LOWPOWER"), Failure.ADAPTER_FAULT),
)
_PROGRESS: Final = re.compile(r"^(?:SEARCHING\.*|BUS INIT: ?\.*(?:OK)?)", re.IGNORECASE)
BANNER: Final = r"(?i:.*(?:ELM ?3\d\d|OBDII? ?V\d|STN\d{4}|OBDLINK).*)"
"""An adapter's name and version, as `ATZ` and `ATI` print it."""
_RESTART: Final = re.compile(BANNER + r"|.*(?:LV ?RESET|ACT ?ALERT|LP ?ALERT).*")
EXPECTED: Final = {
    IDENTITY: re.compile(BANNER),
    VOLTAGE: re.compile(r"[0-9]{1,2}(?:\.[0-9]+ ?[Vv]?| ?[Vv])"),
    IGNITION: re.compile("ON|OFF"),
    PROTOCOL: re.compile("A?[0-9A-C]"),
}
"""What answers of the adapter look like, so that one cannot be taken for another."""
_SETTING_ANSWER: Final = re.compile("OK")
# A frame, or a line of a long message with headers off: `0:4902...` and the length before it.
_FRAME: Final = re.compile(r"^(?:[0-9A-F]:)?[0-9A-F]+$")


def is_restart(raw: bytes) -> bool:
    """Whether an adapter that was not asked for its name prints it: its supply failed, its settings are gone."""
    return any(map(_RESTART.fullmatch, re.split(r"[\r\n>]", raw.decode("latin-1"))))


def text_lines(request: Request, raw: bytes) -> list[str]:
    """The lines of a raw answer without blank ones, NULs, prompt, echo and progress words.

    The data sheet says to ignore NULs: the adapter's UART sometimes inserts them.
    """
    text = raw.replace(b"\x00", b"").replace(b">", b"\r").decode("latin-1")
    lines = [line.strip() for line in re.split(r"[\r\n]", text)]
    lines = [line for line in lines if line]
    if lines and lines[0].replace(" ", "").upper() == request.text:
        lines = lines[1:]
    lines = [_PROGRESS.sub("", line).strip() if "ERROR" not in line.upper() else line for line in lines]
    return [line for line in lines if line]


def classify(request: Request, raw: bytes, asked_at: float, ended_at: float) -> Outcome:
    """Judge the bytes that came before a prompt.

    Args:
        request: What was asked.
        raw: All that was received, with echo and prompt.
        asked_at: Monotonic seconds.
        ended_at: Monotonic seconds.
    """
    lines = text_lines(request, raw)
    failure = _failure(request, lines)
    if failure:
        return NoAnswer(request, failure, "\n".join(lines), asked_at, ended_at)
    if request.is_obd:
        lines = [line.replace(" ", "").upper() for line in lines]
    return Answer(request, tuple(lines), asked_at, ended_at)


def _failure(request: Request, lines: list[str]) -> Failure | None:
    for line in lines:
        compact = line.replace(" ", "").upper()
        for pattern, failure in _FAILURES:
            if pattern.search(compact):
                return failure
    if request not in {RESET, IDENTITY} and any(map(_RESTART.fullmatch, lines)):
        return Failure.ADAPTER_RESET
    if not all(line.isascii() and line.isprintable() for line in lines):
        return Failure.GARBAGE
    if request.is_obd and not all(_FRAME.match(line.replace(" ", "").upper()) for line in lines):
        return Failure.GARBAGE
    return None if _fits(request, lines) else Failure.GARBAGE


def _fits(request: Request, lines: list[str]) -> bool:
    """Whether lines can be the answer to this request, not to another one."""
    if not request.is_obd:
        expected = EXPECTED.get(request, _SETTING_ANSWER)
        return bool(lines) and (request in {RESET, IDENTITY} or expected.fullmatch(lines[-1]) is not None)
    text = "\n".join(line.replace(" ", "").upper() for line in lines)
    positive = f"{0x40 + (request.mode or 0):02X}" + (request.text[2:4] if len(request.pids) == 1 else "")
    return positive in text or f"7F{request.text[:2]}" in text
