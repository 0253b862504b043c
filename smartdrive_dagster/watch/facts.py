"""A look at everything: the listing, the tables, the heartbeats. It changes nothing and needs nobody to answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from smartdrive_dagster.defs.work import stale_tables, waiting_objects
from smartdrive_dagster.domain.sequences import sequence_gaps
from smartdrive_dagster.lake.audit import Balances, balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.heartbeat import Heartbeat
from smartdrive_dagster.landing.store import LandingStore, UnreadableError
from smartdrive_dagster.tables import bronze, facts, silver
from smartdrive_dagster.up.files import Files
from smartdrive_dagster.watch.findings import HORIZON, Arrivals, Daemons, Facts, Gap, Lander, Limits, Waiting

_WINDOWS_H: Final = (24, 48)
_TRIED: Final = 20
_LOOKS: Final = 4
_PAUSE_S: Final = 0.5
_REJECTED: Final = ("quarantined", "conflict")
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def look(
    lakehouse: Lakehouse,
    store: LandingStore,
    limits: Limits,
    *,
    at: datetime,
    dagster_home: Path | None,
    up: Path | None = None,
) -> Facts:
    """Look at everything once.

    Args:
        lakehouse: the lake.
        store: the landing zone, which is listed once.
        limits: of these, those that choose what is looked at: the grace of gaps and the staleness.
        at: now.
        dagster_home: the DAGSTER_HOME whose daemons to look at; None for none. Imports Dagster.
        up: the state folder of `smartdrive up`; None for none.
    """
    listing = store.list()  # first of all: what lands or is judged meanwhile is not missed in the tables
    held = waiting_objects(lakehouse, listing.objects)
    waiting = [
        Waiting(key, day, landed_at or datetime(day.year, day.month, day.day, tzinfo=UTC))
        for key, day, landed_at in held.select("object_key", "landing_date", "landed_at").iter_rows()
    ]
    unread = held.filter("is_unread").sort("landed_at", "object_key").get_column("object_key")
    recent = _recent_objects(lakehouse, at)
    held_balances, is_steady = _settled_balances(lakehouse)
    return Facts(
        at=at,
        objects=len(listing.objects),
        strays=len(listing.strays),
        waiting=waiting,
        unreadable=dict(_unreadable(store, unread.head(_TRIED).to_list())),
        newest_at=lakehouse.scan(bronze.OBJECTS).select(pl.col("last_received_at").max()).collect().item(),
        arrivals=[_arrivals(lakehouse, recent, at, hours) for hours in _WINDOWS_H],
        gaps=_gaps(lakehouse, recent, at, limits.gap_grace),
        stale=_stale(lakehouse, at - limits.staleness),
        balances=held_balances,
        is_steady=is_steady,
        daemons=_daemons(dagster_home) if dagster_home else None,
        lander=_lander(Files(up)) if up else None,
    )


def _unreadable(store: LandingStore, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key in keys:
        try:
            next(store.read(key), None)
        except FileNotFoundError:
            continue
        except UnreadableError as error:
            yield key, str(error)


def _recent_objects(lakehouse: Lakehouse, at: datetime) -> pl.DataFrame:
    """object_key, landing_date and arrived_at of what arrived within the horizon.

    An object without any receipt (of lines that are no envelopes) arrived on its day.
    """
    arrived = pl.col("last_received_at").fill_null(pl.col("landing_date").cast(pl.Datetime("us", "UTC")))
    return (
        lakehouse.scan(bronze.OBJECTS)
        .filter((pl.col("last_received_at") >= at - HORIZON) | pl.col("last_received_at").is_null())
        .select("object_key", "landing_date", arrived_at=arrived)
        .filter(pl.col("arrived_at") >= at - HORIZON)
        .collect()
    )


def _ledger_of(lakehouse: Lakehouse, objects: pl.DataFrame) -> pl.LazyFrame:
    days = objects.get_column("landing_date").unique().to_list()
    ledger = lakehouse.scan(silver.MESSAGES).filter(pl.col("landing_date").is_in(days))
    return ledger.join(objects.lazy().select("object_key"), on="object_key", how="semi")


def _arrivals(lakehouse: Lakehouse, recent: pl.DataFrame, at: datetime, hours: int) -> Arrivals:
    objects = recent.filter(pl.col("arrived_at") >= at - timedelta(hours=hours))
    ledger = _ledger_of(lakehouse, objects)
    bad = pl.col("verdict").is_in(_REJECTED)
    lines, rejected = ledger.select(pl.len(), bad.sum().alias("rejected")).collect().row(0)
    reasons: dict[str, int] = {}
    if rejected:
        line = ["object_key", "line_no"]
        days = objects.get_column("landing_date").unique().to_list()
        counted = (
            lakehouse.scan(silver.QUARANTINE)
            .filter(pl.col("landing_date").is_in(days))
            .join(ledger.filter(bad).select(line), on=line, how="semi")
            .group_by("reason")
            .agg(pl.struct(line).n_unique())
        )
        reasons = dict(counted.collect().iter_rows())
    return Arrivals(hours, int(lines), int(rejected or 0), reasons)


def _gaps(lakehouse: Lakehouse, recent: pl.DataFrame, at: datetime, grace: timedelta) -> list[Gap]:
    """Per boot of a device the gaps beside a message that arrived within the horizon, and before the grace.

    A message that is there under any verdict is seen; neighbours may have arrived long ago, so all days of the
    ledger are looked at, for the boots that arrived lately.
    """
    boot = ["device_id", "boot_id"]
    boots = _ledger_of(lakehouse, recent).filter(pl.col("seq").is_not_null()).select(boot).unique().collect()
    if boots.is_empty():
        return []
    seen = (
        lakehouse.scan(silver.MESSAGES)
        .filter(pl.col("seq").is_not_null())
        .select("object_key", *boot, "seq")
        .join(boots.lazy(), on=boot, how="semi")
        .join(recent.lazy().select("object_key", "arrived_at"), on="object_key", how="left")
        .with_columns(pl.col("arrived_at").fill_null(_LONG_AGO))
    )
    found = (
        sequence_gaps(seen)
        .filter(pl.col("noticed_at").is_between(at - HORIZON, at - grace))
        .group_by(boot)
        .agg(pl.col("missing").sum(), pl.len().alias("gaps"), pl.col("after").min(), pl.col("before").max())
    )
    drops = _drops(lakehouse, found.get_column("device_id").unique().to_list(), at)
    return [Gap(**row, drops=drops.get(row["device_id"])) for row in found.iter_rows(named=True)]


def _drops(lakehouse: Lakehouse, devices: Sequence[str], at: datetime) -> dict[str, int]:
    """How many more messages than before the horizon each device counts as dropped, as its health events tell."""
    if not devices:
        return {}
    counted = pl.col("detail").str.json_path_match("$.drops").cast(pl.Int64, strict=False)
    before = pl.col("drops").filter(pl.col("received_at") < at - HORIZON).max().fill_null(0)
    told = (
        lakehouse.scan(silver.EVENTS)
        .filter(pl.col("type") == "health", pl.col("device_id").is_in(devices))
        .select("device_id", "received_at", drops=counted)
        .group_by("device_id")
        .agg(drops=pl.col("drops").max() - before)
        .drop_nulls()
    )
    return dict(told.collect().iter_rows())


def _stale(lakehouse: Lakehouse, moment: datetime) -> dict[str, list[date]]:
    """Per table the days that do not show yet what the ledger held at a moment.

    A day that began after it is not due: at midnight the new day is stale at once for what touched its neighbours.
    """
    ceiling = lakehouse.batch_at(silver.MESSAGES, moment)
    return stale_tables(lakehouse, until=moment.date(), floor=0, ceiling=ceiling)


def _settled_balances(lakehouse: Lakehouse) -> tuple[Balances, bool]:
    """Both balances, and whether nobody wrote meanwhile: a writer between two tables looks like an open one."""
    tables = (bronze.OBJECTS, silver.TELEMETRY, silver.EVENTS, *facts.CHANNEL_OF, silver.MESSAGES)
    before = [lakehouse.open(table).version for table in tables]
    for attempt in range(_LOOKS):
        held = balances(lakehouse)
        after = [lakehouse.open(table).version for table in tables]
        if held.close or before == after:
            return held, True
        before = after
        if attempt < _LOOKS - 1:
            time.sleep(_PAUSE_S)
    return held, False


def _daemons(home: Path) -> Daemons:
    from smartdrive_dagster.defs.daemons import NoInstanceError, existing_instance, heartbeats

    try:
        with existing_instance(home) as instance:
            return Daemons(last=heartbeats(instance))
    except NoInstanceError as error:
        return Daemons(fault=str(error))
    except Exception as error:  # whatever storage the instance has: that it cannot be asked is what is wrong
        return Daemons(fault=f"the Dagster instance at {home} cannot be asked: {error}")


def _lander(files: Files) -> Lander | None:
    if not files.is_taken():
        return None
    try:
        said = Heartbeat.read(files.heartbeat)
    except (OSError, ValueError):
        return Lander(said_at=None)
    return Lander(datetime.fromtimestamp(said.at, UTC), said.protocol is not None, said.failures)
