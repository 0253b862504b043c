"""From a model's two files to a `Model`: names, columns and types are resolved by DuckDB on empty tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final, cast

import duckdb

from smartdrive_dagster import tables
from smartdrive_dagster.lake.duck import DUCKDB_TYPES, columns_sql
from smartdrive_dagster.lake.model_files import (
    MARTS,
    STAGING,
    ColumnFile,
    DataTest,
    ModelError,
    ModelFile,
    Row,
    UnitTest,
)
from smartdrive_dagster.lake.model_sql import ParsedModel, bind
from smartdrive_dagster.lake.nearest import did_you_mean
from smartdrive_dagster.tables import Column, Table
from smartdrive_dagster.tables.table import DataType

_DELTA_TYPES: Final = {duckdb_type: dtype for dtype, duckdb_type in DUCKDB_TYPES.items()}


@dataclass(frozen=True, slots=True)
class View:
    """A staging model: a named SELECT that is never stored."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Model:
    """A mart that was loaded and resolved.

    Attributes:
        name: the file's name without its suffix.
        path: the .sql file.
        sql: one SELECT with the parameters `$first_date` and `$last_date`.
        description: what one row is.
        reads: the lake's tables that it depends on, itself or through staging views; other marts too.
        views: the staging views that it needs, in the order in which they can be created.
        table: the Delta table that it fills.
        data_tests: what its .yml twin promises of its columns.
        meta: free facts of the .yml twin, for example the owner.
        yml_path: the .yml file.
        unit_tests: rows that it must make of given rows.
        inputs: the columns and types of every relation that it reads, itself or through staging views.
    """

    name: str
    path: Path
    sql: str
    description: str
    reads: tuple[Table, ...]
    views: tuple[View, ...]
    table: Table
    data_tests: tuple[DataTest, ...]
    meta: Mapping[str, str]
    yml_path: Path
    unit_tests: tuple[UnitTest, ...]
    inputs: Mapping[str, Mapping[str, str]]


class Resolver:
    """Resolves models one after another, on empty tables.

    Attributes:
        tables: specs of the lake's tables and of the marts resolved so far, by qualified name.
        models: the marts resolved so far.
        files: what their authors wrote, by the marts' names.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, parsed: Mapping[str, ParsedModel]) -> None:
        self._connection = connection
        self._known = {*map(str, tables.ALL), *parsed}
        self._columns: dict[str, Mapping[str, str]] = {str(table): _types(table) for table in tables.ALL}
        self._reads: dict[str, tuple[str, ...]] = {}
        self._views: dict[str, tuple[View, ...]] = {}
        self.tables = {str(table): table for table in tables.ALL}
        self.models: list[Model] = []
        self.files: dict[str, ModelFile] = {}

    def resolve(self, parsed: ParsedModel) -> None:
        """Resolve a model whose references are resolved already, and make it a relation that others may read."""
        file = parsed.file
        for reference in parsed.references:
            if reference.name not in self._known:
                hint = did_you_mean(reference.name, self._known)
                raise ModelError(file.path, reference.line, f"unknown table {reference.name}{hint}")
            if file.folder == STAGING and reference.name.startswith(f"{MARTS}."):
                raise ModelError(file.path, reference.line, f"a staging view may not read {reference.name}")
        names = [reference.name for reference in parsed.references]
        known_columns = {column for name in names for column in self._columns[name]}
        types = bind(self._connection, file, known_columns)
        _check_columns(file, types)
        self._columns[file.qualified_name] = types
        reads = [read for name in names for read in self._reads.get(name, (name,))]
        views = tuple(dict.fromkeys(view for name in names for view in self._views.get(name, ())))
        if file.folder == STAGING:
            self._connection.execute(f"CREATE VIEW {file.qualified_name} AS {file.sql}")
            self._reads[file.qualified_name] = tuple(reads)
            self._views[file.qualified_name] = (*views, View(file.name, file.sql))
        else:
            names += [*reads, *(f"{STAGING}.{view.name}" for view in views)]
            inputs = {name: self._columns[name] for name in names}
            _check_unit_tests(file, types, inputs)
            self._add_mart(file, types, tuple(dict.fromkeys(reads)), views, inputs)

    def _add_mart(
        self,
        file: ModelFile,
        types: Mapping[str, str],
        reads: tuple[str, ...],
        views: tuple[View, ...],
        inputs: Mapping[str, Mapping[str, str]],
    ) -> None:
        table = _table(file, types)
        self._connection.execute(f"CREATE TABLE {table} ({columns_sql(table)})")
        self.tables[str(table)] = table
        self.files[file.name] = file
        self.models.append(
            Model(
                name=file.name,
                path=file.path,
                sql=file.sql,
                description=file.description,
                reads=tuple(self.tables[name] for name in reads),
                views=views,
                table=table,
                data_tests=tuple(test for column in file.columns for test in column.data_tests),
                meta=file.meta,
                yml_path=file.yml_path,
                unit_tests=file.unit_tests,
                inputs=inputs,
            )
        )


def in_order(parsed: Mapping[str, ParsedModel]) -> tuple[str, ...]:
    """Names of the models, each after those that it reads."""
    graph = {
        name: sorted(ref.name for ref in model.references if ref.name in parsed) for name, model in parsed.items()
    }
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle: list[str] = error.args[1]
        file = parsed[circle[0]].file
        raise ModelError(file.path, 1, f"models read each other in a circle: {' → '.join(circle)}") from error


def _check_columns(file: ModelFile, types: Mapping[str, str]) -> None:
    described = [column.name for column in file.columns]
    for column in file.columns:
        if column.name not in types:
            hint = did_you_mean(column.name, set(types) - set(described))
            raise ModelError(file.yml_path, column.line, f"the SELECT has no column {column.name}{hint}")
        if described.count(column.name) > 1:
            raise ModelError(file.yml_path, column.line, f"{column.name} is described twice")
    for name in types:
        if name not in described:
            raise ModelError(file.yml_path, 1, f"column {name} of the SELECT is not described")


def _check_unit_tests(file: ModelFile, types: Mapping[str, str], inputs: Mapping[str, Mapping[str, str]]) -> None:
    """Each relation that is given is read, and each column is there."""
    for test in file.unit_tests:
        for given in test.given:
            if given.name not in inputs:
                hint = did_you_mean(given.name, inputs)
                raise ModelError(
                    file.yml_path, given.line, f"{test.name}: {file.name} reads no {given.name}{hint}"
                )
            _check_row_columns(file, test, given.name, given.rows, inputs[given.name])
        _check_row_columns(file, test, file.name, test.expect, types)


def _check_row_columns(
    file: ModelFile, test: UnitTest, relation: str, rows: tuple[Row, ...], types: Mapping[str, str]
) -> None:
    for row in rows:
        for name in row.values:
            if name not in types:
                raise ModelError(
                    file.yml_path,
                    row.line,
                    f"{test.name}: {relation} has no column {name}{did_you_mean(name, types)}",
                )


def _types(table: Table) -> Mapping[str, str]:
    return {column.name: DUCKDB_TYPES[column.dtype] for column in table.columns}


def _table(file: ModelFile, types: Mapping[str, str]) -> Table:
    """The spec of a mart: names and types from its SELECT, meaning from its .yml twin."""
    for name in (*file.unique_key, file.partition_by):
        if name not in types:
            raise ModelError(file.yml_path, 1, f"config names no column: {name}{did_you_mean(str(name), types)}")
    if types[str(file.partition_by)] != "DATE":
        raise ModelError(file.yml_path, 1, f"partition_by {file.partition_by} is no date")
    columns = {column.name: _column(file, column, types[column.name]) for column in file.columns}
    return Table(
        layer="marts",
        name=file.name,
        description=file.description,
        columns=tuple(columns[name] for name in types),
        key=file.unique_key,
        partition_by=file.partition_by,
    )


def _column(file: ModelFile, column: ColumnFile, duckdb_type: str) -> Column:
    if duckdb_type not in _DELTA_TYPES:
        raise ModelError(
            file.yml_path, column.line, f"{column.name} is {duckdb_type}, which no table here can hold: cast it"
        )
    accepted = next((test.values for test in column.data_tests if test.kind == "accepted_values"), None)
    if accepted and duckdb_type != "VARCHAR":
        raise ModelError(
            file.yml_path, column.line, f"accepted_values are for text, {column.name} is {duckdb_type}"
        )
    return Column(
        name=column.name,
        dtype=cast("DataType", _DELTA_TYPES[duckdb_type]),
        description=column.description,
        unit=column.unit,
        vss=column.vss,
        required=column.name in (*file.unique_key, file.partition_by)
        or any(test.kind == "not_null" for test in column.data_tests),
        accepted=accepted,
        statistics=column.name == file.partition_by,  # of the day only: all else could tell of a vehicle
    )


def with_targets(model: Model, resolver: Resolver) -> Model:
    """The model with the table that each relationship points to, which may be a mart that comes after it."""
    yml_path = resolver.files[model.name].yml_path
    tests = []
    for test in model.data_tests:
        if test.kind != "relationships":
            tests.append(test)
            continue
        target = resolver.tables.get(test.to)
        if target is None:
            hint = did_you_mean(test.to, resolver.tables)
            raise ModelError(yml_path, test.line, f"{test.column}: unknown relationships target {test.to}{hint}")
        if test.field not in target.by_name:
            hint = did_you_mean(test.field, target.by_name)
            raise ModelError(yml_path, test.line, f"{test.column}: {test.to} has no column {test.field}{hint}")
        tests.append(replace(test, target=target))
    return replace(model, data_tests=tuple(tests))
