"""What a model's SQL says, as DuckDB itself understands it: references, parameters, columns, errors with lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import duckdb

from smartdrive_dagster.lake.model_files import MARTS, ModelError, ModelFile
from smartdrive_dagster.lake.nearest import did_you_mean

WINDOW: Final = ("first_date", "last_date")

_ANY_WINDOW: Final[dict[str, object]] = dict.fromkeys(WINDOW, date(2025, 1, 1))

# A mart is a function of its tables and its window, or a rebuild would not give equal rows.
_NOT_REPRODUCIBLE: Final = frozenset(
    {
        "current_date",
        "current_localtime",
        "current_localtimestamp",
        "current_time",
        "current_timestamp",
        "gen_random_uuid",
        "get_current_time",
        "get_current_timestamp",
        "localtime",
        "localtimestamp",
        "nextval",
        "now",
        "random",
        "today",
        "transaction_timestamp",
        "uuid",
        "uuidv4",
        "uuidv7",
    }
)
_MISSING_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "(\w+)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """A table that a model names, and where."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class ParsedModel:
    """A model that parses: the qualified tables that its SELECT names, once each."""

    file: ModelFile
    references: tuple[Reference, ...]


def parse(connection: duckdb.DuckDBPyConnection, file: ModelFile) -> ParsedModel:
    """Parse a model and hold it against the rules that need no table.

    Raises:
        ModelError: it is not one SELECT, its parameters are not the window (a mart) or none (staging), or it
            depends on the clock or on chance.
    """
    try:
        statements = connection.extract_statements(file.sql)
    except duckdb.Error as error:
        raise _model_error(file, error, ()) from error
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise ModelError(file.path, 1, "a model is exactly one SELECT")
    _check_parameters(file, statements[0].named_parameters)
    row = connection.execute("SELECT json_serialize_sql(?)", [file.sql]).fetchone()
    nodes = list(_nodes(json.loads(row[0] if row else "{}")))
    for node in nodes:
        _check_reproducible(file, node)
    references: dict[str, Reference] = {}
    for node in nodes:
        if node.get("type") == "BASE_TABLE" and node["schema_name"]:
            name = f"{node['schema_name']}.{node['table_name']}".lower()
            references.setdefault(name, Reference(name, _line(file, node["query_location"])))
    return ParsedModel(file, tuple(references.values()))


def bind(connection: duckdb.DuckDBPyConnection, file: ModelFile, known_columns: Iterable[str]) -> dict[str, str]:
    """Resolve a model against the (empty) tables of a connection; return its columns with DuckDB's types.

    Raises:
        ModelError: it names an unknown table, column or function, or types do not fit.
    """
    window = _ANY_WINDOW if file.folder == MARTS else {}
    try:
        bound = connection.execute(file.sql, window)  # con.sql() would report errors without their position
    except duckdb.Error as error:
        raise _model_error(file, error, known_columns) from error
    types = {name: str(dtype) for name, dtype, *_ in bound.description}
    if len(types) != len(bound.description):
        raise ModelError(file.path, 1, "two columns of the SELECT have the same name")
    return types


def _check_parameters(file: ModelFile, found: set[str]) -> None:
    wanted = set(WINDOW) if file.folder == MARTS else set()
    if missing := sorted(wanted - found):
        raise ModelError(
            file.path,
            1,
            f"${missing[0]} is missing: a mart says which local dates it computes, from $first_date to $last_date",
        )
    for name in sorted(found - wanted):
        position = file.sql.find(f"${name}")
        line = file.sql.count("\n", 0, max(position, 0)) + 1
        reason = did_you_mean(name, wanted) if wanted else "; a staging view has no window of its own"
        raise ModelError(file.path, line, f"unknown parameter ${name}{reason}")


def _check_reproducible(file: ModelFile, node: Mapping[str, object]) -> None:
    names: object = ()
    if node.get("class") == "FUNCTION":
        names = (node["function_name"],)
    elif node.get("class") == "COLUMN_REF":
        names = node["column_names"]
    if isinstance(names, tuple | list) and len(names) == 1 and names[0].lower() in _NOT_REPRODUCIBLE:
        raise ModelError(
            file.path,
            _line(file, node["query_location"]),
            f"{names[0]} gives other rows at each run; a model depends on its tables and window alone",
        )


def _nodes(tree: object) -> Iterator[dict[str, str]]:
    if isinstance(tree, dict):
        yield tree
        for branch in tree.values():
            yield from _nodes(branch)
    elif isinstance(tree, list):
        for branch in tree:
            yield from _nodes(branch)


def _line(file: ModelFile, position: object) -> int:
    """The line of a byte position, which DuckDB gives where it knows one."""
    offset = int(str(position)) if str(position).isdigit() else 0
    return file.sql.encode()[:offset].count(b"\n") + 1


def _model_error(file: ModelFile, error: duckdb.Error, known_columns: Iterable[str]) -> ModelError:
    text = str(error)
    try:
        details = json.loads(text[text.index("{") :])
    except ValueError:
        return ModelError(file.path, 1, text)
    message = str(details.get("exception_message", text)).splitlines()[0]
    hint = ""
    if found := _MISSING_COLUMN.search(message):
        candidates = [name for name in str(details.get("candidates", "")).split(",") if name]
        hint = did_you_mean(found[1], {*candidates, *known_columns})
    elif details.get("candidates"):
        hint = f"; did you mean {details['candidates'].split(',')[0]}?"
    return ModelError(file.path, _line(file, details.get("position", "")), f"{message}{hint}")
