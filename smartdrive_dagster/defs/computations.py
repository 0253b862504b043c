"""What Gold computes: for each table its inputs, how far they reach, and the pure function that joins them.

Dagster loads this module, so that polars and the domain are imported inside the functions. The versions and halos
stand here and in the domain; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Final

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.lake.models import Model, load_models
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days, Table, alerts, battery, codes, driving, facts, gold, silver

if TYPE_CHECKING:
    import polars as pl

    from smartdrive_dagster.lake.lakehouse import Lakehouse

SAMPLES: Final = ("telemetry", "events")


@dataclass(frozen=True, slots=True)
class Scope:
    """What one computation is about.

    Attributes:
        days: days of the table's partition column.
        vehicles: the vehicles; None for all.
    """

    days: Days
    vehicles: tuple[str, ...] | None

    def scan(self, lakehouse: Lakehouse, table: Table, halo_days: int) -> pl.LazyFrame:
        """Read a table in the scope's days and `halo_days` on both sides, of its vehicles only."""
        return self.of_vehicles(lakehouse.scan(table, self.days.widened(halo_days)))

    def history(self, lakehouse: Lakehouse, table: Table) -> pl.LazyFrame:
        """Read all days of a table, of the scope's vehicles only."""
        return self.of_vehicles(lakehouse.scan(table))

    def of_days(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rows of the scope's days."""
        import polars as pl

        return rows.filter(pl.col("event_date").is_between(self.days.first, self.days.last))

    def of_vehicles(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rows of the scope's vehicles."""
        import polars as pl

        return rows if self.vehicles is None else rows.filter(pl.col("vehicle_id").is_in(self.vehicles))


Compute = Callable[["Lakehouse", Scope, Settings], "pl.DataFrame"]


@dataclass(frozen=True, slots=True)
class Computation:
    """How a Gold table or mart follows from others.

    Attributes:
        table: what it fills.
        reads: the tables it reads.
        compute: the rows of a scope. A window table's rows of a day depend on the days around it, a history
            table's on all days before it too.
        version: version of the algorithm; for a mart a digest of its SQL.
        halo_days: days of the inputs on both sides of a day that its rows depend on.
        is_history: whether its rows depend on all earlier days of the vehicle.
        by_vehicle: whether `compute` heeds the scope's vehicles.
        channels: landing channels whose messages make its days stale: its own, and those of all that it reads.
        counts_arrivals: whether a day's rows say what arrived on it, so that each line makes its arrival day stale
            too, whatever became of it.
        outlives_samples: whether its rows of a vehicle and day stay when Silver has no sample of these any more.
        model: the SQL model behind a mart.
    """

    table: Table
    reads: tuple[Table, ...]
    compute: Compute
    version: str
    halo_days: int
    is_history: bool = False
    by_vehicle: bool = True
    channels: tuple[str, ...] = SAMPLES
    counts_arrivals: bool = False
    outlives_samples: bool = False
    model: Model | None = None


def _trips(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain import trips

    telemetry = scope.scan(lakehouse, silver.TELEMETRY, trips.HALO_DAYS)
    corrections = scope.history(lakehouse, facts.CORRECTIONS)
    found = trips.segment_trips(telemetry, days=scope.days, gap_s=settings.trip_gap_s, corrections=corrections)
    return found.collect(engine="streaming")


def _driving_events(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain import driving_events

    telemetry = scope.scan(lakehouse, silver.TELEMETRY, driving_events.HALO_DAYS)
    return driving_events.detect_driving_events(telemetry, days=scope.days).collect(engine="streaming")


def _incidents(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain import incidents

    telemetry = scope.scan(lakehouse, silver.TELEMETRY, incidents.HALO_DAYS)
    return incidents.detect_incidents(telemetry, days=scope.days).collect(engine="streaming")


def _trip_fuel(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain import fuel

    telemetry = scope.scan(lakehouse, silver.TELEMETRY, fuel.HALO_DAYS)
    trips = scope.scan(lakehouse, gold.TRIPS, 0)
    found = fuel.trip_fuel(telemetry, trips, scope.history(lakehouse, facts.PROFILES))
    return found.collect(engine="streaming")


def _cranks(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain import cranks

    telemetry = scope.scan(lakehouse, silver.TELEMETRY, cranks.HALO_DAYS)
    return cranks.detect_cranks(telemetry, days=scope.days).collect(engine="streaming")


def _parked_days(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain import parked_days

    telemetry = scope.scan(lakehouse, silver.TELEMETRY, parked_days.HALO_DAYS)
    return parked_days.summarise_parked_days(telemetry, days=scope.days).collect(engine="streaming")


def _battery_health(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain.battery_health import assess_battery
    from smartdrive_dagster.domain.vehicles import current_profiles

    found = assess_battery(
        scope.history(lakehouse, battery.CRANKS),
        profiles=current_profiles(scope.history(lakehouse, facts.PROFILES)),
        weather=scope.history(lakehouse, facts.WEATHER),
    )
    return scope.of_days(found).collect()


def _winter_risk(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain.winter_risk import assess_winter_risk

    found = assess_winter_risk(
        scope.history(lakehouse, battery.BATTERY_HEALTH),
        scope.history(lakehouse, battery.PARKED_DAYS),
        scope.history(lakehouse, facts.WEATHER),
        days=scope.days,
    )
    return found.collect()


def _drain_episodes(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain.drain import find_drain_episodes

    found = find_drain_episodes(
        scope.history(lakehouse, battery.PARKED_DAYS), scope.history(lakehouse, silver.EVENTS)
    )
    return scope.of_days(found).collect()


def _dtc_episodes(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain.dtc_episodes import dtc_episodes, mil_from_scans
    from smartdrive_dagster.knowledge.trouble_codes import load_book

    events = scope.history(lakehouse, silver.EVENTS)
    found = dtc_episodes(
        scope.history(lakehouse, silver.DTC_READINGS),
        events,
        mil_from_scans(events),
        days=scope.days,
        book=load_book(settings.dtc_file),
    )
    return found.collect(engine="streaming")


def _alerts(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
    from smartdrive_dagster.domain import alerts as domain

    found = domain.alerts(
        health=scope.history(lakehouse, battery.BATTERY_HEALTH),
        cranks=scope.history(lakehouse, battery.CRANKS),
        drains=scope.history(lakehouse, battery.DRAIN_EPISODES),
        codes=scope.history(lakehouse, codes.DTC_EPISODES),
        incidents=scope.history(lakehouse, driving.INCIDENTS),
        events=scope.history(lakehouse, silver.EVENTS),
        risks=scope.history(lakehouse, battery.WINTER_RISK),
        days=scope.days,
    )
    return found.collect()


_GOLD: Final = (
    Computation(
        gold.TRIPS,
        (silver.TELEMETRY, facts.CORRECTIONS),
        _trips,
        version="2",
        halo_days=2,
        channels=(*SAMPLES, "corrections"),
    ),
    Computation(driving.DRIVING_EVENTS, (silver.TELEMETRY,), _driving_events, version="1", halo_days=2),
    Computation(
        driving.INCIDENTS,
        (silver.TELEMETRY,),
        _incidents,
        version="1",
        halo_days=2,
        outlives_samples=True,
    ),
    Computation(
        driving.TRIP_FUEL,
        (silver.TELEMETRY, gold.TRIPS, facts.PROFILES),
        _trip_fuel,
        version="1",
        halo_days=2,
        channels=(*SAMPLES, "profiles"),
    ),
    Computation(battery.CRANKS, (silver.TELEMETRY,), _cranks, version="1", halo_days=1),
    Computation(battery.PARKED_DAYS, (silver.TELEMETRY,), _parked_days, version="1", halo_days=7),
    Computation(
        battery.BATTERY_HEALTH,
        (battery.CRANKS, facts.PROFILES, facts.WEATHER),
        _battery_health,
        version="1",
        halo_days=0,
        is_history=True,
        channels=(*SAMPLES, "profiles", "weather"),
    ),
    Computation(
        battery.WINTER_RISK,
        (battery.BATTERY_HEALTH, battery.PARKED_DAYS, facts.WEATHER),
        _winter_risk,
        version="1",
        halo_days=0,
        is_history=True,
        channels=(*SAMPLES, "weather"),
    ),
    Computation(
        battery.DRAIN_EPISODES,
        (battery.PARKED_DAYS, silver.EVENTS),
        _drain_episodes,
        version="1",
        halo_days=0,
        is_history=True,
    ),
    Computation(
        codes.DTC_EPISODES,
        (silver.DTC_READINGS, silver.EVENTS),
        _dtc_episodes,
        version="2",
        halo_days=0,
        is_history=True,
    ),
    Computation(
        alerts.ALERTS,
        (
            battery.BATTERY_HEALTH,
            battery.CRANKS,
            battery.DRAIN_EPISODES,
            codes.DTC_EPISODES,
            driving.INCIDENTS,
            silver.EVENTS,
            battery.WINTER_RISK,
        ),
        _alerts,
        version="2",
        halo_days=0,
        is_history=True,
    ),
)


def _mart(model: Model, upstream: dict[Table, Computation]) -> Computation:
    """A mart's days are local dates: they overlap the UTC days before and after them, if its twin says no more."""
    inputs = [table for table in model.reads if table in upstream]

    def compute(lakehouse: Lakehouse, scope: Scope, settings: Settings) -> pl.DataFrame:
        from smartdrive_dagster.lake.models import run_model

        return run_model(model, lakehouse, scope.days, time_zone=settings.time_zone)

    return Computation(
        table=model.table,
        reads=model.reads,
        compute=compute,
        version=digest(repr((model.sql, model.views)).encode())[:8],
        halo_days=int(model.meta.get("halo_days", "1")),
        is_history=any(upstream[table].is_history for table in inputs),
        by_vehicle=False,
        counts_arrivals=not {silver.MESSAGES, silver.QUARANTINE}.isdisjoint(model.reads),
        model=model,
    )


@cache
def computations() -> dict[Table, Computation]:
    """All computations by table, each after those that it reads."""
    found = {computation.table: computation for computation in _GOLD}
    order = TopologicalSorter(
        {computation.table: [t for t in computation.reads if t in found] for computation in _GOLD}
    )
    ordered: dict[Table, Computation] = {}
    for table in order.static_order():
        ordered[table] = _with_channels(found[table], ordered)
    for model in load_models().values():
        ordered[model.table] = _with_channels(_mart(model, ordered), ordered)
    return ordered


def _with_channels(computation: Computation, upstream: dict[Table, Computation]) -> Computation:
    """What makes an input stale makes its readers stale."""
    inherited = (
        channel for table in computation.reads if table in upstream for channel in upstream[table].channels
    )
    return replace(computation, channels=tuple(sorted({*computation.channels, *inherited})))


def reach_days(computation: Computation, among: dict[Table, Computation]) -> int:
    """Days of Silver on both sides of a day that its rows depend on, through all that it reads."""
    inputs = [among[table] for table in computation.reads if table in among]
    return computation.halo_days + max((reach_days(upstream, among) for upstream in inputs), default=0)
