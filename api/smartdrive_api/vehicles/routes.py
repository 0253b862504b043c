"""The routes of vehicles: register, look, rename, share, release."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import Row

from smartdrive_api.bodies import Body, Email, Label
from smartdrive_api.database import autocommit
from smartdrive_api.identity import rate_limits
from smartdrive_api.identity.caller import SIGNED_IN, Caller
from smartdrive_api.identity.routes import identity_of
from smartdrive_api.problems import Problem, responses
from smartdrive_api.secret_values import SecretUnavailableError
from smartdrive_api.services import NeedsServices, Services
from smartdrive_api.vehicles import garage
from smartdrive_api.vehicles.vin import CheckDigit, check_digit, is_vin, vehicle_id

router = APIRouter(prefix="/v1/vehicles", tags=["vehicles"], dependencies=SIGNED_IN)

_ID: Final = "0c2b3a55-9d3e-4a44-9b1c-1f7b7c3f2a10"
_AT: Final = "2025-06-01T08:00:00Z"
_LOG: Final = logging.getLogger("smartdrive_api")


def _vin(text: str) -> str:
    folded = text.strip().upper()
    if not text.isascii() or not is_vin(folded):
        raise ValueError("A VIN is expected: 17 letters and digits, without I, O and Q.")
    return folded


class Registering(Body):
    """A vehicle that the caller says is theirs."""

    vin: Annotated[str, AfterValidator(_vin), Field(examples=["1M8GDM9AXKP042788"])]
    name: Label | None = None


class Renaming(Body):
    """A vehicle's new name."""

    name: Annotated[Label | None, Field(description="null takes the name away")]


class Sharing(Body):
    """With whom a vehicle is shared."""

    email: Email


class Warned(BaseModel):
    """Something that may be a mistake, and did not keep the API from doing what was asked."""

    code: Literal["check_digit"]
    detail: str


class OneVehicle(BaseModel):
    """A vehicle that the caller may see. What only its owner sees is null for others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "access": "owner",
                    "status": "confirmed",
                    "name": "the blue one",
                    "vin": "1M8GDM9AXKP042788",
                    "vehicle_id": "kxuke6pnq4z2m7c5w3t6y2b4ae",
                    "check_digit": "valid",
                    "warnings": [],
                    "created_at": _AT,
                    "confirmed_at": _AT,
                    "data_from": None,
                }
            ]
        }
    )

    id: Annotated[UUID, Field(description="names this registration, in paths")]
    access: Annotated[Literal["owner", "shared"], Field(description="shared: read-only")]
    status: Annotated[
        Literal["unconfirmed", "confirmed"],
        Field(description="unconfirmed: the operator has not confirmed it yet"),
    ]
    name: str | None
    vin: Annotated[str | None, Field(description="for the owner alone")]
    vehicle_id: Annotated[str | None, Field(description="the lake's pseudonym, for the owner, once confirmed")]
    check_digit: Annotated[
        CheckDigit | None, Field(description="not_used: it does not fit, where nobody prescribes that it does")
    ]
    warnings: list[Warned]
    created_at: datetime
    confirmed_at: datetime | None
    data_from: Annotated[datetime | None, Field(description="nothing older is shown; null: no bound")]


class Vehicles(BaseModel):
    """The caller's vehicles, oldest registration first."""

    vehicles: list[OneVehicle]


class OneShare(BaseModel):
    """An address that may see a vehicle, whether or not it has an account."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"share_id": _ID, "email": "ben@example.org", "created_at": _AT}]}
    )

    share_id: UUID
    email: str
    created_at: datetime


class Shares(BaseModel):
    """With whom a vehicle is shared."""

    shares: list[OneShare]


@router.post(
    "",
    status_code=201,
    responses={
        200: {"description": "Registered before", "model": OneVehicle},
        **responses(401, 409, 422, 429, 503),
    },
)
def register(body: Registering, response: Response, caller: Caller, services: NeedsServices) -> OneVehicle:
    """Register a vehicle by its VIN. It shows nothing until the operator has confirmed that it is the caller's.

    The answer does not depend on what others have registered.
    """
    now = services.now()
    rate_limits.take(services.engine, rate_limits.REGISTER_VEHICLE, str(caller.account_id), now)
    pseudonym = vehicle_id(body.vin, _lake_key(services))
    with services.engine.begin() as connection:
        made, is_new = garage.register(connection, caller.account_id, body.vin, pseudonym, body.name, now)
        found = garage.seen(connection, caller.account_id, made)
    if not is_new:
        response.status_code = 200
    return _shown(found)


@router.get("", responses=responses(401, 503))
def list_vehicles(caller: Caller, services: NeedsServices) -> Vehicles:
    """The vehicles that the caller registered or that are shared with the caller."""
    with autocommit(services.engine) as connection:
        found = garage.visible(connection, caller.account_id)
    return Vehicles(vehicles=[_shown(one) for one in found])


@router.get("/{id}", responses=responses(401, 404, 503))
def get_vehicle(id: str, caller: Caller, services: NeedsServices) -> OneVehicle:  # noqa: A002 - the path's own word
    """One vehicle."""
    with autocommit(services.engine) as connection:
        return _shown(garage.seen(connection, caller.account_id, identity_of(id)))


@router.patch("/{id}", responses=responses(401, 403, 404, 422, 503))
def rename(id: str, body: Renaming, caller: Caller, services: NeedsServices) -> OneVehicle:  # noqa: A002
    """Give a vehicle another name. Its viewers see it too."""
    with services.engine.begin() as connection:
        found = garage.owned(connection, caller.account_id, identity_of(id))
        garage.rename(connection, found.registration_id, body.name)
        return _shown(garage.seen(connection, caller.account_id, found.registration_id))


@router.delete("/{id}", status_code=204, responses=responses(401, 404, 503))
def release(id: str, caller: Caller, services: NeedsServices) -> Response:  # noqa: A002
    """Give a vehicle up; a viewer leaves it. This erases no telemetry."""
    with services.engine.begin() as connection:
        found = garage.seen(connection, caller.account_id, identity_of(id))
        if found.is_owner:
            garage.release(connection, found.registration_id, services.now())
        else:
            garage.leave(connection, caller.account_id, found.registration_id)
    return Response(status_code=204)


@router.get("/{id}/shares", responses=responses(401, 403, 404, 503))
def list_shares(id: str, caller: Caller, services: NeedsServices) -> Shares:  # noqa: A002
    """With whom a vehicle is shared: for its owner."""
    with autocommit(services.engine) as connection:
        found = garage.owned(connection, caller.account_id, identity_of(id))
        return Shares(shares=[_share(one) for one in garage.shares(connection, found.registration_id)])


@router.post(
    "/{id}/shares",
    status_code=201,
    responses={
        200: {"description": "Shared before", "model": OneShare},
        **responses(401, 403, 404, 409, 422, 429, 503),
    },
)
def share(
    id: str,  # noqa: A002
    body: Sharing,
    response: Response,
    caller: Caller,
    services: NeedsServices,
) -> OneShare:
    """Let an address see a vehicle. The answer does not tell whether the address has an account."""
    with autocommit(services.engine) as connection:
        garage.owned(connection, caller.account_id, identity_of(id))
    rate_limits.take(services.engine, rate_limits.SHARE, str(caller.account_id), services.now())
    with services.engine.begin() as connection:
        found = garage.owned(connection, caller.account_id, identity_of(id))
        made, is_new = garage.share(connection, found, body.email, services.now())
    if not is_new:
        response.status_code = 200
    return _share(made)


@router.delete("/{id}/shares/{share_id}", status_code=204, responses=responses(401, 403, 404, 503))
def unshare(id: str, share_id: str, caller: Caller, services: NeedsServices) -> Response:  # noqa: A002
    """End a share, at once."""
    with services.engine.begin() as connection:
        found = garage.owned(connection, caller.account_id, identity_of(id))
        garage.unshare(connection, found.registration_id, identity_of(share_id))
    return Response(status_code=204)


def _lake_key(services: Services) -> bytes:
    try:
        return services.settings.lake_key()
    except SecretUnavailableError as error:
        _LOG.error("vehicles cannot be registered: %s", error)
        raise Problem(503, "no_lake", "This server does not know its lake's secret: tell its operator.") from None


def _shown(row: Row[Any]) -> OneVehicle:
    digit = check_digit(row.vin) if row.is_owner else None
    wrong = Warned(
        code="check_digit", detail="The check digit does not fit: compare the VIN with the vehicle's papers."
    )
    return OneVehicle(
        id=row.registration_id,
        access="owner" if row.is_owner else "shared",
        status="unconfirmed" if row.confirmed_at is None else "confirmed",
        name=row.name,
        vin=row.vin if row.is_owner else None,
        vehicle_id=row.vehicle_id if row.is_owner and row.confirmed_at else None,
        check_digit=digit,
        warnings=[wrong] if digit == "invalid" else [],
        created_at=row.created_at,
        confirmed_at=row.confirmed_at,
        data_from=row.data_from,
    )


def _share(one: Any) -> OneShare:
    return OneShare(share_id=one["share_id"], email=one["email"], created_at=one["created_at"])
