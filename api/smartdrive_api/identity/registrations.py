"""Registrations: what somebody asks for, and what the operator makes of it.

Nobody who asks is told whether the address has an account: a registration is stored in either case, and the
operator, to whom the person names its id, makes the account.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from smartdrive_api.identity.sessions import revoke
from smartdrive_api.models import Account, Registration


class RefusedError(RuntimeError):
    """What the operator asks for cannot be done; the message says why and what to do."""


def register(connection: Connection, email: str, password_hash: str, now: datetime, days: int) -> Registration:
    """Store a registration."""
    made = {
        "registration_id": uuid4(),
        "email": email,
        "password_hash": password_hash,
        "created_at": now,
        "expires_at": now + timedelta(days=days),
    }
    connection.execute(insert(Registration).values(**made))
    return Registration(**made)


def pending(connection: Connection, now: datetime) -> list[Registration]:
    """Registrations that can still be confirmed, oldest first."""
    rows = connection.execute(
        select(Registration.__table__).where(Registration.expires_at > now).order_by(Registration.created_at)
    )
    return [Registration(**row) for row in rows.mappings()]


def confirm(
    connection: Connection, registration_id: UUID, now: datetime, *, replace_password: bool = False
) -> str:
    """Make the account that a registration asks for; the account's address.

    Args:
        connection: within a transaction.
        registration_id: what the person was given when it registered.
        now: the time.
        replace_password: give an account that exists the new password, and end its sessions.

    Raises:
        RefusedError: there is no such registration, or there is an account and its password is not to be replaced.
    """
    row = connection.execute(
        delete(Registration)
        .where(Registration.registration_id == registration_id, Registration.expires_at > now)
        .returning(Registration.email, Registration.password_hash)
    ).one_or_none()
    if row is None:
        raise RefusedError("there is no such registration (any more): see `smartdrive-api accounts pending`")
    made = connection.execute(
        upsert(Account)
        .values(account_id=uuid4(), email=row.email, password_hash=row.password_hash, created_at=now)
        .on_conflict_do_nothing(index_elements=[Account.email])
        .returning(Account.account_id)
    ).first()
    if made is None:
        if not replace_password:
            raise RefusedError(
                f"{row.email} has an account. If its owner has forgotten the password, and it is the owner "
                "who asks, say --replace-password"
            )
        account_id = connection.execute(
            update(Account)
            .where(Account.email == row.email)
            .values(password_hash=row.password_hash)
            .returning(Account.account_id)
        ).scalar_one()
        revoke(connection, account_id, now)
    return str(row.email)


def forget_expired(connection: Connection, now: datetime) -> int:
    """Delete registrations that nobody confirmed in time."""
    return connection.execute(delete(Registration).where(Registration.expires_at <= now)).rowcount
