"""Sessions: a family of refresh tokens, of which one at a time is good, once.

A refresh token is 256 random bits; the database knows its SHA-256. Using it marks it used and gives the next one,
in one statement. Presenting it again, at whatever later time, ends the family in the same statement: either the
owner or a thief holds the newer one, and nobody can tell which.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, delete, insert, select, text, update

from smartdrive_api.identity.access_tokens import Access
from smartdrive_api.models import RefreshToken, Session
from smartdrive_api.settings import Settings

_PREFIX: Final = "sdr_"  # so that whoever scans for leaked secrets knows it
_FORM: Final = re.compile(r"sdr_[A-Za-z0-9_-]{43}")

# Of statements that run at once the first locks the token's row; the others wait, see it used, and end the family.
_ROTATE: Final = text(
    """
    with used as (
        update refresh_tokens as token set used_at = :now
        from sessions as session
        where token.token_hash = :presented and token.used_at is null and token.expires_at > :now
          and session.session_id = token.session_id and session.revoked_at is null and session.expires_at > :now
        returning token.session_id, session.account_id, least(:now + :idle, session.expires_at) as expires_at
    ), issued as (
        insert into refresh_tokens (token_hash, session_id, issued_at, expires_at)
        select :following, session_id, :now, expires_at from used
    ), touched as (
        update sessions set last_used_at = :now where session_id = (select session_id from used)
    ), revoked as (
        update sessions set revoked_at = :now
        where revoked_at is null and not exists (select from used)
          and session_id = (select session_id from refresh_tokens
                            where token_hash = :presented and (used_at is not null or expires_at > :now))
    )
    select session_id, account_id, expires_at from used
    """
)

# Asked before every answer: text, since SQLAlchemy takes longer to make this statement than PostgreSQL to run it.
_LIVE: Final = text(
    """
    select 1 from sessions
    where session_id = :session_id and account_id = :account_id and revoked_at is null and expires_at > :now
    """
)


@dataclass(frozen=True, slots=True, repr=False)
class Refresh:
    """A refresh token as its holder gets it, once."""

    token: str
    expires_at: datetime
    access: Access


def open_session(
    connection: Connection, account_id: UUID, device: str | None, now: datetime, settings: Settings
) -> Refresh:
    """Begin a session with its first refresh token."""
    access = Access(account_id, uuid4())
    ends = now + timedelta(seconds=settings.session_absolute_s)
    expires = min(ends, now + timedelta(seconds=settings.session_idle_s))
    token = _new_token()
    connection.execute(
        insert(Session).values(
            session_id=access.session_id,
            account_id=account_id,
            device=device,
            created_at=now,
            last_used_at=now,
            expires_at=ends,
        )
    )
    connection.execute(
        insert(RefreshToken).values(
            token_hash=_hash(token), session_id=access.session_id, issued_at=now, expires_at=expires
        )
    )
    return Refresh(token, expires, access)


def rotate(connection: Connection, presented: str, now: datetime, settings: Settings) -> Refresh | None:
    """Use a refresh token and give the next one; None where it is not good, and its family ends if it has one."""
    if not _FORM.fullmatch(presented):
        return None
    token = _new_token()
    row = connection.execute(
        _ROTATE,
        {
            "presented": _hash(presented),
            "following": _hash(token),
            "now": now,
            "idle": timedelta(seconds=settings.session_idle_s),
        },
    ).one_or_none()
    return Refresh(token, row.expires_at, Access(row.account_id, row.session_id)) if row else None


def is_live(connection: Connection, access: Access, now: datetime) -> bool:
    """Whether the session of an access token has neither ended nor been revoked."""
    values = {"session_id": access.session_id, "account_id": access.account_id, "now": now}
    return connection.execute(_LIVE, values).first() is not None


def live_sessions(connection: Connection, account_id: UUID, now: datetime) -> list[Session]:
    """The sessions of an account that can still be used, newest first."""
    newest = (
        select(RefreshToken.expires_at)
        .where(RefreshToken.session_id == Session.session_id, RefreshToken.used_at.is_(None))
        .correlate(Session)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(Session.__table__)
        .where(
            Session.account_id == account_id, Session.revoked_at.is_(None), Session.expires_at > now, newest > now
        )
        .order_by(Session.created_at.desc(), Session.session_id)
    )
    return [Session(**row) for row in rows.mappings()]


def revoke(
    connection: Connection,
    account_id: UUID,
    now: datetime,
    session_id: UUID | None = None,
    *,
    but: UUID | None = None,
) -> int:
    """End one session of an account, or all, or all but one; how many were ended."""
    ended = update(Session).where(
        Session.account_id == account_id, Session.revoked_at.is_(None), Session.expires_at > now
    )
    if session_id is not None:
        ended = ended.where(Session.session_id == session_id)
    if but is not None:
        ended = ended.where(Session.session_id != but)
    return connection.execute(ended.values(revoked_at=now)).rowcount


def forget_ended(connection: Connection, now: datetime) -> int:
    """Delete sessions, with their tokens, that ended long enough ago to be of no use to anybody."""
    return connection.execute(delete(Session).where(Session.expires_at <= now)).rowcount


def hashed(token: str) -> bytes | None:
    """What the database knows of a refresh token; None for a text that is none."""
    return _hash(token) if _FORM.fullmatch(token) else None


def _new_token() -> str:
    return _PREFIX + secrets.token_urlsafe(32)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()
