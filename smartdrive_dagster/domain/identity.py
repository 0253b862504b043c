"""Who sent what about whom: pseudonyms of vehicles and identities of messages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
# As a word of its own and with a digit, in either case: so no long word of a language is taken for one.
_VIN_WITHIN: Final = re.compile(r"(?<![A-Z0-9])(?=[A-Z]*[0-9])[A-HJ-NPR-Z0-9]{17}(?![A-Z0-9])")
_BYTES: Final = 16


def is_vin(text: str) -> bool:
    """Whether a text has the form of a vehicle identification number (ISO 3779: 17 characters, no I, O, Q)."""
    return _VIN.fullmatch(text) is not None


def holds_vin(text: str) -> bool:
    """Whether something in a text looks like a vehicle identification number."""
    return _VIN_WITHIN.search(text.upper()) is not None


def vehicle_id(vin: str, secret: bytes) -> str:
    """The vehicle's pseudonym: HMAC-SHA256 of its VIN under the lake's secret, 128 bits in base32.

    The same on every machine and in every rebuild, and not guessable from a VIN without the secret.
    """
    return _base32(hmac.new(secret, vin.encode("ascii"), hashlib.sha256).digest())


def tombstone(vehicle: str, secret: bytes) -> str:
    """What remembers an erased vehicle: a keyed hash of its vehicle_id under a label of its own.

    Nothing that was written before the erasure holds it, so that it leads from no backup to the vehicle.
    """
    return _base32(hmac.new(secret, b"tombstone\x1f" + vehicle.encode(), hashlib.sha256).digest())


def seal(content: bytes, secret: bytes) -> str:
    """The signature of a receipt: HMAC-SHA256 under a label of its own, hexadecimal."""
    return hmac.new(secret, b"receipt\x1f" + content, hashlib.sha256).hexdigest()


def message_id(device_id: str, boot_id: str, seq: int) -> str:
    """The identity of a message at its sender: a 128-bit hash of device, boot and sequence number."""
    return digest(f"{device_id}\x1f{boot_id}\x1f{seq}".encode())


def digest(content: bytes) -> str:
    """128 bits of SHA-256 in lower-case base32: 26 characters."""
    return digest_text(hashlib.sha256(content).digest())


def digest_text(sha256: bytes) -> str:
    """`digest` of something whose SHA-256 is known already."""
    return _base32(sha256)


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw[:_BYTES]).decode("ascii").rstrip("=").lower()
