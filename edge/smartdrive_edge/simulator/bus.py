"""What the car's ECUs say: the diagnostic services of SAE J1979 on functional CAN requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smartdrive_edge.simulator import pids
from smartdrive_edge.simulator.car import Car
from smartdrive_edge.simulator.scenarios import Engine, Key, TroubleCode
from smartdrive_edge.simulator.state import CarState

ANSWERED: Final = 0x40
NEGATIVE: Final = 0x7F
CONDITIONS_NOT_CORRECT: Final = 0x22
READING_SERVICES: Final = frozenset({0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x09, 0x0A, 0x19, 0x1A, 0x21, 0x22})
MAX_PIDS: Final = 6  # of one request
_CODE_LETTERS: Final = "PCBU"
_MEMORIES: Final = {0x03: "stored", 0x07: "pending", 0x0A: "permanent"}


@dataclass(frozen=True, slots=True)
class ForbiddenRequest:
    """A request that would have changed something in a real car."""

    at_s: float
    request: bytes


class Ecu:
    """One control unit on the bus.

    Args:
        car: what it measures.
        index: 0 the engine's, 1 the transmission's.
    """

    def __init__(self, car: Car, index: int) -> None:
        self.index = index
        self._car = car
        self._pids = {pid.number: pid for pid in (pids.ENGINE_PIDS, pids.TRANSMISSION_PIDS)[index]}
        self._name = ("ECM", "-EngineControl") if index == 0 else ("TCM", "-Transmission")
        self._cleared_at_s = -1.0

    def answer(self, request: bytes, t_s: float) -> bytes | None:
        """The answer to a functional request; ``None`` where a real ECU stays silent.

        A request to everybody gets no negative answer from an ECU that lacks the service (ISO 15765-4).
        """
        state, parameters = self._car.state_at(t_s), request[1:]
        match request[0]:
            case 0x01:
                return self._current(parameters, state)
            case 0x02:
                return self._freeze_frame(parameters, t_s)
            case 0x03 | 0x07 | 0x0A:
                return self._codes(request[0], t_s)
            case 0x04:
                return self._clear(state)
            case 0x09:
                return self._identity(parameters)
        return None

    def pids(self) -> set[int]:
        """Numbers of the measured parameters of service 01, without the bitmaps."""
        return {0x01, *self._pids}

    def _current(self, wanted: bytes, state: CarState) -> bytes | None:
        parts = [self._parameter(number, state) for number in wanted[:MAX_PIDS]]
        data = b"".join(part for part in parts if part is not None)
        return bytes([ANSWERED | 0x01]) + data if data else None

    def _parameter(self, number: int, state: CarState) -> bytes | None:
        if number == 0x01:
            return bytes([number]) + self._monitor_status(state.t_s)
        if number % 32 == 0:
            bits = pids.supported(self.pids(), number)
            return None if bits is None else bytes([number]) + bits
        return bytes([number]) + self._pids[number].encode(state) if number in self._pids else None

    def _monitor_status(self, t_s: float) -> bytes:
        """Lamp and number of stored codes, then monitors: all that a petrol car has are there and complete."""
        stored = len(self._in_memory("stored", t_s))
        return bytes([(0x80 if stored else 0) | stored, 0x07, 0x65, 0x00])

    def _freeze_frame(self, wanted: bytes, t_s: float) -> bytes | None:
        """Frame 0 holds what was true when the first stored code appeared."""
        if len(wanted) != 2 or wanted[1] != 0:  # noqa: PLR2004 # a PID and a frame's number
            return None
        number, stored = wanted[0], self._in_memory("stored", t_s)
        head = bytes([ANSWERED | 0x02, number, 0])
        if number == 0x02:  # noqa: PLR2004 # which code froze the frame
            return head + (code_bytes(stored[0].code) if stored else bytes(2))
        if not stored:
            return None
        if number % 32 == 0:
            bits = pids.supported({0x02, *self._pids}, number)
            return None if bits is None else head + bits
        frozen = self._car.state_at(stored[0].since_s)
        return head + self._pids[number].encode(frozen) if number in self._pids else None

    def _codes(self, service: int, t_s: float) -> bytes:
        codes = self._in_memory(_MEMORIES[service], t_s)
        return bytes([ANSWERED | service, len(codes)]) + b"".join(code_bytes(code.code) for code in codes)

    def _in_memory(self, memory: str, t_s: float) -> list[TroubleCode]:
        there = [code for code in self._car.codes_at(t_s) if code.memory == memory and code.ecu == self.index]
        # no tester clears a permanent code: only the monitor that set it does
        return there if memory == "permanent" else [code for code in there if code.since_s > self._cleared_at_s]

    def _clear(self, state: CarState) -> bytes:
        if state.engine is not Engine.OFF:
            return bytes([NEGATIVE, 0x04, CONDITIONS_NOT_CORRECT])
        self._cleared_at_s = state.t_s
        return bytes([ANSWERED | 0x04])

    def _identity(self, wanted: bytes) -> bytes | None:
        types = {0x02, 0x0A} if self.index == 0 else {0x0A}
        match wanted:
            case b"\x00":
                return b"\x49\x00" + (pids.supported(types, 0) or b"")
            case b"\x02" if self.index == 0:
                return b"\x49\x02\x01" + self._car.scenario.vin.encode("ascii")
            case b"\x0a":
                acronym, name = self._name
                return b"\x49\x0a\x01" + acronym.encode().ljust(5, b"\0") + name.encode().ljust(15, b"\0")
        return None


class Bus:
    """The car's diagnostic bus: who is on it, who is awake, and what nobody should have asked.

    Args:
        car: the car.
        protocol: its number as the ELM327 counts them: ``"6"`` (11 bit) or ``"7"`` (29 bit).

    Attributes:
        forbidden_requests: every request that would have changed something in a real car, whether or not an ECU
            was awake to obey.
    """

    def __init__(self, car: Car, protocol: str = "6") -> None:
        if protocol not in {"6", "7"}:
            msg = f"the simulated car speaks protocol 6 or 7, not {protocol!r}"
            raise ValueError(msg)
        self.car = car
        self.protocol = protocol
        self.ecus = (Ecu(car, 0), Ecu(car, 1))
        self.forbidden_requests: list[ForbiddenRequest] = []

    def record(self, request: bytes, t_s: float) -> None:
        """Keep a request that somebody tried to send, if it would have changed something."""
        if request[0] not in READING_SERVICES:
            self.forbidden_requests.append(ForbiddenRequest(t_s, request))

    def request(self, request: bytes, t_s: float, *, ecus: int = 1) -> list[tuple[int, bytes]]:
        """Answers to a functional request, each with its ECU's index; none while the key is off.

        Args:
            request: service and parameters.
            t_s: time of the request.
            ecus: how many control units are on the bus; 0 is a bus that nobody answers on.
        """
        if self.car.state_at(t_s).key is not Key.ON:
            return []
        answers = ((ecu.index, ecu.answer(request, t_s)) for ecu in self.ecus[:ecus])
        return [(index, answer) for index, answer in answers if answer is not None]


def code_bytes(code: str) -> bytes:
    """The two bytes of a trouble code: letter and first digit in the highest four bits (ISO 15031-6).

    Raises:
        ValueError: the text is no trouble code.
    """
    try:
        letter, digit, rest = _CODE_LETTERS.index(code[0]), int(code[1], 4), int(code[2:], 16)
        return (letter << 14 | digit << 12 | rest).to_bytes(2, "big")
    except (ValueError, IndexError, OverflowError) as error:
        msg = f"{code!r} is no trouble code such as P0301"
        raise ValueError(msg) from error
