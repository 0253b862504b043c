"""What may be asked of an adapter. Everything else is refused before it reaches the port.

The list holds requests that only read the car, and adapter commands that change nothing which outlives a reset.
`AT SP` and `AT PP` write the adapter's EEPROM, `AT BRD` can cut the connection, services 04, 08, 2E and 31 change
the car (SAE J1979, ISO 14229). An empty line is refused too: an ELM327 answers it by repeating its last command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_PIDS: Final = 6
"""How many PIDs a CAN request can hold (ISO 15765-4: one frame)."""

_HEX_PAIR: Final = "[0-9A-F]{2}"
_ALLOWED: Final = re.compile(
    "AT(?:Z|E0|L0|S0|H1|AT1|ST[0-9A-F]{2}|TP[0-9A-C]|RV|IGN|DPN|I)"
    f"|01(?:{_HEX_PAIR}){{1,{MAX_PIDS}}}"
    f"|02(?:{_HEX_PAIR}{_HEX_PAIR}){{1,3}}"  # pairs of PID and frame number
    "|03|07|0A"
    f"|09{_HEX_PAIR}"
)
_WHY_NOT: Final = {
    "ATSP": "AT SP writes the adapter's EEPROM; use AT TP",
    "ATPP": "AT PP writes the adapter's EEPROM",
    "ATBRD": "AT BRD changes the speed of the line and can cut the connection",
    "ATMA": "AT MA monitors the bus until it is interrupted",
    "04": "service 04 clears trouble codes and freeze frames",
    "08": "service 08 operates parts of the car",
    "14": "service 14 clears trouble codes",
    "2E": "service 2E writes to a control unit",
    "31": "service 31 starts routines in a control unit",
}


class RefusedRequestError(ValueError):
    """A request that is not on the allowlist. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """One line that may be sent to the adapter, such as `ATRV` or `010C0D`: capitals, no spaces, no line end.

    Raises:
        RefusedRequestError: the text is not on the allowlist; the message says why.
    """

    text: str

    def __post_init__(self) -> None:
        check(self.text)

    @property
    def wire(self) -> bytes:
        """The bytes to send, checked once more, so that nothing built by other means gets through."""
        check(self.text)
        return self.text.encode("ascii") + b"\r"

    @property
    def is_obd(self) -> bool:
        """Whether the car answers it, not the adapter."""
        return not self.text.startswith("AT")

    @property
    def mode(self) -> int | None:
        """The service of SAE J1979 (1, 2, 3, 7, 9 or 10); None for an adapter command."""
        return int(self.text[:2], 16) if self.is_obd else None

    @property
    def pids(self) -> tuple[int, ...]:
        """The PIDs asked for, in order: of service 01, 02 (without frame numbers) and 09."""
        if not self.is_obd:
            return ()
        return tuple(bytes.fromhex(self.text[2:])[:: 2 if self.mode == 2 else 1])  # noqa: PLR2004


def check(text: str) -> None:
    """Refuse what is not on the allowlist.

    Raises:
        RefusedRequestError: with the reason.
    """
    if type(text) is str and _ALLOWED.fullmatch(text):
        return
    raise RefusedRequestError(f"{text!r} is not sent: {_reason(text)}")


def _reason(text: object) -> str:
    if type(text) is not str:
        return "a request is text"
    if not text:
        return "an empty line makes the adapter repeat its last command"
    if not text.isascii():
        return "it has characters outside ASCII"
    if not text.isprintable():
        return "it has control characters, which could carry a second command"
    if " " in text or text != text.upper():
        return "a request is written in capitals without spaces"
    known = next((why for start, why in _WHY_NOT.items() if text.startswith(start)), None)
    return known or "it is not on the list of requests that only read"


def current(*pids: int) -> Request:
    """Ask for up to six current values (service 01)."""
    if any(pid not in range(256) for pid in pids):
        raise RefusedRequestError(f"PIDs {pids} are not sent: a PID is one byte")
    return Request("01" + "".join(f"{pid:02X}" for pid in pids))


RESET: Final = Request("ATZ")
ECHO_OFF: Final = Request("ATE0")
LINEFEEDS_OFF: Final = Request("ATL0")
SPACES_OFF: Final = Request("ATS0")
HEADERS_ON: Final = Request("ATH1")
ADAPTIVE_TIMING: Final = Request("ATAT1")
VOLTAGE: Final = Request("ATRV")
IGNITION: Final = Request("ATIGN")
PROTOCOL: Final = Request("ATDPN")
IDENTITY: Final = Request("ATI")
STORED_CODES: Final = Request("03")
PENDING_CODES: Final = Request("07")
PERMANENT_CODES: Final = Request("0A")
VIN: Final = Request("0902")
