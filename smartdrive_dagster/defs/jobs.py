"""Jobs: all run their steps in one process, since a step's own process costs seconds and the work little."""

from __future__ import annotations

from typing import Final

import dagster as dg

from smartdrive_dagster.defs.ingest import bronze_and_silver
from smartdrive_dagster.defs.maintenance import maintain_lake
from smartdrive_dagster.defs.pruning import prune_runs
from smartdrive_dagster.defs.table_checks import table_checks

TABLE_CHECKS: Final = table_checks()

# The event log holds every event; the console of `make ui` shows what a person can use.
QUIET: Final = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}

INGEST_JOB: Final = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets(bronze_and_silver) - dg.AssetSelection.checks(*TABLE_CHECKS),
    config=QUIET,
    description="Landing to Bronze and Silver for one arrival day, in a loop until idle.",
)

GOLD_JOB: Final = dg.define_asset_job(
    "gold",
    selection=dg.AssetSelection.groups("gold", "marts") - dg.AssetSelection.checks(*TABLE_CHECKS),
    config=QUIET,
    description="Stale event days of Gold and the marts.",
)

NIGHTLY_CHECKS_JOB: Final = dg.define_asset_job(
    "table_checks",
    selection=dg.AssetSelection.checks(*TABLE_CHECKS),
    description="Checks that read whole tables.",
)

MAINTENANCE_JOB: Final = maintain_lake

PRUNING_JOB: Final = prune_runs
