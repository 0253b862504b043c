"""amqtt's broker with our access rules and outboxes.

It overrides private methods of amqtt, so the version is pinned in `edge/pyproject.toml`; `edge/tests/broker` says
whether another one would do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType  # type: ignore[import-untyped]
from amqtt.errors import ProtocolHandlerError  # type: ignore[import-untyped]
from amqtt.mqtt.disconnect import DisconnectPacket  # type: ignore[import-untyped]
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler  # type: ignore[import-untyped]
from amqtt.mqtt.puback import PubackPacket  # type: ignore[import-untyped]
from amqtt.mqtt.publish import PublishPacket  # type: ignore[import-untyped]
from amqtt.session import Session  # type: ignore[import-untyped]

from smartdrive_edge.embedded_broker.access import Access
from smartdrive_edge.embedded_broker.limits import Limits
from smartdrive_edge.embedded_broker.outbox import Message, Outbox
from smartdrive_edge.embedded_broker.stream import PacketReader, Writer

_OUTBOX: Final = "smartdrive.outbox"
_LISTENER: Final = "default"
_REFUSED: Final = 0x80
_GRACE_S: Final = 5.0
_log: Final = logging.getLogger(__name__)


class AccessBroker(Broker):  # type: ignore[misc]
    """A broker whose clients are let in elsewhere, each under the name that its certificate proves.

    Args:
        access: who may do what.
        limits: how much is borne.
    """

    def __init__(self, access: Access, limits: Limits) -> None:
        listener = ListenerConfig(type=ListenerType.EXTERNAL)
        config = BrokerConfig(
            listeners={_LISTENER: listener}, session_expiry_interval=limits.session_s, plugins={}
        )
        super().__init__(config)
        self.access = access
        self.limits = limits
        self._admitted: set[str] = set()

    async def serve(self, name: str, reader: PacketReader, writer: Writer) -> None:
        """Serve a client until it is gone.

        Args:
            name: its certificate's common name and its client id; nobody else is served under it.
            reader: at the beginning of its CONNECT.
            writer: to it.
        """
        self._admitted.add(name)
        conversation = asyncio.create_task(self.external_connected(reader, writer, _LISTENER))
        ended = asyncio.create_task(reader.ended.wait())
        try:
            await asyncio.wait({conversation, ended}, return_when=asyncio.FIRST_COMPLETED)
            # amqtt misses the end of a client that leaves at the wrong moment.
            await asyncio.wait({conversation}, timeout=_GRACE_S)
        finally:
            ended.cancel()
            conversation.cancel()
            await asyncio.gather(conversation, ended, return_exceptions=True)
            self._admitted.discard(name)
            await self._settle(name)

    def refusal(self, name: str, packet: PublishPacket) -> str | None:
        """Why this message is not taken; None where it is."""
        if packet.qos > 1:
            return "QoS 2 is not supported"
        if packet.retain_flag:
            return "retained messages are not supported"
        if len(packet.data or b"") > self.limits.payload_bytes:
            return f"a message holds at most {self.limits.payload_bytes} bytes"
        if not self.access.may_publish(name, packet.topic_name or ""):
            return "its certificate is not for that topic"
        return None

    def route(self, topic: str, payload: bytes, qos: int) -> None:
        """Put a message into the outbox of every session that asked for it and may have it."""
        receivers: dict[str, tuple[Session, int]] = {}
        for topic_filter, subscriptions in self._subscriptions.items():
            if self._matches(topic, topic_filter):
                for session, granted in subscriptions:
                    _, already = receivers.get(session.client_id, (session, 0))
                    receivers[session.client_id] = (session, max(granted, already))
        for name, (session, granted) in receivers.items():
            is_here = session.transitions.state == "connected"
            level = min(qos, granted)
            if not self.access.may_receive(name, topic) or not (is_here or (level and not session.clean_session)):
                continue
            box = self.outbox(session)
            if not box.offer(Message(topic, payload, level)) and box.dropped % 1000 == 1:
                _log.warning("%s: %d messages dropped so far: too many wait for it", name, box.dropped)

    def outbox(self, session: Session) -> Outbox:
        """The session's outbox; it lives and ends with the session."""
        box = session.attributes.get(_OUTBOX)
        if not isinstance(box, Outbox):
            limits = self.limits
            box = Outbox(
                messages=limits.queued_messages, payload_bytes=limits.queued_bytes, in_flight=limits.in_flight
            )
            session.attributes[_OUTBOX] = box
        return box

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """The QoS that is granted, or 0x80."""
        topic_filter, qos = subscription
        self._del_subscription(topic_filter, session)  # a new subscription replaces the old one and its QoS
        granted = int(await super().add_subscription((topic_filter, min(qos, 1)), session))
        if granted == _REFUSED:
            _log.warning("%s: refused a subscription that its certificate is not for", session.client_id)
        return granted

    async def _authenticate(self, session: Session, _listener: ListenerConfig) -> bool:
        return session.client_id in self._admitted

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        rule = {
            Action.PUBLISH: self.access.may_publish,
            Action.RECEIVE: self.access.may_receive,
            Action.SUBSCRIBE: self.access.may_subscribe,
        }
        return rule[action](session.client_id, topic)

    async def _initialize_client_session(
        self, reader: PacketReader, writer: Writer, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        _, session = await super()._initialize_client_session(reader, writer, remote_address, remote_port)
        # amqtt notices a client's silence and does nothing: the reader ends it (MQTT 3.1.2.10).
        if session.keep_alive:
            reader.idle_s = min(1.5 * session.keep_alive, self.limits.idle_s)
        session.keep_alive = 0
        return Conversation(self), session

    async def _publish_session_retained_messages(self, session: Session) -> None:
        handler = self._get_handler(session)
        if isinstance(handler, Conversation):
            handler.send_from(self.outbox(session))

    async def _broadcast_message(
        self, session: Session | None, topic: str | None, data: bytes | None, force_qos: int | None = None
    ) -> None:
        """A will: the only thing that amqtt itself still broadcasts."""
        if session is not None and topic and self.access.may_publish(session.client_id, topic):
            self.route(topic, bytes(data or b""), min(force_qos or 0, 1))

    async def _settle(self, name: str) -> None:
        session, handler = self._sessions.get(name, (None, None))
        if session is None:
            return
        await handler.stop()
        if session.transitions.state == "connected":
            session.transitions.disconnect()
        if session.clean_session:
            await self._cleanup_session(name)


class Conversation(BrokerProtocolHandler):  # type: ignore[misc]
    """One connection's protocol. A message goes from its packet to the outboxes without a queue in between."""

    def __init__(self, broker: AccessBroker) -> None:
        super().__init__(broker.plugins_manager)
        self._broker = broker
        self._outbox: Outbox | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_over = False

    def send_from(self, outbox: Outbox) -> None:
        """Begin to send what the session waits for."""
        self._outbox = outbox
        outbox.reconnected()
        self._sending = asyncio.create_task(self._send(outbox))

    async def stop(self) -> None:
        """End; what was sent without PUBACK stays in the outbox."""
        self._is_over = True
        if self._sending is not None:
            self._sending.cancel()
        await super().stop()

    async def handle_disconnect(self, disconnect: DisconnectPacket | None) -> None:
        """The client is gone, with or without a goodbye."""
        self._is_over = True
        await super().handle_disconnect(disconnect)

    async def handle_publish(self, publish_packet: PublishPacket) -> None:
        """Take a message, or end the connection: MQTT 3.1.1 knows no other way to refuse one (MQTT-3.3.5-2)."""
        if self._is_over or self.session is None:
            return
        name = self.session.client_id
        if refusal := self._broker.refusal(name, publish_packet):
            _log.warning("%s: refused a message (%s): connection closed", name, refusal)
            await self.handle_connection_closed()
            return
        self._broker.route(publish_packet.topic_name, publish_packet.data, publish_packet.qos)
        if publish_packet.qos == 1:
            await self._answer(PubackPacket.build(publish_packet.packet_id))

    async def handle_puback(self, puback: PubackPacket) -> None:
        """The client has it."""
        if self._outbox is not None and puback.variable_header is not None:
            self._outbox.acknowledge(puback.variable_header.packet_id)

    async def _send(self, outbox: Outbox) -> None:
        while not self._is_over:
            await outbox.filled()
            while not self._is_over and (parcel := outbox.take()) is not None:
                message = parcel.message
                await self._answer(
                    PublishPacket.build(
                        message.topic, message.payload, parcel.number, parcel.again, message.qos, retain=False
                    )
                )

    async def _answer(self, packet: Any) -> None:
        # amqtt turns a cancellation into this error.
        with contextlib.suppress(ProtocolHandlerError, OSError):
            await self._send_packet(packet)
