"""A year of published figures for many vehicles, made by the database itself. The numbers mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from smartdrive_api.figures.tables import SCHEMA
from smartdrive_api.models import Base
from sqlalchemy import Boolean, Column, Connection, Double, Table, text
from sqlalchemy.types import BigInteger, Date, DateTime

# Rows of a vehicle for each day; a day's own tables have one.
_PER_DAY: Final = {
    "trips": 2.0,
    "trip_fuel": 2.0,
    "driver_scores": 1 / 7,
    "alerts": 1 / 7,
    "dtc_episodes": 1 / 7,
    "drain_episodes": 1 / 7,
}
_WORDS: Final = {
    "vehicle_id": "v.id",
    "is_open": "d % 20 = 0",
    "state": "case when d % 20 = 0 then 'open' else 'resolved' end",
    "severity": "'info'",
    "status": "'ok'",
}


def published(connection: Connection, vehicles: Sequence[str], first: date, days: int) -> int:
    """Fill all tables of the schema `serving` that tell of vehicles; how many rows that made.

    Args:
        connection: in autocommit, so that the planner's statistics are there at the end.
        vehicles: their pseudonyms.
        first: the first day.
        days: how many days of each vehicle.
    """
    rows = 0
    connection.execute(text("set statement_timeout = 0"))
    for table in Base.metadata.tables.values():
        if table.schema == SCHEMA and "vehicle_id" in table.c:
            count = max(1, round(days * _PER_DAY.get(table.name, 1.0)))
            values = {"vehicles": [*vehicles], "first": first, "count": count, "step": days / count}
            rows += connection.execute(text(_statement(table)), values).rowcount
    connection.execute(text("analyze"))
    return rows


def _statement(table: Table) -> str:
    # A value for what is never null, and for the numbers: nulls would make the answers small.
    columns = [one for one in table.columns if not one.nullable or isinstance(one.type, Double | BigInteger)]
    names = ", ".join(one.name for one in columns)
    values = ", ".join(_value(one) for one in columns)
    series = "unnest(cast(:vehicles as text[])) with ordinality v(id, n), generate_series(0, :count - 1) d"
    return f"insert into {SCHEMA}.{table.name} ({names}) select {values} from {series}"  # noqa: S608 - our own names


def _value(column: Column[Any]) -> str:
    if column.name in _WORDS:
        return _WORDS[column.name]
    at = "(cast(:first as date) + d * :step * interval '1 day')"
    kinds = {
        Date: f"cast({at} as date)",
        DateTime: f"{at} at time zone 'UTC'",
        Boolean: "false",
        Double: "(d % 97) + v.n * 0.01",
        BigInteger: "d % 7",
    }
    return kinds.get(type(column.type), "v.n || '-' || d")
