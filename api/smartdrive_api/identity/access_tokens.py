"""Access tokens: JWTs (RFC 9068) that RS256 signs, and that are read with suspicion.

Only what this module itself writes is accepted: exactly its header fields, its one algorithm, its claims with
their types, in canonical base64url, without a name that stands twice.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import jwt

from smartdrive_api.identity.keys import ALGORITHM, KeyStore
from smartdrive_api.settings import Settings

TYPE: Final = "at+jwt"
_MAX_LENGTH: Final = 4_096
_HEADER: Final = {"alg", "kid", "typ"}
_CLAIMS: Final = {"iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"}
_PARTS: Final = 3


class InvalidTokenError(Exception):
    """This is no access token of ours that is good now."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whom a token names."""

    account_id: UUID
    session_id: UUID


class AccessTokens:
    """Makes and reads access tokens."""

    def __init__(self, settings: Settings, keys: KeyStore, now: Callable[[], datetime]) -> None:
        self._settings, self._keys, self._now = settings, keys, now

    def issue(self, access: Access) -> str:
        """A token for one session, good for the configured time."""
        kid, private = self._keys.signing()
        issued = int(self._now().timestamp())
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": str(access.account_id),
            "sid": str(access.session_id),
            "jti": str(uuid4()),
            "iat": issued,
            "nbf": issued,
            "exp": issued + self._settings.access_token_s,
        }
        return jwt.encode(claims, private, ALGORITHM, headers={"kid": kid, "typ": TYPE})

    def read(self, token: str) -> Access:
        """Whom a token names.

        Raises:
            InvalidTokenError: whatever is wrong with it.
        """
        try:
            return self._read(token)
        except (ValueError, TypeError, KeyError, RecursionError, binascii.Error, jwt.PyJWTError) as error:
            raise InvalidTokenError from error

    def _read(self, token: str) -> Access:
        parts = token.split(".")
        if len(token) > _MAX_LENGTH or len(parts) != _PARTS:
            raise ValueError("not three parts, or too long")
        header, claims = _object(_decoded(parts[0])), _object(_decoded(parts[1]))
        _decoded(parts[2])
        if set(header) != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TYPE:
            raise ValueError("not a header of ours")  # so no jku, x5u, jwk, crit
        public = self._keys.public(header["kid"]) if isinstance(header["kid"], str) else None
        if public is None:
            raise ValueError("a key that does not verify")
        jwt.api_jws.decode(token, public, algorithms=[ALGORITHM])
        self._check(claims)
        return Access(_identity(claims["sub"]), _identity(claims["sid"]))

    def _check(self, claims: dict[str, Any]) -> None:
        if set(claims) != _CLAIMS:
            raise ValueError("not the claims of ours")
        if claims["iss"] != self._settings.issuer or claims["aud"] != self._settings.audience:
            raise ValueError("for somebody else")
        if any(type(claims[name]) is not int for name in ("iat", "nbf", "exp")):
            raise ValueError("a time that is no whole number")
        now, leeway = self._now().timestamp(), self._settings.leeway_s
        if max(claims["nbf"], claims["iat"]) > now + leeway or claims["exp"] <= now - leeway:
            raise ValueError("not now")
        if not 0 < claims["exp"] - claims["iat"] <= self._settings.access_token_s:
            raise ValueError("lives too long")


def _decoded(part: str) -> bytes:
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode("ascii"):
        raise ValueError("another spelling of the same bytes")
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) != len(dict(pairs)):
            raise ValueError("a name stands twice")
        return dict(pairs)

    found = json.loads(raw, object_pairs_hook=once)
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _identity(text: object) -> UUID:
    if not isinstance(text, str) or str(UUID(text)) != text:
        raise ValueError("no identity of ours")
    return UUID(text)
