"""The routes of erasure: an account, a vehicle, and what became of it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from smartdrive_api.bodies import Body
from smartdrive_api.database import autocommit
from smartdrive_api.erasures import requests
from smartdrive_api.identity import rate_limits
from smartdrive_api.identity.caller import SIGNED_IN, Caller
from smartdrive_api.identity.passwords import MAX_LENGTH
from smartdrive_api.identity.routes import identity_of
from smartdrive_api.models import Account
from smartdrive_api.problems import Problem, responses
from smartdrive_api.services import NeedsServices
from smartdrive_api.vehicles import garage

router = APIRouter(prefix="/v1", tags=["erasure"])

_ID = "5b0c1f3e-8a52-4a0e-9a55-2f7d0a3c9e10"
_AT = "2025-06-01T08:00:00Z"


class Deleting(Body):
    """That it is the account's owner who asks."""

    password: Annotated[str, Field(description="the account's, once more", examples=["three words and 1 number"])]


class Requested(BaseModel):
    """What was asked for. Keep the ids: they say what became of it, with no account."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"erasures": [_ID]}]})

    erasures: Annotated[list[UUID], Field(description="one for each vehicle that will be erased")]


class Erasure(BaseModel):
    """What became of a request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"state": "finished", "requested_at": _AT, "finished_at": _AT, "receipt": {"schema": "…"}}
            ]
        }
    )

    state: Annotated[
        Literal["requested", "under_way", "finished"],
        Field(description="under_way: nothing of the vehicle is taken in any more"),
    ]
    requested_at: datetime
    finished_at: datetime | None
    receipt: Annotated[
        dict[str, Any] | None, Field(description="signed by the lake: what was removed, and what nobody can reach")
    ]


@router.delete("/account", status_code=202, dependencies=SIGNED_IN, responses=responses(401, 403, 422, 429, 503))
def delete_account(body: Deleting, caller: Caller, services: NeedsServices) -> Requested:
    """Delete the account at once, and have its confirmed vehicles erased from every store of the lake.

    A vehicle that another account owns too is not erased. There is no way back.
    """
    now = services.now()
    with autocommit(services.engine) as connection:
        account = connection.execute(
            select(Account.email, Account.password_hash).where(Account.account_id == caller.account_id)
        ).one_or_none()
    if account is None:  # deleted by another request meanwhile
        raise Problem(401)
    rate_limits.take(services.engine, rate_limits.SIGN_IN_TO_ACCOUNT, account.email, now)
    if not services.passwords.verify(body.password[: MAX_LENGTH + 1], account.password_hash):
        raise Problem(403, "wrong_password", "The password is not this account's.")
    with services.engine.begin() as connection:
        return Requested(erasures=requests.delete_account(connection, caller.account_id, now))


@router.delete(
    "/vehicles/{id}/data",
    status_code=202,
    dependencies=SIGNED_IN,
    responses=responses(401, 403, 404, 409, 503),
)
def erase_vehicle(id: str, caller: Caller, services: NeedsServices) -> Requested:  # noqa: A002 - the path's own word
    """Have all data of a vehicle erased from every store of the lake; its registration and shares go at once.

    What it sends from then on is not taken in either. There is no way back. To give a vehicle up and leave its
    data to the lake, release it.
    """
    with services.engine.begin() as connection:
        vehicle = garage.owned(connection, caller.account_id, identity_of(id))
        return Requested(erasures=[requests.erase_vehicle(connection, vehicle, services.now())])


@router.get("/erasures/{erasure_id}", responses=responses(404, 503))
def get_erasure(
    erasure_id: Annotated[str, Path(description="as the request for it was answered", examples=[_ID])],
    services: NeedsServices,
) -> Erasure:
    """What became of a request to erase. Who has its id may ask: the account may be gone."""
    with autocommit(services.engine) as connection:
        row = requests.found(connection, identity_of(erasure_id))
    state: Literal["requested", "under_way", "finished"] = "requested"
    if row.tombstone is not None:
        state = "under_way" if row.finished_at is None else "finished"
    return Erasure(
        state=state,
        requested_at=row.requested_at,
        finished_at=row.finished_at,
        receipt=None if row.receipt is None else json.loads(row.receipt),
    )
