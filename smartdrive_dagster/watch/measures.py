"""A home's numbers, measured when somebody asks: of the lake, Dagster and the lander."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from smartdrive_dagster.defs.measuring import RECENT, of_dagster, of_gold, of_landing, of_ledger
from smartdrive_dagster.defs.work import gold_work, waiting_objects
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.heartbeat import Heartbeat
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.metrics import catalogue
from smartdrive_dagster.metrics.catalogue import Values


def measure(
    lakehouse: Lakehouse, store: LandingStore, *, at: datetime, dagster_home: Path | None, heartbeat: Path | None
) -> Values:
    """Measure everything once; it changes nothing.

    Args:
        lakehouse: the lake.
        store: the landing zone.
        at: now.
        dagster_home: the DAGSTER_HOME to look into; None for none.
        heartbeat: the lander's file; None for none. A lander that has written nothing has no numbers.
    """
    since, today = (at - RECENT).date(), at.date()
    waiting = waiting_objects(lakehouse, store.list(since=since).objects, since=since, until=today)
    return (
        of_landing(waiting, lakehouse, at)
        | of_ledger(lakehouse)
        | of_gold(gold_work(lakehouse, until=today, floor=0))
        | (of_dagster(dagster_home, at) if dagster_home else {})
        | (_of_lander(heartbeat, at) if heartbeat else {})
    )


def _of_lander(path: Path, at: datetime) -> Values:
    try:
        said = Heartbeat.read(path)
    except (OSError, ValueError):
        return {}
    return {
        catalogue.LANDER_CONNECTED: int(said.protocol is not None),
        catalogue.LANDER_SILENCE: max(0.0, (at - datetime.fromtimestamp(said.at, UTC)).total_seconds()),
        catalogue.LANDER_FAILURES: said.failures,
        catalogue.LANDER_MESSAGES: said.landed,
    }
