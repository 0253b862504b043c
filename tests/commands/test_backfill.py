"""Backfills of Gold on request: computed beside the lake, looked at, taken over, and reachable as they were."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.defs import backfill
from smartdrive_dagster.defs.backfill import redo_readers
from smartdrive_dagster.defs.shadow import ShadowError, compute_shadow, promote, shadow_changes
from smartdrive_dagster.defs.work import stale_gold_days
from smartdrive_dagster.lake.query import ask
from smartdrive_dagster.tables import Days, gold
from tests.comparison import contents, versions
from tests.made_lake import ALL_DAYS, CAR, COMPARED, DAY, LATER, OTHER, TODAY, House, copied
from tests.messages import OTHER_VIN, START


@pytest.fixture(scope="module")
def promoted(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a direct recomputation makes of it, with what reads it."""
    direct = copied(made, str(tmp_path_factory.mktemp("direct")))
    known = direct.known(600)
    list(known["gold.trips"].redo(direct.lakehouse, list(ALL_DAYS)))
    list(redo_readers(direct.lakehouse, known, gold.TRIPS, list(ALL_DAYS)))
    return contents(direct.lakehouse, COMPARED)


AS_300_S = [(CAR, DAY, 60), (CAR, DAY, 60), (OTHER, DAY, 60), (CAR, LATER, 60), (CAR, LATER, 60)]
AS_600_S = [(CAR, DAY, 120), (OTHER, DAY, 60), (CAR, LATER, 120)]


def test_a_diff_names_what_changes_per_vehicle_and_day_and_changes_nothing(house: House) -> None:
    before = versions(house.lakehouse, COMPARED)
    house.diff()
    found = list(shadow_changes(house.lakehouse, house.known()["gold.trips"]))
    assert [(c.vehicle_id, c.day, c.added, c.removed, c.changed) for c in found] == [
        (CAR, DAY, 0, 1, 1),  # the first trip swallows the second
        (CAR, LATER, 0, 1, 1),
    ]
    assert "duration_s" in found[0].columns
    assert found[0].values["duration_s"] == (118.0, 519.0)
    assert "samples" not in found[0].values  # the sum is the same
    assert versions(house.lakehouse, COMPARED) == before
    assert house.trips() == AS_300_S


def test_a_promotion_equals_direct_recomputation_with_what_reads_it_and_keeps_the_old_rows_reachable(
    house: House, promoted: dict[str, list[str]]
) -> None:
    time.sleep(0.01)
    before = datetime.now(UTC)
    house.diff()
    list(house.promotion())
    assert house.trips() == AS_600_S
    assert contents(house.lakehouse, COMPARED) == promoted
    assert house.trips(as_of=before) == AS_300_S
    counted = ask(house.lakehouse, "select count(*) from gold.trips", time_zone="UTC", as_of=before.isoformat())
    assert counted.item() == len(AS_300_S)


def test_a_later_gold_run_does_not_undo_a_promotion(house: House) -> None:
    house.diff()
    list(house.promotion())
    assert stale_gold_days(house.lakehouse, until=TODAY, floor=0) == []
    house.drive(6, START + timedelta(hours=5), OTHER_VIN)
    house.ingest()
    house.gold_trips(600.0)
    assert house.trips() == [*AS_600_S[:2], (OTHER, DAY, 60), AS_600_S[2]]


def test_a_promotion_killed_after_any_of_its_commits_recovers_when_it_is_repeated(
    house: House, promoted: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "CHUNK_DAYS", 5)  # two chunks of trips, and then the mart
    for steps in (1, 2):
        list(house.known()["gold.trips"].redo(house.lakehouse, list(ALL_DAYS)))
        house.diff()
        broken_off = house.promotion()
        for _ in range(steps):
            next(broken_off)
        assert house.trips() == (AS_600_S if steps > 1 else [*AS_600_S[:2], *AS_300_S[3:]])
        list(house.promotion())
        assert contents(house.lakehouse, COMPARED) == promoted


def test_days_that_were_computed_from_newer_data_meanwhile_are_left_alone_and_named(house: House) -> None:
    house.diff()
    house.drive(6, START + timedelta(hours=5), OTHER_VIN)
    house.ingest()
    house.compute()
    skipped = [day for part in house.promotion() for day in part.skipped]
    assert DAY in skipped
    assert LATER not in skipped
    assert house.trips() == [*AS_300_S[:3], (OTHER, DAY, 60), AS_600_S[2]]


def test_a_day_that_newer_data_has_only_touched_stays_stale_after_a_promotion(house: House) -> None:
    house.diff()
    house.drive(6, START + timedelta(hours=5), OTHER_VIN)
    house.ingest()
    list(house.promotion())
    assert DAY in stale_gold_days(house.lakehouse, until=TODAY, floor=0)
    house.gold_trips(600.0)
    assert house.trips() == [*AS_600_S[:2], (OTHER, DAY, 60), AS_600_S[2]]


def test_what_is_no_finished_shadow_or_one_of_other_settings_is_not_promoted(house: House) -> None:
    with pytest.raises(ShadowError, match="there is no finished shadow"):
        list(house.promotion())
    computing = compute_shadow(house.lakehouse, house.known(600)["gold.trips"], ALL_DAYS, house.of(600))
    next(computing)  # killed after its first chunk
    with pytest.raises(ShadowError, match="there is no finished shadow"):
        list(house.promotion())
    house.diff()
    with pytest.raises(ShadowError, match='"trip_gap_s": 600'):
        list(house.promotion(gap_s=300.0))
    assert house.trips() == AS_300_S


def test_a_new_diff_holds_its_own_days_alone_and_a_promotion_leaves_no_shadow(house: House) -> None:
    house.diff(gap_s=500)
    house.diff(days=Days(DAY, DAY))
    found = shadow_changes(house.lakehouse, house.known()["gold.trips"])
    assert {change.day for change in found} == {DAY}
    list(house.promotion())
    assert house.trips() == [*AS_600_S[:2], *AS_300_S[3:]]
    assert [path for path in Path(house.root).rglob("shadow/**/*") if path.is_file()] == []


def test_a_mart_is_compared_and_promoted_like_gold(house: House) -> None:
    list(house.known(600)["gold.trips"].redo(house.lakehouse, list(ALL_DAYS)))  # without its readers
    known = house.known(600)
    mart = known["marts.vehicle_daily"]
    list(compute_shadow(house.lakehouse, mart, ALL_DAYS, house.of(600)))
    found = list(shadow_changes(house.lakehouse, mart))
    assert [(c.day, c.changed, c.values["trips"]) for c in found] == [(DAY, 1, (2, 1)), (LATER, 1, (2, 1))]
    list(promote(house.lakehouse, known, mart, house.of(600)))
    list(compute_shadow(house.lakehouse, mart, ALL_DAYS, house.of(600)))
    assert list(shadow_changes(house.lakehouse, mart)) == []


class TestCommand:
    @pytest.fixture(autouse=True)
    def _configured(self, configured: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SMARTDRIVE_TRIP_GAP_S", "600")

    def said(self, *arguments: str) -> str:
        done = CliRunner().invoke(app, ["backfill", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    def test_it_shows_the_change_and_takes_it_over(self, house: House) -> None:
        days = ("--from", "2025-12-01", "--to", "2026-01-31")
        shown = self.said("gold.trips", *days, "--diff")
        assert "2 removed, 2 changed" in shown
        assert CAR not in shown
        assert f"{CAR[:8]}…" in shown
        assert "duration_s 118 → 519" in shown
        assert "gold.trips: version" in self.said("gold.trips", "--promote")
        assert house.trips() == AS_600_S
        assert "every row is as before" in self.said("gold.trips", *days)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("gold.tripz", "--from", "2025-12-01", "--to", "2025-12-02"), "did you mean gold.trips"),
            (("silver.telemetry", "--from", "2025-12-01", "--to", "2025-12-02"), "per day of arrival"),
            (("gold.trips", "--from", "2025-12-02", "--to", "2025-12-01"), "ends"),
            (("gold.trips", "--from", "2025-12-02"), "--to"),
            (("gold.trips", "--from", "2025-12-01", "--to", "2025-12-02", "--promote"), "leave out"),
        ],
    )
    def test_what_cannot_be_done_is_said(self, arguments: tuple[str, ...], told: str) -> None:
        done = CliRunner().invoke(app, ["backfill", *arguments])
        assert done.exit_code != 0
        assert told in done.output + str(done.exception)
