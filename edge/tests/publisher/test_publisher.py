from __future__ import annotations

import json
import logging
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.broker_connection import Broker
from smartdrive_edge.messages import event
from smartdrive_edge.publisher import Pace, Publisher, Throttle, full_jitter
from smartdrive_edge.spool import Spool

from edge.tests.publisher.broker import Mosquitto, Peer, eventually, free_port

VIN = "WVWZZZ1JZXW000001"
QUICK = Pace(flush_period_s=0.2, backoff_s=(0.05, 0.2), puback_timeout_s=5)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db", "edge-1")
    opened.stamp(time.time_ns() // 1_000_000 - round(time.monotonic() * 1000))
    yield opened
    opened.close()


def fill(spool: Spool, count: int) -> None:
    for number in range(count):
        spool.append(event(VIN, "low_voltage", 0, {"number": number}))


@contextmanager
def running(publisher: Publisher) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()


def ack(payloads: list[bytes]) -> bytes:
    digests = [sha256(payload).hexdigest() for payload in payloads]
    return json.dumps({"schema": "ack.v1", "sha256": digests}).encode()


def test_a_puback_deletes_nothing_and_an_ack_deletes_what_it_names(mosquitto: Mosquitto, spool: Spool) -> None:
    lander = Peer(mosquitto, "lander", "vehicle/+/events")
    fill(spool, 10)
    with running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK)):
        assert eventually(lambda: len({payload for *_, payload in lander.received}) == 10)
        assert spool.health().messages == 10
        for nonsense in (b"\xff", b"{}", b'{"schema": "ack.v1", "sha256": ["zz", ""]}'):
            assert lander.publish("vehicle/edge-1/ack", nonsense)
        assert lander.publish("vehicle/edge-1/ack", ack([payload for *_, payload in lander.received][:4]))
        assert eventually(lambda: spool.health().messages == 6)
    lander.close()


def test_an_unacked_row_is_sent_again_after_three_flush_periods_to_the_byte(
    mosquitto: Mosquitto, spool: Spool
) -> None:
    lander = Peer(mosquitto, "lander", "vehicle/+/events")
    fill(spool, 1)
    with running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK)):
        assert eventually(lambda: len(lander.received) >= 3)
    first, second, third = (at for at, *_ in lander.received[:3])
    assert len({payload for *_, payload in lander.received}) == 1
    assert 0.55 < second - first < 1.2
    assert 1.1 < third - second < 2.0
    lander.close()


def test_acks_sent_while_the_device_was_away_reach_it_later(mosquitto: Mosquitto, spool: Spool) -> None:
    lander = Peer(mosquitto, "lander", "vehicle/+/events")
    fill(spool, 5)
    patient = Pace(flush_period_s=100, backoff_s=(0.05, 0.2))
    with running(Publisher(spool, mosquitto.address("edge-1"), pace=patient)):
        assert eventually(lambda: len(lander.received) == 5)
    assert lander.publish("vehicle/edge-1/ack", ack([payload for *_, payload in lander.received]))
    with running(Publisher(spool, mosquitto.address("edge-1"), pace=patient)):
        assert eventually(lambda: spool.health().messages == 0)
    lander.close()


def test_at_most_eighty_are_published_in_a_second(mosquitto: Mosquitto, spool: Spool) -> None:
    lander = Peer(mosquitto, "lander", "vehicle/+/events")
    fill(spool, 250)
    with running(Publisher(spool, mosquitto.address("edge-1"))):
        assert eventually(lambda: len(lander.received) == 250)
    times = sorted(at for at, *_ in lander.received)
    assert times[-1] - times[0] > 2.9
    assert times[-1] - times[0] < 6
    lander.close()


@given(st.lists(st.floats(0, 0.3), max_size=400))
def test_no_window_of_a_second_holds_more_than_allowed(steps: list[float]) -> None:
    throttle, now, spent = Throttle(5), 0.0, []
    for step in steps:
        now += step
        if throttle.allowance(now) > 0:
            throttle.spend(now)
            spent.append(now)
    assert all(sum(0 <= other - at < 1.0 for other in spent) <= 5 for at in spent)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_anything_from_nothing_to_a_bound_that_doubles(attempt: int, draw: float) -> None:
    assert 0 <= full_jitter(attempt, 1, 120, lambda: draw) <= min(120, 2.0 ** min(attempt, 32))
    assert full_jitter(3, 1, 120, lambda: 0.5) == 4


def test_a_device_cannot_write_or_read_on_anothers_topics(mosquitto: Mosquitto) -> None:
    lander = Peer(mosquitto, "lander", "vehicle/+/telemetry")
    thief = Peer(mosquitto, "edge-2", "vehicle/+/ack")
    assert thief.publish("vehicle/edge-2/telemetry", b"mine")
    assert not thief.publish("vehicle/edge-1/telemetry", b"forged")
    assert not thief.publish("vehicle/edge-2/ack", b"forged")
    assert not thief.publish("vehicle/edge-1/ack", b"forged")
    assert not lander.publish("vehicle/edge-1/telemetry", b"a lander sends none")
    assert lander.publish("vehicle/edge-1/ack", b"for edge-1")
    assert lander.publish("vehicle/edge-2/ack", b"for edge-2")
    assert eventually(lambda: bool(thief.received))
    time.sleep(0.3)
    assert [payload for *_, payload in thief.received] == [b"for edge-2"]
    assert [payload for *_, payload in lander.received] == [b"mine"]
    lander.close()
    thief.close()


def test_a_refused_message_stays_in_the_spool(
    mosquitto: Mosquitto, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    fill(spool, 1)
    address = mosquitto.address("edge-2")  # the spool is edge-1's: the certificate does not fit
    with running(Publisher(spool, address, pace=QUICK, lander=False)):
        assert eventually(lambda: "refuses messages" in caplog.text)
    assert spool.health().messages == 1


def test_a_broker_that_comes_late_or_goes_is_waited_for(mosquitto: Mosquitto, spool: Spool) -> None:
    mosquitto.kill()
    fill(spool, 3)
    with running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK)):
        time.sleep(0.5)
        for _ in range(2):
            mosquitto.start()
            lander = Peer(mosquitto, "lander", "vehicle/+/events")
            assert eventually(lambda peer=lander: len(peer.received) >= 3)  # type: ignore[misc]
            lander.close()
            mosquitto.kill()


class Bench:
    """A broker in the clear, of a few packets only, that does what a test asks: refuse MQTT 5, or owe PUBACKs."""

    def __init__(self, *, levels: tuple[int, ...] = (4, 5), hangs_up: bool = False) -> None:
        self.levels, self.hangs_up = levels, hangs_up
        self.connected: list[int] = []
        self.clean: list[bool] = []
        self.published = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(1):
                length, shift = 0, 0
                while True:
                    byte = stream.read(1)[0]
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                packet = stream.read(length)
                if not self._answer(connection, head[0] >> 4, packet):
                    return

    def _answer(self, connection: socket.socket, kind: int, packet: bytes) -> bool:
        if kind == 1:
            level = packet[6]
            self.connected.append(level)
            self.clean.append(bool(packet[7] & 2))
            if level not in self.levels:
                if not self.hangs_up:
                    connection.sendall(b"\x20\x02\x00\x01")
                return False
            connection.sendall(b"\x20\x03\x00\x00\x00" if level == 5 else b"\x20\x02\x00\x00")
        elif kind == 8:
            five = self.connected[-1] == 5
            body = packet[:2] + (b"\x00\x01" if five else b"\x01")
            connection.sendall(struct.pack("BB", 0x90, len(body)) + body)
        elif kind == 3:
            self.published += 1
        return True


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(
    spool: Spool, hangs_up: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(levels=(4,), hangs_up=hangs_up)
    fill(spool, 1)
    with caplog.at_level(logging.WARNING), running(Publisher(spool, clear(bench), pace=QUICK)):
        assert eventually(lambda: bench.published == 1)
    assert bench.connected == [5, 4]
    assert bench.clean == [False, False]
    assert "in the clear" in caplog.text


def test_no_more_than_twenty_wait_for_their_puback_and_a_broker_that_owes_them_is_left(spool: Spool) -> None:
    bench = Bench()
    fill(spool, 60)
    pace = Pace(flush_period_s=0.05, backoff_s=(0.05, 0.1), puback_timeout_s=1.5)
    with running(Publisher(spool, clear(bench), pace=pace)):
        assert eventually(lambda: bench.published == 20)
        time.sleep(1)
        assert bench.published == 20
        assert eventually(lambda: len(bench.connected) == 2)
        assert eventually(lambda: bench.published == 40)
    assert spool.health().messages == 60


def clear(bench: Bench) -> Broker:
    return Broker("127.0.0.1", bench.port, insecure=True)


def test_it_stops_soon_when_asked_to_whatever_it_does(spool: Spool) -> None:
    nobody = free_port()
    publisher = Publisher(spool, Broker("127.0.0.1", nobody, insecure=True))
    started = time.monotonic()
    with running(publisher):
        time.sleep(random.uniform(0.1, 0.5))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("host", ["broker..home", ".x", "a" * 64])
def test_a_host_that_no_broker_can_have_does_not_end_the_publisher(spool: Spool, host: str) -> None:
    publisher = Publisher(spool, Broker(host, 8883, insecure=True), pace=QUICK)
    with running(publisher):
        assert eventually(lambda: publisher.connectivity.last_error is not None)
    assert host in str(publisher.connectivity.last_error)
