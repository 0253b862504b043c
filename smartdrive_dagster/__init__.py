"""SmartDrive: what a car says on its OBD-II port, as Delta tables that its owner keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb


def connect(*, as_of: datetime | None = None) -> duckdb.DuckDBPyConnection:
    """Open DuckDB over the configured lake: views bronze.*, silver.*, gold.* and marts.*, read-only.

    Where the lake lies and in which zone days run is read from the environment (`SMARTDRIVE_LAKE_URL`,
    `SMARTDRIVE_TIME_ZONE`). A table that does not exist yet is an empty view.

    Args:
        as_of: show the tables as they were at this instant (with its zone) instead of as they are.
    """
    # Imported here so that `import smartdrive_dagster`, which every Dagster process does, costs nothing.
    from smartdrive_dagster.lake import duck, models
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    return duck.connect(
        Lakehouse(settings.lake_url),
        time_zone=settings.time_zone,
        tables=models.readable_tables(),
        as_of=as_of,
    )
