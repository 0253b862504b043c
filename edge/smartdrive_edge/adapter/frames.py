"""Lines of an answer to whole messages of control units, by python-OBD's protocol classes, with their gaps closed.

python-OBD takes a frame that is shorter than it says for whole, loses an answer that follows a "response pending",
and raises IndexError on some short frames. Here a message is whole or it is damage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from obd import protocols
from obd.protocols.protocol import Message, Protocol

_PROTOCOLS: Final[dict[str, type[Protocol]]] = {
    kind.ELM_ID: kind
    for kind in (
        protocols.SAE_J1850_PWM,
        protocols.SAE_J1850_VPW,
        protocols.ISO_9141_2,
        protocols.ISO_14230_4_5baud,
        protocols.ISO_14230_4_fast,
        protocols.ISO_15765_4_11bit_500k,
        protocols.ISO_15765_4_29bit_500k,
        protocols.ISO_15765_4_11bit_250k,
        protocols.ISO_15765_4_29bit_250k,
    )
}
_CAN: Final = frozenset("6789")
_LONG_CAN_IDS: Final = frozenset("79")
_STORED_CODES: Final = 0x43
_VEHICLE_INFORMATION: Final = 0x49
_NEGATIVE: Final = 0x7F
# Only addresses of control units that answer a tester. python-OBD takes 6E8 for 7E8, too.
_ANSWERERS: Final = {
    number: re.compile({"6": "7E[89A-F]", "8": "7E[89A-F]", "7": "18DAF1", "9": "18DAF1"}.get(number, ""))
    for number in _PROTOCOLS
}
_UNNAMED_ECU: Final = "7E8"
_SHORT: Final = re.compile(r"(?:[0-9A-F]{2}){1,7}")
_LENGTH: Final = re.compile(r"[0-9A-F]{3}")
_PART: Final = re.compile(r"([0-9A-F]):([0-9A-F]+)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the lines of a car's answers are to be read.

    Attributes:
        protocol: The ELM327's number of the protocol, 1 to 9 (data sheet, `AT SP`).
        has_headers: Whether lines begin with the sender's address (`AT H1`). Some clones refuse that.
    """

    protocol: str = "6"
    has_headers: bool = True

    def __post_init__(self) -> None:
        if self.protocol not in _PROTOCOLS:
            raise ValueError(f"protocol {self.protocol!r} is none of {', '.join(_PROTOCOLS)}")

    @property
    def is_can(self) -> bool:
        """Whether the car speaks ISO 15765-4."""
        return self.protocol in _CAN

    @property
    def name(self) -> str:
        """The protocol's name."""
        return str(_PROTOCOLS[self.protocol].ELM_NAME)

    @property
    def engine(self) -> int:
        """Address of the engine's control unit: 7E8 or 18DAF110 on CAN, 10 elsewhere (SAE J1979, ISO 15765-4)."""
        return 0x10 if self.has_headers and self.protocol not in _CAN - _LONG_CAN_IDS else 0


@dataclass(frozen=True, slots=True)
class EcuMessage:
    """A whole message: its sender's address as python-OBD shortens it (7E8 is 0), and its bytes, service first."""

    ecu: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """What an answer held: whole positive messages, by address, and whether anything else was damaged."""

    messages: tuple[EcuMessage, ...]
    is_damaged: bool


def read_messages(lines: Iterable[str], dialect: Dialect) -> Received:
    """Put frames together.

    Args:
        lines: Lines of an answer in hexadecimal without spaces.
        dialect: How to read them.
    """
    lines = list(lines)
    if dialect.has_headers:
        return _joined(lines, _parser(dialect.protocol), dialect)
    single = [line for line in lines if not _LENGTH.fullmatch(line) and not _PART.fullmatch(line)]
    whole, damaged = [], False
    for line in single:
        if _SHORT.fullmatch(line):
            whole.append(EcuMessage(dialect.engine, bytes.fromhex(line)))
        else:
            damaged = True
    long = _joined(_with_headers(lines), _parser("6"), Dialect())
    positive = tuple(message for message in whole if message.data[0] != _NEGATIVE)
    from_long = tuple(EcuMessage(dialect.engine, message.data) for message in long.messages)
    return Received(positive + from_long, damaged or long.is_damaged)


def _parser(protocol: str) -> Protocol:
    return _PROTOCOLS[protocol]([])


def _with_headers(lines: Iterable[str]) -> list[str]:
    """Long messages as `AT H1` would have printed them: `014`, `0:4902...`, `1:...` name length and part only."""
    frames, length = [], ""
    for line in lines:
        part = _PART.fullmatch(line)
        if _LENGTH.fullmatch(line):
            length = line
        elif part and part[1] == "0" and length:
            frames.append(f"{_UNNAMED_ECU}1{length}{part[2]}")
            length = ""
        elif part:
            frames.append(f"{_UNNAMED_ECU}2{part[1]}{part[2]}")
    return frames


def _joined(lines: list[str], parser: Protocol, dialect: Dialect) -> Received:
    # One line at a time first: python-OBD takes all lines of a sender for one message, and drops the whole answer
    # when a "response pending" (7F .. 78) came before it.
    single: list[Message] = []
    rest: list[str] = []
    address = _ANSWERERS[parser.ELM_ID]
    for line in lines:
        found = _parse(parser, [line]) if address.match(line) else []
        if found and not (found[0].data[0] == _VEHICLE_INFORMATION and not dialect.is_can):
            single += found
        else:
            rest.append(line)
    long = _parse(parser, [line for line in rest if address.match(line)])
    whole = [message for message in single + long if _is_whole(message)]
    used = sum(len(message.frames) for message in whole)
    heard = [EcuMessage(message.tx_id, _as_sent(message, dialect)) for message in whole]
    positive = sorted((message for message in heard if message.data[0] != _NEGATIVE), key=lambda each: each.ecu)
    return Received(tuple(positive), is_damaged=used < len(lines))


def _as_sent(message: Message, dialect: Dialect) -> bytes:
    data = bytes(message.data)
    if not dialect.is_can and data[0] == _STORED_CODES:
        return data[:1] + data[2:]  # without the count that python-OBD makes up for service 03, but not for 07
    return data


def _parse(parser: Protocol, lines: list[str]) -> list[Message]:
    try:
        return [message for message in parser(lines) if message.parsed()]
    except IndexError:  # 7E8 01 43: python-OBD looks for the number of codes behind the end
        return []


def _is_whole(message: Message) -> bool:
    declared = next((frame.data_len for frame in message.frames if frame.data_len is not None), None)
    if declared is None:  # not CAN: no length is declared, so that each decoder knows its own
        return True
    if message.data[0] == _STORED_CODES:
        declared = min(declared, 2 + 2 * message.data[1])  # python-OBD has cut what is behind the counted codes
    return bool(len(message.data) == declared)
