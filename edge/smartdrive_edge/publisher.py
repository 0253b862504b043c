"""Sends what the spool holds, at a pace that brokers bear, until a lander's ack lets each row go."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion

from smartdrive_edge.broker_connection import Broker, BrokerConnection, BrokerUnavailableError
from smartdrive_edge.spool import DAY_MS, Spool

_POLL_S: Final = 0.2
_EXPIRE_EVERY_S: Final = 60.0
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAMES: Final = {MQTTProtocolVersion.MQTTv5: "MQTT 5", MQTTProtocolVersion.MQTTv311: "MQTT 3.1.1"}
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, how often, how patiently.

    Attributes:
        flush_period_s: how long a lander collects before it lands and answers.
        publishes_per_s: in any window of one second. AWS IoT Core takes 100 per connection.
        in_flight: publishes without PUBACK. AWS IoT Core takes 100 per connection.
        resend_after_periods: an unacked row is sent again after so many flush periods, then twice as
            many, and so on: a lander that is away for a day shall not cost a day of radio.
        resend_at_most_s: the longest such wait.
        puback_timeout_s: a connection whose broker owes a PUBACK for longer is given up.
        backoff_s: first and longest bound of the random wait between connections.
        replay_window_ms: how long rows are kept after PUBACK where no lander speaks.
        last_words_s: how long events are still sent once uploading was stopped; then the connection is closed.
    """

    flush_period_s: float = 10.0
    publishes_per_s: int = 80
    in_flight: int = 20
    resend_after_periods: int = 3
    resend_at_most_s: float = 900.0
    puback_timeout_s: float = 30.0
    backoff_s: tuple[float, float] = (1.0, 120.0)
    replay_window_ms: int = DAY_MS
    last_words_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Connectivity:
    """How the way out is.

    Attributes:
        is_connected: now.
        protocol: of this or the last connection; None before the first.
        last_error: of the last attempt that failed; None where it succeeded.
    """

    is_connected: bool = False
    protocol: str | None = None
    last_error: str | None = None


class Throttle:
    """Allows at most so many things in any window of one second."""

    def __init__(self, per_second: int) -> None:
        self._times: deque[float] = deque(maxlen=per_second)
        self._per_second = per_second

    def allowance(self, now_s: float) -> int:
        """How many are allowed now; seconds on any clock that does not jump."""
        return self._per_second - sum(now_s - at < 1.0 for at in self._times)

    def spend(self, now_s: float) -> None:
        """One happened."""
        self._times.append(now_s)


def full_jitter(attempt: int, first_s: float, longest_s: float, draw: Callable[[], float]) -> float:
    """Seconds to wait before the next connection: uniform from 0 to a bound that doubles.

    A fleet that lost its broker at one moment does not come back at one moment (M. Brooker, "Exponential Backoff
    And Jitter", AWS Architecture Blog, 2015).

    Args:
        attempt: failures so far, from 0.
        first_s: first bound.
        longest_s: last bound.
        draw: uniform over [0, 1).
    """
    return draw() * min(longest_s, first_s * 2.0 ** min(attempt, 32))


class Publisher:
    """Empties a spool into a broker.

    Args:
        spool: shared with whoever fills it.
        broker: where to.
        pace: how.
        lander: whether a lander answers with `ack.v1`. Where none does (AWS IoT), rows go a replay window after
            their PUBACK.
        monotonic: seconds; the clock of the spool's samples.
        uploading: whether to send at all, or only the last words of before.

    Attributes:
        connectivity: how the way out is, replaced whole; any thread may look.
    """

    def __init__(
        self,
        spool: Spool,
        broker: Broker,
        *,
        pace: Pace | None = None,
        lander: bool = True,
        uploading: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._broker = broker
        self._pace = pace or Pace()
        self._lander = lander
        self._monotonic = monotonic
        self._throttle = Throttle(self._pace.publishes_per_s)
        self._wake = threading.Event()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._in_flight: dict[int, tuple[int, float]] = {}
        self._expired_at = -_EXPIRE_EVERY_S
        self._has_sent = False
        self._stopped_at = None if uploading else monotonic()
        self.connectivity = Connectivity()

    def notify(self) -> None:
        """Something was appended that shall not wait for the next look, 0.2 s at most."""
        self._wake.set()

    def stop_uploading(self) -> None:
        """Send the events that wait, for `last_words_s` at most, then hang up; the spool keeps the rest."""
        if self._stopped_at is None:
            self._stopped_at = self._monotonic()
            self._wake.set()

    def resume_uploading(self) -> None:
        """Send everything again."""
        self._stopped_at = None
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Connect, send, and connect again, until `stop` is set. Never raises for what a network can do.

        Args:
            stop: noticed within 0.2 s, or when a connection being made has timed out.
        """
        attempt = 0
        while not stop.is_set():
            if self._is_silent():
                stop.wait(_POLL_S)
                continue
            try:
                connection = BrokerConnection(self._broker, self._spool.device_id, self._protocol, self._wake)
            except BrokerUnavailableError as error:
                self._note_failure(str(error))
                if error.may_be_protocol:
                    self._try_the_other_protocol()
            else:
                self._has_sent = False
                self.connectivity = Connectivity(is_connected=True, protocol=_NAMES[self._protocol])
                _log.info("connected to %s:%d by %s", self._broker.host, self._broker.port, _NAMES[self._protocol])
                try:
                    self._serve(connection, stop)
                finally:
                    self.connectivity = replace(self.connectivity, is_connected=False)
                    connection.close()
                if self._has_sent:  # merely being let in is no sign of a broker that works
                    attempt = 0
            stop.wait(full_jitter(attempt, *self._pace.backoff_s, random.random))
            attempt += 1

    def _serve(self, connection: BrokerConnection, stop: threading.Event) -> None:
        self._in_flight.clear()
        while connection.is_open and not stop.is_set() and not self._is_silent():
            self._wake.clear()
            self._settle(connection)
            self._send(connection)
            if self._is_stuck():
                _log.warning("the broker owes a PUBACK for %g s: connecting anew", self._pace.puback_timeout_s)
                return
            self._wake.wait(_POLL_S)
        self._settle(connection)

    def _is_silent(self) -> bool:
        """Whether uploading is stopped and the last words are out, or have had their time."""
        stopped_at = self._stopped_at
        if stopped_at is None:
            return False
        return self._monotonic() - stopped_at > self._pace.last_words_s or not self._spool.has_urgent()

    def _note_failure(self, text: str) -> None:
        if text != self.connectivity.last_error:  # once, not with every attempt of a day without a network
            _log.warning("%s", text)
        self.connectivity = replace(self.connectivity, last_error=text)

    def _settle(self, connection: BrokerConnection) -> None:
        taken: list[int] = []
        for mid, is_taken in connection.take_pubacks():
            number, _ = self._in_flight.pop(mid, (None, 0.0))
            if not is_taken:
                self._note_failure("the broker refuses messages: is this device allowed to write on its topic?")
            elif number is not None:
                taken.append(number)
        # A PUBACK is not durability: where a lander speaks, only its ack lets a row go.
        if taken and not self._lander:
            self._spool.mark_puback(taken, round(self._monotonic() * 1000))
        digests = [digest for digest in connection.take_digests() if _DIGEST.fullmatch(digest)]
        self._has_sent = self._has_sent or bool(digests or (taken and not self._lander))
        if digests:
            self._spool.acknowledge(digests)
        if not self._lander and self._monotonic() - self._expired_at >= min(
            _EXPIRE_EVERY_S, self._pace.replay_window_ms / 1000
        ):
            self._expired_at = self._monotonic()
            now_ms = round(self._monotonic() * 1000)
            self._spool.expire(now_ms, replay_window_ms=self._pace.replay_window_ms)

    def _send(self, connection: BrokerConnection) -> None:
        now = self._monotonic()
        in_flight_at_most = min(self._pace.in_flight, connection.receive_maximum)
        room = min(in_flight_at_most - len(self._in_flight), self._throttle.allowance(now))
        if room <= 0:
            return
        sent: list[int] = []
        in_flight = {number for number, _ in self._in_flight.values()}
        urgent_only = self._stopped_at is not None
        for row in self._spool.unsent(round(now * 1000), room, urgent_only=urgent_only):
            if row.number in in_flight:
                continue
            mid = connection.publish(row.topic, row.payload)
            if mid is None:
                break
            self._throttle.spend(now)
            self._in_flight[mid] = (row.number, now)
            sent.append(row.number)
        if sent:
            again_ms = round(self._pace.flush_period_s * self._pace.resend_after_periods * 1000)
            at_most_ms = max(again_ms, round(self._pace.resend_at_most_s * 1000))
            self._spool.mark_sent(sent, round(now * 1000), again_ms=again_ms, at_most_ms=at_most_ms)

    def _is_stuck(self) -> bool:
        oldest = min((at for _, at in self._in_flight.values()), default=self._monotonic())
        return self._monotonic() - oldest > self._pace.puback_timeout_s

    def _try_the_other_protocol(self) -> None:
        five, three = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
        self._protocol = three if self._protocol == five else five
