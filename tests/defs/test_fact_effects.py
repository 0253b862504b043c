"""What owners and forecasts say shows in Gold, and a rebuild says the same."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.alerting.alerts import recent_alerts
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import Ledger, recompute, stale
from smartdrive_dagster.defs.work import touches_after
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Table, battery, driving, gold, silver
from smartdrive_dagster.tables.alerts import ALERTS
from tests.comparison import contents
from tests.messages import OTHER_VIN, SECRET, START, VIN, correction, land, profile, telemetry, weather

DAY = START.date()
CAR, OTHER = vehicle_id(VIN, SECRET), vehicle_id(OTHER_VIN, SECRET)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TRIPS = (gold.TRIPS, driving.TRIP_FUEL)
ALERTING = tuple(table for table in computations() if table.layer == "gold" and table not in TRIPS)


class House:
    """A lake that is brought up to date after each word, as on the day of the words."""

    def __init__(self, root: Path, lake: str = "lake", tables: tuple[Table, ...] = ()) -> None:
        self.tables = tables
        self.lakehouse = Lakehouse(str(root / lake))
        self.store = LandingStore(str(root / "landing"))
        self.settings = Settings(lake_url=self.lakehouse.url, state_url=str(root / "state"))

    def drive(self, seq: int, minute: int, *, minutes: int = 1, vin: str = VIN) -> None:
        at, n = START + minute * MINUTE, 60 * minutes
        signals = {"RPM": [1500.0] * n, "SPEED": [72] * n, "MAF": [10.0] * n}
        device = f"edge-{vin[-1]}"
        payload = telemetry(seq, at=at, samples=n, vin=vin, device_id=device, signals=signals)
        land(self.store, payload, at=at + (minutes + 1) * MINUTE)

    def say(self, channel: str, *payloads: bytes) -> None:
        land(self.store, *payloads, at=START + 10 * HOUR, channel=channel)
        self.up_to_date()

    def ingest(self) -> None:
        ingestion = Ingestion(self.lakehouse, self.store, SECRET)
        for day in sorted({entry.landing_date for entry in self.store.list().objects}):
            while ingestion.advance(day, Progress()):
                pass

    def up_to_date(self) -> None:
        self.ingest()
        for table in self.tables:
            if days := self.stale(table):
                known = computations()[table]
                list(recompute(self.lakehouse, known, days, self.settings, redo=False, until=DAY))

    def stale(self, table: Table) -> list[date]:
        ledger = Ledger(self.lakehouse.open(silver.MESSAGES))
        return stale(self.lakehouse, computations()[table], ledger, until=DAY)

    def rows(self, table: Table, *columns: str) -> list[tuple[object, ...]]:
        rows = self.lakehouse.scan(table).filter(pl.col("vehicle_id") == CAR)
        return rows.select(pl.selectors.by_name(columns)).sort(columns[0]).collect().rows()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, tables=TRIPS)


def assert_rebuild_is_equal(house: House, tmp_path: Path) -> None:
    """Nothing is left to do, and a lake that takes everything in at once has the same rows."""
    assert [table for table in house.tables if house.stale(table)] == []
    whole = House(tmp_path, "rebuilt", house.tables)
    whole.up_to_date()
    assert contents(whole.lakehouse, house.tables) == contents(house.lakehouse, house.tables)


def test_merge_split_and_label_change_their_trips_alone_and_survive_a_rebuild(
    house: House, tmp_path: Path
) -> None:
    house.drive(1, 0)
    house.drive(2, 10)
    house.drive(3, 60, minutes=2)
    house.drive(1, 0, vin=OTHER_VIN)
    house.drive(2, 10, vin=OTHER_VIN)
    house.up_to_date()
    assert len(house.rows(gold.TRIPS, "started_at")) == 3
    others = house.lakehouse.scan(gold.TRIPS).filter(pl.col("vehicle_id") == OTHER).collect()
    house.say("corrections", correction(at=START, until=START + 10 * MINUTE))
    assert [samples for _, samples in house.rows(gold.TRIPS, "started_at", "samples")] == [120, 120]
    house.say(
        "corrections",
        correction("split", at=START + 61 * MINUTE),
        correction("label", at=START, until=START + MINUTE, label="to work"),
    )
    assert house.rows(gold.TRIPS, "started_at", "is_corrected", "label") == [
        (START, True, "to work"),
        (START + 60 * MINUTE, True, None),
        (START + 61 * MINUTE, True, None),
    ]
    assert house.lakehouse.scan(gold.TRIPS).filter(pl.col("vehicle_id") == OTHER).collect().equals(others)
    assert_rebuild_is_equal(house, tmp_path)


def test_a_profile_changes_the_fuel_of_all_days_and_names_the_vehicle(house: House, tmp_path: Path) -> None:
    house.say("profiles", profile(at=START - HOUR, fuel_price_per_l=1.5, currency="EUR"))
    house.drive(1, 0, minutes=5)
    house.up_to_date()
    columns = ("method", "fuel_type", "currency", "fuel_l")
    assert house.rows(driving.TRIP_FUEL, *columns) == [("none", None, None, None)]
    house.say("profiles", profile(fuel_type="lpg", name="Blue"))
    ((method, fuel, currency, litres),) = house.rows(driving.TRIP_FUEL, *columns)
    assert (method, fuel, currency) == ("maf", "lpg", "EUR")
    house.say("profiles", profile(at=START + HOUR, fuel_type="petrol"))
    ((_, fuel, _, more),) = house.rows(driving.TRIP_FUEL, *columns)
    assert fuel == "petrol"
    assert more != litres
    assert_rebuild_is_equal(house, tmp_path)


def parked(seq: int, volts: float = 12.2) -> bytes:
    """A night and a day of standing, a reading every ten minutes."""
    n = 80
    times = [round((START + (10 * i - 400) * MINUTE).timestamp() * 1000) for i in range(n)]
    signals = {"ELM_VOLTAGE": [volts] * n}
    return telemetry(seq, phase="sentinel", t=times, signals=signals)


def test_a_forecast_of_frost_for_a_weak_battery_is_told_the_day_before(tmp_path: Path) -> None:
    house = House(tmp_path, tables=ALERTING)
    tomorrow = DAY + timedelta(1)
    land(house.store, parked(1), at=START + 9 * HOUR)
    house.say("profiles", profile(name="Blue"))
    assert house.rows(battery.WINTER_RISK, "event_date") == []
    frost = weather(-4.0, issued=START, at=START + 16 * HOUR, hours=48)
    house.say("weather", frost)
    assert house.rows(battery.WINTER_RISK, "event_date", "is_at_risk", "forecast_hours") == [
        (tomorrow, True, 24),
        (tomorrow + timedelta(1), True, 24),
    ]
    told = recent_alerts(house.lakehouse, now=START + 10 * HOUR, severity="warning")
    assert [notice.title for notice in told] == ["Blue: Frost ahead, and the battery is weak"]
    assert not touches_after(house.lakehouse, DAY, floor=0)
    house.say("weather", weather(3.0, issued=START + 9 * HOUR, at=START + 16 * HOUR, hours=24))
    assert house.rows(battery.WINTER_RISK, "event_date", "is_at_risk") == [
        (tomorrow, False),
        (tomorrow + timedelta(1), True),
    ]
    assert [opened for (opened,) in house.rows(ALERTS, "opened_at")] == [START + 16 * HOUR]
    assert_rebuild_is_equal(house, tmp_path)
