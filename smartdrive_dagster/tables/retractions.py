"""Imports that were taken back and vehicles that were erased: state beside the lake."""

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

ERASURE_STEPS = ("requested", "bronze", "silver", "done")

ERASED_VEHICLES = Table(
    layer="retractions",
    name="vehicles",
    description="One step in the erasure of a vehicle, which is known by its tombstone alone.",
    columns=(
        Column(
            "tombstone", "string", "Keyed hash of the vehicle_id under a label of its own, base32", required=True
        ),
        Column("step", "string", "How far the erasure is", required=True, accepted=ERASURE_STEPS),
        Column("at", "timestamp", "When it came so far", required=True, statistics=True),
        Column("at_date", "date", "UTC day of `at`", required=True, statistics=True),
        Column("counts", "string", "What was removed until then, by store, as JSON"),
    ),
    key=("tombstone", "step", "at"),
    partition_by="at_date",
)
