"""The lander: MQTT messages into landing objects, and an answer to the device once they are durable.

A payload is opaque bytes here. The broker gets its PUBACK and the device its `ack.v1` only after the object is in
landing; whoever dies before that is sent the message again, and Silver drops the copy.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import msgspec
from paho.mqtt.client import Client, MQTTMessage

from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.heartbeat import Heartbeat
from smartdrive_dagster.landing.lander_connection import CHANNELS, LanderConnection, LanderSettings, connect
from smartdrive_dagster.landing.store import LandingStore, ulid

_TOPIC: Final = re.compile(r"vehicle/(?P<device>[^/]+)/(?P<channel>telemetry|events)")
# Lower case too: a sender that spells its VIN so shall not have it in one more topic.
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}", re.IGNORECASE)
_DIGESTS_PER_ACK: Final = 1000  # contracts/ack.v1.schema.json
_POLL_S: Final = 0.2
_HEARTBEAT_S: Final = 1.0
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Received:
    """A message, and the connection that its PUBACK is owed to: a packet number means nothing on another."""

    channel: str
    envelope: Envelope
    client: Client
    mid: int
    qos: int


@dataclass(slots=True)
class _Batch:
    """Messages that land together, under names fixed at the first attempt: a retry hits the same objects."""

    received: list[_Received] = field(default_factory=list)
    size_bytes: int = 0
    since_s: float = 0.0
    landing_at: datetime | None = None
    names: dict[str, str] = field(default_factory=dict)

    def add(self, received: _Received, now_s: float) -> None:
        if not self.received:
            self.since_s = now_s
        self.received.append(received)
        self.size_bytes += len(received.envelope.payload)

    def land(self, store: LandingStore, now: datetime) -> None:
        at = self.landing_at = self.landing_at or now
        for channel in CHANNELS:
            envelopes = [received.envelope for received in self.received if received.channel == channel]
            if envelopes:
                name = self.names.setdefault(channel, ulid(at))
                # None says that the name is taken: by the attempt before this one, whose answer was lost.
                store.land(channel, envelopes, at=at, name=name)


def run(store: LandingStore, settings: LanderSettings, stop: threading.Event) -> None:
    """Land until `stop` is set; see `Lander.run`."""
    Lander(store, settings).run(stop)


class Lander:
    """Subscribes, collects, lands, answers.

    Args:
        store: where objects go.
        settings: where messages come from.
        now: UTC; names objects and stamps receipts.
        draw: uniform over [0, 1), for waits between connections.
    """

    def __init__(
        self,
        store: LandingStore,
        settings: LanderSettings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._draw = draw
        self._inbox: queue.SimpleQueue[_Received] = queue.SimpleQueue()
        self._batch = _Batch()
        self._owed: list[tuple[str, str]] = []
        self._connection: LanderConnection | None = None
        self._connect_at_s = self._land_at_s = self._heartbeat_at_s = 0.0
        self._connect_failures = self._land_failures = self._landed = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then land and answer what was received, and leave the session with the broker.

        Neither a broker nor a landing zone that is away ends it: what cannot be landed is not acknowledged.
        """
        try:
            while not stop.is_set():
                self._stay_connected()
                self._tell()
                self._collect(_POLL_S)
                if self._is_due():
                    self._flush()
                elif self._is_full():
                    stop.wait(_POLL_S)
            self._collect(0)
            self._flush()
        finally:
            if self._connection is not None:
                self._connection.close()

    def _stay_connected(self) -> None:
        connection = self._connection
        if connection is not None and connection.is_open:
            self._connect_failures = 0
            self._answer()
            return
        if connection is not None:
            connection.close()
            self._connection = None
        if time.monotonic() < self._connect_at_s:
            return
        try:
            self._connection = connect(self._settings, self._receive)
        except OSError as error:
            _log.warning("no broker at %s:%d: %s", self._settings.host, self._settings.port, error)
        self._connect_at_s = time.monotonic() + self._wait_s(self._connect_failures)
        self._connect_failures += 1

    def _receive(self, client: Client, message: MQTTMessage) -> None:
        topic = _TOPIC.fullmatch(message.topic)
        if topic is None:  # no subscription of ours asks for it
            client.ack(message.mid, message.qos)
            return
        received_at_ms = int(self._now().timestamp() * 1000)
        envelope = Envelope(message.topic, received_at_ms, bytes(message.payload))
        self._inbox.put(_Received(topic["channel"], envelope, client, message.mid, message.qos))

    def _collect(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while not self._is_full():
            try:
                received = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            self._batch.add(received, time.monotonic())

    def _is_full(self) -> bool:
        batch = self._batch
        if batch.landing_at is not None:
            return True  # an attempt may have landed unseen: what came later is not in that object
        return len(batch.received) >= self._settings.max_messages or batch.size_bytes >= self._settings.max_bytes

    def _is_due(self) -> bool:
        if not self._batch.received or time.monotonic() < self._land_at_s:
            return False
        max_age_s = self._connection.max_age_s if self._connection is not None else self._settings.max_age_s
        return self._is_full() or time.monotonic() - self._batch.since_s >= max_age_s

    def _flush(self) -> None:
        batch = self._batch
        if not batch.received:
            return
        try:
            batch.land(self._store, self._now())
        except (
            Exception
        ) as error:  # whatever a disk or a bucket raises, what is not landed must stay unacknowledged
            _log.error("landing failed, %d messages wait: %s", len(batch.received), type(error).__name__)
            self._land_at_s = time.monotonic() + self._wait_s(self._land_failures)
            self._land_failures += 1
            return
        self._land_failures = 0
        self._landed += len(batch.received)
        self._batch = _Batch()
        self._owed += [(one.envelope.topic, sha256(one.envelope.payload).hexdigest()) for one in batch.received]
        self._answer()
        for received in batch.received:
            received.client.ack(received.mid, received.qos)

    def _answer(self) -> None:
        """Tell devices what has landed; kept until there is a connection, since each resend costs them radio."""
        if not self._owed or self._connection is None or not self._connection.is_open:
            return
        for topic, payload in acks(self._owed):
            self._connection.publish(topic, payload)
        self._owed.clear()

    def _tell(self) -> None:
        path, connection = self._settings.heartbeat, self._connection
        if path is None or time.monotonic() < self._heartbeat_at_s:
            return
        self._heartbeat_at_s = time.monotonic() + _HEARTBEAT_S
        is_open = connection is not None and connection.is_open
        protocol = connection.protocol if connection is not None and is_open else None
        try:
            at = self._now().timestamp()
            Heartbeat(os.getpid(), at, protocol, self._landed, self._land_failures).write(path)
        except OSError as error:  # no reason to stop landing
            _log.warning("cannot write the heartbeat %s: %s", path, error.strerror)

    def _wait_s(self, failures: int) -> float:
        first, longest = self._settings.backoff_s
        return self._draw() * min(longest, first * 2.0 ** min(failures, 32))


def acks(landed: list[tuple[str, str]]) -> list[tuple[str, bytes]]:
    """Answers for what has landed, by device.

    Args:
        landed: topic and SHA-256 (lower-case hexadecimal) of each payload.

    Returns:
        Topic and `ack.v1` payload of each answer, none with over 1,000 digests, none on a topic whose middle part
        looks like a VIN: an answer there would spread it, and such senders keep no spool.
    """
    by_device: dict[str, dict[str, None]] = {}
    for topic, digest in landed:
        device = topic.split("/")[1]
        if not _VIN.fullmatch(device):
            by_device.setdefault(device, {})[digest] = None
    answers: list[tuple[str, bytes]] = []
    for device, distinct in by_device.items():
        digests = list(distinct)
        for start in range(0, len(digests), _DIGESTS_PER_ACK):
            body = {"schema": "ack.v1", "sha256": digests[start : start + _DIGESTS_PER_ACK]}
            answers.append((f"vehicle/{device}/ack", msgspec.json.encode(body)))
    return answers
