"""A real Mosquitto on loopback, with TLS 1.3 and client certificates, that can be killed and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from smartdrive_edge.broker_config import BrokerConfig
from smartdrive_edge.broker_connection import Broker, TlsFiles
from smartdrive_edge.certificates import Authority, Issued

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def require_mosquitto() -> str:
    if MOSQUITTO is None:
        if os.environ.get("CI"):
            pytest.fail("mosquitto is not installed, and in continuous integration these tests must run")
        pytest.skip("mosquitto is not installed")
    return MOSQUITTO


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Mosquitto:
    def __init__(self, folder: Path, *, landers: tuple[str, ...] = ("lander",)) -> None:
        self.program = require_mosquitto()
        self.port = free_port()
        self.authority = Authority.create(folder / "certificates")
        issued = self.authority.issue_server(["127.0.0.1", "localhost"])
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "mosquitto.log"
        self._configuration = BrokerConfig(
            folder / "broker",
            self.authority.certificate_path,
            issued.certificate,
            issued.key,
            port=self.port,
            landers=landers,
        ).write()

    def tls(self, issued: Issued, authority: Authority | None = None) -> TlsFiles:
        return TlsFiles((authority or self.authority).certificate_path, issued.certificate, issued.key)

    def address(self, device_id: str) -> Broker:
        return Broker("127.0.0.1", self.port, self.tls(self.authority.issue_device(device_id)))

    def start(self) -> Mosquitto:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-c", str(self._configuration)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.02)
            else:
                return self
        raise AssertionError(self._log.read_text())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Peer:
    """Another client of the broker: what it was sent, and what it may publish."""

    def __init__(self, broker: Mosquitto, name: str, topic: str) -> None:
        self.received: list[tuple[float, str, bytes]] = []
        self.refused: list[bool] = []
        ready = threading.Event()
        issue = broker.authority.issue_lander if name.startswith("lander") else broker.authority.issue_device
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.tls_set_context(broker.tls(issue(name)).context())
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_publish = lambda _c, _d, _mid, reason, _p: self.refused.append(reason.is_failure)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert ready.wait(5)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.received.append((time.monotonic(), message.topic, bytes(message.payload)))

    def publish(self, topic: str, payload: bytes) -> bool:
        """Whether the broker took it."""
        before = len(self.refused)
        self.client.publish(topic, payload, qos=1)
        assert eventually(lambda: len(self.refused) > before)
        return not self.refused[-1]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
