"""Maintenance of every table, one after the other, each in a child of bounded memory."""

import dagster as dg

from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.lake.models import load_models
from smartdrive_dagster.tables import ALL


@dg.op(description="Compact, vacuum and checkpoint all tables of the lake.")
def maintain_tables(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Maintain each table; one that fails does not keep the others from their turn."""
    from smartdrive_dagster.lake.maintenance import MaintenanceError, maintain_apart

    lakehouse = lake.lakehouse()
    marts = [model.table for model in load_models().values()]
    failed: list[str] = []
    for table in (*ALL, *marts):
        if not lakehouse.exists(table):
            continue
        try:
            done = maintain_apart(lakehouse.url, table)
        except MaintenanceError as error:
            failed.append(str(table))
            context.log.error(str(error))
        else:
            context.log.info(f"{table}: {done}")
            context.log_event(
                dg.AssetObservation(asset_key=dg.AssetKey([table.layer, table.name]), metadata=dict(done))
            )
    if failed:
        raise dg.Failure(f"maintenance failed for {', '.join(failed)}; the log says why")


@dg.job(executor_def=dg.in_process_executor, description="Compacts, vacuums and checkpoints every table.")
def maintain_lake() -> None:
    """Maintain the whole lake."""
    maintain_tables()
