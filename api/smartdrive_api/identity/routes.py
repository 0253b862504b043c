"""The routes of identity: register, sign in, refresh, sign out, and look at one's sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, update

from smartdrive_api.bodies import Body, Email, Label
from smartdrive_api.database import autocommit
from smartdrive_api.identity import rate_limits, registrations, sessions
from smartdrive_api.identity.caller import SIGNED_IN, Caller
from smartdrive_api.identity.passwords import MAX_LENGTH, MIN_LENGTH, objection
from smartdrive_api.models import Account
from smartdrive_api.problems import FieldError, Problem, invalid, not_found, responses
from smartdrive_api.services import NeedsServices, Services, client_address

router = APIRouter(prefix="/v1", tags=["identity"])

_ID: Final = "7d7f6f0e-5a44-4b7e-9a70-1f6c5a0f9c11"
_AT: Final = "2025-06-01T08:00:00Z"
Password = Annotated[
    str,
    Field(
        description=f"{MIN_LENGTH} to {MAX_LENGTH} characters, none of the commonest",
        examples=["three words and 1 number"],
    ),
]


class Registering(Body):
    """What somebody who wants an account says."""

    email: Email
    password: Password


class Registered(BaseModel):
    """The same answer for every address, whether it has an account or not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"registration_id": _ID, "expires_at": "2025-06-08T08:00:00Z", "next": "Tell the operator …"}
            ]
        }
    )

    registration_id: UUID
    expires_at: datetime
    next: str = "Tell the operator of this server the registration_id. Sign in once it is confirmed."


class SigningIn(Body):
    """What somebody who signs in says."""

    email: Email
    password: Password
    device: Annotated[Label | None, Field(description="a name under which the session is listed")] = None


class Refreshing(Body):
    """The refresh token of this session."""

    refresh_token: Annotated[str, Field(examples=["sdr_9Qf…"])]


class Tokens(BaseModel):
    """What a client keeps of a session. The refresh token is good once; the answer to its use holds the next."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJSUzI1NiIs…",
                    "token_type": "Bearer",
                    "expires_in": 900,
                    "refresh_token": "sdr_9Qf…",
                    "refresh_expires_at": "2025-06-15T08:00:00Z",
                }
            ]
        }
    )

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme (RFC 6750)
    expires_in: Annotated[int, Field(description="seconds")]
    refresh_token: str
    refresh_expires_at: datetime


class OneSession(BaseModel):
    """A session of the caller's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": _ID,
                    "device": "phone",
                    "created_at": _AT,
                    "last_used_at": _AT,
                    "expires_at": "2025-08-30T08:00:00Z",
                    "is_current": True,
                }
            ]
        }
    )

    session_id: UUID
    device: str | None
    created_at: datetime
    last_used_at: Annotated[datetime, Field(description="when it was last refreshed")]
    expires_at: Annotated[datetime, Field(description="when it ends in any case")]
    is_current: bool


class Sessions(BaseModel):
    """The caller's sessions, newest first."""

    sessions: list[OneSession]


@router.post("/register", status_code=202, responses=responses(422, 429, 503))
def register(body: Registering, request: Request, services: NeedsServices) -> Registered:
    """Ask for an account. The answer does not tell whether the address has one."""
    settings, now = services.settings, services.now()
    address = rate_limits.household(client_address(request, settings.trusted_proxies))
    rate_limits.take(services.engine, rate_limits.REGISTER, address, now)
    if reason := objection(body.password, body.email):
        raise invalid(FieldError(pointer="#/password", code="password_refused", detail=reason))
    kept = services.passwords.hash(body.password)
    with services.engine.begin() as connection:
        made = registrations.register(connection, body.email, kept, now, settings.registration_days)
    return Registered(registration_id=made.registration_id, expires_at=made.expires_at)


@router.post("/token", responses=responses(401, 422, 429, 503))
def token(body: SigningIn, request: Request, services: NeedsServices) -> Tokens:
    """Sign in: begin a session. An unknown address and a wrong password are one answer, and take as long."""
    return _tokens(services, sign_in(services, request, body.email, body.password, body.device))


def sign_in(
    services: Services, request: Request, email: str, password: str, device: str | None
) -> sessions.Refresh:
    """Begin a session, in as much time for an unknown address as for a wrong password.

    Args:
        services: of the app.
        request: from which address it is asked for.
        email: in lower case.
        password: as it was given.
        device: under which name the session is listed.

    Raises:
        Problem: 401 where they do not belong together, 429 after too many attempts.
    """
    now = services.now()
    address = rate_limits.household(client_address(request, services.settings.trusted_proxies))
    rate_limits.take(services.engine, rate_limits.SIGN_IN_OF_ADDRESS, address, now)
    rate_limits.take(services.engine, rate_limits.SIGN_IN_TO_ACCOUNT, email, now)
    with autocommit(services.engine) as connection:
        account = connection.execute(
            select(Account.account_id, Account.password_hash).where(Account.email == email)
        ).one_or_none()
    given = password[: MAX_LENGTH + 1]  # longer than any that is kept: wrong, and as quickly so
    if not services.passwords.verify(given, account.password_hash if account else None) or account is None:
        raise Problem(401, "wrong_credentials", "No account has this address and this password.")
    outdated = services.passwords.is_outdated(account.password_hash)
    kept = services.passwords.hash(given) if outdated else None
    with services.engine.begin() as connection:
        if kept:
            connection.execute(
                update(Account)
                .where(Account.account_id == account.account_id, Account.password_hash == account.password_hash)
                .values(password_hash=kept)
            )
        return sessions.open_session(connection, account.account_id, device, now, services.settings)


@router.post("/refresh", responses=responses(401, 422, 429, 503))
def refresh(body: Refreshing, request: Request, services: NeedsServices) -> Tokens:
    """Use a refresh token, once. Using it again ends the session, since somebody has a copy of it."""
    now = services.now()
    address = rate_limits.household(client_address(request, services.settings.trusted_proxies))
    rate_limits.take(services.engine, rate_limits.REFRESH, address, now)
    with services.engine.begin() as connection:
        next_one = sessions.rotate(connection, body.refresh_token, now, services.settings)
    if next_one is None:
        raise Problem(401, "invalid_refresh_token", "The refresh token is not good, or not any more. Sign in.")
    return _tokens(services, next_one)


@router.post("/logout", status_code=204, dependencies=SIGNED_IN, responses=responses(401, 503))
def logout(caller: Caller, services: NeedsServices) -> Response:
    """End the session of the access token, at once."""
    with services.engine.begin() as connection:
        sessions.revoke(connection, caller.account_id, services.now(), caller.session_id)
    return Response(status_code=204)


@router.get("/sessions", dependencies=SIGNED_IN, responses=responses(401, 503))
def list_sessions(caller: Caller, services: NeedsServices) -> Sessions:
    """The caller's sessions that can still be used."""
    with autocommit(services.engine) as connection:
        found = sessions.live_sessions(connection, caller.account_id, services.now())
    return Sessions(
        sessions=[
            OneSession(
                session_id=one.session_id,
                device=one.device,
                created_at=one.created_at,
                last_used_at=one.last_used_at,
                expires_at=one.expires_at,
                is_current=one.session_id == caller.session_id,
            )
            for one in found
        ]
    )


@router.delete("/sessions", status_code=204, dependencies=SIGNED_IN, responses=responses(401, 503))
def end_all_sessions(caller: Caller, services: NeedsServices) -> Response:
    """End all sessions of the caller's, this one too."""
    with services.engine.begin() as connection:
        sessions.revoke(connection, caller.account_id, services.now())
    return Response(status_code=204)


@router.delete(
    "/sessions/{session_id}", status_code=204, dependencies=SIGNED_IN, responses=responses(401, 404, 503)
)
def end_session(session_id: str, caller: Caller, services: NeedsServices) -> Response:
    """End one session of the caller's, at once."""
    with services.engine.begin() as connection:
        if not sessions.revoke(connection, caller.account_id, services.now(), identity_of(session_id)):
            raise not_found()
    return Response(status_code=204)


def identity_of(text: str) -> UUID:
    """An identity from a path.

    Raises:
        Problem: 404, as for any identity that is not the caller's, where it is none at all.
    """
    try:
        found = UUID(text)
    except ValueError:
        raise not_found() from None
    if str(found) != text:
        raise not_found()
    return found


def _tokens(services: Services, opened: sessions.Refresh) -> Tokens:
    return Tokens(
        access_token=services.access_tokens.issue(opened.access),
        expires_in=services.settings.access_token_s,
        refresh_token=opened.token,
        refresh_expires_at=opened.expires_at,
    )
