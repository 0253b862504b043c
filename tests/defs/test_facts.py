"""Corrections, profiles and weather from landing: as exactly once as messages, and what they make stale."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import Ledger
from smartdrive_dagster.defs.work import pending_days
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import facts, gold, silver
from tests.comparison import contents, repeated, verdicts, versions
from tests.messages import OTHER_VIN, SECRET, START, VIN, correction, land, profile, telemetry, weather

DAY = START.date()
CAR, OTHER = vehicle_id(VIN, SECRET), vehicle_id(OTHER_VIN, SECRET)
TABLES = (*facts.CHANNEL_OF, facts.VEHICLES)
NIGHT = timedelta(hours=15, minutes=30)


@pytest.fixture
def ingestion(tmp_path: Path) -> Ingestion:
    return fresh(tmp_path)


def fresh(root: Path, name: str = "lake") -> Ingestion:
    return Ingestion(Lakehouse(f"{root}/{name}"), LandingStore(f"{root}/landing"), SECRET)


def ingest(ingestion: Ingestion, *days: date) -> None:
    for day in days or sorted({entry.landing_date for entry in ingestion.store.list().objects}):
        while ingestion.advance(day, Progress()):
            pass


def land_everything(store: LandingStore) -> None:
    land(store, telemetry(1), telemetry(2, vin=OTHER_VIN, device_id="edge-2"))
    land(store, correction(at=START - NIGHT, until=START), b"{", channel="corrections")
    land(store, profile(name="Blue", fuel_type="diesel"), profile(vin=OTHER_VIN), channel="profiles")
    land(store, weather(hours=40), channel="weather")


def touched(ingestion: Ingestion, channel: str) -> list[tuple[date | None, str]]:
    ledger = ingestion.lakehouse.scan(silver.MESSAGES).filter(pl.col("channel") == channel)
    pairs = ledger.select("touched").explode("touched").drop_nulls().unnest("touched").collect()
    return sorted(pairs.unique().rows(), key=repr)


def test_every_fact_lands_in_its_table_and_both_balances_close(ingestion: Ingestion) -> None:
    land_everything(ingestion.store)
    assert pending_days(ingestion.lakehouse, ingestion.store, since=DAY, until=DAY) == [DAY]
    ingest(ingestion)
    held = {str(table): ingestion.lakehouse.open(table).count() for table in facts.CHANNEL_OF}
    assert held == {"silver.corrections": 1, "silver.profiles": 2, "silver.weather": 40}
    found = balances(ingestion.lakehouse)
    assert found.close
    assert (found.samples, found.samples_accepted, found.lines) == (6 + 1 + 2 + 40, 49, 7)
    assert verdicts(ingestion.lakehouse) == {"accepted": 6, "quarantined": 1}
    assert repeated(ingestion.lakehouse) == {}
    assert pending_days(ingestion.lakehouse, ingestion.store, since=DAY, until=DAY) == []
    before = versions(ingestion.lakehouse)
    ingest(ingestion)
    assert versions(ingestion.lakehouse) == before


def test_what_a_fact_touches(ingestion: Ingestion) -> None:
    land_everything(ingestion.store)
    ingest(ingestion)
    yesterday, tomorrow, next_day = (DAY + timedelta(n) for n in (-1, 1, 2))
    assert touched(ingestion, "corrections") == [(yesterday, CAR), (DAY, CAR)]
    assert touched(ingestion, "profiles") == sorted([(None, CAR), (None, OTHER)], key=repr)
    assert touched(ingestion, "weather") == [(DAY, CAR), (tomorrow, CAR)]
    assert next_day not in {day for day, _ in touched(ingestion, "weather")}
    ledger = Ledger(ingestion.lakehouse.open(silver.MESSAGES))
    by_profiles = replace(computations()[gold.TRIPS], channels=("profiles",))
    assert sorted(ledger.touched(by_profiles, floor=0).drop("batch").rows()) == sorted([(DAY, CAR), (DAY, OTHER)])


def test_a_copy_of_a_fact_on_any_day_and_a_line_that_a_crash_left_unjudged_add_no_row(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_everything(ingestion.store)
    with monkeypatch.context() as patch:
        patch.setattr(Ingestion, "_commit_ledger", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ingest(ingestion)
    assert ingestion.lakehouse.open(facts.WEATHER).count() == 40
    ingest(ingestion)
    assert verdicts(ingestion.lakehouse) == {"accepted": 6, "quarantined": 1}
    before = contents(ingestion.lakehouse, TABLES)
    later = START + timedelta(days=3)
    land(ingestion.store, correction(at=START - NIGHT, until=START), at=later, channel="corrections")
    land(ingestion.store, profile(name="Blue", fuel_type="diesel"), at=later, channel="profiles")
    land(ingestion.store, weather(hours=40), at=later, channel="weather")
    ingest(ingestion)
    assert contents(ingestion.lakehouse, TABLES) == before
    assert verdicts(ingestion.lakehouse) == {"accepted": 6, "duplicate": 3, "quarantined": 1}
    assert balances(ingestion.lakehouse).close


def test_computing_an_arrival_day_anew_gives_the_same_facts(ingestion: Ingestion) -> None:
    land_everything(ingestion.store)
    ingest(ingestion)
    before = contents(ingestion.lakehouse)
    ingestion.redo(DAY, Progress())
    assert {name: rows for name, rows in contents(ingestion.lakehouse).items() if name != "silver.messages"} == {
        name: rows for name, rows in before.items() if name != "silver.messages"
    }
    assert balances(ingestion.lakehouse).close


def test_vehicles_are_the_same_in_whatever_order_things_arrive(tmp_path: Path) -> None:
    # A year code of China repeats every 30 years: which year is meant depends on the first day that was seen.
    chinese = "LSVAA2183A2000001"
    words = [
        ("telemetry", telemetry(1, vin=chinese)),
        ("telemetry", telemetry(2, vin=chinese, at=START - timedelta(days=6300), device_id="old")),
        ("telemetry", telemetry(3)),
        ("profiles", profile(at=START, name="Blue", fuel_type="petrol")),
        ("profiles", profile(at=START + timedelta(seconds=5), fuel_type="e10", vin=None, vehicle_id=CAR)),
        ("profiles", profile(vin=OTHER_VIN, name="Never driven")),
    ]
    seen = []
    for seed in range(2):
        ingestion = fresh(tmp_path / str(seed))
        random.Random(seed).shuffle(words)
        for channel, payload in words:
            land(ingestion.store, payload, channel=channel)
            ingest(ingestion)
        seen.append(contents(ingestion.lakehouse, [facts.VEHICLES])["silver.vehicles"])
    ingest(whole := Ingestion(Lakehouse(str(tmp_path / "whole")), ingestion.store, SECRET))
    seen.append(contents(whole.lakehouse, [facts.VEHICLES])["silver.vehicles"])
    assert all(rows == seen[0] for rows in seen)
    rows = {row["vehicle_id"]: row for row in ingestion.lakehouse.scan(facts.VEHICLES).collect().rows(named=True)}
    assert (rows[CAR]["make"], rows[CAR]["name"], rows[CAR]["fuel_type"]) == ("Volkswagen", "Blue", "e10")
    assert rows[CAR]["first_event_date"] == DAY
    never = rows[OTHER]
    assert (never["make"], never["model_year"], never["first_event_date"]) == ("Volkswagen", None, None)
    assert rows[vehicle_id(chinese, SECRET)]["model_year"] == 1980


def test_a_vehicle_that_is_known_is_not_written_again(ingestion: Ingestion) -> None:
    land(ingestion.store, telemetry(1))
    ingest(ingestion)
    before = ingestion.lakehouse.open(facts.VEHICLES).version
    land(ingestion.store, telemetry(2, at=START + timedelta(minutes=1)), at=START + timedelta(minutes=3))
    ingest(ingestion)
    assert ingestion.lakehouse.open(facts.VEHICLES).version == before


def test_no_vin_leaves_bronze(ingestion: Ingestion) -> None:
    land_everything(ingestion.store)
    ingest(ingestion)
    held = [path for path in Path(ingestion.lakehouse.url, "silver").rglob("*") if path.is_file()]
    assert held
    rows = [ingestion.lakehouse.scan(table).collect().write_json() for table in TABLES]
    assert not any(VIN in text or OTHER_VIN in text for text in rows)
    logs = [path.read_text() for path in held if path.suffix == ".json"]
    assert not any(name in text for text in logs for name in (VIN, OTHER_VIN, CAR, OTHER))
