"""What goes wrong between a program and a car, and when."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """Faults; those under "adapter" befall any request, the others only requests to the car."""

    # adapter
    DEAD = "dead"  # the dongle takes every request and answers none
    UNPLUG = "unplug"  # the port is gone; a new one comes under the same link, with a freshly started adapter
    GARBAGE = "garbage"  # noise on the serial line
    LATE_PROMPT = "late prompt"  # the answer comes in time, its prompt does not
    # car
    ABSENT_ECU = "absent ecu"
    TWO_ECUS = "two ecus"
    TRUNCATED = "truncated"  # the last frame loses its last byte
    OUT_OF_ORDER = "out of order"  # frames of a long answer change places
    NO_DATA = "no data"
    UNABLE_TO_CONNECT = "unable to connect"
    BUS_INIT = "bus init"
    CAN_ERROR = "can error"
    BUFFER_FULL = "buffer full"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and when it holds.

    Attributes:
        kind: what goes wrong.
        from_s: when it begins, seconds of the scenario.
        for_s: how long it lasts.
        times: how many requests it befalls at most.
        only: the beginning of the requests that it befalls, upper case without spaces; empty for all.
    """

    kind: FaultKind
    from_s: float = 0.0
    for_s: float = math.inf
    times: int | None = None
    only: str = ""

    def holds(self, t_s: float) -> bool:
        """Whether the time is the fault's."""
        return self.from_s <= t_s < self.from_s + self.for_s


class FaultSchedule:
    """The faults of one simulator; may be changed while it serves.

    Args:
        faults: those known from the start.
        seed: of the garbage.
    """

    def __init__(self, faults: tuple[Fault, ...] = (), seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int | None]] = [(fault, fault.times) for fault in faults]
        self._chance = random.Random(seed)  # noqa: S311 # repeatable, not secret

    def add(self, fault: Fault) -> None:
        """Let a fault happen."""
        with self._lock:
            self._left.append((fault, fault.times))

    def heal(self, kind: FaultKind | None = None) -> None:
        """End the faults of a kind, or all."""
        with self._lock:
            self._left = [(fault, left) for fault, left in self._left if kind not in {None, fault.kind}]

    def holds(self, kind: FaultKind, t_s: float) -> bool:
        """Whether a fault that is not about requests holds now."""
        with self._lock:
            return any(fault.kind is kind and fault.holds(t_s) for fault, _ in self._left)

    def befalling(self, command: str, t_s: float) -> frozenset[FaultKind]:
        """The faults that befall this request, each of which has then happened once more."""
        found: set[FaultKind] = set()
        with self._lock:
            for i, (fault, left) in enumerate(self._left):
                if fault.holds(t_s) and command.startswith(fault.only) and left != 0:
                    found.add(fault.kind)
                    self._left[i] = fault, None if left is None else left - 1
        return frozenset(found)

    def garbage(self) -> bytes:
        """Noise as a wrong baud rate makes it: any byte but the prompt and what a terminal would act on."""
        with self._lock:
            return bytes(self._chance.choice([*range(0x80, 0x100), 0x15, 0x3F]) for _ in range(12))
