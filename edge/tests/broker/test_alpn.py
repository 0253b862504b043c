from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from smartdrive_edge.broker_connection import Broker, BrokerConnection, TlsFiles
from smartdrive_edge.certificates import Authority

AWS = "x-amzn-mqtt-ca"


class Endpoint:
    """A TLS server that knows one protocol, reports what was chosen, and answers CONNECT as MQTT 3.1.1 does."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.create(folder)
        issued, device = authority.issue_server(["127.0.0.1"]), authority.issue_device("edge-1")
        self.files = TlsFiles(authority.certificate_path, device.certificate, device.key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(issued.certificate, issued.key)
        self.context.load_verify_locations(authority.certificate_path)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.set_alpn_protocols([AWS])
        self.chosen: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        plain, _ = self.server.accept()
        with plain, self.context.wrap_socket(plain, server_side=True) as secure:
            self.chosen.put(secure.selected_alpn_protocol())
            secure.recv(4096)
            secure.sendall(b"\x20\x02\x00\x00")
            while secure.recv(4096):
                pass


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path / "certificates")
    yield made
    made.server.close()


@pytest.mark.parametrize(
    ("offered", "chosen"), [((AWS,), AWS), (("http/1.1", AWS), AWS), (("http/1.1",), None), ((), None)]
)
def test_the_protocols_that_are_configured_are_offered_in_the_tls_handshake(
    endpoint: Endpoint, offered: tuple[str, ...], chosen: str | None
) -> None:
    broker = Broker("127.0.0.1", endpoint.port, endpoint.files, alpn=offered)
    connection = BrokerConnection(broker, "edge-1", MQTTProtocolVersion.MQTTv311, threading.Event())
    assert endpoint.chosen.get(timeout=10) == chosen
    assert connection.is_open
    connection.close()


@pytest.mark.parametrize("alpn", [("",), ("x" * 256,), ("ä",)])
def test_a_protocol_that_tls_cannot_carry_is_refused(tmp_path: Path, alpn: tuple[str, ...]) -> None:
    files = TlsFiles(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    with pytest.raises(ValueError, match="RFC 7301"):
        Broker("localhost", tls=files, alpn=alpn)
    with pytest.raises(ValueError, match="part of TLS"):
        Broker("localhost", insecure=True, alpn=(AWS,))
