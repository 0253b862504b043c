"""The key ring that signs access tokens: which key signs now, which ones verify, and how one follows another.

A new key is published before it signs, because verifiers keep a JWKS for a while; an old one verifies until the
last token that it signed has ended. `next_ring` and `Ring` are pure; `KeyStore` reads and writes.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import SecretStr

from smartdrive_api.secret_values import SecretUnavailableError, exists, read_secret, write_secret
from smartdrive_api.settings import Settings

ALGORITHM: Final = "RS256"
_BITS: Final = 2048
_RELOAD: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One RSA key.

    Attributes:
        kid: its name, 128 bits of the SHA-256 of its public key.
        private_pem: PKCS #8.
        signs_from: when it begins to sign.
    """

    kid: str
    private_pem: str
    signs_from: datetime


@dataclass(frozen=True, slots=True)
class Ring:
    """All keys, oldest first."""

    keys: tuple[Key, ...]

    def signing(self, now: datetime) -> Key:
        """The newest key that signs already; the oldest, where none does."""
        return ([key for key in self.keys if key.signs_from <= now] or [self.keys[0]])[-1]

    def verifying(self, now: datetime, life: timedelta) -> tuple[Key, ...]:
        """Keys whose tokens may still be good: a key ends `life` after its successor has begun to sign."""
        ends = [*(later.signs_from + life for later in self.keys[1:]), None]
        return tuple(key for key, end in zip(self.keys, ends, strict=True) if end is None or now < end)


def next_ring(ring: Ring | None, now: datetime, *, lead: timedelta, life: timedelta) -> Ring:
    """The ring with a new key, which signs after `lead`, and without those that verify nothing any more.

    Args:
        ring: None where there was none: the first key signs at once.
        now: the time.
        lead: for how long verifiers may keep an old JWKS.
        life: of an access token, with the leeway.
    """
    if ring is None:
        return Ring((_new_key(now),))
    return Ring((*ring.verifying(now, life), _new_key(now + lead)))


def dump(ring: Ring) -> str:
    """The ring as the secret that is stored."""
    keys = [
        {"kid": k.kid, "signs_from": k.signs_from.isoformat(), "private_pem": k.private_pem} for k in ring.keys
    ]
    return json.dumps({"keys": keys})


def load(text: str) -> Ring:
    """The ring from the secret that is stored.

    Raises:
        SecretUnavailableError: it is no ring.
    """
    try:
        keys = tuple(
            Key(
                str(key["kid"]), str(key["private_pem"]), datetime.fromisoformat(key["signs_from"]).astimezone(UTC)
            )
            for key in json.loads(text)["keys"]
        )
    except (ValueError, KeyError, TypeError):
        keys = ()
    if not keys:
        raise SecretUnavailableError("the signing keys are not what `smartdrive-api keys rotate` writes") from None
    return Ring(keys)


def _new_key(signs_from: datetime) -> Key:
    import hashlib

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kid = base64.urlsafe_b64encode(hashlib.sha256(public).digest()[:16]).decode().rstrip("=")
    return Key(kid, pem.decode(), signs_from)


class KeyStore:
    """The ring as it lies in its secret, read again once a minute so that a rotation reaches every instance."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._reference: SecretStr = settings.signing_keys
        self._life = settings.access_life + settings.leeway
        self._lead = timedelta(seconds=settings.key_lead_s)
        self._now, self._lock = now, threading.Lock()
        self._ring: Ring | None = None
        self._read_at = datetime.min.replace(tzinfo=UTC)
        self._parsed: dict[str, Any] = {}

    def signing(self) -> tuple[str, Any]:
        """The name and the private key to sign with now."""
        key = self._current().signing(self._now())
        return key.kid, self._private(key)

    def public(self, kid: str) -> Any:
        """The public key of this name; None where it verifies nothing (any more)."""
        for key in self._current().verifying(self._now(), self._life):
            if key.kid == kid:
                return self._private(key).public_key()
        return None

    def jwks(self) -> list[dict[str, str]]:
        """All public keys that verify now or will, as RFC 7517 has them."""
        return [
            _jwk(key.kid, self._private(key).public_key())
            for key in self._current().verifying(self._now(), self._life)
        ]

    def rotate(self, *, at_once: bool = False) -> Ring:
        """Add a key; with `at_once` (a key has leaked) it signs now, and no other verifies."""
        ring = None if at_once or not exists(self._reference) else load(read_secret(self._reference))
        made = next_ring(ring, self._now(), lead=self._lead, life=self._life)
        write_secret(self._reference, dump(made))
        self._ring = None
        return made

    def _current(self) -> Ring:
        with self._lock:
            if self._ring is None or self._now() - self._read_at >= _RELOAD:
                self._ring = self._read()
                self._read_at = self._now()
            return self._ring

    def _read(self) -> Ring:
        if self._reference.get_secret_value().startswith("file:") and not exists(self._reference):
            first = next_ring(None, self._now(), lead=self._lead, life=self._life)
            write_secret(self._reference, dump(first), only_if_new=True)
        try:
            return load(read_secret(self._reference))
        except SecretUnavailableError:
            if self._ring is None:
                raise
            return self._ring  # a store that is away for a while does not stop what is known

    def _private(self, key: Key) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if key.kid not in self._parsed:
            self._parsed[key.kid] = load_pem_private_key(key.private_pem.encode(), password=None)
        return self._parsed[key.kid]


def _jwk(kid: str, public: Any) -> dict[str, str]:
    from jwt.algorithms import RSAAlgorithm

    numbers: Mapping[str, Any] = RSAAlgorithm.to_jwk(public, as_dict=True)
    return {"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": kid, "n": numbers["n"], "e": numbers["e"]}
