"""Equality of lakes: equal rows are equal in everything but where they came from."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from smartdrive_dagster.lake.audit import repeated_keys
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import ALL, Table, silver


def content(lakehouse: Lakehouse, table: Table) -> list[str]:
    """A table's rows without provenance, one string a row, sorted."""
    rows = lakehouse.scan(table).select(table.content).collect()
    return sorted(repr(row) for row in rows.iter_rows())


def contents(lakehouse: Lakehouse, tables: Iterable[Table] = ALL) -> dict[str, list[str]]:
    """`content` of several tables by their names."""
    return {str(table): content(lakehouse, table) for table in tables}


def versions(lakehouse: Lakehouse, tables: Iterable[Table] = ALL) -> dict[str, int]:
    """The tables' Delta versions."""
    return {str(table): lakehouse.open(table).version for table in tables}


def repeated(lakehouse: Lakehouse, tables: Iterable[Table] = ALL) -> dict[str, int]:
    """Tables in which a key appears more than once, and how many keys do."""
    counted = {str(table): repeated_keys(lakehouse, table) for table in tables}
    return {name: count for name, count in counted.items() if count}


def verdicts(lakehouse: Lakehouse) -> dict[str, int]:
    """Lines by verdict."""
    rows = lakehouse.scan(silver.MESSAGES).group_by("verdict").agg(pl.len()).collect()
    return dict(rows.iter_rows())
