"""What an endpoint needs from outside: settings, database, clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from smartdrive_api.certificates.authority import AuthorityStore
from smartdrive_api.identity.access_tokens import AccessTokens
from smartdrive_api.identity.keys import KeyStore
from smartdrive_api.identity.passwords import Passwords
from smartdrive_api.observing import Metrics
from smartdrive_api.settings import Network, Settings
from smartdrive_api.telemetry.landing import Landing, landing_at


def utc_now() -> datetime:
    """The time of this computer, which has to be kept by NTP."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """One set for an app."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    now: Callable[[], datetime]
    keys: KeyStore
    access_tokens: AccessTokens
    passwords: Passwords
    landing: Landing
    authority: AuthorityStore

    @classmethod
    def of(cls, settings: Settings, engine: Engine, now: Callable[[], datetime]) -> Services:
        """The services of an app with these settings."""
        keys = KeyStore(settings, now)
        tokens, passwords = AccessTokens(settings, keys, now), Passwords(settings)
        landing = landing_at(settings.landing_url)
        authority = AuthorityStore(settings.certificate_authority, now)
        return cls(settings, engine, Metrics(), now, keys, tokens, passwords, landing, authority)


async def _services(request: Request) -> Services:  # async, since a thread for this costs more than it
    found: Services = request.app.state.services
    return found


NeedsServices = Annotated[Services, Depends(_services)]


def client_address(request: Request, proxies: tuple[Network, ...]) -> str:
    """Who calls: the peer, or whom a trusted proxy names.

    Read from the right of X-Forwarded-For, as far as those who wrote it are trusted proxies themselves: what
    stands further left anybody may have written.
    """
    address = request.client.host if request.client else ""
    named = [part.strip() for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    while named and _within(address, proxies):
        candidate = named.pop()
        if not _is_address(candidate):
            break
        address = candidate
    return address


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def may_read_metrics(request: Request, settings: Settings) -> bool:
    """Whether the caller sits in a network that metrics are for."""
    return _within(client_address(request, settings.trusted_proxies), settings.metrics_networks)
