"""One connection of the lander's to its broker, made, used and thrown away; the session outlives it."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

CHANNELS: Final = ("telemetry", "events")
_ANSWER_TIMEOUT_S: Final = 5.0
_CLOSE_TIMEOUT_S: Final = 5.0
_KEEPALIVE_S: Final = 30
# amqtt 0.12.1, the embedded broker, forgets what it delivered when no PUBACK comes within 5 s.
_MAX_AGE_311_S: Final = 2.0
_UNSUPPORTED: Final = "Unsupported protocol version"  # paho's words for both versions' refusals
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the authority that signed the broker, and the lander's own certificate and key."""

    authority: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 and nothing older; the broker's name and chain are verified."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


@dataclass(frozen=True, slots=True)
class LanderSettings:
    """Where to listen and how long to collect.

    Attributes:
        host: of the broker, as in its certificate.
        port: of the broker.
        client_id: names the session that the broker keeps while the lander is away: the same at every start, and
            another for each lander that runs beside it.
        tls: None only together with `insecure`.
        insecure: listen in the clear, for a bench without certificates; warned of at every connection.
        group: landers of one group share the messages among them; None for a broker without shared subscriptions.
            MQTT 3.1.1 has none: there each lander gets every message.
        max_messages: lands at so many messages; also how many the broker may send ahead (MQTT 5 Receive Maximum).
        max_bytes: lands at so many bytes of payload.
        max_age_s: lands when the oldest message has waited so long: the flush period that devices reckon with.
        session_s: how long the broker keeps the session of a lander that is away, seconds.
        backoff_s: first and longest bound of the random wait between connections and landings.
        heartbeat: file that says every second that the lander is at work; None for none.

    Raises:
        ValueError: neither certificates nor `insecure`, or both.
    """

    host: str
    client_id: str
    port: int = 8883
    tls: TlsFiles | None = None
    insecure: bool = False
    group: str | None = "landers"
    max_messages: int = 1000
    max_bytes: int = 8 << 20
    max_age_s: float = 5.0
    session_s: int = 7 * 86_400
    backoff_s: tuple[float, float] = (1.0, 30.0)
    heartbeat: Path | None = None

    def __post_init__(self) -> None:
        if (self.tls is None) != self.insecure:
            raise ValueError(
                "a broker is reached with certificates, or insecurely by saying so; not both, not neither"
            )


class ProtocolRefusedError(ConnectionRefusedError):
    """The broker refuses this version of MQTT, or it hung up or kept silent without a word of why."""


def connect(settings: LanderSettings, receive: Callable[[Client, MQTTMessage], None]) -> LanderConnection:
    """Connect with MQTT 5, and with 3.1.1 where that is refused or not answered.

    amqtt does not answer MQTT 5 at all: it takes the properties for the length of the client's name, and waits for
    the rest of it. Each connection asks for MQTT 5 first, so that a broker that was replaced by a better one, or
    was only slow, is found out.

    Args:
        settings: where and as whom.
        receive: see `LanderConnection`.

    Raises:
        OSError: the broker cannot be reached, refuses, or does not answer.
    """
    try:
        return LanderConnection(settings, receive, MQTTProtocolVersion.MQTTv5)
    except ProtocolRefusedError:
        connection = LanderConnection(settings, receive, MQTTProtocolVersion.MQTTv311)
    _log.warning(
        "the broker at %s:%d has MQTT 3.1.1 only, without shared subscriptions: run one lander here, "
        "since with two every message would land twice",
        settings.host,
        settings.port,
    )
    return connection


class LanderConnection:
    """An open connection with manual acknowledgement.

    paho's reconnection is off: a packet number means nothing on another connection, and acknowledging it there
    could make the broker forget a message that never landed.

    Args:
        settings: where and as whom.
        receive: called on the network's thread with the client to acknowledge to, and the message.
        protocol: MQTT 5 or 3.1.1.

    Raises:
        ProtocolRefusedError: the broker may not speak this protocol.
        OSError: the broker cannot be reached, refuses, or does not answer.
    """

    def __init__(
        self,
        settings: LanderSettings,
        receive: Callable[[Client, MQTTMessage], None],
        protocol: MQTTProtocolVersion,
    ) -> None:
        self._settings = settings
        self._receive = receive
        self._protocol = protocol
        self._answered = threading.Event()
        self._lost = threading.Event()
        self._refusal: str | None = None
        self._wrong_protocol = False
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if protocol == MQTTProtocolVersion.MQTTv5 else False,
            protocol=protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._connect()

    @property
    def is_open(self) -> bool:
        """Whether packets can still be sent."""
        return not self._lost.is_set()

    @property
    def max_age_s(self) -> float:
        """How long a message may be collected here before it lands, seconds."""
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            return self._settings.max_age_s
        return min(self._settings.max_age_s, _MAX_AGE_311_S)

    @property
    def protocol(self) -> str:
        """The protocol's usual name."""
        return "MQTT 5" if self._protocol == MQTTProtocolVersion.MQTTv5 else "MQTT 3.1.1"

    def publish(self, topic: str, payload: bytes) -> None:
        """Send an answer at QoS 1; if it is lost, the device sends its row again and is answered again."""
        self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        """Send what is queued, say goodbye; the session stays with the broker."""
        self._client.disconnect()
        if self._lost.wait(_CLOSE_TIMEOUT_S):
            self._client.loop_stop()

    def _connect(self) -> None:
        settings = self._settings
        if settings.tls is not None:
            self._client.tls_set_context(settings.tls.context())
        else:
            _log.warning(
                "listening at %s:%d in the clear: anyone on the way can read", settings.host, settings.port
            )
        options: dict[str, Any] = {}
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = settings.session_s
            properties.ReceiveMaximum = min(settings.max_messages, 65_535)
            options = {"clean_start": False, "properties": properties}
        self._client.connect(settings.host, settings.port, _KEEPALIVE_S, **options)
        self._client.loop_start()
        if not self._answered.wait(_ANSWER_TIMEOUT_S):
            self._refusal, self._wrong_protocol = "no answer", True
        if self._refusal is not None:
            refusal, kind = self._refusal, ProtocolRefusedError if self._wrong_protocol else ConnectionRefusedError
            self.close()
            raise kind(refusal)

    def _on_connect(
        self, client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            self._wrong_protocol = self._refusal == _UNSUPPORTED
            self._answered.set()
            return
        shared = self._settings.group and self._protocol == MQTTProtocolVersion.MQTTv5
        share = f"$share/{self._settings.group}/" if shared else ""
        if share:  # the session may have met this broker in a bad hour and subscribed as on 3.1.1
            client.unsubscribe([f"vehicle/+/{channel}" for channel in CHANNELS])
        client.subscribe([(f"{share}vehicle/+/{channel}", 1) for channel in CHANNELS])
        if flags.session_present:
            # amqtt answers a SUBSCRIBE only when all that waited in the session is acknowledged: wait for neither.
            self._answered.set()

    def _on_subscribe(
        self, client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._refusal = f"may not subscribe: {refused[0]}"
            if self._answered.is_set():  # by a session that is there; what it subscribed to before is gone
                _log.error("the broker at %s:%d: %s", self._settings.host, self._settings.port, self._refusal)
                client.disconnect()
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
            self._refusal, self._wrong_protocol = f"hung up before answering ({reason})", True
        self._lost.set()
        self._answered.set()

    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        self._receive(client, message)
