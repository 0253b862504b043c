"""The lander on a broker that has no more than MQTT 3.1.1: the embedded one, as a process of its own."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from smartdrive_edge.broker_connection import Broker
from smartdrive_edge.publisher import Publisher

from edge.tests.publisher.broker import Mosquitto, eventually, free_port
from smartdrive_dagster.landing.heartbeat import Heartbeat
from smartdrive_dagster.landing.lander import Lander
from smartdrive_dagster.landing.lander_connection import LanderConnection, LanderSettings, connect
from smartdrive_dagster.landing.store import LandingStore
from tests.landing.test_lander import (
    QUICK,
    ROOT,
    RecordedStore,
    fill,
    identities,
    landed,
    running,
    settings,
    spool_at,
)


@pytest.fixture
def amqtt(tmp_path: Path) -> Iterator[int]:
    """The port of a broker in the clear."""
    port = free_port()
    command = [sys.executable, "-m", "tests.landing.lander_processes", "amqtt", json.dumps({"port": str(port)})]
    log = tmp_path / "amqtt.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        assert eventually(is_up, 20), log.read_text()
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def was_answered_in_time(folder: Path) -> bool:
    """Whether the broker got each PUBACK of the lander while it still waited for it."""
    return "PUBACK" not in (folder / "amqtt.log").read_text()


def in_the_clear(port: int, **changes: object) -> LanderSettings:
    given: dict[str, object] = {"max_age_s": 0.2, "backoff_s": (0.05, 0.3), **changes}
    return LanderSettings("127.0.0.1", "lander-1", port, insecure=True, **given)  # type: ignore[arg-type]


def test_the_lander_falls_back_by_itself_and_says_what_that_means(
    amqtt: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, spool, heartbeat = LandingStore(str(tmp_path / "landing")), spool_at(tmp_path), tmp_path / "heartbeat"
    fill(spool, 50)
    with caplog.at_level(logging.WARNING), running(Lander(store, in_the_clear(amqtt, heartbeat=heartbeat)).run):
        with running(Publisher(spool, Broker("127.0.0.1", amqtt, insecure=True), pace=QUICK).run):
            assert eventually(lambda: spool.health().messages == 0, 20)
        assert eventually(lambda: Heartbeat.read(heartbeat).landed >= 50)
    assert len(identities(landed(store))) == 50
    assert Heartbeat.read(heartbeat).protocol == "MQTT 3.1.1"
    assert "run one lander here" in caplog.text
    assert was_answered_in_time(tmp_path)


class Device:
    """A sender without a spool, which knows that this broker has MQTT 3.1.1 only."""

    def __init__(self, port: int) -> None:
        self.answers: list[bytes] = []
        ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "edge-2", protocol=MQTTProtocolVersion.MQTTv311)
        self._client.on_message = lambda _c, _d, message: self.answers.append(bytes(message.payload))
        self._client.on_connect = lambda client, *_: client.subscribe("vehicle/edge-2/ack", 1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(10)

    def publish(self, count: int) -> None:
        for number in range(count):
            self._client.publish("vehicle/edge-2/telemetry", b"%d" % number, qos=1).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_a_session_keeps_what_came_while_the_lander_was_away(amqtt: int, tmp_path: Path) -> None:
    store = LandingStore(str(tmp_path / "landing"))
    connect(in_the_clear(amqtt), lambda *_: None).close()
    device = Device(amqtt)
    device.publish(20)
    with running(Lander(store, in_the_clear(amqtt)).run):
        assert eventually(lambda: len(set(landed(store))) == 20, 20)
        assert eventually(lambda: len(device.answers) > 0)
    device.close()


def test_a_device_is_answered_only_when_its_message_is_durable(amqtt: int, tmp_path: Path) -> None:
    store = RecordedStore(str(tmp_path / "landing"))
    store.failures = 1000
    device = Device(amqtt)
    with running(Lander(store, in_the_clear(amqtt)).run):

        def is_refused_by_landing() -> bool:
            device.publish(1)  # what comes before the lander has subscribed is nobody's
            return store.failures < 998

        assert eventually(is_refused_by_landing, 20)
        assert device.answers == []
        store.failures = 0
        assert eventually(lambda: device.answers != [])
        assert landed(store) != []
    device.close()


def test_messages_are_collected_no_longer_than_this_broker_waits_for_an_answer(amqtt: int) -> None:
    connection = connect(in_the_clear(amqtt, max_age_s=60), lambda *_: None)
    try:
        assert connection.max_age_s < 5
    finally:
        connection.close()


def test_a_broker_with_mqtt_5_is_not_asked_for_less(mosquitto: Mosquitto) -> None:
    connection = connect(settings(mosquitto), lambda *_: None)
    try:
        assert connection.protocol == "MQTT 5"
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("says", "asked_for"),
    [(b"\x20\x03\x00\x87\x00", [5]), (b"\x20\x02\x00\x01", [5, 4]), (b"", [5, 4])],
    ids=["not authorized", "unsupported protocol", "nothing"],
)
def test_only_what_may_be_the_protocol_is_a_reason_to_fall_back(says: bytes, asked_for: list[int]) -> None:
    connects: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    connects.append(client.recv(1000))
                    client.sendall(says)

        threading.Thread(target=refuse, daemon=True).start()
        with pytest.raises(ConnectionRefusedError):
            connect(in_the_clear(server.getsockname()[1]), lambda *_: None)
        assert [packet[8] for packet in connects] == asked_for
        server.shutdown(socket.SHUT_RDWR)


def test_a_session_that_once_fell_back_is_sent_each_message_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    store, spool = LandingStore(str(tmp_path / "landing")), spool_at(tmp_path)
    LanderConnection(settings(mosquitto), lambda *_: None, MQTTProtocolVersion.MQTTv311).close()
    fill(spool, 20)
    with (
        running(Lander(store, settings(mosquitto)).run),
        running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK).run),
    ):
        assert eventually(lambda: spool.health().messages == 0)
    assert len(landed(store)) == 20


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path, landers=("lander-1",))
    try:
        yield broker.start()
    finally:
        broker.kill()
