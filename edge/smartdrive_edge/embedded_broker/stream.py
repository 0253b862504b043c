"""The bytes between a client and amqtt: whole packets of bounded size in, no more than a client takes out."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from amqtt.adapters import ReaderAdapter, WriterAdapter  # type: ignore[import-untyped]

from smartdrive_edge.embedded_broker.limits import Limits

PUBLISH: Final = 3
MORE_LENGTH: Final = 0x80  # the bit that says that another byte of the length follows
_LENGTH_BYTES: Final = 4


class PacketRefusedError(Exception):
    """A packet is too large or not well-formed: its connection ends."""


class PacketReader(ReaderAdapter):  # type: ignore[misc]
    """Gives amqtt what it asks for, out of one whole packet at a time.

    Args:
        reader: behind TLS.
        writer: of the same connection: while its client takes nothing, nothing more is read from it.
        limits: on sizes.

    Attributes:
        idle_s: silence after which the connection ends, seconds.
        ended: set when no more will come.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._packet = b""
        self._at = 0
        self.idle_s = limits.idle_s
        self.ended = asyncio.Event()

    async def read(self, n: int = -1) -> bytes:
        """Exactly `n` bytes of the current packet, or of the next one if it is used up.

        Raises:
            PacketRefusedError: the packet holds less, or is too large.
            asyncio.IncompleteReadError: the client is gone, or was silent for too long.
        """
        if n == 0:
            return b""
        if self._at == len(self._packet):
            self._packet, self._at = await self.next_packet(), 0
        if not 0 < n <= len(self._packet) - self._at:
            self.ended.set()
            raise PacketRefusedError("a packet is shorter than it says")
        self._at += n
        return self._packet[self._at - n : self._at]

    def feed_eof(self) -> None:
        """Nothing more is wanted."""
        self._reader.feed_eof()

    def put_back(self, packet: bytes) -> None:
        """Let the next `read` begin with this packet."""
        self._packet, self._at = packet, 0

    async def next_packet(self) -> bytes:
        """The next packet, its header included.

        Raises:
            PacketRefusedError: it is too large.
            asyncio.IncompleteReadError: the client is gone, or was silent for too long.
        """
        try:
            async with asyncio.timeout(self.idle_s):
                await self._writer.drain()
                await asyncio.sleep(0)  # what the packet before has begun gets its turn
                return await self._whole_packet()
        except (OSError, TimeoutError) as error:
            self.ended.set()
            raise asyncio.IncompleteReadError(b"", 1) from error
        except (PacketRefusedError, asyncio.IncompleteReadError):
            self.ended.set()
            raise

    async def _whole_packet(self) -> bytes:
        header = bytearray(await self._reader.readexactly(1))
        length = 0
        for shift in range(0, 7 * _LENGTH_BYTES, 7):
            header += await self._reader.readexactly(1)
            length |= (header[-1] & ~MORE_LENGTH) << shift
            if not header[-1] & MORE_LENGTH:
                break
        else:
            raise PacketRefusedError("a packet's length has more than four bytes")
        most = self._limits.packet_bytes if header[0] >> 4 == PUBLISH else self._limits.control_bytes
        if length > most:
            raise PacketRefusedError(f"a packet of {length} bytes; {most} are allowed")
        return bytes(header) + await self._reader.readexactly(length)


class Writer(WriterAdapter):  # type: ignore[misc]
    """amqtt's way out. Closing never waits for a client that reads nothing."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def write(self, data: bytes) -> None:
        """Send, unless it is closed."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken most of it."""
        if not self._writer.is_closing():
            await self._writer.drain()

    def get_peer_info(self) -> tuple[str, int] | None:
        """Address and port."""
        peer = self._writer.get_extra_info("peername")
        return (str(peer[0]), int(peer[1])) if peer else None

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """The TLS connection."""
        secure = self._writer.get_extra_info("ssl_object")
        return secure if isinstance(secure, ssl.SSLObject) else None

    async def close(self) -> None:
        """Send what is left, then close; TLS's own timeout ends it."""
        self._writer.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()
