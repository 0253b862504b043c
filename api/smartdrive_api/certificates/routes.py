"""The route of certificates: for a vehicle's owner alone, who decides whom to hand it to."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

from fastapi import APIRouter, Path, Response

from smartdrive_api.certificates.content import VALID_FOR, content
from smartdrive_api.certificates.contract import canonical, contract
from smartdrive_api.database import autocommit
from smartdrive_api.figures import reading
from smartdrive_api.identity import rate_limits
from smartdrive_api.identity.caller import SIGNED_IN, Caller
from smartdrive_api.identity.routes import identity_of
from smartdrive_api.problems import Problem, responses
from smartdrive_api.secret_values import SecretUnavailableError
from smartdrive_api.services import NeedsServices, Services
from smartdrive_api.vehicles import garage

router = APIRouter(tags=["certificates"])

_PDF: Final = "application/pdf"
_PEM: Final = "application/x-pem-file"
_LOG: Final = logging.getLogger("smartdrive_api")


@router.get(
    "/v1/vehicles/{id}/certificate",
    response_class=Response,
    responses={
        200: {"content": {_PDF: {}}, "description": "The signed certificate"},
        **responses(401, 403, 404, 409, 429, 503),
    },
    dependencies=SIGNED_IN,
)
def certificate(
    id: Annotated[str, Path(description="of the registration")],  # noqa: A002 - the path says so
    caller: Caller,
    services: NeedsServices,
) -> Response:
    """A signed PDF of battery health, mileage, driving style and trouble codes, with its rows. It shows the VIN.

    It covers all that its owner may see. For the owner alone.
    """
    with autocommit(services.engine) as connection:
        vehicle = garage.owned(connection, caller.account_id, identity_of(id))
        sight = reading.sight(vehicle)
    now = services.now().replace(microsecond=0)
    rate_limits.take(services.engine, rate_limits.CERTIFICATE, str(caller.account_id), now)
    number = uuid4()
    # One state throughout: the lake may publish between two questions.
    with services.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        said = content(connection, sight, vehicle, number, now, services.settings.issuer)
    pdf = _closed(services, said, number, now)
    headers = {"Content-Disposition": 'attachment; filename="certificate.pdf"', "Cache-Control": "no-store"}
    return Response(pdf, media_type=_PDF, headers=headers)


@router.get(
    "/.well-known/certificate-authority.pem",
    response_class=Response,
    responses={
        200: {"content": {_PEM: {}}, "description": "An X.509 certificate"},
        **responses(503),
    },
)
def certificate_authority(services: NeedsServices) -> Response:
    """The X.509 certificate of the authority that vouches for certificates, for whoever checks one."""
    try:
        pem = services.authority.authority().pem
    except SecretUnavailableError as error:
        raise _no_authority(error) from None
    return Response(pem, media_type=_PEM)


def _closed(services: Services, said: dict[str, Any], number: UUID, now: datetime) -> bytes:
    # Libraries of a third of a second, which few requests need.
    from smartdrive_api.certificates.pages import rendered
    from smartdrive_api.certificates.signing import signed

    agreed = contract()
    try:
        authority = services.authority.authority()
        pages = rendered(agreed, said, authority.fingerprint)
        return signed(
            pages,
            canonical(said),
            authority,
            name=agreed.attachment,
            number=number,
            now=now,
            until=now + VALID_FOR,
        )
    except SecretUnavailableError as error:
        raise _no_authority(error) from None


def _no_authority(error: SecretUnavailableError) -> Problem:
    _LOG.error("no certificate can be signed: %s", error)
    return Problem(503, "no_authority", "This server cannot sign certificates: tell its operator.")
