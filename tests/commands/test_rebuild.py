"""A lake made anew: equal rows, wherever its objects come from, and whatever happens on the way."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.defs.rebuild import Rebuild, RebuildError
from smartdrive_dagster.lake.audit import balances, row_hash
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import bronze, gold, silver
from tests.comparison import contents
from tests.made_lake import CAR, COMPARED, LATER, TODAY, House, copied
from tests.messages import OTHER_VIN, SECRET, START, VIN, land, telemetry

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


@pytest.mark.parametrize("every", [0, 2, 1], ids=["complete", "half of it expired", "all of it expired"])
def test_a_rebuild_gives_equal_rows_whatever_landing_still_holds(every: int, house: House) -> None:
    before = contents(house.lakehouse, EVERYTHING)
    if every:
        expire(house, every)
    rebuild = work(house)
    assert set(finish(rebuild).values()) == {True}
    assert contents(rebuild.new, EVERYTHING) == before
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
    total = finish_steps(work(house, "counted"))
    for stop in range(1, total, 3):
        finish_steps(work(house), stop)
    assert set(finish(work(house)).values()) == {True}


def finish_steps(rebuild: Rebuild, stop: int = 1000) -> int:
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
    path.symlink_to(path.parent)  # a folder where a file should be; permissions do not stop root
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

    def test_differing_rows_are_named_and_nothing_is_swapped(
        self, configured: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house = configured
        monkeypatch.setenv("DAGSTER_HOME", f"{house.root}/dagster")
        monkeypatch.setenv("SMARTDRIVE_TRIP_GAP_S", "600")
        done = self.run("--swap")
        assert done.exit_code == 1
        assert "rows differ in gold.trips, marts.vehicle_daily" in done.output
        assert "behind" not in done.output
        assert house.lakehouse.open(gold.TRIPS).count() == 5
        assert self.run("--swap", "--accept-differences").exit_code == 0
        assert house.lakehouse.open(gold.TRIPS).count() == 3

    def test_a_present_lake_that_is_behind_is_said_to_be(self, configured: House) -> None:
        configured.drive(6, START + timedelta(hours=5), OTHER_VIN)
        done = self.run()
        assert done.exit_code == 1
        assert "the present lake is behind (1 arrival days to do" in done.output

    def test_a_lake_that_is_not_there_is_built_in_its_place(self, configured: House) -> None:
        before = contents(configured.lakehouse, EVERYTHING)
        shutil.rmtree(configured.settings.lake_url)
        done = self.run()
        assert done.exit_code == 0, done.output
        assert contents(configured.lakehouse, EVERYTHING) == before
        assert not Path(f"{configured.root}/lake.rebuilding").exists()

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

    def test_on_s3_a_new_place_is_needed_and_rows_are_equal_there(
        self, root: str, made: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not root.startswith("s3://"):
            pytest.skip("the disk has tests of its own")
        house = copied(made, root)
        for name in ("lake_url", "landing_url", "secret"):
            monkeypatch.setenv(f"SMARTDRIVE_{name.upper()}", str(getattr(house.settings, name)))
        assert "--into" in str(self.run().exception)
        done = self.run("--into", f"{root}/lake-2")
        assert done.exit_code == 0, done.output
        new = Lakehouse(f"{root}/lake-2")
        assert new.scan(gold.TRIPS).filter(pl.col("vehicle_id") == CAR).collect().height == 4
