"""What a broker keeps for a client that is away, and what the collector's spool makes up for."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from smartdrive_edge.messages import event
from smartdrive_edge.publisher import Pace, Publisher
from smartdrive_edge.spool import Spool

from edge.tests.broker.home import Guest, Home, everything_before_now_is_through
from edge.tests.publisher.broker import eventually

VIN = "WVWZZZ1JZXW000001"
QUICK = Pace(flush_period_s=0.3, resend_at_most_s=1.0, backoff_s=(0.05, 0.3), puback_timeout_s=5.0)


@contextmanager
def running(publisher: Publisher) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def spool_of(folder: Path, name: str) -> Iterator[Spool]:
    spool = Spool(folder / f"{name}.db", name)
    spool.stamp(time.time_ns() // 1_000_000 - round(time.monotonic() * 1000))
    try:
        yield spool
    finally:
        spool.close()


class Lander(Guest):
    """Answers each message with an ack, as the lander does once it has landed."""

    def __init__(self, home: Home) -> None:
        self.landed: set[bytes] = set()
        super().__init__(home, "lander", "vehicle/+/events")

    def _on_message(self, client, data, message) -> None:  # type: ignore[no-untyped-def]
        super()._on_message(client, data, message)
        payload = bytes(message.payload)
        self.landed.add(payload)
        ack = {"schema": "ack.v1", "sha256": [sha256(payload).hexdigest()]}
        client.publish(message.topic.replace("/events", "/ack"), json.dumps(ack), qos=1)


def test_messages_for_a_lander_that_is_away_reach_it_in_order_when_it_is_back(home: Home) -> None:
    Guest(home, "lander", "vehicle/#").close()
    device = Guest(home, "edge-1")
    sent = [b"%d" % number for number in range(300)]
    for payload in sent:
        device.publish("vehicle/edge-1/events", payload)
    assert eventually(lambda: len(device.pubacks) == 300)
    back = Guest(home, "lander")
    assert back.has_session
    assert eventually(lambda: len(back.received) == 300)
    assert back.payloads() == sent


def test_what_a_lander_did_not_acknowledge_comes_again_on_its_next_connection_and_the_rest_does_not(
    home: Home,
) -> None:
    lander = Guest(home, "lander", "vehicle/#", acknowledges=False)
    device = Guest(home, "edge-1")
    for number in range(10):
        device.publish("vehicle/edge-1/events", b"%d" % number)
    assert eventually(lambda: len(lander.received) == 10)
    time.sleep(5.5)  # longer than amqtt's own patience with a PUBACK
    for mid in (1, 2, 3, 4):
        lander.client.ack(mid, 1)
    device.publish("vehicle/edge-1/events", b"last")
    assert eventually(lambda: len(lander.received) == 11)
    lander.vanish()
    back = Guest(home, "lander")
    everything_before_now_is_through_again(home, back)
    assert back.payloads()[:7] == [b"4", b"5", b"6", b"7", b"8", b"9", b"last"]


def everything_before_now_is_through_again(home: Home, back: Guest) -> None:
    assert eventually(lambda: len(back.received) >= 7)
    everything_before_now_is_through(home, reader=back)


def test_a_clean_session_ends_with_its_connection(home: Home) -> None:
    Guest(home, "lander", "vehicle/#", clean=True).close()
    device = Guest(home, "edge-1")
    device.publish("vehicle/edge-1/events", b"gone")
    assert eventually(lambda: bool(device.pubacks))
    back = Guest(home, "lander")
    assert not back.has_session
    back.subscribe("vehicle/#")
    everything_before_now_is_through(home, reader=back)
    assert b"gone" not in back.payloads()


def test_a_name_that_connects_again_ends_its_old_connection_and_is_served_on_the_new_one(home: Home) -> None:
    old = Guest(home, "lander", "vehicle/#")
    device = Guest(home, "edge-1")
    for number in range(8):
        new = Guest(home, "lander")
        assert old.lost.wait(5)
        payload = b"%d" % number
        device.publish("vehicle/edge-1/events", payload)
        assert eventually(lambda new=new, payload=payload: payload in new.payloads())  # type: ignore[misc]
        old = new


def test_the_publisher_empties_a_spool_through_it(home: Home, tmp_path: Path) -> None:
    lander = Lander(home)
    with spool_of(tmp_path, "edge-1") as spool:
        numbers = {spool.append(event(VIN, "low_voltage", 0, {"number": number})) for number in range(200)}
        with running(Publisher(spool, home.address("edge-1"), pace=QUICK)):
            assert eventually(lambda: spool.health().messages == 0, 30)
    assert len(numbers) == len(lander.landed) == 200
    lander.close()


def test_without_a_lander_rows_go_a_replay_window_after_their_puback_and_not_before(
    home: Home, tmp_path: Path
) -> None:
    pace = Pace(flush_period_s=60, backoff_s=(0.05, 0.3), replay_window_ms=3000)
    with spool_of(tmp_path, "edge-1") as spool:
        for number in range(20):
            spool.append(event(VIN, "low_voltage", 0, {"number": number}))
        started = time.monotonic()
        with running(Publisher(spool, home.address("edge-1"), pace=pace, lander=False)):
            while time.monotonic() - started < 2.5:
                assert spool.health().messages == 20
                time.sleep(0.1)
            assert eventually(lambda: spool.health().messages == 0, 20)
        assert spool.health().drops == {}


def test_a_broker_that_is_killed_again_and_again_loses_nothing_of_a_spool(home: Home, tmp_path: Path) -> None:
    draw = random.Random(5)
    landed: set[bytes] = set()
    with spool_of(tmp_path, "edge-1") as spool, running(Publisher(spool, home.address("edge-1"), pace=QUICK)):
        for kill in range(4):
            lander = Lander(home)
            for number in range(60):
                spool.append(event(VIN, "low_voltage", 0, {"number": 100 * kill + number}))
            time.sleep(draw.uniform(0.1, 0.7))
            if kill == 1:  # the lander is away when the broker dies with what it PUBACKed
                lander.close()
                time.sleep(0.5)
            home.kill()
            landed |= lander.landed
            lander.client.loop_stop()
            time.sleep(draw.uniform(0, 0.3))
            home.start()
        lander = Lander(home)
        assert eventually(lambda: spool.health().messages == 0, 60), spool.health()
        landed |= lander.landed
    detail = {json.loads(payload)["detail"]["number"] for payload in landed}
    assert detail == {100 * kill + number for kill in range(4) for number in range(60)}
    lander.close()


def test_the_embedded_broker_forgets_its_sessions_when_it_ends_and_mosquitto_does_not(home: Home) -> None:
    Guest(home, "lander", "vehicle/#").close()
    device = Guest(home, "edge-1")
    device.publish("vehicle/edge-1/events", b"before")
    assert eventually(lambda: bool(device.pubacks))
    home.stop()
    home.start()
    back = Guest(home, "lander")
    assert back.has_session == (home.kind == "mosquitto")
    if home.kind == "mosquitto":
        assert eventually(lambda: back.payloads() == [b"before"])


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
def test_it_serves_a_whole_fleet_of_a_home(kind: str, tmp_path: Path) -> None:
    home = Home(tmp_path, kind).start()
    try:
        lander = Guest(home, "lander", "vehicle/#")
        devices = [Guest(home, f"edge-{number}", f"vehicle/edge-{number}/ack") for number in range(20)]
        for number in range(50):
            for device in devices:
                device.publish(f"vehicle/{device.client._client_id.decode()}/events", b"%d" % number)
        assert eventually(lambda: len(lander.received) == 1000, 30)
        assert len(set(lander.received)) == 1000
        for device in devices:
            device.close()
    finally:
        home.kill()
