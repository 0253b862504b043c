"""Unit tests of marts: the model's own SQL and views, over the rows that its .yml twin gives."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from smartdrive_dagster.lake.duck import quoted, session
from smartdrive_dagster.lake.model_files import STAGING, ModelError, Row, UnitTest
from smartdrive_dagster.lake.models import Model, rows_of
from smartdrive_dagster.tables import Days

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl

Values = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How a mart's rows differ from those that a unit test expects.

    Attributes:
        columns: those that the expected rows name.
        missing: expected rows that the mart did not make.
        unexpected: rows that it made and nobody expected.
    """

    columns: tuple[str, ...]
    missing: tuple[Values, ...]
    unexpected: tuple[Values, ...]

    def __str__(self) -> str:
        lines = [f"missing    {self._named(row)}" for row in self.missing]
        lines += [f"unexpected {self._named(row)}" for row in self.unexpected]
        return "\n".join(lines)

    def _named(self, row: Values) -> str:
        return ", ".join(f"{name}: {value}" for name, value in zip(self.columns, row, strict=True))


def run_unit_test(model: Model, test: UnitTest) -> Difference | None:
    """Run a mart over given rows; return how its rows differ from the expected ones, or None.

    A relation that is not given is empty, a staging view that is not given runs on what it reads, and a column
    that a row leaves out is null. Doubles are compared to six decimals.

    Raises:
        ModelError: a value does not fit its column.
        BatchRejectedError: the rows break the table's spec.
    """
    with _given(model, test) as (connection, views):
        rows = rows_of(model, connection, Days(test.first_date, test.last_date), given=views)
        columns = tuple(dict.fromkeys(name for row in test.expect for name in row.values)) or model.table.key
        wanted = _expected(connection, model, test, columns)
    found = sorted((_comparable(row) for row in rows.select(columns).iter_rows()), key=repr)
    missing, unexpected = _without(wanted, found), _without(found, wanted)
    return Difference(columns, missing, unexpected) if missing or unexpected else None


def rows_of_given(model: Model, test: UnitTest, days: Days) -> pl.DataFrame:
    """What a mart makes of a unit test's given rows in a window of its own.

    Raises:
        ModelError: a value does not fit its column.
        BatchRejectedError: the rows break the table's spec.
    """
    with _given(model, test) as (connection, views):
        return rows_of(model, connection, days, given=views)


@contextmanager
def _given(model: Model, test: UnitTest) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[str]]]:
    """A database that holds what a test gives, and the names of the staging views among that."""
    read = {name for name in model.inputs if not name.startswith(f"{STAGING}.")}
    given = {one.name: one.rows for one in test.given}
    with closing(session(test.time_zone)) as connection:
        connection.execute(f"CREATE SCHEMA {STAGING}")
        for name in read | set(given):
            _create(connection, model, name, given.get(name, ()))
        yield connection, [name.removeprefix(f"{STAGING}.") for name in given if name not in read]


def _create(connection: duckdb.DuckDBPyConnection, model: Model, name: str, rows: Sequence[Row]) -> None:
    types = model.inputs[name]
    connection.execute(f"CREATE TABLE {name} ({', '.join(f'{column} {kind}' for column, kind in types.items())})")
    for row in rows:
        _insert(connection, model, name, types, row)


def _expected(
    connection: duckdb.DuckDBPyConnection, model: Model, test: UnitTest, columns: tuple[str, ...]
) -> list[Values]:
    """The expected rows, typed as the mart's columns are."""
    import polars as pl

    from smartdrive_dagster.lake.duck import DUCKDB_TYPES

    types = {name: DUCKDB_TYPES[model.table.by_name[name].dtype] for name in columns}
    connection.execute(
        f"CREATE TABLE expected ({', '.join(f'{column} {kind}' for column, kind in types.items())})"
    )
    for row in test.expect:
        _insert(connection, model, "expected", types, row)
    rows = pl.DataFrame(connection.sql("FROM expected")).with_columns(
        pl.col(pl.Datetime).dt.convert_time_zone("UTC")
    )
    return sorted((_comparable(row) for row in rows.iter_rows()), key=repr)


def _insert(
    connection: duckdb.DuckDBPyConnection, model: Model, name: str, types: Mapping[str, str], row: Row
) -> None:
    casts = []
    for column, value in row.values.items():
        cast = f"CAST({'NULL' if value is None else quoted(value)} AS {types[column]})"
        try:
            connection.execute(f"SELECT {cast}")
        except duckdb.Error as error:
            raise ModelError(
                model.yml_path, row.line, f"{name}.{column} is {types[column]}, and {value} is none"
            ) from error
        casts.append(f"{cast} AS {column}")
    connection.execute(f"INSERT INTO {name} BY NAME SELECT {', '.join(casts)}")


def _comparable(row: Iterable[object]) -> Values:
    return tuple(_rounded(value) for value in row)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6) + 0.0  # no -0.0
    if isinstance(value, dict):
        return tuple(sorted((key, _rounded(one)) for key, one in value.items()))
    return value


def _without(rows: Sequence[Values], others: Sequence[Values]) -> tuple[Values, ...]:
    """The rows that remain when each of the others has taken away one that equals it."""
    left = list(rows)
    for other in others:
        if other in left:
            left.remove(other)
    return tuple(left)
