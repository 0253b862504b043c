"""What has expired goes, does not come back, and nothing is computed anew from what has gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.defs.backfill import bring_up_to_date, recomputations
from smartdrive_dagster.defs.floors import expiring, frozen_before
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.rebuild import is_secret_of
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.retention import Expired, expire
from smartdrive_dagster.defs.shadow import ShadowError, compute_shadow, promote, shadow_changes
from smartdrive_dagster.defs.work import pending_objects, stale_tables
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days, battery, bronze, facts, gold, silver
from tests.comparison import contents
from tests.made_lake import DAY, LATER, TODAY, House, copied
from tests.messages import OTHER_VIN, SECRET, START, land, telemetry

SOME = ("gold.trips", "gold.cranks", "gold.parked_days")
KEPT = (TODAY - LATER).days + 2
"""Days that leave what was driven on the later day, and nothing of the first."""


def fill(root: Path) -> House:
    house = House(root)
    for number, day in enumerate((DAY, LATER)):
        house.drive(10 * number, START + (day - DAY))
        house.drive(5 + 10 * number, START + (day - DAY), OTHER_VIN)
    land(house.store, b"{", telemetry(3, at=START + (LATER - DAY)), at=START + (LATER - DAY) + timedelta(hours=2))
    land(house.store, b"{", at=START + timedelta(hours=1))
    house.ingest()
    house.compute()
    return house


def compute(house: House, settings: Settings) -> None:
    known = recomputations(settings, until=TODAY)
    list(bring_up_to_date(house.lakehouse, {name: known[name] for name in SOME}, until=TODAY))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(fill(tmp_path_factory.mktemp("made")).root)


@pytest.fixture
def house(made: Path, tmp_path: Path) -> House:
    return copied(made, str(tmp_path))


def keeping(house: House, *layers: str) -> Settings:
    return house.settings.model_copy(update={f"retention_{layer}_days": KEPT for layer in layers})


def expired(house: House, *layers: str, dry_run: bool = False) -> dict[str, int]:
    found = expire(house.lakehouse, house.store, keeping(house, *layers), until=TODAY, dry_run=dry_run)
    return {one.place: one.count for one in found if one.count}


def days(house: House, table: object) -> Iterator[date]:
    rows = house.lakehouse.scan(table)  # type: ignore[arg-type]
    yield from rows.select(pl.col(table.partition_by).unique().sort()).collect().to_series()  # type: ignore[attr-defined]


def test_nothing_expires_unless_somebody_says_so(house: House) -> None:
    assert list(expire(house.lakehouse, house.store, house.settings, until=TODAY)) == []


def test_a_dry_run_says_what_the_run_then_deletes(house: House) -> None:
    before = contents(house.lakehouse)
    layers = ("landing", "bronze", "gold", "marts")
    told = expired(house, *layers, dry_run=True)
    assert told == told | {"landing": 3, "bronze.messages": 3, "gold.trips": 2}
    assert told["marts.data_quality"] > 0
    assert contents(house.lakehouse) == before
    assert expired(house, *layers) == told
    assert expired(house, *layers) == {}


def test_what_left_landing_and_bronze_is_not_taken_in_again_and_the_balances_close(house: House) -> None:
    of_silver = (silver.TELEMETRY, silver.MESSAGES, silver.QUARANTINE, facts.VEHICLES, gold.TRIPS)
    before = contents(house.lakehouse, of_silver)
    expired(house, "bronze")  # landing still holds the objects
    assert list(days(house, bronze.MESSAGES)) == [LATER]
    assert pending_objects(house.lakehouse, house.store, since=DAY, until=TODAY) == {}
    expired(house, "landing")
    assert {entry.landing_date for entry in house.store.list().objects} == {LATER}
    ingestion = Ingestion(house.lakehouse, house.store, SECRET)
    assert not ingestion.advance(DAY, Progress())
    ingestion.redo(DAY, Progress())  # a backfill finds nothing to compute anew, and deletes nothing
    assert contents(house.lakehouse, of_silver) == before
    assert balances(house.lakehouse).close
    assert is_secret_of(house.lakehouse, SECRET)
    assert not is_secret_of(house.lakehouse, SECRET[::-1])


def test_an_object_that_is_not_judged_stays_and_is_counted(house: House) -> None:
    land(house.store, telemetry(70), at=START + timedelta(hours=5))
    (one,) = expire(house.lakehouse, house.store, keeping(house, "landing"), until=TODAY)
    assert one == Expired("landing", TODAY - timedelta(KEPT), 3, waiting=1)
    assert str(one).endswith("; 1 objects wait for the ledger")
    assert len(house.store.list().objects) == 4


def test_samples_expire_once_gold_has_them_and_gold_of_their_days_stays(house: House) -> None:
    settings = keeping(house, "silver")
    trips = contents(house.lakehouse, (gold.TRIPS, battery.CRANKS, battery.PARKED_DAYS))
    assert expired(house, "silver") == {"silver.telemetry": 120, "silver.quarantine": 1}
    assert list(days(house, silver.TELEMETRY)) == [LATER]
    held = balances(house.lakehouse)
    assert held.close
    assert (held.samples_expired, held.samples_in_silver) == (120, held.samples_accepted - 120)
    # A late message makes the days around it stale, a backfill asks for all of them.
    land(house.store, telemetry(71, at=START + timedelta(hours=6)), at=START + timedelta(hours=7))
    house.ingest()
    waiting = [one for one in expire(house.lakehouse, house.store, settings, until=TODAY) if one.waiting]
    assert [str(one).partition(" rows")[0] for one in waiting] == ["silver.telemetry: 0"]
    compute(house, settings)
    known = recomputations(settings, until=TODAY)
    for name in SOME:
        list(known[name].redo(house.lakehouse, [DAY, LATER]))
        assert name not in stale_tables(house.lakehouse, until=TODAY, floor=0)
    assert contents(house.lakehouse, (gold.TRIPS, battery.CRANKS, battery.PARKED_DAYS)) == trips
    assert balances(house.lakehouse).close


def test_a_day_that_is_judged_anew_counts_its_samples_again(house: House) -> None:
    expired(house, "silver")
    assert balances(house.lakehouse).samples_expired == 120
    Ingestion(house.lakehouse, house.store, SECRET).redo(DAY, Progress())
    assert balances(house.lakehouse).samples_expired == 0
    assert balances(house.lakehouse).close


def test_expired_days_of_gold_are_not_computed_again(house: House) -> None:
    settings = keeping(house, "gold")
    expired(house, "gold")
    assert list(days(house, gold.TRIPS)) == [LATER]
    trips = recomputations(settings, until=TODAY)["gold.trips"].computation
    list(recompute(house.lakehouse, trips, [DAY, LATER], settings, redo=True, until=TODAY))
    assert list(days(house, gold.TRIPS)) == [LATER]


def test_a_shadow_leaves_out_days_whose_samples_have_expired(house: House) -> None:
    settings = keeping(house, "silver")
    expired(house, "silver")
    before = contents(house.lakehouse, (gold.TRIPS,))
    known = recomputations(settings, until=TODAY)
    with pytest.raises(ShadowError, match="has expired"):
        list(compute_shadow(house.lakehouse, known["gold.trips"], Days(DAY, DAY), settings))
    list(compute_shadow(house.lakehouse, known["gold.trips"], Days(DAY, LATER), settings))
    assert list(shadow_changes(house.lakehouse, known["gold.trips"])) == []
    just_trips = {"gold.trips": known["gold.trips"]}
    list(promote(house.lakehouse, just_trips, known["gold.trips"], settings))
    assert contents(house.lakehouse, (gold.TRIPS,)) == before


def test_what_histories_are_made_of_never_expires(house: House) -> None:
    names = {str(table) for table in expiring()}
    assert {"bronze.messages", "silver.telemetry", "gold.trips", "gold.driving_events"} <= names
    of_histories = {"gold.cranks", "gold.parked_days", "silver.events", "silver.messages", "bronze.objects"}
    assert names.isdisjoint(of_histories)
    cranks = recomputations(house.settings, until=TODAY)["gold.cranks"].computation
    assert frozen_before(cranks, keeping(house, "silver"), TODAY) == TODAY - timedelta(KEPT - 1)
    assert frozen_before(cranks, house.settings, TODAY) is None


def test_the_command_says_what_would_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lake_url", "landing_url", "secret"):
        monkeypatch.setenv(f"SMARTDRIVE_{name.upper()}", str(getattr(house.settings, name)))
    run = CliRunner().invoke
    assert "kept for ever" in run(app, ["retention"]).output
    monkeypatch.setenv("SMARTDRIVE_RETENTION_LANDING_DAYS", "30")
    told = run(app, ["retention", "--dry-run"]).output
    assert "landing: 6 objects from before" in told
    assert "nothing was deleted (--dry-run)" in told
    assert len(house.store.list().objects) == 6
