"""The registry of Gold: what it says of the domain, and how histories are brought up to date."""

from __future__ import annotations

from datetime import date, timedelta
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.alerting.outbox import Outbox
from smartdrive_dagster.defs.computations import computations, reach_days
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.work import GoldWork, gold_work, stale_gold_days, stale_tables
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days, alerts, codes, gold, silver
from tests.comparison import contents
from tests.messages import OTHER_VIN, SECRET, START, VIN, correction, event, land

DAY = START.date()
UNTIL = DAY + timedelta(60)
MODULES = {
    "trips": "trips",
    "driving_events": "driving_events",
    "incidents": "incidents",
    "trip_fuel": "fuel",
    "cranks": "cranks",
    "parked_days": "parked_days",
    "battery_health": "battery_health",
    "winter_risk": "winter_risk",
    "drain_episodes": "drain",
    "dtc_episodes": "dtc_episodes",
    "alerts": "alerts",
}
GOLD = [computation for table, computation in computations().items() if table.layer == "gold"]


@pytest.mark.parametrize("computation", GOLD, ids=lambda computation: str(computation.table))
def test_the_registry_says_what_the_domain_says(computation) -> None:  # type: ignore[no-untyped-def]
    module = import_module(f"smartdrive_dagster.domain.{MODULES[computation.table.name]}")
    assert computation.version == module.ALGO_VERSION
    if not computation.is_history:
        assert computation.halo_days == module.HALO_DAYS


def test_each_table_comes_after_those_that_it_reads_and_reaches_as_far() -> None:
    among = computations()
    order = list(among)
    for table, computation in among.items():
        for read in computation.reads:
            if read in among:
                assert order.index(read) < order.index(table)
                assert reach_days(computation, among) >= reach_days(among[read], among)


class House:
    """A lake into which scans of trouble codes land."""

    def __init__(self, root: Path, lake: str = "lake") -> None:
        self.lakehouse = Lakehouse(str(root / lake))
        self.store = LandingStore(str(root / "landing"))
        self.settings = Settings(lake_url=self.lakehouse.url, state_url=str(root / "state"))

    def scan(
        self,
        seq: int,
        on: date,
        *codes_: str,
        vin: str = VIN,
        arrives: date | None = None,
        mil: bool | None = None,
    ) -> None:
        at = START + (on - DAY)
        stored = [{"code": code, "title": None} for code in codes_]
        detail = {"stored": stored, "pending": [], "permanent": [], "mil": mil}
        device = f"edge-{vin[-1]}"
        payload = event(seq, at=at, type_="dtc_scan", detail=detail, vin=vin, device_id=device)
        land(self.store, payload, at=START + ((arrives or on) - DAY) + timedelta(minutes=5), channel="events")

    def take_in(self) -> None:
        ingestion = Ingestion(self.lakehouse, self.store, SECRET)
        for day in sorted({entry.landing_date for entry in self.store.list().objects}):
            while ingestion.advance(day, Progress()):
                pass

    def compute(self, *, redo: bool = False) -> None:
        days = stale_gold_days(self.lakehouse, until=UNTIL, floor=0)
        for computation in computations().values():
            given = days or [DAY]
            list(recompute(self.lakehouse, computation, given, self.settings, redo=redo, until=UNTIL))

    def up_to_date(self) -> None:
        self.take_in()
        self.compute()

    def episodes(self, vin: str = VIN) -> list[tuple[object, ...]]:
        mine = self.lakehouse.scan(codes.DTC_EPISODES).filter(pl.col("vehicle_id") == vehicle_id(vin, SECRET))
        return mine.sort("opened_at").select("dtc_code", "event_date", "is_open", "scans").collect().rows()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_row_on_an_earlier_day_changes_when_its_episode_ends(house: House) -> None:
    house.scan(1, DAY, "P0171")
    house.up_to_date()
    assert house.episodes() == [("P0171", DAY, True, 1)]
    house.scan(2, DAY + timedelta(20))
    house.up_to_date()
    assert house.episodes() == [("P0171", DAY, False, 1)]
    assert stale_tables(house.lakehouse, until=UNTIL, floor=0) == {}


def test_the_lamp_of_a_scan_shows_in_the_episode_and_the_summary(house: House) -> None:
    house.scan(1, DAY, "P0171")
    house.scan(2, DAY + timedelta(1), "P0171", mil=True)
    house.scan(3, DAY + timedelta(2), mil=False)
    house.scan(1, DAY, "P0301", vin=OTHER_VIN, mil=False)
    house.up_to_date()
    (summary,) = [table for table in computations() if str(table) == "marts.dtc_summary"]
    for table in (codes.DTC_EPISODES, summary):
        rows = house.lakehouse.scan(table).sort("dtc_family").select("dtc_family", "has_mil").collect()
        assert rows.rows() == [("P01", True), ("P03", False)]


def test_a_late_scan_changes_its_own_vehicle_alone_and_equals_a_rebuild(house: House, tmp_path: Path) -> None:
    for vin in (VIN, OTHER_VIN):
        house.scan(1, DAY, "P0171", vin=vin)
        house.scan(3, DAY + timedelta(9), "P0171", vin=vin)
    house.up_to_date()
    others = house.episodes(OTHER_VIN)
    house.scan(2, DAY + timedelta(4), arrives=DAY + timedelta(12))
    house.up_to_date()
    assert house.episodes() == [("P0171", DAY, False, 1), ("P0171", DAY + timedelta(9), True, 1)]
    assert house.episodes(OTHER_VIN) == others == [("P0171", DAY, True, 2)]
    clean = House(tmp_path, "clean")
    clean.up_to_date()
    tables = list(computations())
    assert contents(house.lakehouse, tables) == contents(clean.lakehouse, tables)


def test_a_history_is_not_computed_again_for_what_it_does_not_read(house: House) -> None:
    house.scan(1, DAY, "P0171")
    house.up_to_date()
    version = house.lakehouse.open(codes.DTC_EPISODES).version
    land(house.store, correction(), at=START + timedelta(hours=3), channel="corrections")
    house.up_to_date()
    assert house.lakehouse.open(codes.DTC_EPISODES).version == version


def test_a_run_is_of_the_touched_days_and_of_the_tables_that_these_made_stale(house: House) -> None:
    house.scan(1, DAY, "P0171")
    house.scan(2, DAY + timedelta(3), "P0171")
    house.scan(3, DAY + timedelta(55), "P0171")
    house.up_to_date()
    assert gold_work(house.lakehouse, until=UNTIL, floor=0) == []
    house.scan(4, DAY, "P0171", arrives=DAY + timedelta(30))
    house.take_in()
    first, arrival = gold_work(house.lakehouse, until=UNTIL, floor=0)
    assert (first.days, set(first.tables)) == (Days(DAY, DAY), {str(table) for table in computations()})
    assert arrival == GoldWork(Days(DAY + timedelta(30), DAY + timedelta(30)), ("marts.data_quality",))
    for work in (arrival, first):
        for table, computation in computations().items():
            if str(table) in work.tables:
                list(
                    recompute(
                        house.lakehouse, computation, list(work.days), house.settings, redo=False, until=UNTIL
                    )
                )
    assert stale_tables(house.lakehouse, until=UNTIL, floor=0) == {}


def test_days_whose_reaches_meet_are_one_run(house: House) -> None:
    house.scan(1, DAY, "P0171")
    house.scan(2, DAY + timedelta(5), "P0171")
    house.take_in()
    assert [work.days for work in gold_work(house.lakehouse, until=UNTIL, floor=0)] == [
        Days(DAY, DAY + timedelta(5))
    ]


def test_a_scan_counts_on_whichever_channel_it_landed(house: House) -> None:
    house.scan(1, DAY, "P0171")
    house.up_to_date()
    scan = event(7, type_="dtc_scan", detail={"stored": [{"code": "P0420"}], "pending": [], "permanent": []})
    land(house.store, scan, at=START + timedelta(hours=3), channel="telemetry")
    house.up_to_date()
    assert set(house.lakehouse.scan(codes.DTC_EPISODES).collect()["dtc_code"]) == {"P0171", "P0420"}


def test_a_line_that_touches_nothing_makes_the_day_of_its_arrival_stale_where_arrivals_are_counted(
    house: House, tmp_path: Path
) -> None:
    house.scan(1, DAY, "P0171")
    house.up_to_date()
    house.scan(1, DAY, "P0171", arrives=DAY + timedelta(3))  # a copy
    land(house.store, b"{", at=START + timedelta(days=4), channel="events")
    house.take_in()
    stale = {"marts.data_quality": [DAY + timedelta(3), DAY + timedelta(4)]}
    assert stale_tables(house.lakehouse, until=UNTIL, floor=0) == stale
    house.compute()
    assert stale_tables(house.lakehouse, until=UNTIL, floor=0) == {}
    (quality,) = [table for table in computations() if str(table) == "marts.data_quality"]
    rows = house.lakehouse.scan(quality).sort("utc_date").collect()
    assert rows.select("utc_date", "lines", "accepted_lines", "duplicate_lines", "quarantined_lines").rows() == [
        (DAY, 1, 1, 0, 0),
        (DAY + timedelta(3), 1, 0, 1, 0),
        (DAY + timedelta(4), 1, 0, 0, 1),
    ]
    clean = House(tmp_path, "clean")
    clean.up_to_date()
    assert contents(house.lakehouse, [quality]) == contents(clean.lakehouse, [quality])


def test_what_a_backfill_brings_up_is_told_to_nobody(house: House) -> None:
    house.scan(1, DAY, "P0301", "P0171")
    house.take_in()
    house.compute(redo=True)
    raised = set(house.lakehouse.scan(alerts.ALERTS).collect().get_column("alert_id"))
    assert raised
    told = Outbox(Lakehouse(house.settings.state_url)).states()
    assert set(told.get_column("episode_id")) == raised
    assert set(told.get_column("state")) == {"suppressed"}


def test_a_gold_table_is_never_fresher_than_what_it_reads(house: House) -> None:
    house.scan(1, DAY, "P0171")
    house.take_in()
    computation = computations()[alerts.ALERTS]
    assert list(recompute(house.lakehouse, computation, [DAY], house.settings, redo=False, until=UNTIL)) == []
    assert str(alerts.ALERTS) in stale_tables(house.lakehouse, until=UNTIL, floor=0)
    house.compute()
    assert stale_tables(house.lakehouse, until=UNTIL, floor=0) == {}
    assert house.lakehouse.open(silver.MESSAGES).batch == house.lakehouse.history_fresh_until(alerts.ALERTS)
    assert house.lakehouse.scan(gold.TRIPS).collect().is_empty()
