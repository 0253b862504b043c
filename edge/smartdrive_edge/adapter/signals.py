"""The signals that service 01 can give, as python-OBD names and decodes them, with its faults put right.

A signal is a number. What python-OBD decodes to text, flags or bit fields (STATUS, FUEL_STATUS, O2_SENSORS and
their like) is none, except FUEL_TYPE, which is the code of SAE J1979's table. Units are python-OBD's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from obd import commands, decoders
from obd.OBDCommand import OBDCommand
from obd.protocols.protocol import Message

Decode = Callable[[bytes], float | None]

_CURRENT_DATA: Final = 1
_HEADER_BYTES: Final = 2  # service and PID, which python-OBD counts as part of an answer
_NOT_NUMBERS: Final = {
    decoders.pid,
    decoders.status,
    decoders.single_dtc,
    decoders.fuel_status,
    decoders.air_status,
    decoders.o2_sensors,
    decoders.o2_sensors_alt,
    decoders.obd_compliance,
    decoders.aux_input_status,
    decoders.fuel_type,
    decoders.drop,
}
# The second byte is that of banks 3 and 4, which few engines have (SAE J1979, PIDs 55 to 58).
_SECOND_BANK_OPTIONAL: Final = range(0x55, 0x59)


@dataclass(frozen=True, slots=True)
class Signal:
    """A quantity of service 01.

    Attributes:
        name: python-OBD's command name, as the telemetry contract uses it.
        pid: PID of SAE J1979.
        size: Data bytes of an answer. A shorter answer is no answer.
        decode: Data bytes to a value in python-OBD's unit; None where they mean nothing.
        is_groupable: Whether its size is certain enough to find the next PID behind it in a shared answer.
    """

    name: str
    pid: int
    size: int
    decode: Decode
    is_groupable: bool = True


def _by_python_obd(command: OBDCommand) -> Decode:
    def decode(data: bytes) -> float | None:
        message = Message([])
        message.data = bytearray([0x40 + _CURRENT_DATA, command.pid]) + data
        quantity = command.decode([message])
        return None if quantity is None else float(quantity.magnitude)

    return decode


def _signed_quarter_pascals(data: bytes) -> float:
    # python-OBD takes each byte for signed, which makes 00 80 read -32 Pa; the pair is (SAE J1979, PID 32).
    return int.from_bytes(data, "big", signed=True) / 4


def _fuel_type_code(data: bytes) -> float | None:
    return float(data[0]) or None  # 0 is "not available"


def _tenths_of_kilometres(data: bytes) -> float:
    return int.from_bytes(data, "big") / 10


def _catalogue() -> dict[int, Signal]:
    signals = {}
    for command in commands[_CURRENT_DATA]:
        if command.decode in _NOT_NUMBERS:
            continue
        pid, size = command.pid, command.bytes - _HEADER_BYTES
        optional = pid in _SECOND_BANK_OPTIONAL
        signals[pid] = Signal(
            command.name, pid, 1 if optional else size, _by_python_obd(command), is_groupable=not optional
        )
    put_right = (
        Signal("EVAP_VAPOR_PRESSURE", 0x32, 2, _signed_quarter_pascals),
        Signal("FUEL_TYPE", 0x51, 1, _fuel_type_code),
        Signal("ODOMETER", 0xA6, 4, _tenths_of_kilometres),  # newer than python-OBD's table; km
    )
    return signals | {signal.pid: signal for signal in put_right}


BY_PID: Final = _catalogue()
BY_NAME: Final = {signal.name: signal for signal in BY_PID.values()}
