"""One connection to an MQTT broker: TLS 1.3 with a client certificate, MQTT 5 or 3.1.1, a persistent session.

A connection is made, used and thrown away. paho's own queue and its reconnection are never used, so that what is
sent, and when, is decided in one place, and no packet number outlives the connection that it was given on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

_CONNECT_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 2.0
_KEEPALIVE_S: Final = 30
_SESSION_S: Final = 7 * 86_400
_PACKET_NUMBERS: Final = 65_535
_LARGEST_PACKET_BYTES: Final = 262_144  # an ack of a lander's largest object, a thousand digests, takes 70 KB
_ALPN_LENGTH: Final = 255
_log: Final = logging.getLogger(__name__)
_Item = TypeVar("_Item")


class BrokerUnavailableError(Exception):
    """There is no connection; the text says why. `may_be_protocol` asks for the next try in the other protocol."""

    def __init__(self, text: str, *, may_be_protocol: bool = False) -> None:
        super().__init__(text)
        self.may_be_protocol = may_be_protocol


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the authority that signed the broker, and this device's own certificate and key."""

    authority: Path
    certificate: Path
    key: Path

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """TLS 1.3 and nothing older; the broker's name and chain are verified.

        Args:
            alpn: protocols to offer (RFC 7301); none offers no choice.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(str(self.certificate), str(self.key))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is.

    Args:
        host: as in its certificate.
        port: 8883 by convention for TLS.
        tls: None only together with `insecure`.
        insecure: send in the clear, for a bench without certificates. It is warned of at every connection.
        alpn: protocols to offer in the TLS handshake: `x-amzn-mqtt-ca` for AWS IoT Core on port 443.

    Raises:
        ValueError: neither certificates nor `insecure`, or both; or `alpn` without TLS, or of no such form.
    """

    host: str
    port: int = 8883
    tls: TlsFiles | None = None
    insecure: bool = False
    alpn: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.tls is None) != self.insecure:
            raise ValueError(
                "a broker is reached with certificates, or insecurely by saying so; not both, not neither"
            )
        if self.alpn and self.insecure:
            raise ValueError("alpn is part of TLS: an insecure connection has none")
        if not all(name.isascii() and 0 < len(name) <= _ALPN_LENGTH for name in self.alpn):
            raise ValueError(f"each protocol in alpn has 1 to {_ALPN_LENGTH} ASCII characters (RFC 7301)")


class BrokerConnection:
    """An open connection. What arrives is put aside until `take_…` asks for it; `wake` is set when something is.

    Args:
        broker: where.
        device_id: client id, and part of the ack's topic.
        protocol: MQTT 5 or 3.1.1.
        wake: set on every PUBACK, ack and loss of the connection.

    Attributes:
        receive_maximum: how many messages the broker takes at a time without having answered for them.

    Raises:
        BrokerUnavailableError: refused, unreachable, or not answering.
    """

    def __init__(
        self, broker: Broker, device_id: str, protocol: MQTTProtocolVersion, wake: threading.Event
    ) -> None:
        self._wake = wake
        self._pubacks: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        self._digests: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        self._answered = threading.Event()
        self._lost = threading.Event()
        self._refusal: str | None = None
        self._wrong_protocol = False
        self._has_warned = False
        self.receive_maximum = _PACKET_NUMBERS
        self._ack_topic = f"vehicle/{device_id}/ack"
        self._client = _client(device_id, protocol)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._connect(broker, protocol)

    @property
    def is_open(self) -> bool:
        """Whether packets can still be sent."""
        return not self._lost.is_set()

    def publish(self, topic: str, payload: bytes) -> int | None:
        """Send one message at QoS 1; its packet number, or None where the connection is gone."""
        sent = self._client.publish(topic, payload, qos=1)
        return sent.mid if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def take_pubacks(self) -> list[tuple[int, bool]]:
        """Packet numbers answered since the last call, and whether the broker took each message."""
        return _drain(self._pubacks)

    def take_digests(self) -> list[str]:
        """Digests in the lander's acks since the last call."""
        return [digest for digests in _drain(self._digests) for digest in digests]

    def close(self) -> None:
        """Say goodbye; the session stays with the broker."""
        self._client.disconnect()
        # A thread that the network holds is left to itself: it ends with the process and serves nobody.
        if self._lost.wait(_CLOSE_TIMEOUT_S):
            self._client.loop_stop()

    def _connect(self, broker: Broker, protocol: MQTTProtocolVersion) -> None:
        if broker.tls is not None:
            self._client.tls_set_context(broker.tls.context(broker.alpn))
        else:
            _log.warning(
                "connecting to %s:%d in the clear: anyone on the way can read it", broker.host, broker.port
            )
        options: dict[str, Any] = {}
        if protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = _SESSION_S
            properties.MaximumPacketSize = _LARGEST_PACKET_BYTES
            options = {"clean_start": False, "properties": properties}
        try:
            self._client.connect(broker.host, broker.port, _KEEPALIVE_S, **options)
        except (OSError, ValueError) as error:  # ssl.SSLError is one; a host that is no name of the DNS the other
            raise BrokerUnavailableError(f"{broker.host}:{broker.port}: {error}") from error
        self._client.loop_start()
        if not self._answered.wait(_CONNECT_TIMEOUT_S) or self._refusal is not None:
            wrong_protocol = self._wrong_protocol or not self._answered.is_set()
            self.close()
            reason = self._refusal or "no answer to CONNECT"
            raise BrokerUnavailableError(f"{broker.host}:{broker.port}: {reason}", may_be_protocol=wrong_protocol)

    def _on_connect(
        self, client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _PACKET_NUMBERS)
        if reason.is_failure:
            self._wrong_protocol = "protocol" in str(reason).lower()
            self._refusal = str(reason)
        else:
            client.subscribe(self._ack_topic, qos=1)
        self._answered.set()

    def _on_disconnect(
        self,
        _client: Client,
        _data: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not self._answered.is_set():
            # A broker that knows no MQTT 5 may hang up without a word; so does one that refuses a certificate.
            self._refusal, self._wrong_protocol = f"hung up before answering ({reason})", True
        self._lost.set()
        self._answered.set()
        self._wake.set()

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        # paho holds a lock here that `publish` needs: nothing but a queue may be touched.
        self._pubacks.put((mid, not reason.is_failure))
        self._wake.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            self._digests.put(_digests_of(message.payload))
        except (ValueError, RecursionError) as error:
            if not self._has_warned:  # once: an ack that is wrong seldom comes alone
                _log.warning("acks that are not of ack.v1 are ignored: %s", type(error).__name__)
            self._has_warned = True
        self._wake.set()


def _client(device_id: str, protocol: MQTTProtocolVersion) -> Client:
    clean = None if protocol == MQTTProtocolVersion.MQTTv5 else False
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=device_id,
        clean_session=clean,
        protocol=protocol,
        reconnect_on_failure=False,
    )
    client.max_inflight_messages_set(0)  # how many may be under way is for the publisher to say
    return client


def _digests_of(payload: bytes | bytearray) -> list[str]:
    match json.loads(payload):
        case {"schema": "ack.v1", "sha256": [*digests]} if all(isinstance(one, str) for one in digests):
            return digests
    raise ValueError("not of ack.v1")


def _drain(items: queue.SimpleQueue[_Item]) -> list[_Item]:
    taken: list[_Item] = []
    with contextlib.suppress(queue.Empty):
        while True:
            taken.append(items.get_nowait())
    return taken
