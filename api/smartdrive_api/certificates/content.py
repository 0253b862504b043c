"""What a certificate says: the vehicle's published rows, and the figures that follow from them alone."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, select, text

from smartdrive_api.certificates.contract import CarriedTable, Contract, Kind, canonical, contract
from smartdrive_api.figures import tables
from smartdrive_api.figures.reading import Sight
from smartdrive_api.models import Base
from smartdrive_api.problems import Problem

MAX_ROWS: Final = 50_000
VALID_FOR: Final = timedelta(days=365)  # an older one says little about the car of today

Rows = dict[str, list[list[Any]]]

_TYPES: Final[dict[Kind, str]] = {
    "text": "text",
    "int": "bigint",
    "float": "double precision",
    "bool": "boolean",
    "date": "date",
}


def content(
    connection: Connection, sight: Sight, vehicle: Row[Any], number: UUID, now: datetime, issuer: str
) -> dict[str, Any]:
    """All that a certificate says, as the JSON that it carries.

    Args:
        connection: in a transaction that sees one state of the database throughout, so that rows and pins agree.
        sight: what of the vehicle may be seen.
        vehicle: its registration.
        number: of the certificate.
        now: when it is issued.
        issuer: public URL of the API.

    Raises:
        Problem: 409, where there are more rows than a certificate carries.
    """
    agreed = contract()
    rows = {name: _carried(connection, sight, name, table) for name, table in agreed.tables.items()}
    figures, months = evaluated(connection, agreed, rows)
    return {
        "schema": agreed.name,
        "contract": agreed.digest,
        "number": str(number),
        "issuer": issuer,
        "issued_at": _instant(now),
        "valid_until": _instant(now + VALID_FOR),
        "vin": vehicle.vin,
        "name": vehicle.name,
        "data_from": None if sight.since is None else sight.since.isoformat(),
        "digest": hashlib.sha256(canonical(rows)).hexdigest(),
        "pins": {
            table.source: _pins(connection, name, {row[0] for row in rows[name]})
            for name, table in agreed.tables.items()
        },
        "rows": rows,
        "figures": figures,
        "distance_by_month": months,
    }


def evaluated(connection: Connection, agreed: Contract, rows: Rows) -> tuple[dict[str, Any], list[list[Any]]]:
    """The figures by name, and the distance by month, of these rows and of nothing else in the database."""
    given = ", ".join(_given(name, table) for name, table in agreed.tables.items())
    values = {name: canonical(found).decode() for name, found in rows.items()}
    asked = ", ".join(f"({figure.sql}) as {name}" for name, figure in agreed.figures.items())
    found = connection.execute(text(f"with {given} select {asked}"), values).one()._mapping
    months = connection.execute(text(f"with {given} {agreed.distance_by_month}"), values).all()
    figures = {name: plain(found[name], figure.kind) for name, figure in agreed.figures.items()}
    return figures, [[plain(month, "date"), plain(km, "float")] for month, km in months]


def plain(value: Any, kind: Kind) -> Any:
    """A value as JSON has it. What is no finite number is unknown."""
    if value is None:
        return None
    match kind:
        case "date":
            day = value.astimezone(UTC).date() if isinstance(value, datetime) else value
            return str(day.isoformat())
        case "float":
            return float(value) if math.isfinite(value) else None
        case "int":
            return int(value)
        case _:
            return value


def _carried(connection: Connection, sight: Sight, name: str, table: CarriedTable) -> list[list[Any]]:
    published = Base.metadata.tables[f"{tables.SCHEMA}.{name}"]
    wanted = [published.c[column.of or own] for own, column in table.columns.items()]
    found = (
        sight.of(published, table.order[0])
        .with_only_columns(*wanted)
        .order_by(*(published.c[one] for one in table.order))
        .limit(MAX_ROWS + 1)
    )
    kinds = [column.kind for column in table.columns.values()]
    rows = [
        [plain(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in connection.execute(found)
    ]
    if len(rows) > MAX_ROWS:
        detail = f"The vehicle has more than {MAX_ROWS} rows of {table.source}: a certificate carries no more."
        raise Problem(409, "too_many_rows", detail)
    return rows


def _given(name: str, table: CarriedTable) -> str:
    """A table of the rows that are passed as JSON, under its own name."""
    columns = ", ".join(
        f"cast(one ->> {number} as {_TYPES[column.kind]}) as {own}"
        for number, (own, column) in enumerate(table.columns.items())
    )
    elements = f"json_array_elements(cast(:{name} as json)) with ordinality as given (one, position)"
    return f"{name} as materialized (select position, {columns} from {elements})"  # noqa: S608 - the contract's own


def _pins(connection: Connection, name: str, days: set[str]) -> dict[str, Any]:
    """From which version of the lake's table each day is, when the newest was published, a digest of the marks."""
    marks = tables.PUBLICATIONS
    found = connection.execute(
        select(marks.c.part, marks.c.version, marks.c.content, marks.c.published_at)
        .where(marks.c.table_name == name, marks.c.part.in_(days))
        .order_by(marks.c.part)
    ).all()
    newest = max((one.published_at for one in found), default=None)
    return {
        "published_at": None if newest is None else _instant(newest),
        "content": hashlib.sha256(canonical([[one.part, one.content] for one in found])).hexdigest(),
        "days": {one.part: one.version for one in found},
    }


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
