"""Requests to erase a vehicle: this database keeps them until the lake has made tombstones of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, delete, insert, select

from smartdrive_api.figures.tables import ERASURES
from smartdrive_api.models import Account, Vehicle
from smartdrive_api.problems import Problem, not_found


def erase_vehicle(connection: Connection, vehicle: Row[Any], now: datetime) -> UUID:
    """Ask for all data of a vehicle to be erased, and forget its registrations at once; the request's id.

    Args:
        connection: within a transaction.
        vehicle: a registration that the caller owns.
        now: the time.

    Raises:
        Problem: 409, where the operator has not confirmed it, or another account owns the vehicle too.
    """
    if vehicle.confirmed_at is None:
        raise Problem(
            409, "unconfirmed", "Only a confirmed vehicle can be erased. Release this registration instead."
        )
    holders = connection.execute(
        select(Vehicle.owner_id)
        .where(
            Vehicle.vehicle_id == vehicle.vehicle_id,
            Vehicle.confirmed_at.is_not(None),
            Vehicle.released_at.is_(None),
        )
        .with_for_update()
    ).all()
    if any(one.owner_id != vehicle.owner_id for one in holders):
        raise Problem(409, "owned_by_others_too", "Another account owns this vehicle too: release it instead.")
    erasure_id = uuid4()
    connection.execute(insert(ERASURES).values(erasure_id=erasure_id, vin=vehicle.vin, requested_at=now))
    connection.execute(delete(Vehicle).where(Vehicle.registration_id == vehicle.registration_id))
    return erasure_id


def delete_account(connection: Connection, account_id: UUID, now: datetime) -> list[UUID]:
    """Delete an account with all that hangs on it, and ask for its vehicles to be erased; the requests' ids.

    A vehicle that another account owns too stays with that one; what was never confirmed is forgotten.
    """
    confirmed = connection.execute(
        select(Vehicle.__table__)
        .where(Vehicle.owner_id == account_id, Vehicle.confirmed_at.is_not(None), Vehicle.released_at.is_(None))
        .order_by(Vehicle.vehicle_id)
    ).all()
    requests = []
    for vehicle in confirmed:
        try:
            requests.append(erase_vehicle(connection, vehicle, now))
        except Problem as problem:
            if problem.code != "owned_by_others_too":
                raise
    connection.execute(delete(Account).where(Account.account_id == account_id))
    return requests


def found(connection: Connection, erasure_id: UUID) -> Row[Any]:
    """A request.

    Raises:
        Problem: 404, where there is none.
    """
    row = connection.execute(select(ERASURES).where(ERASURES.c.erasure_id == erasure_id)).one_or_none()
    if row is None:
        raise not_found()
    return row
