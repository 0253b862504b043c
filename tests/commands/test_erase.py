"""A vehicle's data handed over and erased, from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from dagster._daemon.types import DaemonHeartbeat
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.defs import erasing
from smartdrive_dagster.domain.identity import tombstone
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.retractions import Retractions
from smartdrive_dagster.processing import dagster_instance
from tests.byte_scan import found
from tests.made_lake import CAR, OTHER, House
from tests.messages import OTHER_VIN, SECRET, START, VIN, land, telemetry


@pytest.fixture(autouse=True)
def _dagster_home(configured: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.chdir(tmp_path)


def said(*arguments: str, text: str | None = None) -> str:
    done = CliRunner().invoke(app, list(arguments), input=text, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*arguments: str, text: str | None = None) -> str:
    done = CliRunner().invoke(app, list(arguments), input=text)
    assert done.exit_code != 0
    words = f"{done.output} {done.exception}"
    assert VIN not in words
    return words


def retractions(house: House) -> Retractions:
    return Retractions(Lakehouse(house.settings.state_url))


def test_an_erasure_that_failed_is_resumed_and_its_receipt_can_be_checked(
    configured: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vin.txt").write_text(f"{VIN.lower()}\n")
    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_enter_stubs", lambda *_: 1 / 0)
        assert "job erase failed" in refused("erase", "--vin-file", "vin.txt", "--yes")
    (tmp_path / "vin.txt").unlink()
    assert len(retractions(configured).pending()) == 1
    told = said("erase", "--resume")
    receipt = next(Path(configured.settings.state_url).glob("receipts/*.json"))
    assert str(receipt) in told
    assert found(str(tmp_path)) == []
    assert balances(configured.lakehouse).close
    assert said("erase", "--resume") == "every erasure that was requested is done\n"
    assert "was erased here" in refused("import", "log.csv", "--vin", VIN)
    assert "this lake signed it" in said("erase", "--check", str(receipt))
    receipt.write_text(receipt.read_text().replace('"lines": 5', '"lines": 4'))
    assert "not as this lake signed it" in refused("erase", "--check", str(receipt))
    (receipt.parent / "x").write_text("[]")
    assert "not as this lake signed it" in refused("erase", "--check", str(receipt.parent / "x"))


def test_the_vin_is_asked_for_and_a_no_erases_nothing(configured: House) -> None:
    told = refused("erase", text=f"{VIN}\nn\n")
    assert f"{CAR[:8]}… (Volkswagen 1999): 240 samples of 2025-12-01 to 2026-01-10" in told
    assert "nothing was erased" in told
    assert retractions(configured).vehicles() == frozenset()
    assert "no VIN" in refused("erase", "--vin-file", "-", text="WVW\n")
    assert "list of processes" in refused("erase", "--vehicle", VIN)
    assert "no vehicle_id begins so" in refused("erase", "--vehicle", "234")
    assert "not both" in refused("erase", "--vehicle", CAR, "--vin-file", "x")
    assert "cannot be read" in refused("erase", "--vin-file", "nowhere")


def test_a_daemon_at_work_is_left_to_do_it(configured: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with dagster_instance() as instance:
        beat = DaemonHeartbeat(datetime.now(UTC).timestamp(), "SENSOR", "x", [])
        instance.add_daemon_heartbeat(beat)
    looks: list[float] = []

    def done_by_the_daemon(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) > 1:
            retractions(configured).mark({tombstone(CAR, SECRET)}, "done", at=datetime.now(UTC))

    monkeypatch.setattr("smartdrive_dagster.commands.erase.time.sleep", done_by_the_daemon)
    assert "so it does the work" in said("erase", "--vehicle", CAR[:6], "--yes")
    assert len(looks) == 2


def test_everything_of_a_vehicle_is_exported_and_nothing_of_others(configured: House, tmp_path: Path) -> None:
    unread = telemetry(90, at=START)
    land(configured.store, unread, at=START.replace(hour=20))
    told = said("export-person", "--vin-file", "-", "--to", "mine", text=f"{VIN}\n")
    assert "6 messages" in told
    folder = tmp_path / "mine"
    assert folder.stat().st_mode & 0o777 == 0o700
    messages = [json.loads(line) for line in (folder / "messages.json").read_bytes().splitlines()]
    assert [json.loads(message["payload"])["vin"] for message in messages] == [VIN] * 6
    assert messages[-1]["payload"].encode() == unread
    samples = pl.read_parquet(folder / "silver.telemetry.parquet")
    assert samples.height == 240
    assert len((folder / "silver.telemetry.json").read_bytes().splitlines()) == 240
    names = {path.name for path in folder.iterdir()}
    assert {"gold.trips.parquet", "marts.vehicle_daily.json", "silver.messages.parquet"} <= names
    page = (folder / "README.md").read_text()
    assert "- `gold.trips.parquet` and `gold.trips.json`: " in page
    assert found(str(folder), vin=OTHER_VIN) == []
    assert OTHER not in page
    assert "is there already" in refused("export-person", "--vehicle", CAR, "--to", "mine")
