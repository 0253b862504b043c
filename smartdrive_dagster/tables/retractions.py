"""Imports that were taken back: state beside the lake, of which its tables are a function."""

from smartdrive_dagster.tables.table import Column, Table

RETRACTED_OBJECTS = Table(
    layer="retractions",
    name="objects",
    description="One landing object of an import that was taken back; its lines are `erased` in the ledger.",
    columns=(
        Column("object_key", "string", "Key of the landing object", required=True),
        Column("import_id", "string", "The import: digests of its file and of its options", required=True),
        Column("at", "timestamp", "When it was taken back", required=True, statistics=True),
        Column("at_date", "date", "UTC day of `at`", required=True, statistics=True),
    ),
    key=("object_key",),
    partition_by="at_date",
)
