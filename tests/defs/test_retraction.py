"""An import taken back: its rows are gone, stay gone and can come again; nobody else's change."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.defs.ingest import _steps
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.rebuild import Rebuild
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.retraction import imports_of, name_of_next, settle_retractions
from smartdrive_dagster.defs.work import ledger_batch, stale_gold_days
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.retractions import Retractions
from smartdrive_dagster.landing.recorded.formats import load_format
from smartdrive_dagster.landing.recorded.importer import import_log
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import facts, silver
from tests.comparison import contents, repeated, verdicts
from tests.messages import OTHER_VIN, SECRET, START, VIN, land, telemetry

LOG = "SECONDS;PID;VALUE;UNITS\n" + "".join(f"{s};Vehicle speed;{s % 50};km/h\n" for s in range(700, 760))
WRONG, RIGHT = date(2024, 5, 1), date(2024, 5, 2)
SILVER = (silver.TELEMETRY, silver.EVENTS, silver.DTC_READINGS, silver.QUARANTINE, facts.VEHICLES)
HOURS = itertools.count()


class Home:
    """A lake with one live car in it, and what the command line does to it."""

    def __init__(self, root: Path) -> None:
        self.lakehouse, self.store = Lakehouse(f"{root}/lake"), LandingStore(f"{root}/landing")
        self.retractions = Retractions(Lakehouse(f"{root}/state"))
        self.log = root / "car.csv"
        self.log.write_text(LOG)
        land(self.store, telemetry(1), b"broken")
        self.ingest()

    def ingestion(self) -> Ingestion:
        return Ingestion(self.lakehouse, self.store, SECRET, self.retractions.keys())

    def import_(self, day: date, *, hour: int | None = None, vin: str = VIN) -> str:
        """Import in an hour of its own, or again in the same."""
        at = START.replace(hour=next(HOURS) % 24 if hour is None else hour)
        retracted = self.retractions.keys()
        report = import_log(
            self.log,
            vin=vin,
            secret=SECRET,
            store=self.store,
            format=load_format("car-scanner"),
            day=day,
            time_zone="UTC",
            received_at=at,
            name_of=lambda import_id: name_of_next(import_id, retracted),
        )
        return report.import_id

    def ingest(self) -> None:
        ingestion, progress = self.ingestion(), Progress()
        settle_retractions(ingestion, progress)
        while ingestion.advance(START.date(), progress):
            pass

    def mark(self, import_id: str) -> int:
        (standing,) = imports_of(self.lakehouse, self.store, import_id, self.retractions.keys())
        return self.retractions.add(standing.import_id, standing.keys, at=datetime.now(UTC))

    def undo(self, import_id: str) -> None:
        self.mark(import_id)
        settle_retractions(self.ingestion(), Progress())

    def days(self) -> dict[date, int]:
        rows = self.lakehouse.scan(silver.TELEMETRY).filter(pl.col("device_id").str.starts_with("import-"))
        return dict(rows.group_by("event_date").len().collect().iter_rows())

    def assert_closed(self) -> None:
        assert balances(self.lakehouse).close
        assert repeated(self.lakehouse) == {}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_an_import_taken_back_leaves_silver_as_it_was_and_lines_that_count_as_erased(home: Home) -> None:
    before = contents(home.lakehouse, SILVER)
    wrong = home.import_(WRONG)
    home.ingest()
    assert home.days() == {WRONG: 60}
    batch = ledger_batch(home.lakehouse)
    home.undo(wrong)
    assert contents(home.lakehouse, SILVER) == before
    assert verdicts(home.lakehouse) == {"accepted": 1, "quarantined": 1, "erased": 1}
    assert WRONG in stale_gold_days(home.lakehouse, until=START.date(), floor=batch)
    home.assert_closed()


def test_a_car_that_was_known_by_a_wrong_import_alone_is_known_no_more(home: Home) -> None:
    before = contents(home.lakehouse, SILVER)
    wrong = home.import_(WRONG, vin=OTHER_VIN)
    home.ingest()
    assert home.lakehouse.open(facts.VEHICLES).count() == 2
    home.undo(wrong)
    assert contents(home.lakehouse, SILVER) == before


def test_the_right_date_and_even_the_wrong_one_can_be_imported_afterwards(home: Home) -> None:
    wrong = home.import_(WRONG, hour=3)
    home.ingest()
    home.undo(wrong)
    home.import_(RIGHT)
    home.ingest()
    assert home.days() == {RIGHT: 60}
    assert home.import_(WRONG, hour=3) == wrong  # in the same hour, and so under another name
    home.ingest()
    assert home.days() == {RIGHT: 60, WRONG: 60}
    home.undo(wrong)
    assert home.days() == {RIGHT: 60}
    home.assert_closed()


def test_an_import_taken_back_before_it_was_processed_never_appears_and_hides_no_later_one(home: Home) -> None:
    wrong = home.import_(WRONG, hour=3)
    home.undo(wrong)
    home.import_(WRONG, hour=3)
    home.ingest()
    assert home.days() == {WRONG: 60}
    assert verdicts(home.lakehouse) == {"accepted": 2, "quarantined": 1, "erased": 1}
    home.assert_closed()


def test_all_copies_of_an_import_are_taken_back(home: Home) -> None:
    wrong = home.import_(WRONG, hour=3)
    home.import_(WRONG, hour=4)
    home.ingest()
    assert verdicts(home.lakehouse)["duplicate"] == 1
    home.undo(wrong)
    assert home.days() == {}
    home.assert_closed()


def test_a_later_copy_lives_though_the_rows_taken_back_are_still_there(home: Home) -> None:
    wrong = home.import_(WRONG, hour=3)
    home.ingest()
    home.mark(wrong)  # and the process dies
    home.import_(WRONG, hour=4)
    ingestion = home.ingestion()
    while ingestion.advance(START.date(), Progress()):
        pass
    settle_retractions(home.ingestion(), Progress())
    assert home.days() == {WRONG: 60}
    home.assert_closed()


def test_a_crash_after_any_commit_leaves_work_and_no_harm(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(home.lakehouse, SILVER)
    wrong = home.import_(WRONG)
    home.ingest()
    home.mark(wrong)
    replace = Lakehouse.replace
    for commits in range(12):
        left = itertools.count(-commits)

        def dying(*args: object, left: itertools.count[int] = left, **options: object) -> object:
            if next(left) >= 0:
                raise KeyboardInterrupt
            return replace(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Lakehouse, "replace", dying)
        try:
            settle_retractions(home.ingestion(), Progress())
        except KeyboardInterrupt:
            continue
        break
    assert commits > 2
    monkeypatch.setattr(Lakehouse, "replace", replace)
    assert settle_retractions(home.ingestion(), Progress()) == 0
    assert contents(home.lakehouse, SILVER) == before
    home.assert_closed()


def test_neither_a_backfill_nor_a_rebuild_brings_it_back(home: Home, tmp_path: Path) -> None:
    home.undo(home.import_(WRONG))
    home.ingest()
    home.import_(RIGHT)
    home.ingest()
    home.ingestion().redo(START.date(), Progress())
    assert home.days() == {RIGHT: 60}
    home.assert_closed()
    new = Lakehouse(f"{tmp_path}/new")
    rebuild = Rebuild(home.lakehouse, new, home.store, SECRET, {}, START.date(), retracted=home.retractions.keys())
    for day in rebuild.objects():
        list(rebuild.take_in(day))
    assert contents(new, SILVER) == contents(home.lakehouse, SILVER)
    assert verdicts(new) == verdicts(home.lakehouse)
    assert balances(new).close


def test_taking_back_twice_changes_nothing(home: Home) -> None:
    wrong = home.import_(WRONG)
    home.ingest()
    home.undo(wrong)
    assert imports_of(home.lakehouse, home.store, wrong, home.retractions.keys()) == []
    batch = ledger_batch(home.lakehouse)
    assert settle_retractions(home.ingestion(), Progress()) == 0
    assert ledger_batch(home.lakehouse) == batch


def test_a_looping_run_takes_back_what_is_left_before_it_goes_on(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTDRIVE_SECRET", SECRET.decode())
    monkeypatch.setenv("SMARTDRIVE_STATE_URL", f"{tmp_path}/state")
    lake = LakeResource.of(Settings(lake_url=home.lakehouse.url, landing_url=home.store.url))
    wrong = home.import_(WRONG)
    home.ingest()
    home.mark(wrong)  # and the process dies
    assert list(_steps(lake, [START.date()], Progress())) == [True]
    assert home.days() == {}
    home.assert_closed()
