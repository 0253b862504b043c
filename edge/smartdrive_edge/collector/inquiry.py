"""What is asked of the car now and then, beside the plan: whether it is there, who it is, its trouble codes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smartdrive_edge.adapter.answers import Outcome
from smartdrive_edge.adapter.discovery import Car, find_car
from smartdrive_edge.adapter.requests import Request
from smartdrive_edge.adapter.transport import DEFAULT_TIMEOUT_S
from smartdrive_edge.collector.codes import CodeScan
from smartdrive_edge.collector.journal import Journal
from smartdrive_edge.collector.known_car import KnownCar
from smartdrive_edge.collector.schedule import RPM, Schedule
from smartdrive_edge.policy import ASKING, Phase

VERIFY_AFTER_S: Final = 3.0
"""How long the engine runs before the car is asked who it is: the start itself is not disturbed."""
VERIFY_AGAIN_S: Final = 30.0
MOST_VERIFICATIONS: Final = 3
FIND_AGAIN_S: Final = (5.0, 60.0)
"""First and longest pause between two searches for a car that is not known."""
_log: Final = logging.getLogger(__name__)


class AbandonedError(Exception):
    """The policy no longer wants the car to be asked."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A way to the car through one open adapter.

    Attributes:
        ask: one request and its timeout; what comes counts like any other answer.
        pause: between two requests of a longer inquiry: measures the voltage, watches the key.
        has_headers: whether lines begin with the sender's address.

    Raises:
        AbandonedError: from `pause`, when the car shall no longer be asked.
    """

    ask: Callable[[Request, float], Outcome]
    pause: Callable[[], None]
    has_headers: bool

    def query(self, request: Request, timeout_s: float = DEFAULT_TIMEOUT_S) -> Outcome:
        """Ask as one question of a longer inquiry."""
        self.pause()
        return self.ask(request, timeout_s)


class Inquiry:
    """Finds the car, makes sure that it still is the one remembered, and scans its codes.

    Args:
        schedule: is told which car it asks.
        journal: is told whose samples it keeps.
        protocol: the ELM327's number to try first.
        codes_every_s: between two scans of trouble codes.
        now: monotonic seconds.
    """

    def __init__(
        self, schedule: Schedule, journal: Journal, *, protocol: str, codes_every_s: float, now: float
    ) -> None:
        self._schedule = schedule
        self._journal = journal
        self._protocol = protocol
        self._codes = CodeScan(every_s=codes_every_s)
        self._is_probing = False
        self._verify_at = now
        self._verifications = 0
        self._find_at = now
        self._find_pause_s = FIND_AGAIN_S[0]

    def greet(self, now: float) -> None:
        """The adapter was opened: the car may be another."""
        self._verifications = 0
        self._verify_at = self._find_at = now
        self._find_pause_s = FIND_AGAIN_S[0]

    def enter(self, phase: Phase, now: float) -> None:
        """The policy entered a phase."""
        if phase is Phase.RUNNING:
            self._codes.begin(now)
            self._verify_at = max(self._verify_at, now + VERIFY_AFTER_S)
        if phase not in ASKING:
            self._is_probing = False

    def probe(self) -> None:
        """See once whether the car answers."""
        self._is_probing = True

    def is_due(self, phase: Phase, now: float) -> bool:
        """Whether there is something to ask."""
        return (
            (phase in ASKING and self._is_probing)
            or self._must_find(phase, now)
            or self._must_verify(phase, now)
            or (phase is Phase.RUNNING and self._schedule.car is not None and self._codes.is_due(now))
        )

    def proceed(self, conversation: Conversation, phase: Phase, now: float) -> dict[str, object] | None:
        """Ask what is due.

        Returns:
            The detail of a `dtc_scan` that this completed; None otherwise.

        Raises:
            AbandonedError: the policy ended the asking meanwhile.
        """
        car = self._schedule.car
        if car is None:
            self._find(conversation, now)
        elif self._is_probing:
            self._is_probing = False
            conversation.ask(RPM, DEFAULT_TIMEOUT_S)
        elif self._must_verify(phase, now):
            self._verify(conversation, car, now)
        else:
            return self._codes.take(conversation.ask(self._codes.next_request(now), DEFAULT_TIMEOUT_S), car)
        return None

    def _must_find(self, phase: Phase, now: float) -> bool:
        is_wanted = phase in ASKING and self._schedule.plan.asks_ecu
        return self._schedule.car is None and is_wanted and now >= self._find_at

    def _must_verify(self, phase: Phase, now: float) -> bool:
        is_doubted = not self._journal.is_confirmed and phase is Phase.RUNNING and self._schedule.car is not None
        return is_doubted and now >= self._verify_at

    def _find(self, conversation: Conversation, now: float) -> None:
        self._is_probing = False
        self._find_at = now + self._find_pause_s
        self._find_pause_s = min(2 * self._find_pause_s, FIND_AGAIN_S[1])
        reason = None
        for protocol in dict.fromkeys((self._protocol, "0")):
            found, reason = find_car(conversation, protocol, conversation.has_headers)
            if found is not None:
                self._find_pause_s = FIND_AGAIN_S[0]
                self._meet(found)
                return
        _log.info("no car answers: %s", reason.value if reason else "for no reason known")

    def _verify(self, conversation: Conversation, car: Car, now: float) -> None:
        """Is it the car that is remembered? Its VIN says so; and what it supports is learnt anew."""
        self._verifications += 1
        self._verify_at = now + VERIFY_AGAIN_S
        is_last = self._verifications >= MOST_VERIFICATIONS
        found, _ = find_car(conversation, car.dialect.protocol, conversation.has_headers)
        if found is not None and (found.vin is not None or is_last):
            self._meet(found)
        if is_last and not self._journal.is_confirmed:
            if not self._journal.knows_vin:
                _log.warning("the car does not tell its VIN: set vehicle.vin; until then samples wait in memory")
            self._journal.trust()

    def _meet(self, car: Car) -> None:
        self._schedule.meet(car)
        self._journal.meet(KnownCar(car, car.vin))
        _log.info("the car speaks %s and supports %d PIDs", car.dialect.name, len(car.supported))
