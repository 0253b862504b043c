"""What verifiers of access tokens fetch."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from smartdrive_api.services import NeedsServices

router = APIRouter(tags=["operations"])


class Jwk(BaseModel):
    """A public key (RFC 7517)."""

    kty: str
    use: str
    alg: str
    kid: str
    n: Annotated[str, Field(description="modulus, base64url")]
    e: Annotated[str, Field(description="exponent, base64url")]


class Jwks(BaseModel):
    """The public keys that verify access tokens now or will."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "q1…", "n": "0vx7…", "e": "AQAB"}]}
            ]
        }
    )

    keys: list[Jwk]


@router.get("/.well-known/jwks.json")
def jwks(services: NeedsServices) -> Jwks:
    """The keys; a key that will sign is among them before it does."""
    return Jwks(keys=[Jwk(**key) for key in services.keys.jwks()])
