"""ISO 15765-2: an ECU's answer as CAN frames of eight bytes."""

from __future__ import annotations

from typing import Final

FRAME: Final = 8
SINGLE: Final = 7  # payload of a single frame
FIRST: Final = 6  # payload of a first frame
PADDING: Final = 0xAA

SINGLE_FRAME: Final = 0  # the upper half of a frame's first byte
FIRST_FRAME: Final = 1


def frames(message: bytes) -> list[bytes]:
    """The frames of a message, padded to eight bytes.

    Raises:
        ValueError: the message is empty or longer than the twelve bits of its length can say.
    """
    if not 0 < len(message) < 1 << 12:
        msg = f"ISO-TP carries 1 to 4095 bytes, not {len(message)}"
        raise ValueError(msg)
    if len(message) <= SINGLE:
        return [_padded(bytes([len(message)]) + message)]
    head = (0x1000 | len(message)).to_bytes(2, "big") + message[:FIRST]
    rest = [message[i : i + SINGLE] for i in range(FIRST, len(message), SINGLE)]
    return [head, *(_padded(bytes([0x20 | (i % 16)]) + part) for i, part in enumerate(rest, start=1))]


def _padded(frame: bytes) -> bytes:
    return frame.ljust(FRAME, bytes([PADDING]))
