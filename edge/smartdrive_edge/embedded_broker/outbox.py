"""What a session waits for: bounded, in order, kept while its client is away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

_PACKET_NUMBERS: Final = 65_535


@dataclass(frozen=True, slots=True)
class Message:
    """A message on its way to one client; `qos` is 0 or 1."""

    topic: str
    payload: bytes
    qos: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message to be sent now.

    Attributes:
        message: what.
        number: packet number; None at QoS 0.
        again: whether it was sent on an earlier connection.
    """

    message: Message
    number: int | None
    again: bool = False


class Outbox:
    """A queue of messages, and those that were sent and not yet PUBACKed.

    Args:
        messages: most that wait.
        payload_bytes: most that wait and are unacknowledged, in bytes of payload.
        in_flight: most that are sent without PUBACK.
    """

    def __init__(self, *, messages: int, payload_bytes: int, in_flight: int) -> None:
        self._waiting: deque[Message] = deque()
        self._again: deque[int] = deque()
        self._in_flight: OrderedDict[int, Message] = OrderedDict()
        self._bounds = (messages, payload_bytes, in_flight)
        self._bytes = 0
        self._number = 0
        self._filled = asyncio.Event()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def offer(self, message: Message) -> bool:
        """Take a message, or drop it and count it where the outbox is full."""
        messages, payload_bytes, _ = self._bounds
        if len(self._waiting) >= messages or self._bytes + len(message.payload) > payload_bytes:
            self.dropped += 1
            return False
        self._waiting.append(message)
        self._bytes += len(message.payload)
        self._filled.set()
        return True

    def reconnected(self) -> None:
        """A new connection: what was sent without PUBACK goes first, under its old numbers."""
        self._again = deque(self._in_flight)
        self._filled.set()

    def take(self) -> Parcel | None:
        """The next message to send; None while there is none, or too many wait for their PUBACK."""
        if self._again:
            number = self._again.popleft()
            return Parcel(self._in_flight[number], number, again=True)
        if not self._waiting or len(self._in_flight) >= self._bounds[2]:
            self._filled.clear()
            return None
        message = self._waiting.popleft()
        if message.qos == 0:
            self._bytes -= len(message.payload)
            return Parcel(message, None)
        number = self._next_number()
        self._in_flight[number] = message
        return Parcel(message, number)

    def acknowledge(self, number: int) -> None:
        """A PUBACK came; one that nobody waits for is ignored."""
        message = self._in_flight.pop(number, None)
        if message is None:
            return
        self._bytes -= len(message.payload)
        if number in self._again:
            self._again.remove(number)
        self._filled.set()

    async def filled(self) -> None:
        """Wait until `take` may have something."""
        await self._filled.wait()

    def _next_number(self) -> int:
        while True:
            self._number = self._number % _PACKET_NUMBERS + 1
            if self._number not in self._in_flight:
                return self._number
