"""Of which vehicles a batch of messages brought something: what silver.vehicles has to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from smartdrive_dagster.domain.claims import OURS, WRITE


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
