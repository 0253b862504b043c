"""What was learnt, on its way into the spool: samples, events and facts, each under the VIN that it belongs to."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from smartdrive_edge.collector.known_car import KnownCar
from smartdrive_edge.collector.samples import Recorder, Values
from smartdrive_edge.messages import EventType, Kind, Message, MessageError, Phase, event
from smartdrive_edge.policy import RESTING, State, from_json, to_json
from smartdrive_edge.spool import Spool

AWAY_S: Final = 60.0
"""Nobody takes a dongle from one car and has another one running with it in less."""
MOST_EVENTS: Final = 1000
_log: Final = logging.getLogger(__name__)


def first_state(spool: Spool) -> State:
    """The policy's state with which a process begins on a spool."""
    stored = spool.fact("policy")
    if stored is None and spool.set_aside:
        stored = ""  # there was one, and it is lost: the policy is then careful
    return from_json(stored)


class Journal:
    """Keeps what comes from the car.

    A dongle moves from car to car. When it was away for a minute, what it says is therefore held back until the
    car has told its VIN. While the car rests the remembered VIN will do: one resting voltage says little, and the
    alarm of an empty battery must not wait; the next start is in doubt again. A loose plug, or a collector that
    was killed, is no such doubt.

    Args:
        spool: where to.
        batch_s: a message holds samples of at most so many seconds.
        configured_vin: of a car that does not tell its own.

    Attributes:
        known: the car as remembered.
        samples: how many were taken.
    """

    def __init__(self, spool: Spool, *, batch_s: float, configured_vin: str | None) -> None:
        self._spool = spool
        self._recorder = Recorder(batch_s=batch_s)
        self._configured_vin = configured_vin
        self._is_confirmed = False
        self._is_taken_for_granted = False
        self._is_resting = False
        self._events: deque[tuple[EventType, int, Mapping[str, object]]] = deque()
        self._facts: dict[str, str] = {}
        self._files_set_aside = len(spool.set_aside)
        self._policy: str | None = None
        self._heard_at = 0.0
        self.known = KnownCar.from_json(spool.fact("car"))
        self.samples = 0

    @property
    def vin(self) -> str | None:
        """The vehicle that samples are given to now; None while that is in doubt."""
        return self._remembered if self._is_confirmed or self._is_taken_for_granted else None

    @property
    def knows_vin(self) -> bool:
        """Whether any VIN is known, in doubt or not."""
        return self._remembered is not None

    @property
    def is_confirmed(self) -> bool:
        """Whether the car has told its VIN since the adapter was away, or was asked often enough."""
        return self._is_confirmed

    def doubt(self, now: float) -> None:
        """The adapter was opened anew: if it was away for long, the next car that speaks may be another.

        Args:
            now: monotonic seconds, of the clock that all samples are taken by.
        """
        boot, _, heard_at = (self._spool.fact("heard") or "").rpartition(" ")
        if boot == self._spool.machine_boot and 0.0 <= now - float(heard_at) < AWAY_S:
            self._is_confirmed = self._remembered is not None
            self._attribute()
            return
        self._keep(self._recorder.flush())
        self._is_confirmed = self._is_taken_for_granted = False
        self._attribute()

    def trust(self) -> None:
        """Take the remembered VIN for the car's, where there is one: a resting car's until it is used again."""
        if not self._is_confirmed and self._remembered is not None:
            self._is_taken_for_granted = self._is_resting
            self._is_confirmed = not self._is_resting
            self._attribute()

    def meet(self, known: KnownCar) -> None:
        """A car was found. Where it told its VIN, or the configuration has one, samples go out under that."""
        if self.known.vin is not None and known.vin is not None and self.known.vin != known.vin:
            _log.warning("the adapter is in another car now: what waits goes out under its VIN")
        if known.vin is None and self._configured_vin is None:
            # Found, but it does not tell: what another discovery heard of it still holds.
            known = KnownCar(known.car, self.known.vin)
        elif known.vin is not None or self._configured_vin is not None:
            self._is_confirmed = True
        if known != self.known:
            self.known = known
            self._facts["car"] = known.to_json()
        self._attribute()
        self._keep([])

    def enter(self, phase: Phase) -> None:
        """The policy entered a phase."""
        self._keep(self._recorder.enter(phase))
        self._is_resting = phase in RESTING
        if self._is_taken_for_granted and not self._is_resting:
            self._is_taken_for_granted = False
            self._attribute()

    def sample(self, phase: Phase, at: float, values: Values) -> None:
        """Take what one answer brought; `at` in monotonic seconds."""
        self.samples += len(values)
        self._heard_at = at
        self._keep(self._recorder.add(phase, at, values))

    def notice(
        self, events: Sequence[tuple[EventType, Mapping[str, object]]], at: float, state: State | None = None
    ) -> None:
        """Keep events, and the policy's state of the same moment, in one transaction."""
        self._events.extend((event_type, round(at * 1000), detail) for event_type, detail in events)
        if state is not None:
            self._facts["policy"] = to_json(state)
        while len(self._events) > MOST_EVENTS:
            self._events.popleft()
            self._spool.count_drops(Kind.EVENT, 1)
        if events or state is not None:
            self._keep([])

    def settle(self, now: float) -> None:
        """Keep the messages whose time has come; also what could not be kept before."""
        self._keep(self._recorder.due(now))
        drops, self._recorder.unattributed_drops = self._recorder.unattributed_drops, {}
        for kind, number in drops.items():
            self._spool.count_drops(kind, number)

    def close(self) -> None:
        """Keep all there is. At an orderly end the remembered VIN is better than losing what waits for one."""
        self.trust()
        self._keep(self._recorder.flush())
        for kind, number in self._recorder.abandon().items():
            self._spool.count_drops(kind, number)
        if self._events:
            self._spool.count_drops(Kind.EVENT, len(self._events))
            self._events.clear()

    @property
    def _remembered(self) -> str | None:
        return self.known.vin or self._configured_vin

    def _attribute(self) -> None:
        self._keep(self._recorder.attribute(self.vin))

    def _keep(self, messages: Sequence[Message]) -> None:
        """Events and facts go together: the word that an event was sent must not outlive the event."""
        ready: list[Message] = []
        vin = self.vin
        if vin is not None:
            ready = [event(vin, event_type, t_ms, detail) for event_type, t_ms, detail in self._events]
        facts = self._facts if vin is not None or not self._events else {}
        if messages and self._is_confirmed:
            facts["heard"] = f"{self._spool.machine_boot} {self._heard_at:.1f}"
        if ready:
            self._events.clear()
        if not ready and not messages and not facts:
            return
        self._commit([*ready, *messages], dict(facts))
        if facts:
            self._policy = facts.get("policy", self._policy)
            facts.clear()
        self._survive_damage()

    def _commit(self, messages: Sequence[Message], facts: Mapping[str, str]) -> None:
        try:
            self._spool.commit(messages, facts)
        except MessageError as error:
            # One that cannot be sent must not take the others with it; the facts stay behind their events.
            for message in messages if len(messages) > 1 else ():
                self._commit([message], {})
            if len(messages) == 1:
                _log.error("a message breaks the contract and is lost: %s", error)
                self._spool.count_drops(messages[0].kind, 1)
            if facts:
                self._spool.commit([], facts)

    def _survive_damage(self) -> None:
        """A spool that was set aside took what is remembered with it: tell the fresh one."""
        if len(self._spool.set_aside) > self._files_set_aside:
            self._files_set_aside = len(self._spool.set_aside)
            facts = {"car": self.known.to_json()} | ({"policy": self._policy} if self._policy else {})
            self._spool.commit([], facts)
