"""The adapter: what an ELM327 v1.5 makes of each line that it is sent, by its maker's data sheet.

Nothing here waits or reads a clock: a line and a time go in, a reply and its delays come out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smartdrive_edge.simulator import isotp
from smartdrive_edge.simulator.bus import Bus
from smartdrive_edge.simulator.faults import FaultKind, FaultSchedule
from smartdrive_edge.simulator.latency import Latency
from smartdrive_edge.simulator.scenarios import Key

VERSION: Final = "ELM327 v1.5"
PROTOCOLS: Final = {
    "1": "SAE J1850 PWM",
    "2": "SAE J1850 VPW",
    "3": "ISO 9141-2",
    "4": "ISO 14230-4 (KWP 5BAUD)",
    "5": "ISO 14230-4 (KWP FAST)",
    "6": "ISO 15765-4 (CAN 11/500)",
    "7": "ISO 15765-4 (CAN 29/500)",
    "8": "ISO 15765-4 (CAN 11/250)",
    "9": "ISO 15765-4 (CAN 29/250)",
    "A": "SAE J1939 (CAN 29/250)",
}
RESET_S: Final = 0.5
SEARCH_S: Final = 0.3  # until a search finds this car's protocol
FRUITLESS_SEARCH_S: Final = 5.0
LATE_PROMPT_S: Final = 1.0
ST_STEP_S: Final = 0.004
ST_DEFAULT: Final = 0x32
MAX_REQUEST: Final = 7  # bytes of a CAN request

_ADAPTIVE_WAIT: Final = {1: 0.5, 2: 0.25}  # share of the profile's answer time spent waiting for further answers
_WRITES_EEPROM: Final = re.compile(r"SPA?[0-9A]|(?:PP|SD|CV|@3).+")
_PROTOCOL_COMMAND: Final = re.compile(r"([ST])P(A?)([0-9A])")
_FAILURES: Final = {
    FaultKind.NO_DATA: ["NO DATA"],
    FaultKind.UNABLE_TO_CONNECT: ["SEARCHING...", "UNABLE TO CONNECT"],
    FaultKind.BUS_INIT: ["BUS INIT: ...ERROR"],
    FaultKind.CAN_ERROR: ["CAN ERROR"],
    FaultKind.STOPPED: ["STOPPED"],
}
_BUS_FAILURES: Final = {
    **dict.fromkeys("345", "BUS INIT: ...ERROR"),
    **dict.fromkeys("89A", "CAN ERROR"),
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that the adapter sends after a delay; another byte to the adapter meanwhile may stop it."""

    after_s: float
    data: bytes
    stoppable: bool = False


@dataclass(slots=True)
class _Settings:
    """What ``AT Z`` sets back."""

    echo: bool = True
    linefeeds: bool = False
    headers: bool = False
    spaces: bool = True
    adaptive: int = 1
    timeout_s: float = ST_DEFAULT * ST_STEP_S


@dataclass(frozen=True, slots=True)
class _Answer:
    lines: list[str]
    after_s: float


class Elm327:
    """One powered adapter.

    Args:
        bus: the car.
        latency: how long it takes.
        faults: what goes wrong.
        ecus: how many control units are on the bus.
        ignition_wired: whether its ignition input follows the key; on most cheap dongles it is open and reads ON.

    Attributes:
        eeprom_writes: the commands that a real chip would have stored for ever; they outlive a reset.
    """

    def __init__(
        self,
        bus: Bus,
        latency: Latency,
        faults: FaultSchedule | None = None,
        *,
        ecus: int = 1,
        ignition_wired: bool = True,
    ) -> None:
        self._bus, self._latency, self._ecus, self._ignition_wired = bus, latency, ecus, ignition_wired
        self._faults = faults or FaultSchedule()
        self._stored_protocol = "A0"
        self.eeprom_writes: list[str] = []
        self._last_command = ""
        self.power_up()

    def power_up(self) -> None:
        """Start afresh, as after ``AT Z`` or when plugged in."""
        self._settings = _Settings()
        self._automatic, self._protocol = self._stored_protocol[:1] == "A", self._stored_protocol[-1]

    def reply(self, line: str, t_s: float) -> list[Chunk]:
        """What comes back for a line (without its carriage return) received at a time."""
        echo = line + self._end if self._settings.echo else ""
        command = re.sub(r"[\x00-\x20]", "", line).upper() or self._last_command
        self._last_command = command
        if not command:
            return [Chunk(self._latency.at_s, (echo + self._end + ">").encode("latin-1"))]
        self._record(command, t_s)
        faults = self._faults.befalling(command, t_s)
        if FaultKind.DEAD in faults:
            return []
        to_car = not command.startswith("AT")
        if FaultKind.GARBAGE in faults:
            return [Chunk(self._latency.at_s, echo.encode("latin-1") + self._faults.garbage() + b"\r\r>")]
        answer = self._car(command, t_s, faults) if to_car else self._own(command.removeprefix("AT"), t_s)
        body = "".join(text + self._end for text in answer.lines) + self._end
        chunks = [Chunk(0.0, echo.encode("latin-1"))] if echo else []
        if FaultKind.LATE_PROMPT in faults:
            late = Chunk(LATE_PROMPT_S, b">")
            return [*chunks, Chunk(answer.after_s, body.encode(), to_car), late]
        return [*chunks, Chunk(answer.after_s, body.encode() + b">", to_car)]

    def _record(self, command: str, t_s: float) -> None:
        """Keep what should not have been sent, even if a fault now keeps it from doing harm."""
        own = command.removeprefix("AT")
        if own != command and _WRITES_EEPROM.fullmatch(own):
            self.eeprom_writes.append(own)
        elif (asked := _request(command)) is not None:
            self._bus.record(asked[0], t_s)

    def stopped(self) -> bytes:
        """What comes instead of the rest when a byte interrupts a request."""
        return f"STOPPED{self._end}{self._end}>".encode()

    @property
    def _end(self) -> str:
        return "\r\n" if self._settings.linefeeds else "\r"

    def _own(self, command: str, t_s: float) -> _Answer:
        """An AT command."""
        if command == "Z":
            self.power_up()
            return _Answer(["", "", VERSION], RESET_S)
        return _Answer([self._at(command, t_s)], self._latency.at_s)

    def _at(self, command: str, t_s: float) -> str:
        questions: dict[str, Callable[[], str]] = {
            "I": lambda: VERSION,
            "@1": lambda: "OBDII to RS232 Interpreter",
            "RV": lambda: f"{self._bus.car.voltage_at(t_s):.1f}V",
            "IGN": lambda: self._ignition(t_s),
            "DPN": lambda: ("A" if self._automatic else "") + self._protocol,
            "DP": lambda: ", ".join(
                ["AUTO"] * self._automatic + [PROTOCOLS[p] for p in self._protocol if p != "0"]
            ),
        }
        if command in questions:
            return questions[command]()
        if (switch := re.fullmatch(r"([ELHS])([01])", command)) is not None:
            name = {"E": "echo", "L": "linefeeds", "H": "headers", "S": "spaces"}[switch[1]]
            setattr(self._settings, name, switch[2] == "1")
        elif re.fullmatch(r"AT[012]", command):
            self._settings.adaptive = int(command[-1])
        elif re.fullmatch(r"ST[0-9A-F]{2}", command):
            self._settings.timeout_s = (int(command[2:], 16) or ST_DEFAULT) * ST_STEP_S
        elif (choice := _PROTOCOL_COMMAND.fullmatch(command)) is not None:
            self._choose_protocol(
                choice[3], automatic=choice[2] == "A" or choice[3] == "0", store=choice[1] == "S"
            )
        elif not _WRITES_EEPROM.fullmatch(command):
            return "?"
        return "OK"

    def _choose_protocol(self, number: str, *, automatic: bool, store: bool) -> None:
        self._automatic, self._protocol = automatic, number
        if store:
            self._stored_protocol = ("A" if automatic else "") + number

    def _ignition(self, t_s: float) -> str:
        off = self._ignition_wired and self._bus.car.state_at(t_s).key is not Key.ON
        return "OFF" if off else "ON"

    def _car(self, command: str, t_s: float, faults: frozenset[FaultKind]) -> _Answer:
        """A request to the car."""
        asked = _request(command)
        if asked is None:
            return _Answer(["?"], self._latency.at_s)
        request, count = asked
        for kind, lines in _FAILURES.items():
            if kind in faults:
                return _Answer(lines, self._latency.at_s + self._settings.timeout_s)
        ecus = 0 if FaultKind.ABSENT_ECU in faults else 2 if FaultKind.TWO_ECUS in faults else self._ecus
        if self._protocol != self._bus.protocol and not self._automatic:
            error = _BUS_FAILURES.get(self._protocol, "NO DATA")
            return _Answer([error], self._latency.at_s + self._settings.timeout_s)
        answers = self._bus.request(request, t_s, ecus=ecus)
        return self._received(answers, count, faults, awake=self._awake(ecus, t_s))

    def _awake(self, ecus: int, t_s: float) -> bool:
        return ecus > 0 and self._bus.car.state_at(t_s).key is Key.ON

    def _received(
        self, answers: list[tuple[int, bytes]], count: int, faults: frozenset[FaultKind], *, awake: bool
    ) -> _Answer:
        """The lines of what the ECUs answered, and how long they and the adapter took."""
        before: list[str] = []
        took_s = 0.0
        if self._protocol != self._bus.protocol:
            if not awake:
                return _Answer(["SEARCHING...", "UNABLE TO CONNECT"], FRUITLESS_SEARCH_S)
            before, took_s = ["SEARCHING..."], SEARCH_S
            self._protocol = self._bus.protocol
        frames = _by_turns([[(ecu, frame) for frame in isotp.frames(answer)] for ecu, answer in answers])
        if not frames:
            return _Answer([*before, "NO DATA"], took_s + self._latency.at_s + self._settings.timeout_s)
        if FaultKind.OUT_OF_ORDER in faults:
            frames = frames[:1] + frames[:0:-1] if len(frames) > 2 else frames[::-1]  # noqa: PLR2004
        wait_s = self._wait_s(count, len(frames))
        frames = frames[: count or None]
        lines = self._lines(frames, truncated=FaultKind.TRUNCATED in faults)
        if FaultKind.BUFFER_FULL in faults:
            lines = [*lines[:1], "BUFFER FULL"]
        answered_s = self._latency.pid_s * (1 - _ADAPTIVE_WAIT[1])
        return _Answer([*before, *lines], took_s + answered_s + wait_s)

    def _wait_s(self, count: int, received: int) -> float:
        """How long the adapter listens on after the last frame: not at all once it has the number asked for."""
        if count:
            return 0.0 if received >= count else self._settings.timeout_s
        share = _ADAPTIVE_WAIT.get(self._settings.adaptive)
        return self._settings.timeout_s if share is None else self._latency.pid_s * share

    def _lines(self, frames: list[tuple[int, bytes]], *, truncated: bool) -> list[str]:
        """Frames as text: as they are behind their sender's identifier, or unwrapped with headers off."""
        lines: list[str] = []
        for i, (ecu, frame) in enumerate(frames):
            kind, low = divmod(frame[0], 16)
            payload = frame[: 1 + low] if kind == isotp.SINGLE_FRAME else frame
            payload = payload[:-1] if (cut := truncated and i == len(frames) - 1) else payload
            if self._settings.headers:
                lines.append(self._spaced([*self._sender(ecu), *_hex(payload if cut else frame)]))
            elif kind == isotp.SINGLE_FRAME:
                lines.append(self._spaced(_hex(payload[1:])))
            elif kind == isotp.FIRST_FRAME:
                lines += [
                    f"{int.from_bytes(frame[:2], 'big') & 0xFFF:03X}",
                    self._spaced(["0:", *_hex(payload[2:])]),
                ]
            else:
                lines.append(self._spaced([f"{low:X}:", *_hex(payload[1:])]))
        return lines

    def _sender(self, ecu: int) -> list[str]:
        """The CAN identifier in the groups that the chip writes it in."""
        return [f"{0x7E8 + ecu:03X}"] if self._bus.protocol == "6" else ["18", "DA", "F1", f"{0x10 + 8 * ecu:02X}"]

    def _spaced(self, groups: list[str]) -> str:
        # a real chip writes a space after each group, the last one too
        return "".join(group + " " * self._settings.spaces for group in groups)


def _request(command: str) -> tuple[bytes, int] | None:
    """A request to the car and, if its number of digits is odd, how many frames to wait for; else 0."""
    digits, count = (command[:-1], command[-1]) if len(command) % 2 else (command, "0")
    if re.fullmatch(rf"(?:[0-9A-F]{{2}}){{1,{MAX_REQUEST}}}[0-9A-F]", digits + count) is None:
        return None
    return bytes.fromhex(digits), int(count, 16)


def _hex(data: bytes) -> list[str]:
    return [f"{byte:02X}" for byte in data]


def _by_turns(messages: list[list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    """Frames of several ECUs as they meet on the bus: one of each in turn."""
    longest = max(map(len, messages), default=0)
    return [message[i] for i in range(longest) for message in messages if i < len(message)]
