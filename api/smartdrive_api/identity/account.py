"""The caller's own account: what it is, and its password."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select, update

from smartdrive_api.bodies import Body
from smartdrive_api.database import autocommit
from smartdrive_api.identity import rate_limits, sessions
from smartdrive_api.identity.caller import SIGNED_IN, Caller
from smartdrive_api.identity.passwords import MAX_LENGTH, objection
from smartdrive_api.identity.personal_data import personal_data
from smartdrive_api.identity.routes import Password
from smartdrive_api.models import Account
from smartdrive_api.problems import FieldError, Problem, invalid, responses
from smartdrive_api.services import NeedsServices

router = APIRouter(prefix="/v1/account", tags=["identity"], dependencies=SIGNED_IN)

_EXAMPLE: Final[dict[str, Any]] = {
    "email": "mira@example.org",
    "device_id": "app-3f1c0f0e-8a53-4a6e-9f0a-2d6c1f0b7e42",
    "created_at": "2025-06-01T08:00:00Z",
}


class OneAccount(BaseModel):
    """An account, for its owner."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    email: str
    device_id: Annotated[
        str, Field(description="what messages to /v1/telemetry/ingest name; boot_id tells several phones apart")
    ]
    created_at: datetime


class ChangingPassword(Body):
    """The password that is, and the one that shall be."""

    current_password: Annotated[str, Field(examples=["the words that were"])]
    new_password: Password


@router.get("", responses=responses(401, 503))
def get_account(caller: Caller, services: NeedsServices) -> OneAccount:
    """The caller's account."""
    with autocommit(services.engine) as connection:
        row = connection.execute(
            select(Account.email, Account.device_id, Account.created_at).where(
                Account.account_id == caller.account_id
            )
        ).one()
    return OneAccount(email=row.email, device_id=row.device_id, created_at=row.created_at)


class PersonalData(BaseModel):
    """All that the API's database holds of a person, by table, but hashes of passwords and of tokens."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accounts": [_EXAMPLE],
                    "registrations": [],
                    "sessions": [],
                    "refresh_tokens": [],
                    "vehicles": [],
                    "vehicle_shares": [],
                }
            ]
        }
    )

    accounts: list[dict[str, Any]]
    registrations: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    refresh_tokens: list[dict[str, Any]]
    vehicles: list[dict[str, Any]]
    vehicle_shares: list[dict[str, Any]]


@router.get("/data", responses=responses(401, 503))
def get_personal_data(caller: Caller, services: NeedsServices) -> PersonalData:
    """All that the API knows of the caller. What the lake knows of a vehicle its operator exports."""
    with autocommit(services.engine) as connection:
        return PersonalData(**personal_data(connection, caller.account_id))


@router.put("/password", status_code=204, responses=responses(401, 403, 409, 422, 429, 503))
def change_password(body: ChangingPassword, caller: Caller, services: NeedsServices) -> Response:
    """Change the password. All other sessions of the account end."""
    now = services.now()
    rate_limits.take(services.engine, rate_limits.CHANGE_PASSWORD, str(caller.account_id), now)
    with autocommit(services.engine) as connection:
        account = connection.execute(
            select(Account.email, Account.password_hash).where(Account.account_id == caller.account_id)
        ).one()
    if not services.passwords.verify(body.current_password[: MAX_LENGTH + 1], account.password_hash):
        raise Problem(403, "wrong_password", "The current password is another.")
    if reason := objection(body.new_password, account.email):
        raise invalid(FieldError(pointer="#/new_password", code="password_refused", detail=reason))
    kept = services.passwords.hash(body.new_password)
    with services.engine.begin() as connection:
        changed = connection.execute(
            update(Account)
            .where(Account.account_id == caller.account_id, Account.password_hash == account.password_hash)
            .values(password_hash=kept)
        ).rowcount
        if (
            not changed
        ):  # the operator or another session was quicker, and what was asked for is not known any more
            raise Problem(409, "changed_meanwhile", "The password was changed meanwhile. Sign in anew.")
        sessions.revoke(connection, caller.account_id, now, but=caller.session_id)
    return Response(status_code=204)


def device_of(connection: Connection, account_id: UUID) -> str:
    """The device_id under which an account's messages travel: random, and no other account's."""
    return connection.execute(select(Account.device_id).where(Account.account_id == account_id)).scalar_one()
