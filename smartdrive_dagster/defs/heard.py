"""Of which vehicles a batch of messages brought something: what silver.vehicles has to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from smartdrive_dagster.domain.claims import OURS, WRITE
from smartdrive_dagster.domain.vehicles import described
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse, Snapshot
from smartdrive_dagster.tables import facts, silver


@dataclass
class Heard:
    """What the slices of a batch said of vehicles.

    Attributes:
        vins: their VINs by vehicle_id, where these were given. They go nowhere from here.
        first: the day of the earliest sample; None for a vehicle of which only a profile came.
        profiled: vehicles with a word on their profile.
    """

    vins: dict[str, str] = field(default_factory=dict, repr=False)
    first: dict[str, date | None] = field(default_factory=dict)
    profiled: set[str] = field(default_factory=set)

    def add(self, vins: Mapping[str, str], samples: pl.DataFrame, profiles: pl.DataFrame | None) -> None:
        """Add a slice: what it settled, of which only accepted rows count."""
        self.vins.update(vins)
        accepted = pl.col("fate").is_in([WRITE, OURS])
        days = samples.filter(accepted).group_by("vehicle_id").agg(pl.col("event_date").min())
        for vehicle, day in days.iter_rows():
            known = self.first.get(vehicle)
            self.first[vehicle] = day if known is None else min(day, known)
        if profiles is not None:
            for vehicle in profiles.filter(accepted).get_column("vehicle_id"):
                self.profiled.add(vehicle)
                self.first.setdefault(vehicle, None)

    def news(self, known: Mapping[str, date]) -> dict[str, date | None]:
        """Those vehicles that are not known yet, or not of so early a day, or have a new profile."""
        return {
            vehicle: day
            for vehicle, day in self.first.items()
            if vehicle in self.profiled or vehicle not in known or (day is not None and day < known[vehicle])
        }


def write_vehicles(
    lakehouse: Lakehouse, heard: Heard, known: dict[str, date], *, anew: bool = False
) -> Commit | None:
    """Describe vehicles that are new, were seen earlier than known, or have a new profile.

    Args:
        lakehouse: the lake.
        heard: of whom a batch brought something.
        known: the day of the earliest known sample by vehicle; brought up to date.
        anew: rows of Silver have gone, so that vehicles may be gone with them, or known from a later day on.

    Returns:
        The commit; None where nothing has changed.
    """
    news = heard.news(known)
    if not news and not anew:
        return None

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        words = lakehouse.scan(facts.PROFILES)
        held = snapshot.rows().collect()
        if anew:
            held = _still_heard_of(held, lakehouse)
        return described(held, news, heard.vins, words.filter(pl.col("vehicle_id").is_in(list(news))))

    snapshot = lakehouse.open(facts.VEHICLES)
    commit = None
    if not rows(snapshot).equals(snapshot.rows().sort("vehicle_id").collect()):
        # All rows: a predicate stands in the Delta log, where no vehicle may be named.
        commit = lakehouse.replace(facts.VEHICLES, rows, predicate="vehicle_id IS NOT NULL")
    known.update({vehicle: day for vehicle, day in news.items() if day is not None})
    return commit


def _still_heard_of(held: pl.DataFrame, lakehouse: Lakehouse) -> pl.DataFrame:
    """The rows of vehicles that Silver says something of, each with the day of its earliest sample now."""
    samples = [
        lakehouse.scan(table).select("vehicle_id", "event_date") for table in (silver.TELEMETRY, silver.EVENTS)
    ]
    words = lakehouse.scan(facts.PROFILES).select("vehicle_id", event_date=pl.lit(None, pl.Date))
    firsts = (
        pl.concat([*samples, words])
        .group_by("vehicle_id")
        .agg(first_event_date=pl.col("event_date").min())
        .collect(engine="streaming")
    )
    return held.drop("first_event_date").join(firsts, on="vehicle_id").select(held.columns).sort("vehicle_id")
