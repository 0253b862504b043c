"""A small lake with its landing zone, made once and copied: to be looked at, recomputed or rebuilt."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import boto3

from smartdrive_dagster.defs.backfill import Recomputation, bring_up_to_date, recomputations
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.shadow import compute_shadow, promote
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days, gold
from tests.messages import OTHER_VIN, SECRET, START, VIN, event, land, telemetry

DAY = START.date()
LATER = DAY + timedelta(40)  # another chunk of days
ALL_DAYS = Days(DAY - timedelta(2), LATER + timedelta(2))
TODAY = LATER + timedelta(30)
CAR, OTHER = vehicle_id(VIN, SECRET), vehicle_id(OTHER_VIN, SECRET)
COMPARED = (gold.TRIPS, *(table for table in readable_tables() if table.layer == "marts"))


class House:
    """A lake with its landing zone, at library level."""

    def __init__(self, root: Path | str, lake: str | None = None) -> None:
        self.root = str(root)
        self.lakehouse = Lakehouse(lake or f"{root}/lake")
        self.settings = self.of()
        self._known: dict[float, dict[str, Recomputation]] = {}

    def of(self, gap_s: float = 300.0) -> Settings:
        return Settings(
            lake_url=self.lakehouse.url,
            landing_url=f"{self.root}/landing",
            secret=SECRET.decode(),
            trip_gap_s=gap_s,
        )

    def known(self, gap_s: float = 300.0) -> dict[str, Recomputation]:
        if gap_s not in self._known:
            self._known[gap_s] = recomputations(self.of(gap_s), until=TODAY)
        return self._known[gap_s]

    def drive(self, seq: int, at: datetime, vin: str = VIN) -> None:
        """A minute of driving."""
        landed = at + timedelta(minutes=2)
        land(self.store, telemetry(seq, at=at, samples=60, vin=vin, device_id=f"edge-{vin[-1]}"), at=landed)

    @property
    def store(self) -> LandingStore:
        return LandingStore(self.settings.landing_url)

    def ingest(self) -> None:
        ingestion = Ingestion(self.lakehouse, self.store, SECRET)
        for day in sorted({entry.landing_date for entry in self.store.list().objects}):
            while ingestion.advance(day, Progress()):
                pass

    def compute(self, gap_s: float = 300.0) -> None:
        list(bring_up_to_date(self.lakehouse, self.known(gap_s), until=TODAY))

    def gold_trips(self, gap_s: float) -> None:
        """What a run of Gold does with the trips: compute what the ledger shows as stale."""
        trips = self.known()[str(gold.TRIPS)].computation
        list(recompute(self.lakehouse, trips, list(ALL_DAYS), self.of(gap_s), redo=False, until=TODAY))

    def trips(self, **options: datetime) -> list[tuple[object, ...]]:
        trips = self.lakehouse.open(gold.TRIPS, **options).rows()
        return trips.sort("started_at").select("vehicle_id", "event_date", "samples").collect().rows()

    def diff(self, gap_s: float = 600.0, days: Days = ALL_DAYS) -> None:
        list(compute_shadow(self.lakehouse, self.known(gap_s)[str(gold.TRIPS)], days, self.of(gap_s)))

    def promotion(self, gap_s: float = 600.0) -> Iterator[object]:
        known = self.known(gap_s)
        return promote(self.lakehouse, known, known[str(gold.TRIPS)], self.of(gap_s))


def filled(root: Path | str) -> House:
    """Two minutes of driving with a pause of 400 s between them, on two days; another car that drives once.

    Also a copy of a message, a line and an object that cannot be read, an empty object and an event.
    """
    house = House(root)
    for number, day in enumerate((DAY, LATER)):
        start = START + (day - DAY)
        house.drive(10 * number, start)
        house.drive(10 * number + 1, start + timedelta(seconds=460))
    house.drive(5, START + timedelta(hours=3), OTHER_VIN)
    house.drive(5, START + timedelta(hours=3), OTHER_VIN)
    land(house.store, b"{", event(77), at=START + timedelta(hours=4), name="odd")
    house.store.put(f"telemetry/dt={DAY}/hr=09/broken.jsonl.gz", b"\x1f\x8bno gzip")
    house.store.put(f"telemetry/dt={DAY}/hr=09/empty.jsonl", b"")
    house.ingest()
    house.compute()
    return house


def copied(made: Path, root: str) -> House:
    """A copy of a lake and its landing zone: Delta tables know no place."""
    if root.startswith("s3://"):
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        client = boto3.client("s3")
        for path in made.rglob("*.*"):
            if path.is_file():
                client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(made)}")
    else:
        shutil.copytree(made, root, dirs_exist_ok=True)
    return House(root)
