"""Serving: Gold, the marts and the trouble codes in the database of the REST API.

What is due is asked of the lake's log and of the database, never of an event; see `serving.publishing`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.specs import OWNERS, key
from smartdrive_dagster.defs.triggers import run_history
from smartdrive_dagster.serving import GOLD, MARTS
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Table

if TYPE_CHECKING:
    from smartdrive_dagster.domain.dtc_knowledge import CodeBook
    from smartdrive_dagster.serving.database import Serving

GROUP: Final = "serving"
CODES_KEY: Final = dg.AssetKey([GROUP, "dtc_codes"])
COUNTS_CHECK: Final = "counts_agree"
NOT_CONFIGURED: Final = "SMARTDRIVE_SERVING_URL names no database of the REST API"


def served_tables() -> list[Table]:
    """The tables that are published."""
    marts = {table.name: table for table in computations() if table.layer == "marts"}
    return [*GOLD, *(marts[name] for name in MARTS)]


def _key(table: Table) -> dg.AssetKey:
    return dg.AssetKey([GROUP, table.name])


def _specs() -> list[dg.AssetSpec]:
    shared: dict[str, Any] = {"group_name": GROUP, "kinds": {"postgresql"}, "owners": OWNERS}
    return [
        *(
            dg.AssetSpec(
                _key(table),
                deps=[key(table)],
                description=f"{table}, in the columns that the REST API shows.",
                **shared,
            )
            for table in served_tables()
        ),
        dg.AssetSpec(CODES_KEY, description="What the REST API says of trouble codes.", **shared),
    ]


@dg.multi_asset(
    name="serving_tables",
    specs=_specs(),
    check_specs=[
        dg.AssetCheckSpec(
            COUNTS_CHECK,
            asset=_key(table),
            description="After each run: as many rows on each day as were published. Days with others are "
            "published anew by the next run.",
        )
        for table in served_tables()
    ],
    pool=GROUP,
)
def serving_tables(
    context: dg.AssetExecutionContext, lake: LakeResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
    """Publish what differs, table by table."""
    from smartdrive_dagster.serving.publishing import miscounted, publish, publish_codes

    settings, lakehouse = lake.settings, lake.lakehouse()
    with api_database(settings) as serving:
        for table in served_tables():
            rows = publish(
                serving,
                lakehouse,
                table,
                lambda done, left, table=table: context.log.info(  # type: ignore[misc]
                    f"{table}: {done} days published, {left} left"
                ),
            )
            wrong = miscounted(serving, table)
            yield dg.MaterializeResult(
                asset_key=_key(table),
                metadata={"rows written": rows},
                check_results=[
                    dg.AssetCheckResult(
                        asset_key=_key(table),
                        check_name=COUNTS_CHECK,
                        passed=not wrong,
                        metadata={day: f"{there} rows for {said}" for day, (there, said) in [*wrong.items()][:50]},
                    )
                ],
            )
        book = _book(settings)
        rows = publish_codes(serving, _content(book), lambda: _explanations(book))
        yield dg.MaterializeResult(asset_key=CODES_KEY, metadata={"rows written": rows})


PUBLISH_JOB: Final = dg.define_asset_job(
    "publish",
    selection=dg.AssetSelection.assets(serving_tables),
    config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
    description="What the REST API's database lacks of Gold and the marts.",
)


@dg.sensor(
    job=PUBLISH_JOB,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Compares what the REST API's database holds with Gold and the marts.",
)
def publish_sensor(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request a run where something differs and nobody is at it."""
    from datetime import UTC, datetime

    from smartdrive_dagster.serving.database import ServingError

    settings = lake.settings
    if settings.serving_url is None:
        yield dg.SkipReason(NOT_CONFIGURED)
        return
    try:
        due = due_tables(settings)
    except ServingError as error:
        yield dg.SkipReason(str(error))
        return
    if not due:
        yield dg.SkipReason("the database holds what the lake does")
    elif run_history(context.instance, PUBLISH_JOB.name, {}).allows(datetime.now(UTC)):
        yield dg.RunRequest()
    else:
        yield dg.SkipReason(f"{len(due)} tables differ, with a run under way or a pause after failures")


@dg.schedule(
    job=PUBLISH_JOB,
    cron_schedule="20 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts what is published, even where nothing differs.",
)
def nightly_publish(lake: LakeResource) -> dg.RunRequest | dg.SkipReason:
    """Request a run, if there is a database to count in."""
    return dg.SkipReason(NOT_CONFIGURED) if lake.settings.serving_url is None else dg.RunRequest()


def due_tables(settings: Settings) -> list[str]:
    """Published tables of which the database holds something else than the lake.

    Raises:
        ServingError: no database is configured, or it does not answer, or lacks tables.
    """
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.serving.publishing import CODES, due_days

    lakehouse = Lakehouse(settings.lake_url)
    with api_database(settings) as serving:
        due = [str(table) for table in served_tables() if due_days(serving, lakehouse, table)]
        codes = serving.parts(CODES).get("")
        if codes is None or codes.content != _content(_book(settings)):
            due.append(CODES)
    return due


def api_database(settings: Settings) -> "AbstractContextManager[Serving]":
    """The database of the REST API that the settings name.

    Raises:
        ServingError: none is named, or it does not let us in.
    """
    from smartdrive_dagster.serving.database import ServingError, serving

    if settings.serving_url is None:
        raise ServingError(NOT_CONFIGURED)
    return serving(settings.serving_url.get_secret_value())


def _book(settings: Settings) -> "CodeBook":
    from smartdrive_dagster.knowledge.trouble_codes import load_book

    return load_book(settings.dtc_file)


def _content(book: "CodeBook") -> str:
    from smartdrive_dagster.domain.identity import digest
    from smartdrive_dagster.knowledge.trouble_codes import load_advice, load_level_texts

    own = (sorted(book.titles.items()), book.rules, sorted(book.words.items()))
    return digest(repr((*own, book.imported_digest, sorted(load_advice().items()), load_level_texts())).encode())


def _explanations(book: "CodeBook") -> Iterator[dict[str, Any]]:
    from smartdrive_dagster.domain.dtc_titles import LANGUAGES
    from smartdrive_dagster.knowledge.explanations import explain, explained_codes

    for language in LANGUAGES:
        for name, code in explained_codes(book):
            yield {"code": name, "language": language, "explanation": explain(code, language, book)}
