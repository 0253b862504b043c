"""Questions to the published tables, each about one vehicle and never about what was before its owner's time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, Table, func, select, tuple_

from smartdrive_api.figures import tables
from smartdrive_api.problems import FieldError, Problem, invalid

Rows = Sequence[Row[Any]]

_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sight:
    """What of a vehicle its owner, or who it is shared with, may see.

    Attributes:
        vehicle_id: the lake's pseudonym.
        since: nothing that began earlier, and no day that began earlier.
    """

    vehicle_id: str
    since: datetime | None

    def of(self, table: Table, at: str) -> Select[Any]:
        """The rows of a table that may be seen, by the column that says when something began, or on which day."""
        column = table.c[at]
        found = select(table).where(table.c.vehicle_id == self.vehicle_id)
        if self.since is None:
            return found
        is_day = at.endswith("_date")
        # The day of a change of hands belongs to both owners: neither sees it.
        return found.where(column > self.since.date() if is_day else column >= self.since)


def sight(vehicle: Row[Any]) -> Sight:
    """What may be seen of a registered vehicle.

    Raises:
        Problem: 409, where the operator has not confirmed whose it is.
    """
    if vehicle.confirmed_at is None:
        raise Problem(409, "unconfirmed", "A vehicle shows nothing until the operator has confirmed it.")
    return Sight(vehicle.vehicle_id, vehicle.data_from)


def days(connection: Connection, seen: Sight, table: Table, first: date, last: date) -> Rows:
    """The rows of some days, in order. The table has one row per vehicle and day."""
    at = day_column(table)
    found = seen.of(table, at).where(table.c[at].between(first, last)).order_by(table.c[at])
    return connection.execute(found).all()


def newest(connection: Connection, seen: Sight, table: Table) -> Row[Any] | None:
    """The row of the newest day."""
    at = day_column(table)
    found = seen.of(table, at).order_by(table.c[at].desc()).limit(1)
    return connection.execute(found).first()


def day_column(table: Table) -> str:
    """The column that holds the day of a table's rows."""
    return next(name for name in ("event_date", "local_date", "week_start_date") if name in table.c)


def page(
    connection: Connection,
    found: Select[Any],
    table: Table,
    order: tuple[str, str],
    limit: int,
    after: tuple[datetime, str] | None,
) -> tuple[Rows, str | None]:
    """A page of rows, newest first, and the cursor of the next one.

    Args:
        connection: to the database.
        found: the rows to choose from.
        table: whose rows they are.
        order: the instant and the id that order them.
        limit: rows of a page.
        after: the last row of the page before.
    """
    key = tuple_(*(table.c[name] for name in order))
    chosen = found if after is None else found.where(key < tuple_(*after))
    descending = [table.c[name].desc() for name in order]
    rows = connection.execute(chosen.order_by(*descending).limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]._mapping
    return rows[:limit], cursor(last[order[0]], last[order[1]])


def cursor(at: datetime, name: str) -> str:
    """Where a page ended, as an opaque text."""
    return base64.urlsafe_b64encode(json.dumps([at.astimezone(UTC).isoformat(), name]).encode()).decode()


def after(text: str | None) -> tuple[datetime, str] | None:
    """Where the page before ended.

    Raises:
        Problem: 422, where the text is no cursor.
    """
    if text is None:
        return None
    try:
        at, name = json.loads(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
        moment = datetime.fromisoformat(at)
        if not isinstance(name, str) or "\0" in name or moment.tzinfo is None or moment < _EARLIEST:
            raise ValueError("no cursor")
        return moment, name.encode().decode()
    except (ValueError, TypeError, binascii.Error, RecursionError, OverflowError):
        raise invalid(
            FieldError(pointer="query: cursor", code="cursor", detail="Not a cursor that a page ended with.")
        ) from None


def trips(seen: Sight, first: datetime | None, last: datetime | None) -> Select[Any]:
    """Trips that began within a span, with what is known of their fuel."""
    fuel = tables.TRIP_FUEL
    named = {f"fuel_{name}" if name in ("method", "reason") else name: fuel.c[name] for name in _FUEL}
    same = (fuel.c.event_date == tables.TRIPS.c.event_date) & (fuel.c.trip_id == tables.TRIPS.c.trip_id)
    found = seen.of(tables.TRIPS, "started_at").outerjoin_from(tables.TRIPS, fuel, same)
    found = found.add_columns(*(column.label(name) for name, column in named.items()))
    began = tables.TRIPS.c.started_at
    if first is not None:
        found = found.where(began >= first)
    return found if last is None else found.where(began < last)


_FUEL: Final = (
    "fuel_type",
    "method",
    "reason",
    "fuel_l",
    "fuel_low_l",
    "fuel_high_l",
    "fuel_l_per_100km",
    "co2_kg",
    "cost",
    "currency",
)


def published_at(connection: Connection) -> datetime | None:
    """When the lake last published something."""
    at: datetime | None = connection.scalar(select(func.max(tables.PUBLICATIONS.c.published_at)))
    return at


def code(connection: Connection, text: str, language: str) -> dict[str, Any] | None:
    """What is known of a trouble code; None where nothing has been published.

    Args:
        connection: to the database.
        text: a code in capitals.
        language: en or hu.
    """
    family = text[:3]
    found = connection.execute(
        select(tables.DTC_CODES.c.code, tables.DTC_CODES.c.explanation).where(
            tables.DTC_CODES.c.code.in_((text, family)), tables.DTC_CODES.c.language == language
        )
    ).all()
    known = {row.code: row.explanation for row in found}
    if text in known:
        explained: dict[str, Any] = json.loads(known[text])
        return explained
    if family not in known:
        return None
    return _of_family(json.loads(known[family]), text)


def _of_family(explained: dict[str, Any], text: str) -> dict[str, Any]:
    """What is said of one code, said of another of its family: the fault's number ends the structure's texts."""
    fault = text[3:]
    structure = explained["structure"]
    structure |= {"code": text, "fault": fault, "text": structure["text"][:-2] + fault}
    return explained | {
        "code": text,
        "title": explained["title"] | {"text": structure["text"]},
        "structure": structure,
    }
