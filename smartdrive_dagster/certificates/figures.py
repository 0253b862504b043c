"""The figures of a certificate, computed anew by DuckDB from the rows that it carries and from nothing else."""

from __future__ import annotations

import json
import math
from contextlib import closing
from typing import Any, Final, NamedTuple

import duckdb

from smartdrive_dagster.certificates.contract import CarriedTable, CertificateError, Contract, Kind, Rows, Said
from smartdrive_dagster.lake.duck import session

_TYPES: Final[dict[Kind, str]] = {
    "text": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
}
_CLOSE: Final = 1e-9  # relative: two engines add in the same order, and may differ in a product's last digit


class Difference(NamedTuple):
    """A figure that the rows do not give."""

    name: str
    said: Any
    computed: Any


def recomputed(agreed: Contract, rows: Rows) -> tuple[dict[str, Any], list[tuple[str, float | None]]]:
    """The figures by name, and the distance by month.

    Raises:
        CertificateError: the rows are not of the kinds that the contract names.
    """
    asked = ", ".join(f'({figure.sql}) AS "{name}"' for name, figure in agreed.figures.items())
    with closing(session("UTC")) as connection:
        try:
            for name, table in agreed.tables.items():
                connection.execute(_given(name, table), [json.dumps(rows[name])])
        except duckdb.Error as error:
            text = str(error).split("\n", 1)[0]
            raise CertificateError(
                f"the certificate's rows of {name} are not of the right kinds: {text}"
            ) from None
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        values = connection.execute(f"SELECT {asked}").fetchone() or ()
        months = connection.execute(agreed.distance_by_month).fetchall()
    kinds = (figure.kind for figure in agreed.figures.values())
    found = dict(zip(agreed.figures, map(_plain, values, kinds), strict=True))
    return found, [(month.isoformat(), km) for month, km in months]


def differences(agreed: Contract, said: Said) -> list[Difference]:
    """The figures that a certificate states and its rows do not give.

    Raises:
        CertificateError: the rows are not of the kinds that the contract names.
    """
    found, months = recomputed(agreed, said.rows)
    stated = said.figures
    names = [*agreed.figures, *(name for name in stated if name not in agreed.figures)]
    wrong = [
        Difference(name, stated.get(name), found.get(name))
        for name in names
        if name not in stated or not _same(stated[name], found.get(name))
    ]
    told = dict(said.distance_by_month)
    summed = dict(months)
    by_month = [
        Difference(f"distance of {month[:7]}", told.get(month), summed.get(month))
        for month in sorted(told.keys() | summed.keys())
        if not _same(told.get(month), summed.get(month))
    ]
    return wrong + by_month


def _given(name: str, table: CarriedTable) -> str:
    columns = ", ".join(
        f'CAST(one ->> {number} AS {_TYPES[column.kind]}) AS "{own}"'
        for number, (own, column) in enumerate(table.columns.items())
    )
    given = "SELECT unnest(found) AS one, generate_subscripts(found, 1) AS position"
    return (
        f'CREATE TABLE "{name}" AS SELECT position, {columns} '  # noqa: S608 - the contract's own names
        f"FROM ({given} FROM (SELECT CAST(CAST(? AS JSON) AS JSON[]) AS found))"
    )


def _plain(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "date":
        return value.isoformat()
    if kind == "float":
        return float(value) if math.isfinite(value) else None
    return int(value) if kind == "int" else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return type(one) is type(other) and bool(one == other)
