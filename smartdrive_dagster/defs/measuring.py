"""Numbers about the lake: measured from tables, the listing and Dagster's storage."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg

from smartdrive_dagster.defs.daemons import NoInstanceError, existing_instance, heartbeats
from smartdrive_dagster.metrics import catalogue
from smartdrive_dagster.metrics.catalogue import Values
from smartdrive_dagster.metrics.emf import emf
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import bronze, facts, silver

if TYPE_CHECKING:
    import polars as pl

    from smartdrive_dagster.defs.ingestion import Progress
    from smartdrive_dagster.defs.work import GoldWork
    from smartdrive_dagster.lake.lakehouse import Lakehouse

RECENT: Final = timedelta(hours=48)
"""Arrival days that the landing sensor looks at."""

_FAILED_WITHIN: Final = timedelta(hours=1)
_REJECTED: Final = ("quarantined", "conflict")
_SAMPLES: Final = (silver.TELEMETRY, silver.EVENTS, *facts.CHANNEL_OF)


def tell(measure: Callable[[], Values], settings: Settings, at: datetime) -> None:
    """Write a line of the process's log where the settings ask for it; otherwise nothing is measured either."""
    if settings.emf_metrics and (values := measure()):
        sys.stdout.write(emf(values, at) + "\n")
        sys.stdout.flush()


def of_landing(waiting: pl.DataFrame, lakehouse: Lakehouse, at: datetime) -> Values:
    """How far the ledger is behind landing.

    Args:
        waiting: as `waiting_objects` found it, for the arrival days since `RECENT` before now.
        lakehouse: the lake.
        at: now.
    """
    import polars as pl

    oldest = waiting.get_column("landed_at").drop_nulls().min()
    newest = lakehouse.scan(bronze.OBJECTS).select(pl.col("last_received_at").max()).collect().item()
    values: Values = {
        catalogue.LANDING_LAG: _since(oldest, at) if isinstance(oldest, datetime) else 0.0,
        catalogue.OBJECTS_WAITING: waiting.height,
    }
    return values | ({catalogue.NEWEST_MESSAGE_AGE: _since(newest, at)} if newest is not None else {})


def of_gold(work: Sequence[GoldWork]) -> Values:
    """How far Gold and the marts are behind the ledger."""
    return {catalogue.GOLD_DAYS_WAITING: len({day for one in work for day in one.days})}


def of_runs(instance: dg.DagsterInstance, at: datetime) -> Values:
    """What Dagster has not managed lately."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=at - _FAILED_WITHIN)
    return {catalogue.FAILED_RUNS: instance.get_runs_count(failed)}


def of_dagster(home: Path, at: datetime) -> Values:
    """Runs and heartbeats in the storage of an instance; nothing where there is none, which is left so.

    Args:
        home: the DAGSTER_HOME.
        at: now.
    """
    try:
        with existing_instance(home) as instance:
            last = heartbeats(instance)
            values = of_runs(instance, at)
    except NoInstanceError:
        return {}
    beats = [beat for beat in last.values() if beat is not None]
    return values | ({catalogue.DAEMON_SILENCE: _since(min(beats), at)} if beats else {})


def of_ledger(lakehouse: Lakehouse) -> Values:
    """What has been taken in since the lake began."""
    import polars as pl

    counted = (
        lakehouse.scan(silver.MESSAGES)
        .select(
            pl.len(), rejected=pl.col("verdict").is_in(_REJECTED).sum(), samples=pl.col("samples_accepted").sum()
        )
        .collect(engine="streaming")
    )
    lines, rejected, samples = counted.row(0)
    return _taken_in(lakehouse.open(bronze.OBJECTS).count(), lines, rejected, samples)


def of_progress(progress: Progress) -> Values:
    """What a run has taken in."""
    rejected = sum(progress.verdicts.get(verdict, 0) for verdict in _REJECTED)
    samples = sum(progress.rows.get(str(table), 0) for table in _SAMPLES)
    return _taken_in(progress.objects, progress.lines, rejected, samples)


def added(now: Values, before: Values) -> Values:
    """What has been added to counters; nothing where nothing has."""
    grown: Mapping[catalogue.Metric, float] = {name: value - before.get(name, 0) for name, value in now.items()}
    return dict(grown) if any(grown.values()) else {}


def _taken_in(objects: float, lines: float, rejected: float, samples: float) -> Values:
    return {
        catalogue.OBJECTS: objects,
        catalogue.LINES: lines,
        catalogue.REJECTED_LINES: rejected,
        catalogue.SAMPLES: samples,
    }


def _since(moment: datetime, at: datetime) -> float:
    return max(0.0, (at - moment).total_seconds())
