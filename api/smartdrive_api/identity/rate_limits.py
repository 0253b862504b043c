"""Rate limits that all instances share, because they lie in the database.

The generic cell rate algorithm (ITU-T I.371): a subject has a time at which its next request is due; a request
moves it on by one interval, and is refused where that is more than a burst ahead of now. One row, one statement.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Final

from sqlalchemy import Engine, text

from smartdrive_api.problems import Problem

_IPV6_HOUSEHOLD: Final = 64  # bits of an IPv6 address that one customer has at least


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` requests at once, and then one per `every`."""

    name: str
    burst: int
    every: timedelta


SIGN_IN_OF_ADDRESS: Final = Limit("sign-in of an address", 30, timedelta(seconds=10))
SIGN_IN_TO_ACCOUNT: Final = Limit("sign-in to an account", 10, timedelta(seconds=60))
REGISTER: Final = Limit("registration from an address", 10, timedelta(minutes=10))
REFRESH: Final = Limit("refresh from an address", 120, timedelta(seconds=1))
REGISTER_VEHICLE: Final = Limit("registration of vehicles by an account", 20, timedelta(minutes=5))
CERTIFICATE: Final = Limit("certificates of an account", 5, timedelta(minutes=2))
SHARE: Final = Limit("sharing by an account", 20, timedelta(minutes=5))
CHANGE_PASSWORD: Final = Limit("change of an account's password", 5, timedelta(minutes=5))
INGEST: Final = Limit("telemetry of an account", 120, timedelta(seconds=2))

_TAKE: Final = text(
    """
    insert into rate_limits as known (subject, next_at) values (:subject, :now + :every)
    on conflict (subject) do update set next_at = greatest(known.next_at, :now) + :every
    where greatest(known.next_at, :now) + :every <= :now + :ahead
    returning next_at
    """
)
_KNOWN: Final = text("select next_at from rate_limits where subject = :subject")


def take(engine: Engine, limit: Limit, subject: str, now: datetime) -> None:
    """Count a request, in a transaction of its own: it counts whatever becomes of the request.

    Raises:
        Problem: 429 with Retry-After, where there were too many.
    """
    key = hashlib.sha256(f"{limit.name}\0{subject}".encode("utf-8", "replace")).digest()
    values = {"subject": key, "now": now, "every": limit.every, "ahead": limit.burst * limit.every}
    with engine.begin() as connection:
        if connection.execute(_TAKE, values).first() is not None:
            return
        next_at = connection.scalar(_KNOWN, {"subject": key}) or now
    wait = (next_at + limit.every - limit.burst * limit.every - now).total_seconds()
    raise Problem(
        429,
        "too_many_requests",
        "Too many requests. Retry-After says when to come again.",
        headers={"Retry-After": str(max(1, math.ceil(wait)))},
    )


def household(address: str) -> str:
    """Whom an address stands for: itself, or the /64 of an IPv6 address, all of which one customer has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> _IPV6_HOUSEHOLD << _IPV6_HOUSEHOLD))
    return str(parsed)


def forget_idle(engine: Engine, now: datetime) -> int:
    """Delete what limits nobody any more."""
    with engine.begin() as connection:
        return connection.execute(text("delete from rate_limits where next_at <= :now"), {"now": now}).rowcount
