"""The vocabulary in which tables are declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

Layer = Literal["bronze", "silver", "gold", "marts", "outbox", "retractions"]
LAYERS: Final = ("bronze", "silver", "gold", "marts")
"""The lake's own layers; the others are its state."""

# Delta's own type names (Delta protocol, "Schema Serialization Format"); the last is a Silver ledger's pairs.
DataType = Literal[
    "string",
    "integer",
    "long",
    "double",
    "boolean",
    "binary",
    "date",
    "timestamp",
    "map<string,double>",
    "array<struct<event_date:date,vehicle_id:string>>",
]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: snake_case, with the unit as its suffix where it has one.
        dtype: Delta's name of the type. Instants are UTC microseconds.
        description: what it means to somebody who has never seen the table.
        unit: the unit in words people use (``km/h``, ``°C``); None for what has none.
        vss: the COVESA Vehicle Signal Specification 6 path of the same quantity.
        pid: service and parameter id of SAE J1979, for example ``01 0C``.
        signal: the name of the signal in the telemetry contract.
        required: never null; a batch with a null here is refused before its commit.
        accepted: the only values that may appear, if they are few.
        statistics: whether minimum and maximum may stand in the Delta log. Never for anything that identifies
            a vehicle, a device or a place.
    """

    name: str
    dtype: DataType
    description: str
    unit: str | None = None
    vss: str | None = None
    pid: str | None = None
    signal: str | None = None
    required: bool = False
    accepted: tuple[str, ...] | None = None
    statistics: bool = False

    @property
    def metadata(self) -> dict[str, str]:
        """What is stored beside the column in the Delta schema: comment, unit, VSS path and PID."""
        parts = {"comment": self.comment, "unit": self.unit, "vss": self.vss, "pid": self.pid}
        return {key: value for key, value in parts.items() if value}

    @property
    def comment(self) -> str:
        """The description followed by unit, VSS path and PID, as one line for readers that show only that."""
        facts = [self.unit, self.vss, f"PID {self.pid}" if self.pid else None]
        known = "; ".join(fact for fact in facts if fact)
        return f"{self.description} [{known}]" if known else self.description


@dataclass(frozen=True, repr=False)
class Table:
    """One Delta table: its place, columns, key and partitioning.

    Attributes:
        layer: medallion layer, also the schema name under which SQL sees it.
        name: table name within the layer.
        description: the grain and purpose, first sentence first.
        columns: in the order in which readers see them.
        key: columns that identify a row; unique over the whole table.
        partition_by: the date column it is partitioned by, or None.
        provenance: columns that say where a row came from. Two rows are equal when everything else is.
    """

    layer: Layer
    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition_by: str | None
    provenance: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"{self}: a column is declared twice")
        wanted = {*self.key, *self.provenance, *([self.partition_by] if self.partition_by else [])}
        if missing := wanted - set(names):
            raise ValueError(f"{self}: key, partition or provenance names no column: {sorted(missing)}")

    def __str__(self) -> str:
        return f"{self.layer}.{self.name}"

    def __repr__(self) -> str:
        return f"Table({self})"

    @property
    def path(self) -> str:
        """Where it lies below the lake's root."""
        return f"{self.layer}/{self.name}"

    @property
    def statistics_columns(self) -> tuple[str, ...]:
        """Columns whose minimum and maximum the Delta log may hold."""
        return tuple(column.name for column in self.columns if column.statistics)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by their names."""
        return {column.name: column for column in self.columns}

    @property
    def content(self) -> tuple[str, ...]:
        """Columns in which equal rows are equal: all but the provenance."""
        return tuple(column.name for column in self.columns if column.name not in self.provenance)
