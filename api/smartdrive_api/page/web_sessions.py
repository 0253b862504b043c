"""Sessions of a browser: the cookie holds a refresh token of the session, which is looked up and never used up.

It is no access token, so that ending the session ends it at once, and it is rotated by nobody, so that two tabs
that load together do not end it. The cookie is for this host alone, unseen by scripts, and not sent along from
other sites; a form that changes something has to come from a page of this origin besides.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from fastapi import Request, Response
from sqlalchemy import Connection, select, update

from smartdrive_api.identity.access_tokens import Access
from smartdrive_api.identity.sessions import hashed
from smartdrive_api.models import RefreshToken, Session
from smartdrive_api.settings import Settings

COOKIE: Final = "__Host-session"
_NOTED_EVERY: Final = timedelta(minutes=1)  # a session's last use, in the list of sessions


def keep(response: Response, token: str) -> None:
    """Give the browser its cookie, until it is closed."""
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="strict")


def forget(response: Response) -> None:
    """Take the cookie away."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


def holder(connection: Connection, request: Request, now: datetime, settings: Settings) -> Access | None:
    """Whose page it is; None for nobody's."""
    token = hashed(request.cookies.get(COOKIE, ""))
    if token is None:
        return None
    row = connection.execute(
        select(Session.session_id, Session.account_id, Session.last_used_at, Session.expires_at)
        .join(RefreshToken, RefreshToken.session_id == Session.session_id)
        .where(
            RefreshToken.token_hash == token,
            RefreshToken.used_at.is_(None),
            RefreshToken.expires_at > now,
            Session.revoked_at.is_(None),
            Session.expires_at > now,
        )
    ).one_or_none()
    if row is None:
        return None
    if now - row.last_used_at >= _NOTED_EVERY:
        idle = timedelta(seconds=settings.session_idle_s)
        connection.execute(update(Session).where(Session.session_id == row.session_id).values(last_used_at=now))
        connection.execute(
            update(RefreshToken)
            .where(RefreshToken.token_hash == token)
            .values(expires_at=min(now + idle, row.expires_at))
        )
    return Access(row.account_id, row.session_id)


def is_from_here(request: Request) -> bool:
    """Whether a form was sent by a page of this origin. A browser says so, and no page can say it for it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] == request.headers.get("host")
