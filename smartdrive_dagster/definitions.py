"""The one entry point: everything that Dagster loads."""

from __future__ import annotations

import dagster as dg

from smartdrive_dagster.defs.erase import erase, erasure_sensor
from smartdrive_dagster.defs.expire import expire, nightly_retention
from smartdrive_dagster.defs.gold import gold_assets
from smartdrive_dagster.defs.ingest import LANDING, bronze_and_silver
from smartdrive_dagster.defs.jobs import (
    GOLD_JOB,
    INGEST_JOB,
    MAINTENANCE_JOB,
    NIGHTLY_CHECKS_JOB,
    PRUNING_JOB,
    TABLE_CHECKS,
)
from smartdrive_dagster.defs.notify import alert_sensor, daily_digest, failure_sensor, notify
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.serving import PUBLISH_JOB, nightly_publish, publish_sensor, serving_tables
from smartdrive_dagster.defs.triggers import (
    daily_sweep,
    gold_sensor,
    landing_sensor,
    nightly_checks,
    nightly_gold,
    nightly_maintenance,
    nightly_pruning,
)
from smartdrive_dagster.defs.weather import daily_forecast, fetch_weather
from smartdrive_dagster.settings import Settings


def definitions(settings: Settings) -> dg.Definitions:
    """All definitions over the lake that the settings name."""
    return dg.Definitions(
        assets=[LANDING, bronze_and_silver, *gold_assets(), serving_tables],
        asset_checks=TABLE_CHECKS,
        jobs=[
            INGEST_JOB,
            GOLD_JOB,
            PUBLISH_JOB,
            NIGHTLY_CHECKS_JOB,
            MAINTENANCE_JOB,
            PRUNING_JOB,
            notify,
            fetch_weather,
            erase,
            expire,
        ],
        sensors=[landing_sensor, gold_sensor, publish_sensor, alert_sensor, failure_sensor, erasure_sensor],
        schedules=[
            daily_sweep,
            nightly_gold,
            nightly_publish,
            nightly_checks,
            nightly_maintenance,
            nightly_pruning,
            nightly_retention,
            daily_digest,
            daily_forecast,
        ],
        resources={"lake": LakeResource.of(settings)},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What the code location serves."""
    return definitions(Settings())
