"""The broker: whether it is reached, proves who it is, and takes this device in."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from smartdrive_edge.broker_connection import TlsFiles
from smartdrive_edge.config import Config
from smartdrive_edge.doctor.certificate_files import instant, judge_term
from smartdrive_edge.doctor.findings import Finding, fail, ok, warn

_TIMEOUT_S: Final = 10.0
_SESSION_S: Final = 7 * 86_400  # as the collector asks for: another term would end its session with ours
_PROTOCOLS: Final = (
    (MQTTProtocolVersion.MQTTv5, "MQTT 5"),
    (MQTTProtocolVersion.MQTTv311, "MQTT 3.1.1"),
)


def check_broker(config: Config, now: datetime) -> Iterator[Finding]:
    """Shake hands, then connect as the device; only where no collector runs, whose session that is.

    Args:
        config: of the collector.
        now: UTC, as good as the clock.
    """
    place = f"{config.broker.host}:{config.broker.port}"
    try:
        context = None if config.broker.is_insecure else tls_context(config)
    except OSError as error:
        yield fail("broker", f"{place} was not tried: the certificate files do not load ({error})", "see above")
        return
    if context is None:
        yield warn("broker", f"{place} is reached in the clear", "use certificates anywhere but on a bench")
    try:
        with socket.create_connection((config.broker.host, config.broker.port), _TIMEOUT_S) as raw:
            if context is not None:
                yield from _shake_hands(context, raw, config, now)
    except OSError as error:
        yield _unreachable(place, error)
        return
    yield _connect(config, place, context)


def tls_context(config: Config) -> ssl.SSLContext:
    """TLS as the collector speaks it.

    Raises:
        OSError: a file is missing or not what it should be.
    """
    files = config.broker
    if files.authority is None or files.certificate is None or files.key is None:
        raise FileNotFoundError("authority, certificate and key are needed")
    context = TlsFiles(files.authority, files.certificate, files.key).context()
    if files.alpn:
        context.set_alpn_protocols(list(files.alpn))
    return context


def _shake_hands(context: ssl.SSLContext, raw: socket.socket, config: Config, now: datetime) -> Iterator[Finding]:
    with context.wrap_socket(raw, server_hostname=config.broker.host) as secure:
        shown: dict[str, Any] = dict(secure.getpeercert() or {})
        yield ok(
            "broker's TLS", f"{secure.version()}, its certificate is the authority's and for {config.broker.host}"
        )
        ends_at = instant(shown["notAfter"])
    yield judge_term("broker's TLS", "its certificate", ends_at, now, "have the broker's certificate renewed")


def _unreachable(place: str, error: OSError) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        return fail(
            "broker's TLS",
            f"{place}: {error.verify_message}",
            "broker.authority must be who signed the broker's certificate, broker.host a name in it, "
            "and the clock right",
        )
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return fail("broker's TLS", f"{place}: {reason}", "the broker must speak TLS 1.3 on that port")
    if isinstance(error, socket.gaierror):
        return fail(
            "broker", f"{place}: the name is not known ({error.strerror})", "set broker.host; is there a network?"
        )
    if isinstance(error, ConnectionRefusedError):
        return fail(
            "broker", f"{place}: nothing listens there", "start the broker, or set broker.host and broker.port"
        )
    if isinstance(error, TimeoutError):
        return fail(
            "broker", f"{place}: no answer within {_TIMEOUT_S:.0f} s", "is there a network, or a firewall?"
        )
    return fail("broker", f"{place}: {error}", "is there a network?")


def _connect(config: Config, place: str, context: ssl.SSLContext | None) -> Finding:
    reasons = []
    for protocol, name in _PROTOCOLS:
        refusal = _Visit(config, protocol, context).refusal
        if refusal is None:
            return ok("broker", f"{place} takes {config.device_id} in, {name}")
        reasons.append(f"{name}: {refusal}")
    return fail(
        "broker",
        f"{place} does not take {config.device_id} in ({'; '.join(reasons)})",
        "its log says why; it must trust who signed broker.certificate, and that must not have ended",
    )


class _Visit:
    """Connects and leaves; `refusal` says why it could not, None where it could.

    What the broker keeps for the collector stays with it: the session is taken up, nothing is acknowledged.
    """

    def __init__(self, config: Config, protocol: MQTTProtocolVersion, context: ssl.SSLContext | None) -> None:
        self._answered = threading.Event()
        self.refusal: str | None = "no answer to CONNECT"
        is_5 = protocol == MQTTProtocolVersion.MQTTv5
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=config.device_id,
            clean_session=None if is_5 else False,
            protocol=protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        if context is not None:
            client.tls_set_context(context)
        options: dict[str, Any] = {}
        if is_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = _SESSION_S
            options = {"clean_start": False, "properties": properties}
        try:
            client.connect(config.broker.host, config.broker.port, **options)
        except OSError as error:
            self.refusal = str(error)
            return
        client.loop_start()
        self._answered.wait(_TIMEOUT_S)
        client.disconnect()
        client.loop_stop()

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self.refusal = str(reason) if reason.is_failure else None
        self._answered.set()

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if not self._answered.is_set():
            self.refusal = f"hung up before answering ({reason})"
            self._answered.set()
