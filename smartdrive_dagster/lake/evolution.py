"""From the schema that a table on storage has to the one its spec says: what can be added, and what is refused.

A table is migrated by the first writer that knows more columns than it, in the log alone: no data file is
rewritten. Readers do not wait for that, they see nulls. Whatever could lose or reinterpret a value is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deltalake import DeltaTable, Field, Schema

from smartdrive_dagster.lake.frames import delta_schema
from smartdrive_dagster.tables import Table

RETENTION_HOURS: Final = 7 * 24
"""How far back time travel reaches; maintenance deletes what is older."""
RETENTION: Final = f"interval {RETENTION_HOURS} hours"
_REBUILD: Final = (
    "rebuild the lake with this version (`smartdrive rebuild`), or go on with the version that wrote it"
)


class SchemaChangeError(RuntimeError):
    """The spec and the table on storage cannot both be right; nothing was read or written."""

    def __init__(self, table: Table, reasons: list[str]) -> None:
        self.table = table
        self.reasons = reasons
        super().__init__(f"{table} on storage does not fit this version: {'; '.join(reasons)}. {_REBUILD}.")


@dataclass(frozen=True)
class Migration:
    """What brings a table on storage up to its spec.

    Attributes:
        added: columns that it lacks, all of them nullable.
        relaxed: columns that were required and need not be any more.
        described: columns whose metadata (comment, unit, VSS path, PID) has changed.
        properties: table properties that differ.
    """

    added: list[Field] = field(default_factory=list)
    relaxed: list[str] = field(default_factory=list)
    described: dict[str, dict[str, str]] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.relaxed or self.described or self.properties)


def table_properties(table: Table) -> dict[str, str]:
    """The Delta table properties that a table is created with."""
    return {
        "delta.dataSkippingStatsColumns": ",".join(table.statistics_columns),
        "delta.checkpointInterval": "50",
        # One for both: a version whose files are gone cannot be read, nor one whose log is.
        "delta.logRetentionDuration": RETENTION,
        "delta.deletedFileRetentionDuration": RETENTION,
    }


def absent_columns(table: Table, delta: DeltaTable) -> list[str]:
    """Columns of the spec that a table on storage lacks: a reader sees nulls in them.

    Raises:
        SchemaChangeError: a column has another type there.
    """
    present = _by_name(delta.schema())
    wanted = _by_name(delta_schema(table))
    if reasons := _retyped(present, wanted):
        raise SchemaChangeError(table, reasons)
    return [name for name in wanted if name not in present]


def plan_migration(table: Table, delta: DeltaTable) -> Migration:
    """What a table on storage lacks of its spec.

    Raises:
        SchemaChangeError: the spec has dropped, renamed or retyped a column, requires one that old rows lack, or
            partitions by another one.
    """
    present, wanted = _by_name(delta.schema()), _by_name(delta_schema(table))
    metadata = delta.metadata()
    reasons = _retyped(present, wanted)
    reasons += [
        f"it has a column {name} that this version does not know (dropped, renamed, or written by a newer version)"
        for name in present
        if name not in wanted
    ]
    reasons += [
        f"column {name} is required, and rows written before have no value in it"
        for name, column in wanted.items()
        if not column.nullable and (name not in present or present[name].nullable)
    ]
    partitioned_by = [table.partition_by] if table.partition_by else []
    if metadata.partition_columns != partitioned_by:
        reasons.append(f"it is partitioned by {metadata.partition_columns}, not by {partitioned_by}")
    if reasons:
        raise SchemaChangeError(table, reasons)
    shared = [(name, present[name], column) for name, column in wanted.items() if name in present]
    return Migration(
        added=[column for name, column in wanted.items() if name not in present],
        relaxed=[name for name, before, now in shared if now.nullable and not before.nullable],
        described={name: dict(now.metadata) for name, before, now in shared if before.metadata != now.metadata},
        properties={
            name: value
            for name, value in table_properties(table).items()
            if metadata.configuration.get(name) != value
        },
    )


def migrate(delta: DeltaTable, migration: Migration) -> None:
    """Bring a table up to its spec, in a few commits to its log; no data file is touched."""
    if migration.added:
        delta.alter.add_columns(migration.added)
    for name in migration.relaxed:
        delta.alter.drop_column_not_null(name)
    for name, metadata in migration.described.items():
        delta.alter.set_column_metadata(name, metadata)
    if migration.properties:
        delta.alter.set_table_properties(migration.properties)


def _retyped(present: dict[str, Field], wanted: dict[str, Field]) -> list[str]:
    return [
        f"column {name} is {present[name].type} there and {column.type} here"
        for name, column in wanted.items()
        if name in present and present[name].type != column.type
    ]


def _by_name(schema: Schema) -> dict[str, Field]:
    return {column.name: column for column in schema.fields}
