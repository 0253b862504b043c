"""What a car's answers mean: signals, trouble codes, the VIN and what it supports.

A value that was not measured is None. It never becomes 0: python-OBD pads a truncated answer with zeros, so that
every length is checked here before its decoders see the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from obd.codes import DTC
from obd.decoders import parse_dtc
from obd.decoders import status as decode_status

from smartdrive_edge.adapter.frames import Dialect, EcuMessage, read_messages
from smartdrive_edge.adapter.signals import BY_PID

CODE_SERVICES: Final = {"stored": 0x03, "pending": 0x07, "permanent": 0x0A}
"""The status of a trouble code by the service of SAE J1979 that lists it."""

_POSITIVE: Final = 0x40
_CURRENT_DATA: Final = 0x01
_MASK_BYTES: Final = 4
_STATUS: Final = 0x01
_STATUS_SIZE: Final = 6  # service, PID and four bytes (SAE J1979, PID 01)
_LEGACY_CODE_FRAME: Final = 7  # the service and three codes, padded with zeros (SAE J1979, other than CAN)
_VIN: Final = re.compile(rb"[A-HJ-NPR-Z0-9]{17}")
_VIN_HEADER: Final = b"\x49\x02"


@dataclass(frozen=True, slots=True)
class TroubleCode:
    """A code of SAE J2012, such as P0301, and python-OBD's title for it; None where its table has none."""

    code: str
    title: str | None


def choose_engine(lines: Iterable[str], dialect: Dialect) -> int | None:
    """The control unit whose values count, from the answers to `0100`; None when nobody answered.

    The engine's standard address where it answered; else who supports most PIDs, of equals the lowest address.
    (With long CAN addresses python-OBD expects the engine at 00, where none is.)
    """
    messages = [
        message
        for message in read_messages(lines, dialect).messages
        if _mask(message, _CURRENT_DATA, 0) is not None
    ]
    if any(message.ecu == dialect.engine for message in messages):
        return dialect.engine
    ranked = sorted(
        messages, key=lambda message: (-int.from_bytes(message.data[2:], "big").bit_count(), message.ecu)
    )
    return ranked[0].ecu if ranked else None


def decode_supported(lines: Iterable[str], base: int, dialect: Dialect, engine: int) -> frozenset[int] | None:
    """The PIDs `base`+1 to `base`+20 (hexadecimal) that the engine supports; None when it did not say.

    Args:
        lines: Answer to `0100`, `0120`, ...
        base: The PID that was asked, a multiple of 20 (hexadecimal).
        dialect: How to read the lines.
        engine: The control unit that counts.
    """
    message = _from_engine(read_messages(lines, dialect).messages, _CURRENT_DATA, engine)
    mask = _mask(message, _CURRENT_DATA, base) if message else None
    if mask is None:
        return None
    supported = {base + place for place in range(1, 33) if mask & (1 << (32 - place))}
    return frozenset(supported & set(range(256)))


def decode_values(
    lines: Iterable[str], pids: Sequence[int], dialect: Dialect, engine: int
) -> dict[str, float | None]:
    """Signals of service 01 by name, in python-OBD's units; None where the engine gave no whole value.

    An answer to several PIDs is divided by their known lengths. When that does not come out exactly, none of it is
    trusted. PIDs that are no signal (bit fields, texts) are left out.

    Args:
        lines: Answer to `01` and the PIDs.
        pids: What was asked.
        dialect: How to read the lines.
        engine: The control unit that counts.
    """
    wanted = {pid: BY_PID[pid] for pid in pids if pid in BY_PID}
    values: dict[str, float | None] = {signal.name: None for signal in wanted.values()}
    message = _from_engine(read_messages(lines, dialect).messages, _CURRENT_DATA, engine)
    if message is None:
        return values
    parts = _sole_part(message.data, pids[0]) if len(pids) == 1 else _parts(message.data, pids)
    for pid, data in parts.items():
        if pid in wanted and len(data) >= wanted[pid].size:
            values[wanted[pid].name] = wanted[pid].decode(data)
    return values


def decode_codes(lines: Iterable[str], service: int, dialect: Dialect) -> tuple[TroubleCode, ...] | None:
    """The trouble codes that all control units list, each once; () when they have none.

    Args:
        lines: Answer to the service.
        service: 3 (stored), 7 (pending) or 10 (permanent).
        dialect: How to read the lines.

    Returns:
        None when nobody answered, or when a part was damaged: a short list would look like a repaired car.
    """
    received = read_messages(lines, dialect)
    messages = [message for message in received.messages if message.data[0] == _POSITIVE + service]
    if received.is_damaged or len(messages) < len(received.messages) or not messages:
        return None
    codes: dict[str, TroubleCode] = {}
    for message in messages:
        pairs = _code_pairs(message.data, dialect)
        if pairs is None:
            return None
        for pair in pairs:
            found = parse_dtc(tuple(pair))  # a tuple, or it does not know its own padding
            if found:
                code = found[0].upper()  # it writes P0a80, and then finds no title for it
                codes[code] = TroubleCode(code, DTC.get(code))
    return tuple(codes.values())


def decode_lamp(lines: Iterable[str], dialect: Dialect) -> bool | None:
    """Whether a control unit says that it lights the engine lamp (MIL).

    Args:
        lines: Answer to `0101`.
        dialect: How to read the lines.

    Returns:
        None when nobody gave a whole answer, and when the units that did say no while another's was damaged.
    """
    received = read_messages(lines, dialect)
    head = bytes((_POSITIVE + _CURRENT_DATA, _STATUS))
    whole = [m for m in received.messages if m.data[:2] == head and len(m.data) >= _STATUS_SIZE]
    if any(decode_status([message]).MIL for message in whole):
        return True
    return None if received.is_damaged or not whole or len(whole) < len(received.messages) else False


def decode_vin(lines: Iterable[str], dialect: Dialect, engine: int) -> str | None:
    """The VIN of ISO 3779: the engine's, else that of the lowest address; None when there is no valid one.

    python-OBD strips 0, 1 and 2 from both ends of it, which real VINs have there.
    """
    messages = sorted(
        read_messages(lines, dialect).messages, key=lambda message: (message.ecu != engine, message.ecu)
    )
    for message in messages:
        if not message.data.startswith(_VIN_HEADER):
            continue
        text = message.data[len(_VIN_HEADER) :].lstrip(b"\x00\x01").rstrip(b"\x00")
        if _VIN.fullmatch(text):
            return text.decode("ascii")
    return None


def _from_engine(messages: Sequence[EcuMessage], service: int, engine: int) -> EcuMessage | None:
    found = {m.data for m in messages if m.ecu == engine and m.data[0] == _POSITIVE + service}
    # With headers off every message seems to be the engine's: two that differ cannot be told apart.
    return EcuMessage(engine, found.pop()) if len(found) == 1 else None


def _mask(message: EcuMessage, service: int, base: int) -> int | None:
    data = message.data
    if data[:2] != bytes((_POSITIVE + service, base)) or len(data) < 2 + _MASK_BYTES:
        return None
    return int.from_bytes(data[2 : 2 + _MASK_BYTES], "big")


def _sole_part(data: bytes, pid: int) -> dict[int, bytes]:
    if data[1:2] != bytes((pid,)) or pid not in BY_PID:
        return {}
    value = data[2:]
    return {pid: value[: BY_PID[pid].size]}


def _parts(data: bytes, pids: Sequence[int]) -> dict[int, bytes]:
    parts: dict[int, bytes] = {}
    place = 1
    while place < len(data):
        pid = data[place]
        if pid not in pids or pid in parts or pid not in BY_PID:
            return {}
        end = place + 1 + BY_PID[pid].size
        if end > len(data):
            return {}
        parts[pid] = data[place + 1 : end]
        place = end
    return parts


def _code_pairs(data: bytes, dialect: Dialect) -> list[bytes] | None:
    if dialect.is_can:
        codes = data[2:]
        if len(data) < 2 or len(codes) < 2 * data[1]:  # noqa: PLR2004
            return None
        codes = codes[: 2 * data[1]]
    else:
        if len(data) != _LEGACY_CODE_FRAME:
            return None
        codes = data[1:]
    return [codes[place : place + 2] for place in range(0, len(codes), 2)]
