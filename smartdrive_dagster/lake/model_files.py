"""A model as its author wrote it: one SELECT and a .yml twin in dbt's vocabulary, with lines for messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import yaml

from smartdrive_dagster.lake.nearest import did_you_mean
from smartdrive_dagster.tables import Table

STAGING: Final = "staging"
MARTS: Final = "marts"

# dbt's generic data tests and the arguments that each needs.
_DATA_TESTS: Final[dict[str, tuple[str, ...]]] = {
    "not_null": (),
    "unique": (),
    "accepted_values": ("values",),
    "relationships": ("to", "field"),
}
# The one in C reads the twins in a tenth of the time; not every build of PyYAML has it.
_LOADER: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REF: Final = re.compile(r"""ref\(\s*(['"])(\w+)\1\s*\)""")
_SOURCE: Final = re.compile(r"""source\(\s*(['"])(\w+)\1\s*,\s*(['"])(\w+)\3\s*\)""")


class ModelError(ValueError):
    """A model that cannot be loaded: the file, the line and what to change."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        self.path = path
        self.line = line
        super().__init__(f"{path}:{line}: {message}")


@dataclass(frozen=True, slots=True)
class DataTest:
    """A promise about one column of a mart.

    Attributes:
        column: the column.
        kind: not_null, unique, accepted_values or relationships.
        line: where the .yml file says so.
        values: for accepted_values, the only ones that may appear.
        to: for relationships, the table that holds every value.
        field: for relationships, that table's column.
        target: that table's spec, known once the model is resolved.
    """

    column: str
    kind: str
    line: int = 0
    values: tuple[str, ...] = ()
    to: str = ""
    field: str = ""
    target: Table | None = None

    @property
    def name(self) -> str:
        """A name that is unique within the model and valid as a Dagster check."""
        return f"{self.column}_{self.kind}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as a unit test writes it: texts, which DuckDB reads as the columns' types; None for null."""

    line: int
    values: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Given:
    """Rows of one relation that a model reads; `name` is qualified as in SQL."""

    name: str
    line: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class UnitTest:
    """Rows that a mart must make of given rows, as dbt's `unit_tests` say it.

    Attributes:
        name: unique within the model.
        line: where the .yml file says so.
        given: what the relations hold; those that are not named hold nothing.
        expect: the rows of the window, in any order, in the columns that they name.
        first_date: first local date of the window.
        last_date: last one.
        time_zone: IANA name of the zone in which local dates run.
    """

    name: str
    line: int
    given: tuple[Given, ...]
    expect: tuple[Row, ...]
    first_date: date
    last_date: date
    time_zone: str


@dataclass(frozen=True, slots=True)
class ColumnFile:
    """What a .yml file says of one column."""

    name: str
    line: int
    description: str
    unit: str | None
    vss: str | None
    data_tests: tuple[DataTest, ...]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The two files of a model, read but not yet resolved."""

    folder: str
    name: str
    path: Path
    yml_path: Path
    sql: str
    description: str
    columns: tuple[ColumnFile, ...]
    meta: Mapping[str, str]
    partition_by: str | None = None
    unique_key: tuple[str, ...] = ()
    unit_tests: tuple[UnitTest, ...] = ()

    @property
    def qualified_name(self) -> str:
        """The name under which SQL sees it."""
        return f"{self.folder}.{self.name}"


def read_models(root: Path) -> list[ModelFile]:
    """Read every model of a project.

    Raises:
        ModelError: a file has no twin, or the .yml file says something that is not in the vocabulary.
    """
    found = []
    for folder in (STAGING, MARTS):
        stems = {path.with_suffix("") for path in (root / folder).glob("*") if path.suffix in {".sql", ".yml"}}
        found += [_read_model(folder, stem) for stem in sorted(stems)]
    return found


def _read_model(folder: str, stem: Path) -> ModelFile:
    sql_path, yml_path = stem.with_suffix(".sql"), stem.with_suffix(".yml")
    for path, twin in ((sql_path, yml_path), (yml_path, sql_path)):
        if not twin.exists():
            raise ModelError(path, 1, f"the twin {twin.name} is missing")
    document = _Entry(yml_path, _compose(yml_path)).mapping(
        {"version", "models", "unit_tests"}, required=("models",)
    )
    models = document["models"].sequence()
    if len(models) != 1:
        raise ModelError(yml_path, document["models"].line, "a .yml twin describes exactly one model")
    model = models[0].mapping(
        {"name", "description", "config", "columns"}, required=("name", "description", "columns")
    )
    if (name := model["name"].text()) != stem.name:
        raise ModelError(yml_path, model["name"].line, f"the model is named {name} but its file {stem.name}")
    if "unit_tests" in document and folder != MARTS:
        raise ModelError(
            yml_path, document["unit_tests"].line, "unit_tests are for marts, whose views run in them"
        )
    config = model["config"].mapping({"partition_by", "unique_key", "meta"}) if "config" in model else {}
    if folder == MARTS:
        for wanted in ("partition_by", "unique_key"):
            if wanted not in config:
                raise ModelError(yml_path, model["name"].line, f"a mart's config needs {wanted}")
    return ModelFile(
        folder=folder,
        name=name,
        path=sql_path,
        yml_path=yml_path,
        sql=sql_path.read_text(encoding="utf-8"),
        description=model["description"].text(),
        columns=tuple(_column(entry, folder) for entry in model["columns"].sequence()),
        partition_by=config["partition_by"].text() if "partition_by" in config else None,
        unique_key=config["unique_key"].texts() if "unique_key" in config else (),
        meta={key: entry.text() for key, entry in config["meta"].mapping().items()} if "meta" in config else {},
        unit_tests=_unit_tests(document["unit_tests"], name) if "unit_tests" in document else (),
    )


def _column(entry: _Entry, folder: str) -> ColumnFile:
    column = entry.mapping({"name", "description", "meta", "data_tests"}, required=("name", "description"))
    meta = column["meta"].mapping({"unit", "vss"}) if "meta" in column else {}
    name = column["name"].text()
    tests: tuple[DataTest, ...] = ()
    if "data_tests" in column:
        if folder != MARTS:
            raise ModelError(
                entry.path, column["data_tests"].line, "nothing runs the data_tests of a view; put them on a mart"
            )
        tests = tuple(_data_test(name, test) for test in column["data_tests"].sequence())
    return ColumnFile(
        name=name,
        line=column["name"].line,
        description=column["description"].text(),
        unit=meta["unit"].text() if "unit" in meta else None,
        vss=meta["vss"].text() if "vss" in meta else None,
        data_tests=tests,
    )


def _data_test(column: str, entry: _Entry) -> DataTest:
    arguments: dict[str, _Entry] = {}
    if isinstance(entry.node, yaml.MappingNode):
        ((kind, body),) = entry.mapping(size=1).items()
        if kind in _DATA_TESTS:
            arguments = body.mapping(set(_DATA_TESTS[kind]))
    else:
        kind = entry.text()
    if kind not in _DATA_TESTS:
        hint = did_you_mean(kind, _DATA_TESTS)
        raise ModelError(entry.path, entry.line, f"{column}: unknown data_test {kind}{hint}")
    for wanted in _DATA_TESTS[kind]:
        if wanted not in arguments:
            raise ModelError(entry.path, entry.line, f"{column}: {kind} needs {wanted}")
    return DataTest(
        column,
        kind,
        entry.line,
        values=arguments["values"].texts() if "values" in arguments else (),
        to=arguments["to"].text() if "to" in arguments else "",
        field=arguments["field"].text() if "field" in arguments else "",
    )


def _unit_tests(entries: _Entry, model: str) -> tuple[UnitTest, ...]:
    found: dict[str, UnitTest] = {}
    for entry in entries.sequence():
        test = _unit_test(entry, model)
        if test.name in found:
            raise ModelError(entry.path, entry.line, f"two unit_tests are named {test.name}")
        found[test.name] = test
    return tuple(found.values())


def _unit_test(entry: _Entry, model: str) -> UnitTest:
    needed = ("name", "model", "given", "expect", "overrides")
    test = entry.mapping({*needed, "description"}, required=needed)
    if (named := test["model"].text()) != model:
        raise ModelError(
            entry.path, test["model"].line, f"the test is of {named}, but this is the twin of {model}"
        )
    given = tuple(_given(one) for one in test["given"].sequence())
    names = [one.name for one in given]
    for one in given:
        if names.count(one.name) > 1:
            raise ModelError(entry.path, one.line, f"{one.name} is given twice")
    variables = test["overrides"].mapping({"vars"}, required=("vars",))["vars"]
    window = variables.mapping({"first_date", "last_date", "time_zone"}, required=("first_date",))
    first, last = window["first_date"].day(), window.get("last_date", window["first_date"]).day()
    if last < first:
        raise ModelError(entry.path, window["last_date"].line, "last_date lies before first_date")
    zone = window["time_zone"].text() if "time_zone" in window else "UTC"
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(entry.path, window["time_zone"].line, f"no time zone is named {zone}") from error
    return UnitTest(
        name=test["name"].text(),
        line=entry.line,
        given=given,
        expect=test["expect"].mapping({"rows"}, required=("rows",))["rows"].rows(),
        first_date=first,
        last_date=last,
        time_zone=zone,
    )


def _given(entry: _Entry) -> Given:
    given = entry.mapping({"input", "rows"}, required=("input", "rows"))
    written = given["input"].text()
    if ref := _REF.fullmatch(written):
        folder = STAGING if ref[2].startswith("stg_") else MARTS
        name = f"{folder}.{ref[2]}"
    elif source := _SOURCE.fullmatch(written):
        name = f"{source[2]}.{source[4]}"
    else:
        raise ModelError(
            entry.path,
            given["input"].line,
            f"input {written} is neither ref('model') nor source('layer', 'table')",
        )
    return Given(name, entry.line, given["rows"].rows())


def _compose(path: Path) -> yaml.Node:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ModelError(path, mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from error
    if node is None:
        raise ModelError(path, 1, "the file is empty")
    return node


@dataclass(frozen=True, slots=True)
class _Entry:
    """A place in a .yml file that is read as one of the forms that the vocabulary knows."""

    path: Path
    node: yaml.Node

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    def text(self) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.value.strip():
            raise ModelError(self.path, self.line, "expected a text")
        return " ".join(str(self.node.value).split())

    def texts(self) -> tuple[str, ...]:
        """A list of texts, or the one text that stands for a list of one."""
        if isinstance(self.node, yaml.ScalarNode):
            return (self.text(),)
        return tuple(entry.text() for entry in self.sequence())

    def day(self) -> date:
        try:
            return date.fromisoformat(self.text())
        except ValueError as error:
            raise ModelError(self.path, self.line, f"{self.text()} is no date (2025-12-31)") from error

    def rows(self) -> tuple[Row, ...]:
        return tuple(
            Row(entry.line, {name: value.value() for name, value in entry.mapping().items()})
            for entry in self.sequence()
        )

    def value(self) -> str | None:
        """A value as DuckDB casts it from a text: a scalar as it is, a mapping as a map."""
        if isinstance(self.node, yaml.MappingNode):
            return "{" + ", ".join(f"{name}={entry.text()}" for name, entry in self.mapping().items()) + "}"
        if not isinstance(self.node, yaml.ScalarNode):
            raise ModelError(self.path, self.line, "expected a value, or keys with values for a map")
        return None if self.node.tag == "tag:yaml.org,2002:null" else str(self.node.value)

    def sequence(self) -> list[_Entry]:
        if not isinstance(self.node, yaml.SequenceNode):
            raise ModelError(self.path, self.line, "expected a list")
        return [_Entry(self.path, node) for node in self.node.value]

    def mapping(
        self, known: set[str] | None = None, *, required: tuple[str, ...] = (), size: int | None = None
    ) -> dict[str, _Entry]:
        if not isinstance(self.node, yaml.MappingNode) or (size is not None and len(self.node.value) != size):
            raise ModelError(self.path, self.line, "expected one key with a value" if size else "expected keys")
        entries: dict[str, _Entry] = {}
        for key_node, value_node in self.node.value:
            key = _Entry(self.path, key_node)
            name = key.text()
            if known is not None and name not in known:
                raise ModelError(self.path, key.line, f"unknown key {name}{did_you_mean(name, known)}")
            if name in entries:
                raise ModelError(self.path, key.line, f"{name} is given twice")
            entries[name] = _Entry(self.path, value_node)
        for name in required:
            if name not in entries:
                raise ModelError(self.path, self.line, f"{name} is missing")
        return entries
