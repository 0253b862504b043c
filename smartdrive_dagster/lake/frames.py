"""From Table specs to Polars and Delta schemas, and the checks that every batch passes before its commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl
from deltalake import Field, Schema

from smartdrive_dagster.tables import Table

_TYPES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(),
    "integer": pl.Int32(),
    "long": pl.Int64(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
    "binary": pl.Binary(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
    "map<string,double>": pl.Map(pl.String(), pl.Float64()),
    "array<struct<event_date:date,vehicle_id:string>>": pl.List(
        pl.Struct({"event_date": pl.Date(), "vehicle_id": pl.String()})
    ),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule of the Table spec that a batch breaks; counts only, never a value."""

    rule: str
    column: str
    rows: int

    def __str__(self) -> str:
        return f"{self.column}: {self.rows} rows break {self.rule}"


class BatchRejectedError(ValueError):
    """A batch breaks its table's spec; nothing was committed."""

    def __init__(self, table: Table, violations: list[Violation]) -> None:
        self.table = table
        self.violations = violations
        super().__init__(f"{table}: batch refused before its commit: " + "; ".join(map(str, violations)))


def polars_schema(table: Table) -> pl.Schema:
    """The table's columns as Polars sees them, in their order."""
    return pl.Schema({column.name: _TYPES[column.dtype] for column in table.columns})


def delta_schema(table: Table) -> Schema:
    """The table's columns as the Delta log stores them: unit, VSS path and PID in the fields' metadata."""
    bare = Schema.from_arrow(polars_schema(table))
    return Schema(
        [
            Field(field.name, field.type, nullable=not column.required, metadata=dict(column.metadata))
            for field, column in zip(bare.fields, table.columns, strict=True)
        ]
    )


def empty(table: Table) -> pl.DataFrame:
    """A frame of the table's schema without rows."""
    return pl.DataFrame(schema=polars_schema(table))


def conform(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Bring a frame into the table's column order and types, and hold it against the spec.

    Raises:
        BatchRejectedError: a column is missing or unknown, a value does not fit its type, a required value is
            null, a value is not among the accepted ones, or a key appears twice.
    """
    schema = polars_schema(table)
    odd = set(schema).symmetric_difference(frame.columns)
    if odd:
        raise BatchRejectedError(
            table, [Violation("columns are those of the spec", name, frame.height) for name in sorted(odd)]
        )
    typed = _cast(table, frame, schema)
    if violations := check(table, typed):
        raise BatchRejectedError(table, violations)
    return typed


def _cast(table: Table, frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    except pl.exceptions.PolarsError:
        # Polars' own words quote the values.
        violations = [
            Violation("the column's type", name, frame.height)
            for name, dtype in schema.items()
            if not _fits(frame.get_column(name), dtype)
        ]
    raise BatchRejectedError(table, violations)


def _fits(values: pl.Series, dtype: pl.DataType) -> bool:
    try:
        values.cast(dtype)
    except pl.exceptions.PolarsError:
        return False
    return True


def check(table: Table, frame: pl.DataFrame) -> list[Violation]:
    """List the rules of the spec that a frame of the table's schema breaks."""
    found: list[Violation] = []
    for column in table.columns:
        values = frame.get_column(column.name)
        if column.required and (nulls := values.null_count()):
            found.append(Violation("required", column.name, nulls))
        if column.accepted is not None:
            odd = frame.filter(
                pl.col(column.name).is_not_null() & ~pl.col(column.name).is_in(list(column.accepted))
            ).height
            if odd:
                found.append(Violation("accepted values", column.name, odd))
    if repeated := frame.height - frame.select(table.key).unique().height:
        found.append(Violation("unique key", ", ".join(table.key), repeated))
    return found
