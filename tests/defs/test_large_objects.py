"""Objects larger than a batch: in parts into Bronze, in portions into the ledger, and killed in between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.landed import LINE_BYTES, portions
from smartdrive_dagster.defs.work import pending_objects
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import bronze, silver
from tests.comparison import contents, repeated, verdicts
from tests.messages import SECRET, START, event, land, telemetry

DAY = START.date()


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LandingStore:
    """A large object between two small ones, where large is what has more than a few messages."""
    monkeypatch.setattr("smartdrive_dagster.landing.reader.PART_BYTES", 3000)
    monkeypatch.setattr("smartdrive_dagster.defs.ingestion.BATCH_BYTES", 4000)
    monkeypatch.setattr("smartdrive_dagster.defs.ingestion.SLICE_BYTES", 2000)
    store = LandingStore(str(tmp_path / "landing"))
    drive = [telemetry(n, at=START + timedelta(minutes=n)) for n in range(16)]
    land(store, telemetry(100), drive[3], at=START + timedelta(hours=1))
    land(store, *drive, b"{", drive[0], event(50), at=START + timedelta(hours=2))
    land(store, telemetry(101), drive[15], at=START + timedelta(hours=3))
    return store


def fresh(tmp_path: Path, store: LandingStore, name: str = "lake") -> Ingestion:
    return Ingestion(Lakehouse(str(tmp_path / name)), store, SECRET)


def finish(ingestion: Ingestion) -> dict[str, list[str]]:
    while ingestion.advance(DAY, Progress()):
        pass
    assert balances(ingestion.lakehouse).close
    assert repeated(ingestion.lakehouse) == {}
    return contents(ingestion.lakehouse)


@contextlib.contextmanager
def killed_after(commits: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let so many commits pass; the list says whether that was all."""
    write = Lakehouse._try_write
    seen = [0]

    def deadly(self: Lakehouse, *arguments: object) -> bool:
        seen[0] += 1
        if seen[0] > commits:
            raise Killed
        return write(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Lakehouse, "_try_write", deadly)
        with contextlib.suppress(Killed):
            yield seen


def test_a_large_object_enters_bronze_in_parts_and_the_ledger_in_portions(
    tmp_path: Path, store: LandingStore
) -> None:
    ingestion = fresh(tmp_path, store)
    finish(ingestion)
    assert verdicts(ingestion.lakehouse) == {"accepted": 19, "duplicate": 3, "quarantined": 1}
    assert ingestion.lakehouse.open(bronze.MESSAGES).batch > 3
    assert ingestion.lakehouse.open(silver.MESSAGES).batch > 3


def test_an_object_is_pending_until_the_ledger_holds_all_its_lines(tmp_path: Path, store: LandingStore) -> None:
    ingestion = fresh(tmp_path, store)
    while ingestion.lakehouse.open(silver.MESSAGES).batch < 2:
        assert ingestion.advance(DAY, Progress())
    assert pending_objects(ingestion.lakehouse, store, since=DAY, until=DAY) == {DAY: 2}
    assert 0 < balances(ingestion.lakehouse).unjudged < 21
    assert not balances(ingestion.lakehouse).objects_out_of_balance
    finish(ingestion)
    assert pending_objects(ingestion.lakehouse, store, since=DAY, until=DAY) == {}


def test_a_run_killed_after_any_commit_of_a_large_object_loses_and_repeats_nothing(
    tmp_path: Path, store: LandingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = finish(fresh(tmp_path, store, "clean"))
    for commits in (1, 4, 9, 17, 26):
        ingestion = fresh(tmp_path, store, f"killed-{commits}")
        with killed_after(commits, monkeypatch):
            while ingestion.advance(DAY, Progress()):
                pass
        assert finish(ingestion) == expected


def test_a_backfill_of_a_large_object_killed_after_any_commit_loses_nothing(
    tmp_path: Path, store: LandingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion = fresh(tmp_path, store)
    expected = finish(ingestion)
    for commits in (2, 9, 20, 35):
        with killed_after(commits, monkeypatch):
            ingestion.redo(DAY, Progress())
        assert finish(ingestion) == expected
    ingestion.redo(DAY, Progress())
    assert finish(ingestion) == expected


def test_a_backfill_removes_lines_that_the_object_has_no_more(tmp_path: Path, store: LandingStore) -> None:
    ingestion = fresh(tmp_path, store)
    finish(ingestion)
    (key,) = ingestion.lakehouse.scan(bronze.OBJECTS).filter(pl.col("lines") > 2).collect()["object_key"]
    tables = (bronze.MESSAGES, silver.QUARANTINE, silver.MESSAGES)
    (tmp_path / "landing" / key).unlink()
    land(store, telemetry(7), at=START + timedelta(hours=2), name=key.split("/")[-1].removesuffix(".jsonl.gz"))
    ingestion.redo(DAY, Progress())
    for table in tables:
        lines = ingestion.lakehouse.scan(table).filter(pl.col("object_key") == key).collect()["line_no"].to_list()
        assert lines in ([1], []), table


def test_one_listing_serves_all_batches_of_a_day(
    tmp_path: Path, store: LandingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_dagster.defs.ingestion.BATCH_OBJECTS", 1)
    listings = []
    list_ = LandingStore.list
    monkeypatch.setattr(LandingStore, "list", lambda self, **days: listings.append(days) or list_(self, **days))
    assert len(list(fresh(tmp_path, store).steps(DAY, Progress()))) > 6
    assert len(listings) == 1


@pytest.mark.parametrize("gapless", [True, False])
def test_portions_hold_every_line_once_and_are_bounded(gapless: bool) -> None:
    sizes = [5, 0, None, 4000, 10, 10, 900, 1]
    frame = pl.DataFrame({"line_no": range(1, 9), "size": sizes}, schema={"line_no": pl.Int64, "size": pl.Int64})
    cut = portions("k", frame, 1000, gapless=gapless)
    held = [[n for n in range(1, 9) if part.first <= n <= part.last] for part in cut]
    assert [n for part in held for n in part] == list(range(1, 9))
    for part in held:
        assert sum((sizes[n - 1] or 0) + LINE_BYTES for n in part[1:]) <= 1000
    if gapless:
        assert [cut[0].first, *(part.last + 1 for part in cut[:-1])] == [part.first for part in cut]
