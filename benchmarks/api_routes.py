"""What the load on the REST API consists of: its people and their cars, and a table of routes with their shares.

To load another route, give it a line in `ROUTES`, and fill what it reads in `filled`.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Final
from uuid import UUID, uuid4

from smartdrive_api.identity import sessions
from smartdrive_api.models import Account
from smartdrive_api.services import Services, utc_now
from smartdrive_api.vehicles import garage
from smartdrive_api.vehicles.vin import vehicle_id
from sqlalchemy import Connection, insert, select

PASSWORD: Final = "three words and 1 number"  # noqa: S105 - of people who do not exist
ACCOUNTS: Final = 200
CARS_OF_AN_ACCOUNT: Final = 5
_REFRESHES_OF_AN_ACCOUNT: Final = 2
_SAMPLES: Final = 60


@dataclass(slots=True)
class Owner:
    """An account with its cars, signed in."""

    email: str
    account_id: UUID
    device_id: str
    access_token: str
    refresh_tokens: list[str]  # each of a session of its own, and good once
    vins: list[str]
    vehicles: list[UUID]  # as paths name them
    seq: Any = field(default_factory=count)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, all but its route's method.

    Attributes:
        path: with everything in it.
        expected: the status of its answer.
    """

    path: str
    headers: dict[str, str]
    content: bytes = b""
    expected: int = 200


@dataclass(frozen=True, slots=True)
class Route:
    """A route and its share of the load."""

    share: int
    method: str
    name: str
    make: Callable[[Owner, random.Random], Call]


def _get(template: str) -> Callable[[Owner, random.Random], Call]:
    def make(owner: Owner, chance: random.Random) -> Call:
        return Call(template.format(id=chance.choice(owner.vehicles)), _signed_in(owner, chance))

    return make


def _sign_in(owner: Owner, chance: random.Random) -> Call:
    return Call("/v1/token", _from(chance) | _JSON, _json({"email": owner.email, "password": PASSWORD}))


def _refresh(owner: Owner, chance: random.Random) -> Call:
    if not owner.refresh_tokens:
        return _get("/v1/sessions")(owner, chance)
    return Call("/v1/refresh", _from(chance) | _JSON, _json({"refresh_token": owner.refresh_tokens.pop()}))


def _rename(owner: Owner, chance: random.Random) -> Call:
    path = f"/v1/vehicles/{chance.choice(owner.vehicles)}"
    return Call(path, _signed_in(owner, chance) | _JSON, _json({"name": f"car {chance.random()}"}))


def _ingest(owner: Owner, chance: random.Random) -> Call:
    began = int(utc_now().timestamp() * 1000) - 1000 * _SAMPLES
    message = {
        "schema": "telemetry.v1",
        "vin": chance.choice(owner.vins),
        "device_id": owner.device_id,
        "boot_id": "bench",
        "seq": next(owner.seq),
        "phase": "running",
        "t": [began + 1000 * n for n in range(_SAMPLES)],
        "clock": "synced",
        "signals": {name: [chance.randrange(3000) for _ in range(_SAMPLES)] for name in ("RPM", "SPEED", "MAF")},
    }
    headers = _signed_in(owner, chance) | _JSON | {"content-encoding": "gzip"}
    return Call("/v1/telemetry/ingest", headers, gzip.compress(_json([message])), 202)


_JSON: Final = {"content-type": "application/json"}
# Shares of an app that looks at its cars all the time and sends a minute of driving now and then.
ROUTES: Final = (
    Route(18, "GET", "/v1/vehicles/{id}/status", _get("/v1/vehicles/{id}/status")),
    Route(14, "GET", "/v1/vehicles", _get("/v1/vehicles")),
    Route(12, "GET", "/v1/vehicles/{id}/trips", _get("/v1/vehicles/{id}/trips")),
    Route(8, "GET", "/v1/vehicles/{id}/battery", _get("/v1/vehicles/{id}/battery")),
    Route(5, "GET", "/v1/vehicles/{id}/alerts", _get("/v1/vehicles/{id}/alerts?state=open")),
    Route(3, "GET", "/v1/vehicles/{id}/codes", _get("/v1/vehicles/{id}/codes")),
    Route(3, "GET", "/v1/vehicles/{id}/days", _get("/v1/vehicles/{id}/days")),
    Route(2, "GET", "/v1/vehicles/{id}/score", _get("/v1/vehicles/{id}/score")),
    Route(2, "GET", "/v1/vehicles/{id}/health-report", _get("/v1/vehicles/{id}/health-report")),
    Route(1, "GET", "/v1/vehicles/{id}", _get("/v1/vehicles/{id}")),
    Route(1, "GET", "/v1/vehicles/{id}/shares", _get("/v1/vehicles/{id}/shares")),
    Route(5, "GET", "/v1/account", _get("/v1/account")),
    Route(5, "GET", "/v1/sessions", _get("/v1/sessions")),
    Route(5, "GET", "/readyz", _get("/readyz")),
    Route(10, "POST", "/v1/telemetry/ingest", _ingest),
    Route(3, "PATCH", "/v1/vehicles/{id}", _rename),
    Route(2, "POST", "/v1/refresh", _refresh),
    Route(1, "POST", "/v1/token", _sign_in),
)


def filled(connection: Connection, services: Services, now: datetime) -> list[Owner]:
    """Make the accounts, their sessions and their cars, in one transaction of the caller's."""
    kept = services.passwords.hash(PASSWORD)
    secret = services.settings.lake_key()
    return [_owner(connection, services, number, kept, secret, now) for number in range(ACCOUNTS)]


def _owner(
    connection: Connection, services: Services, number: int, kept: str, secret: bytes, now: datetime
) -> Owner:
    account_id, email = uuid4(), f"owner{number}@example.org"
    connection.execute(
        insert(Account).values(account_id=account_id, email=email, password_hash=kept, created_at=now)
    )
    device_id = connection.execute(select(Account.device_id).where(Account.account_id == account_id)).scalar_one()
    opened = [
        sessions.open_session(connection, account_id, None, now, services.settings)
        for _ in range(1 + _REFRESHES_OF_AN_ACCOUNT)
    ]
    vins = [f"WVWZZZ1JZXW{number * CARS_OF_AN_ACCOUNT + n:06d}" for n in range(CARS_OF_AN_ACCOUNT)]
    vehicles = []
    for vin in vins:
        made, _ = garage.register(connection, account_id, vin, vehicle_id(vin, secret), None, now)
        garage.confirm(connection, made, now)
        vehicles.append(made)
    access_token = services.access_tokens.issue(opened[0].access)
    return Owner(email, account_id, device_id, access_token, [one.token for one in opened[1:]], vins, vehicles)


def _signed_in(owner: Owner, chance: random.Random) -> dict[str, str]:
    return _from(chance) | {"authorization": f"Bearer {owner.access_token}"}


def _from(chance: random.Random) -> dict[str, str]:
    """From anywhere: one address alone would be told to wait."""
    return {"x-forwarded-for": f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"}


def _json(body: object) -> bytes:
    return json.dumps(body).encode()
