"""A lake made anew: equal rows, wherever its objects come from, and whatever happens on the way."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import dagster as dg
import polars as pl
import pytest
from click.testing import Result
from dagster._daemon.types import DaemonHeartbeat
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.defs.rebuild import Rebuild, RebuildError
from smartdrive_dagster.lake.audit import balances, row_hash
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.processing import who_is_at_work
from smartdrive_dagster.tables import bronze, facts, gold, silver
from tests.commands.conftest import configure
from tests.comparison import contents
from tests.made_lake import COMPARED, LATER, TODAY, House
from tests.messages import OTHER_VIN, SECRET, START, VIN, correction, land, profile, telemetry, weather

EVERYTHING = (bronze.MESSAGES, bronze.OBJECTS, silver.TELEMETRY, silver.EVENTS, silver.DTC_READINGS, *COMPARED)


def work(house: House, name: str = "lake.rebuilding") -> Rebuild:
    new = Lakehouse(f"{house.root}/{name}")
    return Rebuild(house.lakehouse, new, house.store, SECRET, house.known(), TODAY)


def finish(rebuild: Rebuild) -> dict[str, bool]:
    for day in rebuild.objects():
        list(rebuild.take_in(day))
    list(rebuild.compute())
    return {entry.table: entry.is_equal for entry in rebuild.compare()}


def expire(house: House, every: int) -> None:
    """Landing's retention has ended for every so many-th object."""
    for number, entry in enumerate(house.store.list().objects):
        if number % every == 0:
            (Path(house.settings.landing_url) / entry.key).unlink()


def test_a_rebuild_gives_equal_rows_facts_included_though_half_of_landing_has_expired(house: House) -> None:
    said = START + timedelta(hours=6)
    land(house.store, correction(at=START, until=START + timedelta(hours=2)), at=said, channel="corrections")
    land(house.store, profile(name="Blue", fuel_type="diesel"), at=said, channel="profiles")
    land(house.store, weather(hours=48, vin=OTHER_VIN), at=said, channel="weather")
    house.ingest()
    house.compute()
    trips = house.lakehouse.scan(gold.TRIPS).filter(pl.col("is_corrected")).collect()
    assert trips.get_column("samples").to_list() == [120]
    before = contents(house.lakehouse, EVERYTHING)
    expire(house, 2)
    rebuild = work(house)
    assert set(finish(rebuild).values()) == {True}
    assert contents(rebuild.new, EVERYTHING) == before
    assert [rebuild.new.open(table).count() for table in (*facts.CHANNEL_OF, facts.VEHICLES)] == [1, 1, 48, 2]
    assert balances(rebuild.new).close


def test_the_first_of_two_contents_wins_wherever_their_objects_come_from(house: House) -> None:
    for minute, vin in ((1, OTHER_VIN), (2, VIN), (3, OTHER_VIN)):
        message = telemetry(90, at=START, vin=vin, device_id="edge-x")
        land(house.store, message, at=START + timedelta(hours=9, minutes=minute), name=f"{9 - minute}")
        house.ingest()
    house.compute()
    (first,) = [entry for entry in house.store.list().objects if "/8.jsonl" in entry.key]
    (Path(house.settings.landing_url) / first.key).unlink()
    rebuild = work(house)
    assert set(finish(rebuild).values()) == {True}
    held = rebuild.new.scan(silver.TELEMETRY).filter(pl.col("device_id") == "edge-x").collect()
    assert set(held.get_column("object_key")) == {first.key}


def test_a_rebuild_broken_off_anywhere_goes_on_and_ends_with_equal_rows(house: House) -> None:
    expire(house, 2)
    for stop in (1, 2, 3):  # each goes on where the one before was broken off
        assert finish_steps(work(house), stop) == stop
    assert set(finish(work(house)).values()) == {True}


def finish_steps(rebuild: Rebuild, stop: int) -> int:
    """Take so many steps of a rebuild and leave it there."""
    done = 0
    for day in rebuild.objects():
        for _ in rebuild.take_in(day):
            if (done := done + 1) == stop:
                return done
    for _ in rebuild.compute():
        if (done := done + 1) == stop:
            return done
    return done


def test_an_object_that_cannot_be_read_ends_the_rebuild_with_its_name(house: House) -> None:
    entry = house.store.list(on=LATER).objects[0]
    path = Path(house.settings.landing_url) / entry.key
    path.unlink()
    path.symlink_to("/proc/self/mem")  # it can be opened and not be read, by root neither
    with pytest.raises(RebuildError, match="cannot be read"):
        finish(work(house))


def test_row_hashes_ignore_order_files_and_provenance_but_no_value_and_no_repetition(
    tmp_path: Path, rows_of
) -> None:
    rows = rows_of(
        silver.TELEMETRY,
        *({"message_id": str(n), "object_key": "a", "extra_signals": {"X": float(n)}} for n in range(5)),
    )

    def hashed(name: str, *parts: pl.DataFrame) -> str:
        lakehouse = Lakehouse(str(tmp_path / name))
        for part in parts:
            lakehouse.append_once(silver.TELEMETRY, lambda _, part=part: part)
        return row_hash(lakehouse, silver.TELEMETRY)

    whole = hashed("whole", rows)
    elsewhere = rows.with_columns(object_key=pl.lit("b"))
    assert hashed("parts", elsewhere[3:], elsewhere[:3].reverse()) == whole
    assert hashed("less", rows[1:]) != whole
    assert hashed("twice", rows, rows[:1], rows[:1]) != whole
    assert hashed("other", rows.with_columns(speed_kmh=pl.lit(1.0))) != whole
    assert hashed("none") == hashed("neither")


class TestCommand:
    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["rebuild", *arguments])

    def test_a_killed_rebuild_is_finished_and_swapped(
        self, configured: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house = configured
        monkeypatch.setenv("DAGSTER_HOME", f"{house.root}/dagster")
        expire(house, 2)
        before = contents(house.lakehouse, EVERYTHING)
        died = subprocess.run([sys.executable, "-m", "tests.commands.killed_rebuild", "9"], check=False)
        assert died.returncode == -signal.SIGKILL
        done = self.run("--swap")
        assert done.exit_code == 0, done.output
        assert "going on with" in done.output
        assert contents(Lakehouse(house.settings.lake_url), EVERYTHING) == before
        (kept,) = Path(house.root).glob("lake.before-*")
        assert contents(Lakehouse(str(kept)), EVERYTHING) == before
        assert not Path(f"{house.root}/lake.rebuilding").exists()

    def test_differing_rows_are_named_with_a_present_lake_that_is_behind_and_nothing_is_swapped(
        self, configured: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house = configured
        monkeypatch.setenv("SMARTDRIVE_TRIP_GAP_S", "600")
        house.drive(6, START + timedelta(hours=5), OTHER_VIN)
        done = self.run("--swap")
        assert done.exit_code == 1
        assert "rows differ in bronze.messages, bronze.objects, silver.telemetry, silver.messages" in done.output
        assert "the present lake is behind (1 arrival days to do" in done.output
        house.ingest()
        house.compute()
        done = self.run("--accept-differences")
        assert done.exit_code == 0
        (line,) = (line for line in done.output.splitlines() if line.startswith("rows differ in"))
        assert {"gold.trips", "marts.vehicle_daily"} <= set(line.removeprefix("rows differ in ").split(", "))
        assert "silver" not in line
        assert house.lakehouse.open(gold.TRIPS).count() == 6

    def test_a_lake_that_is_not_there_is_built_in_its_place(self, configured: House) -> None:
        before = contents(configured.lakehouse, EVERYTHING)
        shutil.rmtree(configured.settings.lake_url)
        done = self.run()
        assert done.exit_code == 0, done.output
        assert contents(configured.lakehouse, EVERYTHING) == before
        assert not Path(f"{configured.root}/lake.rebuilding").exists()

    def test_without_anything_landed_there_is_nothing_to_build(self, configured: House) -> None:
        for folder in (configured.settings.lake_url, configured.settings.landing_url):
            shutil.rmtree(folder)
        assert "nothing has landed" in str(self.run().exception)

    def test_without_the_secret_or_with_another_it_refuses(
        self, configured: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SMARTDRIVE_SECRET", "another secret, also 32 bytes long")
        assert "another secret" in str(self.run().exception)
        monkeypatch.delenv("SMARTDRIVE_SECRET")
        monkeypatch.setenv("SMARTDRIVE_SECRET_FILE", f"{configured.root}/none")
        shutil.rmtree(configured.settings.lake_url)  # a fresh lake would get a fresh secret
        assert "no secret" in str(self.run().exception)
        assert not Path(f"{configured.root}/none").exists()

    @pytest.mark.nightly
    def test_on_s3_a_new_place_is_needed_and_rows_are_equal_there(
        self, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(
            Bucket="rebuilt", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        house = House("s3://rebuilt/home")
        house.drive(1, START)
        house.ingest()
        house.compute()
        configure(house, monkeypatch)
        assert "--into" in str(self.run().exception)
        done = self.run("--into", "s3://rebuilt/home/lake-2")
        assert done.exit_code == 0, done.output
        new = Lakehouse("s3://rebuilt/home/lake-2")
        assert contents(new, EVERYTHING) == contents(house.lakehouse, EVERYTHING)


def test_nobody_swaps_while_a_run_or_a_daemon_of_dagster_may_write() -> None:
    now = datetime.now(UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        assert who_is_at_work(instance, now) is None
        instance.add_daemon_heartbeat(
            DaemonHeartbeat((now - timedelta(seconds=20)).timestamp(), "SENSOR", "d", [])
        )
        assert who_is_at_work(instance, now) == "a Dagster daemon was alive 20 s ago"
        assert who_is_at_work(instance, now + timedelta(minutes=2)) is None
        job = dg.GraphDefinition(name="gold").to_job()
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert "(gold) is under way" in str(who_is_at_work(instance, now + timedelta(minutes=2)))
