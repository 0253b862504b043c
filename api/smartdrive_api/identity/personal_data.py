"""All that the database holds of a person, for that person. What the lake holds its operator exports."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Select, case, select

from smartdrive_api.models import Account, Base, RefreshToken, Registration, Session, Vehicle, VehicleShare

# Proofs of who somebody is, of no use to their owner but to whoever else reads them; and pseudonyms, see below.
_HIDDEN: Final = frozenset({"password_hash", "token_hash", "vehicle_id"})


def personal_data(connection: Connection, account_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """By table, the rows that are of an account: every column but hashes of passwords and of tokens.

    Shares are those that the account gave and those that it was given. What the lake calls a vehicle stays hidden
    until the operator has confirmed whose it is, here as everywhere.
    """
    email = select(Account.email).where(Account.account_id == account_id).scalar_subquery()
    mine = select(Vehicle.registration_id).where(Vehicle.owner_id == account_id)
    sessions = select(Session.session_id).where(Session.account_id == account_id)
    whose: dict[type[Base], Any] = {
        Account: Account.account_id == account_id,
        Registration: Registration.email == email,
        Session: Session.account_id == account_id,
        RefreshToken: RefreshToken.session_id.in_(sessions),
        Vehicle: Vehicle.owner_id == account_id,
        VehicleShare: VehicleShare.registration_id.in_(mine) | (VehicleShare.email == email),
    }
    return {
        model.__tablename__: [dict(row) for row in connection.execute(_shown(model).where(rule)).mappings()]
        for model, rule in whose.items()
    }


def _shown(model: type[Base]) -> Select[Any]:
    table = model.__table__
    shown = [column for column in table.columns if column.name not in _HIDDEN]
    if model is Vehicle:
        shown.append(case((Vehicle.confirmed_at.is_not(None), Vehicle.vehicle_id)).label("vehicle_id"))
    return select(*shown).order_by(*table.primary_key)
