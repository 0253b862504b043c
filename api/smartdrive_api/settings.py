"""The one settings object of the API. It is read once, at the edge of the program, and passed on as values."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from smartdrive_api.secret_values import SecretUnavailableError, read_secret

Network = IPv4Network | IPv6Network
MIN_LAKE_SECRET_BYTES: Final = 16


class Settings(BaseSettings):
    """Where the API finds what it needs, and for how long it trusts whom.

    Every field is read from the environment with the prefix ``SMARTDRIVE_API_``. A secret is itself, or
    ``file:PATH``, or ``secretsmanager:NAME`` or ``secretsmanager:NAME#KEY`` in AWS.
    """

    model_config = SettingsConfigDict(
        env_prefix="SMARTDRIVE_API_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL, postgresql://user@host:port/name (a secret, since it may hold a password); "
        "without it the embedded one is started",
    )
    database_password: SecretStr | None = Field(default=None, description="Password for the URL (a secret)")
    database_login: SecretStr | None = Field(
        default=None,
        description="Login for the URL, JSON with username and password (a secret); read anew when the database "
        "refuses it",
    )
    database_directory: Path = Field(
        default=Path(".smartdrive/api/postgres"), description="Where the embedded PostgreSQL keeps its data"
    )
    issuer: str = Field(
        default="http://127.0.0.1:8000", min_length=1, description="Issuer of access tokens: the API's public URL"
    )
    audience: str = Field(default="smartdrive-api", min_length=1, description="Audience of access tokens")
    signing_keys: SecretStr = Field(
        default=SecretStr("file:.smartdrive/api/signing-keys.json"),
        description="The key ring that signs access tokens (a secret); made on first use where it is a file",
    )
    certificate_authority: SecretStr = Field(
        default=SecretStr("file:.smartdrive/api/certificate-authority.json"),
        description="The key that vouches for certificates (a secret, or kms:KEY for an RSA key in AWS KMS); made "
        "on first use where it is a file",
    )
    lake_secret: SecretStr = Field(
        default=SecretStr("file:.smartdrive/secret"),
        description="The lake's secret, which keys vehicle pseudonyms (a secret); never made here",
    )
    landing_url: str = Field(
        default="landing", description="Root of the landing objects: a path or s3://bucket/prefix"
    )
    access_token_s: int = Field(default=900, ge=60, le=900, description="Life of an access token (seconds)")
    leeway_s: int = Field(default=30, ge=0, le=120, description="Difference of clocks that is forgiven (seconds)")
    session_idle_s: int = Field(
        default=14 * 86_400, ge=900, description="A session ends when it was not refreshed for so long (seconds)"
    )
    session_absolute_s: int = Field(
        default=90 * 86_400, ge=900, description="A session ends so long after its sign-in (seconds)"
    )
    key_lead_s: int = Field(
        default=3_600,
        ge=0,
        description="A new signing key is published for so long before it signs: longer than verifiers keep the "
        "old JWKS (seconds)",
    )
    registration_days: int = Field(default=7, ge=1, le=90, description="Days in which a registration is confirmed")
    argon2_time_cost: int = Field(default=2, ge=1, description="Argon2id: passes")
    argon2_memory_kib: int = Field(default=19_456, ge=8, description="Argon2id: memory of one hash (KiB)")
    argon2_parallelism: int = Field(default=1, ge=1, description="Argon2id: lanes")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), description="Networks whose X-Forwarded-For is believed, separated by commas"
    )
    metrics_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
        description="Networks that may read /metrics, separated by commas; others are told that it does not exist",
    )

    @field_validator("trusted_proxies", "metrics_networks", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return (
            tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value
        )

    @field_validator("landing_url")
    @classmethod
    def _known_place(cls, value: str) -> str:
        if "://" in value and not value.startswith("s3://"):
            raise ValueError("neither a local path nor s3://bucket/prefix")
        return value

    def lake_key(self) -> bytes:
        """The lake's secret.

        Raises:
            SecretUnavailableError: there is none; a new one would name every vehicle otherwise than the lake.
        """
        key = read_secret(self.lake_secret).encode()
        if len(key) < MIN_LAKE_SECRET_BYTES:
            raise SecretUnavailableError(f"the lake's secret is shorter than {MIN_LAKE_SECRET_BYTES} bytes")
        return key

    @property
    def access_life(self) -> timedelta:
        """Life of an access token."""
        return timedelta(seconds=self.access_token_s)

    @property
    def leeway(self) -> timedelta:
        """Difference of clocks that is forgiven."""
        return timedelta(seconds=self.leeway_s)
