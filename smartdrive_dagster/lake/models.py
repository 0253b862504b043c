"""SQL models: plain SELECTs, resolved by DuckDB when they are loaded, run one window of local dates at a time.

A staging model is a view; a mart is a table of the lake, whose spec is made from its SELECT (names and types) and
its .yml twin (meaning, key, partition, data tests), in dbt's vocabulary without Jinja.
Loading imports neither polars nor deltalake, because every code location loads the models.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from smartdrive_dagster import tables
from smartdrive_dagster.lake.duck import borrowed, columns_sql, session
from smartdrive_dagster.lake.model_files import DataTest, ModelError, read_models
from smartdrive_dagster.lake.model_resolution import Model, Resolver, View, in_order, with_targets
from smartdrive_dagster.lake.model_sql import WINDOW, parse
from smartdrive_dagster.tables import Days, Table

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from smartdrive_dagster.lake.lakehouse import Lakehouse

__all__ = [
    "DataTest",
    "Model",
    "ModelError",
    "View",
    "failing_rows",
    "load_models",
    "readable_tables",
    "rows_of",
    "run_model",
]


def default_root() -> Path:
    """Where the models lie: beside the code in an installed wheel, at the repository's root in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "dbt_like_models"
    return inside if inside.is_dir() else package.parent / "dbt_like_models"


def readable_tables() -> tuple[Table, ...]:
    """Every table that a reader may name: those of the code and those of the marts."""
    return (*tables.ALL, *(model.table for model in load_models().values()))


@cache
def load_models(root: Path | None = None) -> Mapping[str, Model]:
    """Load and resolve every model of a project; return the marts by name, each after those that it reads.

    A process loads a project once: that takes as long as to compute a mart.

    Raises:
        ModelError: something is wrong; the message begins with file and line.
    """
    with closing(session("UTC")) as connection:
        connection.execute("SET errors_as_json = true; SET enable_external_access = false; CREATE SCHEMA staging")
        for table in tables.ALL:
            connection.execute(f"CREATE TABLE {table} ({columns_sql(table)})")
        parsed = {
            file.qualified_name: parse(connection, file)
            for file in read_models(default_root() if root is None else root)
        }
        resolver = Resolver(connection, parsed)
        for name in in_order(parsed):
            resolver.resolve(parsed[name])
    return MappingProxyType({model.name: with_targets(model, resolver) for model in resolver.models})


def run_model(model: Model, lakehouse: Lakehouse, days: Days, *, time_zone: str) -> pl.DataFrame:
    """Compute a mart's rows of a window of days of its partition column.

    Args:
        model: the mart.
        lakehouse: the lake; only the tables that the model reads are opened.
        days: local dates, both ends included.
        time_zone: IANA name of the zone in which local dates run.

    Returns:
        Rows that fit `model.table`; timestamps in UTC.

    Raises:
        BatchRejectedError: the rows break the table's spec.
        ValueError: a row lies outside the window.
    """
    with borrowed(lakehouse, time_zone=time_zone, tables=model.reads) as connection:
        return rows_of(model, connection, days)


def rows_of(
    model: Model, connection: duckdb.DuckDBPyConnection, days: Days, *, given: Collection[str] = ()
) -> pl.DataFrame:
    """What `run_model` returns, of a connection that holds the tables that the model reads.

    Args:
        model: the mart.
        connection: without the staging views, but for those that are given.
        days: local dates, both ends included.
        given: staging views that are there already.
    """
    import polars as pl

    from smartdrive_dagster.lake.frames import conform

    connection.execute("CREATE SCHEMA IF NOT EXISTS staging")
    for view in model.views:
        if view.name not in given:
            connection.execute(f"CREATE VIEW staging.{view.name} AS {view.sql}")
    window = dict(zip(WINDOW, (days.first, days.last), strict=True))
    rows = conform(model.table, pl.DataFrame(connection.sql(model.sql, params=window)))
    day = pl.col(model.table.partition_by or "")
    if stray := rows.filter(day.is_between(days.first, days.last).not_().fill_null(True)).height:
        raise ValueError(f"{model.path}: {stray} rows lie outside the window {days}")
    return rows


def failing_rows(model: Model, test: DataTest, rows: pl.DataFrame, lakehouse: Lakehouse) -> int:
    """Count the rows of a batch that break one data test; nulls break `not_null` only.

    Args:
        model: the mart.
        test: one of its data tests.
        rows: what `run_model` returned.
        lakehouse: the lake, for `relationships`; another mart's rows count as they lie there.
    """
    import polars as pl

    values = rows.get_column(test.column)
    match test.kind:
        case "not_null":
            return values.null_count()
        case "unique":
            return rows.filter(pl.col(test.column).is_not_null() & pl.col(test.column).is_duplicated()).height
        case "accepted_values":
            return int(values.drop_nulls().is_in(test.values).not_().sum())
        case "relationships" if test.target is not None:
            present = rows.lazy().select(test.column).drop_nulls()
            known = lakehouse.scan(test.target).select(pl.col(test.field).alias(test.column)).unique()
            return present.join(known, on=test.column, how="anti").collect().height
    raise ValueError(f"{model.path}: data_test {test.name} was not loaded")
