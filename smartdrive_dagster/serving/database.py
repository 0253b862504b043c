"""The REST API's PostgreSQL as the lake sees it: the tables of its schema `serving`, and what they hold.

The API's migrations own these tables. Which columns of a table it wants, its catalogue says; the lake fills them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql

from smartdrive_dagster.tables import Table

SCHEMA: Final = "serving"

# By the Delta type of a column; whatever has no such type (a map) cannot be published.
_TYPES: Final = {
    "string": "text",
    "integer": "bigint",
    "long": "bigint",
    "double": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
}
_COPY_TYPES: Final = {"bigint": "int8", "double precision": "float8", "timestamp with time zone": "timestamptz"}


class ServingError(RuntimeError):
    """The database of the REST API cannot take what the lake has; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a table holds: a day, or all of what has no days.

    Attributes:
        content: changes with the rows, and perhaps without.
        rows: how many.
        version: the Delta version that was looked at; 0 for what is no table. Another may hold the same.
    """

    content: str
    rows: int
    version: int = field(default=0, compare=False)


class Serving:
    """One connection to the schema `serving`.

    Args:
        connection: of a role that may read and write it; in autocommit.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """A transaction in which nobody else publishes the table; what is read of the lake within it is newest."""
        with self._connection.transaction():
            self._connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [f"{SCHEMA}.{name}"])
            yield

    def columns(self, table: Table) -> tuple[str, ...]:
        """The columns of a table that the API wants.

        Raises:
            ServingError: there is no such table, or it wants what the lake's table does not have.
        """
        found = self._connection.execute(
            "select column_name, data_type from information_schema.columns"
            " where table_schema = %s and table_name = %s order by ordinal_position",
            [SCHEMA, table.name],
        ).fetchall()
        if not found:
            raise ServingError(
                f"the database has no table {SCHEMA}.{table.name}, or this role may not see it: "
                "run `smartdrive-api migrate`"
            )
        for name, kind in found:
            column = table.by_name.get(name)
            has = _TYPES.get(column.dtype) if column else None
            if has != kind:
                raise ServingError(
                    f"{SCHEMA}.{table.name} wants {name} as {kind}, and {table} has "
                    f"{f'it as {column.dtype}' if column else 'no such column'}: SmartDrive and its API are of "
                    "different versions"
                )
        return tuple(name for name, _ in found)

    def parts(self, name: str) -> dict[str, Part]:
        """What was published of a table, by part."""
        rows = self._connection.execute(
            f"select part, content, rows, version from {SCHEMA}.publications where table_name = %s",  # noqa: S608
            [name],
        )
        return {part: Part(content, count, version) for part, content, count, version in rows}

    def counts(self, table: Table) -> dict[str, int]:
        """How many rows lie in a table, by day."""
        day = sql.Identifier(table.partition_by or "")
        query = sql.SQL("select {day}::text, count(*) from {table} group by 1").format(
            day=day, table=sql.Identifier(SCHEMA, table.name)
        )
        return dict(self._connection.execute(query).fetchall())

    def delete_days(self, table: Table, days: Iterable[str]) -> None:
        """Delete all rows of some days."""
        self._connection.execute(
            sql.SQL("delete from {table} where {day} = any(%s::date[])").format(
                table=sql.Identifier(SCHEMA, table.name), day=sql.Identifier(table.partition_by or "")
            ),
            [list(days)],
        )

    def delete_all(self, name: str) -> None:
        """Delete all rows of a table."""
        self._connection.execute(sql.SQL("delete from {}").format(sql.Identifier(SCHEMA, name)))

    def copy(self, name: str, types: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
        """Append rows.

        Args:
            name: of the table.
            types: PostgreSQL's type of each column, in the order of the values.
            rows: their values.
        """
        command = sql.SQL("copy {} ({}) from stdin (format binary)").format(
            sql.Identifier(SCHEMA, name), sql.SQL(", ").join(map(sql.Identifier, types))
        )
        with self._connection.cursor() as cursor, cursor.copy(command) as copy:
            copy.set_types([_COPY_TYPES.get(kind, kind) for kind in types.values()])
            for row in rows:
                copy.write_row(row)

    def types(self, table: Table, columns: Iterable[str]) -> dict[str, str]:
        """PostgreSQL's types of some columns of a table."""
        return {name: _TYPES[table.by_name[name].dtype] for name in columns}

    def mark(self, name: str, parts: Mapping[str, Part | None]) -> None:
        """Note what parts of a table hold now; None forgets one."""
        for part, held in parts.items():
            if held is None:
                self._connection.execute(
                    f"delete from {SCHEMA}.publications where table_name = %s and part = %s",  # noqa: S608
                    [name, part],
                )
                continue
            self._connection.execute(
                f"insert into {SCHEMA}.publications (table_name, part, content, rows, version, published_at)"  # noqa: S608
                " values (%s, %s, %s, %s, %s, now()) on conflict (table_name, part) do update"
                " set content = excluded.content, rows = excluded.rows, version = excluded.version,"
                " published_at = excluded.published_at",
                [name, part, held.content, held.rows, held.version],
            )

    def erasure_requests(self) -> list[tuple[str, str]]:
        """Requests to erase a vehicle of which no tombstone has been made: id and VIN."""
        return self._connection.execute(
            f"select erasure_id::text, vin from {SCHEMA}.erasures where vin is not null order by requested_at"  # noqa: S608
        ).fetchall()

    def took(self, erasure_id: str, tombstone: str) -> None:
        """Note the tombstone of a request, in place of the VIN."""
        self._connection.execute(
            f"update {SCHEMA}.erasures set vin = null, tombstone = %s where erasure_id = %s",  # noqa: S608
            [tombstone, erasure_id],
        )

    def finished(self, tombstones: Iterable[str], receipt: str) -> None:
        """Answer the requests of some tombstones."""
        self._connection.execute(
            f"update {SCHEMA}.erasures set finished_at = now(), receipt = %s"  # noqa: S608
            " where tombstone = any(%s) and finished_at is null",
            [receipt, list(tombstones)],
        )

    def vehicles(self) -> list[str]:
        """The vehicle_id of every vehicle that this database knows."""
        return [one for (one,) in self._connection.execute(f"select {SCHEMA}.known_vehicles()")]

    def forget(self, vehicles: Iterable[str]) -> int:
        """Delete registrations and published rows of some vehicles; how many registrations.

        Their bytes go too, from tables, indexes and the planner's statistics, where the role owns these; for
        another one PostgreSQL frees them in its own time.
        """
        ids = list(vehicles)
        (gone,) = self._connection.execute(f"select {SCHEMA}.forget_vehicles(%s)", [ids]).fetchone() or (0,)
        if ids:
            self._connection.execute("analyze")
            self._connection.execute("vacuum (full)")
        return int(gone)


@contextmanager
def serving(url: str) -> Iterator[Serving]:
    """A connection to the database of the REST API.

    Args:
        url: ``postgresql://user@host:port/name``; libpq's own variables (PGPASSWORD, PGSSLMODE, …) count too.

    Raises:
        ServingError: it does not answer, or refuses.
    """
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
    except psycopg.Error as error:
        raise ServingError(f"the database of the REST API does not let us in: {_first_line(error)}") from None
    with connection:
        connection.execute("set time zone 'UTC'")
        try:
            yield Serving(connection)
        except psycopg.Error as error:
            # Its details show rows, which have no place in a run's log.
            raise ServingError(f"the database of the REST API failed: {_first_line(error)}") from None


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().split("\n", 1)[0]
