"""All that a home does with what a car sends, in one process that may be killed: land, ingest, compute Gold.

The work is the same as that of the sensors' runs, in the same order; it is done again from the tables alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from smartdrive_dagster.defs import ingestion
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.work import pending_days, stale_gold_days
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Table, bronze, facts, silver
from tests.faults import unguarded
from tests.faults.failpoints import Failpoints, Fuse
from tests.messages import OTHER_VIN, SECRET, START, VIN, event, ms, telemetry

DAY: Final = START.date()
UNTIL: Final = DAY + timedelta(30)
INGESTED: Final[tuple[Table, ...]] = (
    bronze.MESSAGES,
    bronze.OBJECTS,
    silver.TELEMETRY,
    silver.EVENTS,
    silver.DTC_READINGS,
    silver.QUARANTINE,
    facts.VEHICLES,
    silver.MESSAGES,
)
SCAN: Final = {"stored": [{"code": "P0171", "title": None}], "pending": [], "permanent": []}
# A campaign's batch is some dozens of samples: with slices as small, it commits each of its tables several times.
_SLICE_SAMPLES: Final = 12


@dataclass(frozen=True, slots=True)
class Delivery:
    """One landing object: its name, when it arrives, and its lines."""

    name: str
    arrives: datetime
    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Home:
    """Where a lake and its landing zone are.

    Attributes:
        root: above both.
        landing: the landing zone, where it is another home's.
    """

    root: str
    landing: str = ""

    @property
    def lakehouse(self) -> Lakehouse:
        return Lakehouse(f"{self.root}/lake")

    @property
    def store(self) -> LandingStore:
        return LandingStore(self.landing or f"{self.root}/landing")


def delivery(number: int, *, day: int = 0, arrives: int | None = None) -> Delivery:
    """A quarter of an hour of two cars, with whatever makes each table grow.

    Args:
        number: of the delivery; its messages' identities and times follow from it.
        day: when it was driven, in days from the first.
        arrives: when it lands, in such days too; by default on the day.
    """
    began = START + timedelta(days=day, minutes=15 * number)
    drives = [
        telemetry(
            100 * number + 10 * car + part,
            at=began + timedelta(seconds=6 * part),
            samples=6,
            vin=vin,
            device_id=f"edge-{car}",
        )
        for car, vin in enumerate((VIN, OTHER_VIN))
        for part in range(3)
    ]
    return Delivery(
        f"delivery-{number:03}",
        START + timedelta(days=day if arrives is None else arrives, hours=10, minutes=number),
        (
            *drives,
            drives[0],  # sent twice
            b"{",
            telemetry(100 * number + 50, at=began - timedelta(days=9_000)),  # before there were cars with OBD-II
            event(100 * number + 60, at=began),
            event(100 * number + 61, at=began, type_="dtc_scan", detail=SCAN),
        ),
    )


def work(home: Home, deliveries: Sequence[Delivery]) -> None:
    """Land what has not landed, then do all that is left to do."""
    for given in deliveries:
        lines = [Envelope("vehicle/edge-0/telemetry", ms(given.arrives), payload) for payload in given.payloads]
        home.store.land("telemetry", lines, at=given.arrives, name=given.name)
    ingest(home)
    sweep(home)


def ingest(home: Home, *, until: date = UNTIL) -> None:
    """Take everything that landed into Bronze and Silver."""
    taken = Ingestion(home.lakehouse, home.store, SECRET)
    for day in pending_days(home.lakehouse, home.store, since=date(2008, 1, 1), until=until):
        while taken.advance(day, Progress()):
            pass


def sweep(home: Home, *, until: date = UNTIL) -> None:
    """Compute Gold and the marts for every stale day, as the nightly sweep asks for them."""
    lakehouse, settings = home.lakehouse, Settings(lake_url=home.lakehouse.url)
    days = stale_gold_days(lakehouse, until=until, floor=0)
    for computation in computations().values():
        for _ in recompute(lakehouse, computation, days, settings, redo=False, until=until):
            pass


def work_under_fire(
    home: Home, deliveries: Sequence[Delivery], folder: Path, guard: str, variables: Mapping[str, str]
) -> None:
    """`work` as the main function of a process that a failpoint may kill.

    Args:
        home: the lake and its landing zone.
        deliveries: what was sent so far.
        folder: of the fuse.
        guard: a guard of `unguarded` to drop, or nothing.
        variables: the environment: a forked process has that of its forerunner.
    """
    os.environ.clear()
    os.environ.update(variables)
    ingestion.SLICE_SAMPLES = _SLICE_SAMPLES  # type: ignore[misc]
    Failpoints(Fuse(folder))
    unguarded.drop(guard)
    work(home, deliveries)
