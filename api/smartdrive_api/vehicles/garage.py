"""What the database knows of vehicles: who registered them, who sees them, and what the operator confirms.

Typing in a VIN proves nothing: it can be read through a windscreen. So a registration shows nothing and keeps
nobody else from registering the same vehicle. The operator, who knows whose collector sends for which car,
confirms it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from smartdrive_api.identity.registrations import RefusedError
from smartdrive_api.models import Account, Vehicle, VehicleShare
from smartdrive_api.problems import Problem, not_found

MAX_VEHICLES: Final = 50
MAX_SHARES: Final = 20

# Made once: it takes as long to make them as to have them answered.
_IS_MINE: Final = Vehicle.owner_id == bindparam("me")
_IS_SHARED_WITH_ME: Final = Vehicle.registration_id.in_(
    select(VehicleShare.registration_id)
    .join(Account, Account.email == VehicleShare.email)
    .where(Account.account_id == bindparam("me"))
)
_VISIBLE: Final = (
    select(*Vehicle.__table__.columns, _IS_MINE.label("is_owner"))
    .where(Vehicle.released_at.is_(None), _IS_MINE | _IS_SHARED_WITH_ME)
    .order_by(Vehicle.created_at, Vehicle.registration_id)
)
_SEEN: Final = _VISIBLE.where(Vehicle.registration_id == bindparam("this"))


def register(
    connection: Connection, owner_id: UUID, vin: str, pseudonym: str, name: str | None, now: datetime
) -> tuple[UUID, bool]:
    """Store a registration; its id, and whether it is new. The same vehicle twice is one registration.

    Raises:
        Problem: 409, where the account has as many vehicles as it may.
    """
    mine = (Vehicle.owner_id == owner_id, Vehicle.released_at.is_(None))
    known = connection.execute(
        select(Vehicle.registration_id).where(*mine, Vehicle.vehicle_id == pseudonym)
    ).scalar_one_or_none()
    if known is not None:
        return known, False
    if connection.scalar(select(func.count()).select_from(Vehicle).where(*mine)) >= MAX_VEHICLES:  # type: ignore[operator]
        raise Problem(409, "too_many_vehicles", f"An account registers at most {MAX_VEHICLES} vehicles.")
    made = connection.execute(
        insert(Vehicle)
        .values(
            registration_id=uuid4(), owner_id=owner_id, vin=vin, vehicle_id=pseudonym, name=name, created_at=now
        )
        .on_conflict_do_nothing()
        .returning(Vehicle.registration_id)
    ).scalar_one_or_none()
    if made is None:  # another request of the same account was quicker
        return register(connection, owner_id, vin, pseudonym, name, now)
    return made, True


def visible(connection: Connection, account_id: UUID, registration_id: UUID | None = None) -> list[Row[Any]]:
    """The vehicles that an account owns or that are shared with it, oldest first; or the one that is asked for.

    Rows have the columns of `vehicles` and `is_owner`. What is shared has been confirmed: see `share`.
    """
    if registration_id is None:
        return list(connection.execute(_VISIBLE, {"me": account_id}))
    return list(connection.execute(_SEEN, {"me": account_id, "this": registration_id}))


def confirmed(connection: Connection, account_id: UUID) -> dict[str, datetime | None]:
    """By VIN, the vehicles that are confirmed as the account's, each with its data_from."""
    rows = connection.execute(
        select(Vehicle.vin, Vehicle.data_from).where(
            Vehicle.owner_id == account_id, Vehicle.confirmed_at.is_not(None), Vehicle.released_at.is_(None)
        )
    )
    return {row.vin: row.data_from for row in rows}


def seen(connection: Connection, account_id: UUID, registration_id: UUID) -> Row[Any]:
    """One vehicle that the account may see.

    Raises:
        Problem: 404, whether it does not exist or is not the account's.
    """
    found = visible(connection, account_id, registration_id)
    if not found:
        raise not_found()
    return found[0]


def owned(connection: Connection, account_id: UUID, registration_id: UUID) -> Row[Any]:
    """One vehicle that the account may change.

    Raises:
        Problem: 404, as `seen`; 403, where it is shared with the account, which therefore knows of it.
    """
    found = seen(connection, account_id, registration_id)
    if not found.is_owner:
        raise Problem(403, "read_only", "This vehicle is shared with you: its owner alone can change it.")
    return found


def rename(connection: Connection, registration_id: UUID, name: str | None) -> None:
    """Give a vehicle another name, or none."""
    connection.execute(update(Vehicle).where(Vehicle.registration_id == registration_id).values(name=name))


def release(connection: Connection, registration_id: UUID, now: datetime) -> None:
    """Give a vehicle up: what was never confirmed is deleted; otherwise VIN, name and shares are."""
    this = Vehicle.registration_id == registration_id
    connection.execute(delete(VehicleShare).where(VehicleShare.registration_id == registration_id))
    connection.execute(delete(Vehicle).where(this, Vehicle.confirmed_at.is_(None)))
    connection.execute(update(Vehicle).where(this).values(released_at=now, vin=None, name=None))


def leave(connection: Connection, account_id: UUID, registration_id: UUID) -> None:
    """Take a vehicle that is shared with an account off its list."""
    email = select(Account.email).where(Account.account_id == account_id).scalar_subquery()
    connection.execute(
        delete(VehicleShare).where(VehicleShare.registration_id == registration_id, VehicleShare.email == email)
    )


def share(connection: Connection, vehicle: Row[Any], email: str, now: datetime) -> tuple[Mapping[str, Any], bool]:
    """Share a vehicle with an address, whether or not it has an account; the share, and whether it is new.

    Raises:
        Problem: 409, where the vehicle is not confirmed, is the address's own, or has as many shares as may be.
    """
    if vehicle.confirmed_at is None:
        raise Problem(409, "unconfirmed", "A vehicle can be shared once the operator has confirmed it.")
    if connection.scalar(select(Account.email).where(Account.account_id == vehicle.owner_id)) == email:
        raise Problem(409, "own_address", "The vehicle is yours already.")
    # One at a time for one vehicle, so that many at once do not pass the bound.
    mine = Vehicle.registration_id == vehicle.registration_id
    connection.execute(select(Vehicle.registration_id).where(mine).with_for_update())
    known = shares(connection, vehicle.registration_id)
    if same := [one for one in known if one["email"] == email]:
        return same[0], False
    if len(known) >= MAX_SHARES:
        raise Problem(409, "too_many_shares", f"A vehicle is shared with at most {MAX_SHARES} addresses.")
    values = {"share_id": uuid4(), "registration_id": vehicle.registration_id, "email": email, "created_at": now}
    connection.execute(insert(VehicleShare).values(**values))
    return values, True


def shares(connection: Connection, registration_id: UUID) -> list[Mapping[str, Any]]:
    """With whom a vehicle is shared, oldest first."""
    rows = connection.execute(
        select(VehicleShare.__table__)
        .where(VehicleShare.registration_id == registration_id)
        .order_by(VehicleShare.created_at, VehicleShare.share_id)
    )
    return [dict(row) for row in rows.mappings()]


def unshare(connection: Connection, registration_id: UUID, share_id: UUID) -> None:
    """End a share.

    Raises:
        Problem: 404, where this vehicle has no such share.
    """
    gone = connection.execute(
        delete(VehicleShare).where(
            VehicleShare.registration_id == registration_id, VehicleShare.share_id == share_id
        )
    ).rowcount
    if not gone:
        raise not_found()


def pending(connection: Connection) -> list[Row[Any]]:
    """Registrations that wait for the operator, oldest first, with the VIN: for eyes, not for logs."""
    return list(
        connection.execute(
            select(Vehicle.registration_id, Vehicle.created_at, Account.email, Vehicle.vin, Vehicle.vehicle_id)
            .join(Account, Account.account_id == Vehicle.owner_id)
            .where(Vehicle.confirmed_at.is_(None), Vehicle.released_at.is_(None))
            .order_by(Vehicle.created_at)
        )
    )


def confirm(
    connection: Connection, registration_id: UUID, now: datetime, *, also: bool = False, instead: bool = False
) -> str:
    """Confirm that a vehicle is the account's; the account's address.

    The first owner sees it from the beginning; one who follows another, from now on.

    Args:
        connection: within a transaction.
        registration_id: what the owner was given when registering it.
        now: the time.
        also: beside those who own it already, with the same view.
        instead: in place of those who own it, and have not released it.

    Raises:
        RefusedError: there is no such registration, or somebody owns the vehicle and neither is said.
    """
    row = connection.execute(
        select(Vehicle.vehicle_id, Vehicle.owner_id, Account.email)
        .join(Account, Account.account_id == Vehicle.owner_id)
        .where(
            Vehicle.registration_id == registration_id,
            Vehicle.confirmed_at.is_(None),
            Vehicle.released_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        raise RefusedError("no such registration waits: see `smartdrive-api vehicles pending`")
    earlier = connection.execute(
        select(Vehicle.registration_id, Vehicle.owner_id, Vehicle.data_from, Vehicle.released_at)
        .where(Vehicle.vehicle_id == row.vehicle_id, Vehicle.confirmed_at.is_not(None))
        .order_by(Vehicle.confirmed_at)
        .with_for_update()
    ).all()
    holders = [one for one in earlier if one.released_at is None]
    if holders and not (also or instead):
        raise RefusedError("another account owns this vehicle: say --also (both do) or --instead (it was sold)")
    if instead:
        for one in holders:
            release(connection, one.registration_id, now)
    begins = holders[0].data_from if holders and also else (now if earlier else None)
    connection.execute(
        update(Vehicle)
        .where(Vehicle.registration_id == registration_id)
        .values(confirmed_at=now, data_from=begins)
    )
    return str(row.email)
