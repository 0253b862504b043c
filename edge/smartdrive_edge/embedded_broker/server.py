"""The embedded broker's door: TLS, names, bounds, and the process's life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from amqtt.adapters import BufferReader  # type: ignore[import-untyped]
from amqtt.mqtt.connack import (  # type: ignore[import-untyped]
    IDENTIFIER_REJECTED,
    NOT_AUTHORIZED,
    UNACCEPTABLE_PROTOCOL_VERSION,
    ConnackPacket,
)
from amqtt.mqtt.connect import ConnectPacket  # type: ignore[import-untyped]

from smartdrive_edge.broker_config import BrokerConfig
from smartdrive_edge.embedded_broker.access import Access
from smartdrive_edge.embedded_broker.broker import AccessBroker
from smartdrive_edge.embedded_broker.limits import Limits
from smartdrive_edge.embedded_broker.stream import MORE_LENGTH, PacketReader, Writer
from smartdrive_edge.messages import MessageError, check_device_id

_BACKLOG: Final = 128
_SHUTDOWN_S: Final = 5.0
_CONNECT: Final = 1
_MQTT: Final = b"\x00\x04MQTT"
_LEVEL: Final = 4  # MQTT 3.1.1
_log: Final = logging.getLogger(__name__)


class NotAdmittedError(Exception):
    """A connection is refused; the text says why."""


@dataclass(slots=True)
class _Client:
    task: asyncio.Task[None]
    writer: Writer


@dataclass(slots=True)
class EmbeddedBroker:
    """A broker on one address.

    Args:
        config: where, with which certificates, for which landers; its folder is not used.
        limits: how much it bears.
    """

    config: BrokerConfig
    limits: Limits = field(default_factory=Limits)
    _connections: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _clients: dict[str, _Client] = field(default_factory=dict, init=False)

    async def run(self, listening: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT.

        Args:
            listening: called once clients can connect.

        Raises:
            OSError: the address is taken or not this machine's, or a certificate is missing or unreadable.
        """
        loop = asyncio.get_running_loop()
        context = server_context(self.config)
        broker = AccessBroker(Access(self.config.landers), self.limits)
        with _listen(self.config.address, self.config.port) as listener:
            await broker.start()
            stop = asyncio.Event()
            for end in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(end, stop.set)
            accepting = asyncio.create_task(self._accept(listener, context, broker))
            listening()
            await stop.wait()
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
        await self._end(broker)

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext, broker: AccessBroker) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of file descriptors
                _log.warning("cannot take a connection: %s", error)
                await asyncio.sleep(1)
                continue
            if (
                len(self._connections) - len(self._clients) >= self.limits.strangers
                or len(self._connections) >= self.limits.connections + self.limits.strangers
            ):
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection, context, broker))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket, context: ssl.SSLContext, broker: AccessBroker) -> None:
        try:
            async with asyncio.timeout(self.limits.admission_s):
                stream = await _shake_hands(connection, context)
        except (OSError, TimeoutError) as error:
            connection.close()
            _log.info("refused a connection: %s", _reason(error))
            return
        reader, writer = PacketReader(*stream, self.limits), Writer(stream[1])
        try:
            async with asyncio.timeout(self.limits.admission_s):
                name = await _admit(reader, writer, broker.access)
            await self._serve_as(name, reader, writer, broker)
        except (NotAdmittedError, TimeoutError) as error:
            _log.info("refused a connection: %s", _reason(error))
        finally:
            await writer.close()

    async def _serve_as(self, name: str, reader: PacketReader, writer: Writer, broker: AccessBroker) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        while earlier := self._clients.get(name):  # as where a device's old connection is half open
            earlier.writer.abort()
            await asyncio.wait({earlier.task}, timeout=_SHUTDOWN_S)
            earlier.task.cancel()
        if len(self._clients) >= self.limits.connections:
            raise NotAdmittedError(f"{self.limits.connections} clients are connected already")
        self._clients[name] = _Client(task, writer)
        try:
            await broker.serve(name, reader, writer)
        finally:
            del self._clients[name]

    async def _end(self, broker: AccessBroker) -> None:
        for client in list(self._clients.values()):
            await client.writer.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_SHUTDOWN_S)
        for task in self._connections:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_S):
                await broker.shutdown()


def server_context(config: BrokerConfig) -> ssl.SSLContext:
    """TLS 1.3 and nothing older; a certificate of our authority, not revoked, from everyone.

    Raises:
        OSError: a file is missing, unreadable, or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(config.certificate, config.key)
    context.load_verify_locations(config.authority)
    if config.revoked is not None:
        context.load_verify_locations(config.revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def common_name(secure: ssl.SSLObject | None) -> str:
    """The name that a verified client certificate proves.

    Raises:
        NotAdmittedError: there is no certificate, it has not exactly one name, or no topic can have that name.
    """
    certificate = (secure.getpeercert() if secure else None) or {}
    subject: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())  # type: ignore[assignment]
    names = [value for part in subject for key, value in part if key == "commonName"]
    if len(names) != 1:
        raise NotAdmittedError("its certificate has not exactly one common name")
    try:
        return check_device_id(names[0])
    except MessageError as error:
        raise NotAdmittedError(f"its certificate's common name cannot stand in a topic: {error}") from error


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=_BACKLOG)
    listener.setblocking(False)
    return listener


async def _shake_hands(
    connection: socket.socket, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, connection, ssl=context, ssl_shutdown_timeout=_SHUTDOWN_S
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _admit(reader: PacketReader, writer: Writer, access: Access) -> str:
    """Read the CONNECT and put it back; the name under which its sender is served.

    Raises:
        NotAdmittedError: it is no CONNECT of MQTT 3.1.1, or asks for what its certificate does not give.
    """
    name = common_name(writer.get_ssl_info())
    try:
        packet = await reader.next_packet()
    except Exception as error:
        raise NotAdmittedError(f"{name}: no CONNECT came") from error
    body = packet[3 if packet[1] & MORE_LENGTH else 2 :]  # a control packet's length has one or two bytes
    if packet[0] >> 4 != _CONNECT or not body.startswith(_MQTT):
        raise NotAdmittedError(f"{name}: its first packet is no CONNECT of MQTT 3.1.1")
    if body[len(_MQTT) : len(_MQTT) + 1] != bytes([_LEVEL]):
        await _refuse(writer, UNACCEPTABLE_PROTOCOL_VERSION)
        raise NotAdmittedError(f"{name}: it offers another version than MQTT 3.1.1, and was told so")
    try:
        connect = await ConnectPacket.from_stream(BufferReader(packet))
        client_id, will_topic = connect.client_id, connect.will_topic if connect.will_flag else None
    except Exception as error:  # bytes from outside, in a parser that is not ours
        raise NotAdmittedError(f"{name}: its CONNECT is malformed") from error
    if client_id != name:
        await _refuse(writer, IDENTIFIER_REJECTED)
        raise NotAdmittedError(f"{name}: its client id is not its certificate's name")
    if connect.will_flag and (connect.will_retain_flag or not access.may_publish(name, will_topic or "")):
        await _refuse(writer, NOT_AUTHORIZED)
        raise NotAdmittedError(f"{name}: its will is retained or for a topic that its certificate is not for")
    reader.put_back(packet)
    return name


async def _refuse(writer: Writer, code: int) -> None:
    writer.write(ConnackPacket.build(0, code).to_bytes())
    await writer.drain()


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS failed"
    return str(error) or type(error).__name__


def run(config: BrokerConfig, listening: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; see `EmbeddedBroker.run`."""
    asyncio.run(EmbeddedBroker(config).run(listening))
