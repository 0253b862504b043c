"""The run that erases vehicles, and the sensor that asks for it while an erasure is not done."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

import dagster as dg

from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.ingest import POOL
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.serving import GROUP as SERVING
from smartdrive_dagster.defs.serving import api_database
from smartdrive_dagster.defs.specs import pool
from smartdrive_dagster.defs.triggers import run_history
from smartdrive_dagster.settings import Settings


@dg.op(description="Take erased vehicles out of every store, and write the receipt.", pool=POOL)
def erase_stores(context: dg.OpExecutionContext, lake: LakeResource) -> str:
    """Finish all erasures that were requested; returns where the receipt lies, nothing where none was."""
    from smartdrive_dagster.defs.erasure import erase_everywhere

    receipt = erase_everywhere(lake.settings, context.instance, say=context.log.info)
    context.log.info(f"receipt: {receipt}" if receipt else "no erasure was requested")
    return receipt or ""


def keep_gold_out() -> None:
    """Add to a job what keeps runs of Gold, the marts and the serving tables waiting as long as it lasts."""
    for name in (*map(pool, computations()), SERVING):
        _hold(name)()


@cache
def _hold(name: str) -> dg.OpDefinition:
    """An op that keeps other runs out of a pool as long as the run lasts; all jobs share it."""

    @dg.op(name=f"hold_{name}", description=f"Keep others out of the pool {name} meanwhile.", pool=name)
    def hold() -> None:
        pass

    return hold


@dg.job(
    executor_def=dg.in_process_executor,
    description="Takes erased vehicles out of every store. Nobody else ingests or computes meanwhile.",
)
def erase() -> None:
    """Erase vehicles."""
    keep_gold_out()
    erase_stores()


@dg.sensor(
    job=erase,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks for erasures that were requested and are not done.",
)
def erasure_sensor(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request a run where an erasure is not done and nobody is at it."""
    pending = len(lake.retractions().pending()) + _requested_of_the_api(lake.settings)
    if not pending:
        yield dg.SkipReason("no erasure was requested")
    elif run_history(context.instance, erase.name, {}).allows(datetime.now(UTC)):
        yield dg.RunRequest()
    else:
        yield dg.SkipReason(f"{pending} erasures are under way, or pause after failures")


def _requested_of_the_api(settings: Settings) -> int:
    """Requests in the REST API's database; none where it does not answer, since the next look asks again."""
    from smartdrive_dagster.serving.database import ServingError

    if settings.serving_url is None:
        return 0
    try:
        with api_database(settings) as database:
            return len(database.erasure_requests())
    except ServingError:
        return 0
