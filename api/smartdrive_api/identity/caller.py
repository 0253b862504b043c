"""Who calls: the one dependency of every route that is not for everybody."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from smartdrive_api.database import autocommit
from smartdrive_api.identity.access_tokens import Access, InvalidTokenError
from smartdrive_api.identity.sessions import is_live
from smartdrive_api.problems import Problem
from smartdrive_api.services import NeedsServices

# For OpenAPI alone: the header is read below, where every oddity is a 401.
_SCHEME: Final = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="accessToken")


def _caller(request: Request, services: NeedsServices) -> Access:
    headers = request.headers.getlist("authorization")
    if not headers:
        raise Problem(401, headers={"WWW-Authenticate": "Bearer"})
    scheme, _, token = headers[0].partition(" ")
    try:
        if len(headers) > 1 or scheme.lower() != "bearer":
            raise InvalidTokenError
        access = services.access_tokens.read(token)
    except InvalidTokenError:
        raise _invalid() from None
    with autocommit(services.engine) as connection:
        # A signature alone would let a session live on for a quarter of an hour after its owner ended it.
        if not is_live(connection, access, services.now()):
            raise _invalid()
    return access


def _invalid() -> Problem:
    return Problem(
        401,
        "invalid_token",
        "The access token is not good, or not any more. Refresh it or sign in.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


Caller = Annotated[Access, Depends(_caller)]
SIGNED_IN: Final = [Depends(_SCHEME)]
