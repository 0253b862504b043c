"""A home: certificates, and `smartdrive-edge broker` as a process of either kind, to be killed and restarted."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from smartdrive_edge.broker_connection import Broker, TlsFiles
from smartdrive_edge.certificates import Authority, Issued

from edge.tests.publisher.broker import eventually, free_port, require_mosquitto

COMMAND = "import typer; from smartdrive_edge.commands.broker import broker; typer.run(broker)"
LIMITED = """
import asyncio, json, sys
from pathlib import Path
from smartdrive_edge.broker_config import BrokerConfig
from smartdrive_edge.embedded_broker.limits import Limits
from smartdrive_edge.embedded_broker.server import EmbeddedBroker
folder, port, limits = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
config = BrokerConfig.from_certificates(folder, folder, address="127.0.0.1", port=port, landers=["lander"])
broker = EmbeddedBroker(config, Limits(**limits))
asyncio.run(broker.run(lambda: print("listening", flush=True)))
"""


class Home:
    def __init__(self, folder: Path, kind: str, *, limits: dict[str, float] | None = None) -> None:
        if kind == "mosquitto":
            require_mosquitto()
        self.kind, self.port = kind, free_port()
        self.certificates = folder / "certificates"
        self.authority = Authority.create(self.certificates)
        self.authority.issue_server(["127.0.0.1", "localhost"])
        self.log = folder / "broker.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._issued: dict[str, Issued] = {}
        self.command = [sys.executable, "-c", COMMAND, "--kind", kind, "--port", str(self.port)]
        self.command += ["--certificates", str(self.certificates), "--folder", str(folder / "broker")]
        if limits is not None:
            self.command = [sys.executable, "-c", LIMITED, str(self.certificates), str(self.port)]
            self.command.append(json.dumps(limits))

    def start(self) -> Home:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        before = self.said().count("listening")
        assert eventually(lambda: self.said().count("listening") > before or self._is_dead(), 30), self.said()
        assert not self._is_dead(), self.said()
        return self

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, end: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(end)
        code = self.process.wait(20)
        self.process = None
        return code

    def files(self, name: str) -> TlsFiles:
        if name not in self._issued:
            issue = self.authority.issue_lander if name.startswith("lander") else self.authority.issue_device
            self._issued[name] = issue(name)
        return self.tls(self._issued[name])

    def tls(self, issued: Issued) -> TlsFiles:
        return TlsFiles(self.authority.certificate_path, issued.certificate, issued.key)

    def address(self, name: str) -> Broker:
        return Broker("127.0.0.1", self.port, self.files(name))

    def secure(self, files: TlsFiles | None, *, newest: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.authority.certificate_path))
        if newest is not None:
            context.maximum_version = newest
        if files is not None:
            context.load_cert_chain(str(files.certificate), str(files.key))
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        try:
            return context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise

    def _is_dead(self) -> bool:
        return self.process is None or self.process.poll() is not None


class Guest:
    """A client over MQTT 3.1.1, which both brokers speak, under a certificate's name."""

    def __init__(
        self,
        home: Home,
        name: str,
        topic: str | None = None,
        *,
        client_id: str | None = None,
        clean: bool = False,
        acknowledges: bool = True,
        will: tuple[str, bytes] | None = None,
        connect: bool = True,
    ) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.granted: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self.pubacks: set[int] = set()
        self.answered, self.lost = threading.Event(), threading.Event()
        self.code: int | None = None
        self.has_session = False
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id or name,
            clean_session=clean,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=not acknowledges,
        )
        self.client.tls_set_context(home.files(name).context())
        if will is not None:
            self.client.will_set(*will, qos=1)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self.client.on_publish = lambda _c, _d, mid, _r, _p: self.pubacks.add(mid)
        self.client.on_subscribe = lambda _c, _d, _m, reasons, _p: self.granted.put([r.value for r in reasons])
        self.client.connect("127.0.0.1", home.port, 30)
        self.client.loop_start()
        if connect:
            assert self.answered.wait(10), home.said()
            assert self.code == 0, home.said()
            if topic is not None:
                self.subscribe(topic)

    def subscribe(self, topic: str) -> int:
        """What the broker grants: a QoS, or 128."""
        self.client.subscribe(topic, 1)
        return self.granted.get(timeout=10)[0]

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int:
        return self.client.publish(topic, payload, qos=qos, retain=retain).mid

    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.received]

    def close(self) -> None:
        self.client.disconnect()
        self.lost.wait(5)
        self.client.loop_stop()

    def vanish(self) -> None:
        """Leave without a goodbye, as a lost network does."""
        sock = self.client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)
        assert self.lost.wait(5)
        self.client.loop_stop()

    def _on_connect(self, _c: Client, _d: Any, flags: Any, reason: Any, _p: Any) -> None:
        self.code, self.has_session = reason.value, flags.session_present
        self.answered.set()

    def _on_disconnect(self, *_: Any) -> None:
        self.lost.set()
        self.answered.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.received.append((message.topic, bytes(message.payload)))


def everything_before_now_is_through(home: Home, *, reader: Guest) -> None:
    """What was sent before would have come before this: a broker keeps the order of a topic's messages."""
    mark = os.urandom(8)
    beacon = Guest(home, "edge-beacon")
    beacon.publish("vehicle/edge-beacon/events", mark)
    assert eventually(lambda: mark in reader.payloads()), home.said()
    beacon.close()
    time.sleep(0.05)
