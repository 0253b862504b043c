"""Real recorded drives go in and true trips come out, on a disk and on S3.

The figures of `truth.json` were computed independently of this project.
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.work import pending_days, stale_gold_days
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import load_models, readable_tables
from smartdrive_dagster.landing.recorded.formats import load_format
from smartdrive_dagster.landing.recorded.importer import import_log
from smartdrive_dagster.landing.recorded.report import ImportReport
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import gold, silver
from tests.comparison import contents, repeated, versions
from tests.messages import SECRET

ROOT = Path(__file__).parents[2]
RECORDER = ROOT / "docs" / "formats" / "drive-recorder.yml"
VIN = "WVWZZZ1JZXW000001"
UNTIL = date(2030, 1, 1)
COMPUTED = ("gold.trips", "marts.vehicle_daily")  # what these recordings have a truth for


class Home:
    """A lake and its landing zone below one root."""

    def __init__(self, root: str, lake: str = "lake") -> None:
        self.lakehouse = Lakehouse(f"{root}/{lake}")
        self.store = LandingStore(f"{root}/landing")

    def import_(self, path: Path, *, vin: str = VIN, form: str | Path = RECORDER, **options: Any) -> ImportReport:
        chosen: dict[str, Any] = {"day": None, "time_zone": "UTC", "received_at": datetime.now(UTC)} | options
        return import_log(path, vin=vin, secret=SECRET, store=self.store, format=load_format(form), **chosen)

    def process(self, gap_s: float = 300.0) -> None:
        ingestion = Ingestion(self.lakehouse, self.store, SECRET)
        for day in pending_days(self.lakehouse, self.store, since=date(2008, 1, 1), until=UNTIL):
            while ingestion.advance(day, Progress()):
                pass
        self.gold(gap_s, redo=False)

    def gold(self, gap_s: float, *, redo: bool) -> None:
        stale = stale_gold_days(self.lakehouse, until=UNTIL, floor=0)
        days = sorted({*stale, *(self.event_days() if redo else ())})
        settings = Settings(lake_url=self.lakehouse.url, trip_gap_s=gap_s)
        for table, computation in computations().items():
            if str(table) in COMPUTED:
                list(recompute(self.lakehouse, computation, days, settings, redo=redo, until=UNTIL))

    def event_days(self) -> list[date]:
        return list(
            self.lakehouse.scan(silver.TELEMETRY).select(pl.col("event_date").unique()).collect()["event_date"]
        )

    def trips(self) -> pl.DataFrame:
        return self.lakehouse.scan(gold.TRIPS).sort("started_at").collect()


@pytest.fixture(scope="module")
def truth(recordings: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((recordings / "truth.json").read_text())
    return found


@pytest.fixture(scope="module")
def drives(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """All 28 drives as one vehicle."""
    home = Home(str(tmp_path_factory.mktemp("drives")))
    home.import_(recordings / "drives_1hz.csv")
    home.process()
    return home


@pytest.fixture(scope="module")
def one_vehicle_per_drive(
    recordings: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Home, dict[str, str]]:
    """Each drive as a vehicle of its own, and the drive of each vehicle_id."""
    directory = tmp_path_factory.mktemp("vehicles")
    home = Home(str(directory))
    with (recordings / "drives_1hz.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    drives_of: dict[str, str] = {}
    for drive in sorted({row[0] for row in rows}, key=int):
        path = directory / f"{drive}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *(row for row in rows if row[0] == drive)])
        vin = f"WVWZZZ1JZXW{int(drive):06d}"
        home.import_(path, vin=vin)
        drives_of[vehicle_id(vin, SECRET)] = drive
    home.process()
    return home, drives_of


@pytest.mark.parametrize("gap_s", [60, 120, 300])
def test_as_one_vehicle_the_gap_limit_decides_the_number_of_trips(
    drives: Home, truth: dict[str, Any], gap_s: int
) -> None:
    drives.gold(gap_s, redo=True)
    expected = truth["drives_1hz.csv"]["trips_if_split_by_gap_s"][str(gap_s)]
    trips = drives.trips()
    assert trips.height == expected == {60: 30, 120: 28, 300: 22}[gap_s]
    assert trips["distance_km"].sum() == pytest.approx(369.63, rel=0.005)
    assert trips["max_speed_kmh"].max() == pytest.approx(135.9, abs=0.5)


@pytest.mark.parametrize(("gap_s", "count"), [(60, 30), (120, 28), (300, 28)])
def test_as_one_vehicle_per_drive_each_drive_has_its_own_distance(
    one_vehicle_per_drive: tuple[Home, dict[str, str]], truth: dict[str, Any], gap_s: int, count: int
) -> None:
    home, drives_of = one_vehicle_per_drive
    home.gold(gap_s, redo=True)
    trips = home.trips()
    assert trips.height == count
    per_drive = trips.group_by("vehicle_id").agg(pl.col("distance_km").sum())
    expected = truth["drives_1hz.csv"]["per_drive"]
    assert {drives_of[vehicle]: km for vehicle, km in per_drive.iter_rows()} == {
        drive: pytest.approx(figures["dist_trap_km"], rel=0.01) for drive, figures in expected.items()
    }


def test_the_daily_mart_holds_the_whole_distance(drives: Home) -> None:
    drives.gold(300, redo=True)
    mart = load_models()["vehicle_daily"].table
    days = drives.lakehouse.scan(mart).collect()
    assert days["distance_km"].sum() == pytest.approx(drives.trips()["distance_km"].sum())
    assert days["trips"].sum() == drives.trips().height


def test_the_app_s_long_log_converts_its_units_and_balances(
    root: str, recordings: Path, truth: dict[str, Any]
) -> None:
    home = Home(root)
    report = home.import_(recordings / "carscanner_drive.csv", form="car-scanner", day=date(2024, 5, 1))
    assert report.read == truth["carscanner_drive.csv"]["rows"] == 14_733
    assert report.read == report.mapped + report.duplicate + sum(report.ignored.values()) + sum(
        report.quarantined.values()
    )
    home.process()
    trips = home.trips()
    assert trips["distance_km"].sum() == pytest.approx(1.508, rel=0.01)
    assert trips["max_speed_kmh"].max() == pytest.approx(70, abs=0.01)
    assert balances(home.lakehouse).close
    samples = home.lakehouse.scan(silver.TELEMETRY).collect()
    assert samples.height == report.samples
    assert (samples["intake_temp_c"].min(), samples["intake_temp_c"].max()) == (30.0, 56.0)  # recorded in °F


def test_a_second_import_changes_no_version_of_what_was_accepted(root: str, recordings: Path) -> None:
    home = Home(root)
    log = {"form": "car-scanner", "day": date(2024, 5, 1)}
    home.import_(recordings / "carscanner_drive.csv", received_at=datetime(2025, 1, 1, 1, tzinfo=UTC), **log)
    home.process()
    tables = (silver.TELEMETRY, silver.EVENTS, gold.TRIPS)
    before = versions(home.lakehouse, tables)
    home.import_(recordings / "carscanner_drive.csv", received_at=datetime(2025, 1, 2, 1, tzinfo=UTC), **log)
    home.process()
    assert versions(home.lakehouse, tables) == before
    held = balances(home.lakehouse)
    assert held.close
    assert held.verdicts["duplicate"] == held.verdicts["accepted"] > 0


def test_a_rebuild_from_landing_gives_equal_rows_in_every_table(drives: Home) -> None:
    drives.gold(300, redo=True)
    again = Home(drives.store.url.removesuffix("/landing"), "rebuilt")
    again.process()
    tables = readable_tables()
    assert contents(again.lakehouse, tables) == contents(drives.lakehouse, tables)
    assert repeated(again.lakehouse, tables) == {}


def test_the_drives_give_the_same_rows_on_either_store(root: str, recordings: Path, drives: Home) -> None:
    home = Home(root)
    home.import_(recordings / "drives_1hz.csv")
    home.process()
    drives.gold(300, redo=True)
    tables = (silver.TELEMETRY, gold.TRIPS, load_models()["vehicle_daily"].table)
    assert contents(home.lakehouse, tables) == contents(drives.lakehouse, tables)
    assert home.trips().height == 22
