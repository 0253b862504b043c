"""From landing to the ledger: every line judged, every sample once, whatever the order and the accidents."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.work import pending_days
from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.lake.audit import balances, identities_with_two_contents
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.query import ask
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import Days, bronze, silver
from tests.comparison import contents, repeated, verdicts, versions
from tests.messages import OTHER_VIN, SECRET, START, event, land, ms, telemetry

DAY = START.date()


@pytest.fixture
def ingestion(root: str) -> Ingestion:
    return fresh(root)


def fresh(root: str, name: str = "lake") -> Ingestion:
    return Ingestion(Lakehouse(f"{root}/{name}"), LandingStore(f"{root}/landing"), SECRET)


def ingest(ingestion: Ingestion, *days: date) -> Progress:
    progress = Progress()
    for day in days or (DAY,):
        while ingestion.advance(day, progress):
            pass
    return progress


def assert_closed(ingestion: Ingestion) -> None:
    assert balances(ingestion.lakehouse).close
    assert repeated(ingestion.lakehouse) == {}


def test_an_accepted_message_arrives_in_silver_with_its_vehicle_s_pseudonym(ingestion: Ingestion) -> None:
    land(ingestion.store, telemetry(1))
    ingest(ingestion)
    rows = ingestion.lakehouse.scan(silver.TELEMETRY).collect()
    assert rows.select("sample", "speed_kmh", "engine_speed_rpm").rows() == [
        (0, 36.0, 1500.0),
        (1, 36.0, 1500.0),
        (2, 36.0, 1500.0),
    ]
    assert rows.get_column("vehicle_id").str.len_chars().unique().to_list() == [26]
    assert_closed(ingestion)


def test_an_object_that_is_ingested_already_changes_no_version(ingestion: Ingestion) -> None:
    land(ingestion.store, telemetry(1), event(2))
    ingest(ingestion)
    before = versions(ingestion.lakehouse)
    ingest(ingestion)
    assert versions(ingestion.lakehouse) == before


def test_a_copy_in_the_same_object_in_another_and_on_another_day_adds_no_row(ingestion: Ingestion) -> None:
    land(ingestion.store, telemetry(1), telemetry(1))
    land(ingestion.store, telemetry(1))
    later = START + timedelta(days=3)
    land(ingestion.store, telemetry(1), event(7), event(7), at=later)
    ingest(ingestion, DAY, later.date())
    assert ingestion.lakehouse.scan(silver.TELEMETRY).collect().height == 3
    assert ingestion.lakehouse.scan(silver.EVENTS).collect().height == 1
    assert verdicts(ingestion.lakehouse) == {"accepted": 2, "duplicate": 4}
    assert_closed(ingestion)


def test_other_content_under_an_accepted_identity_is_a_conflict_and_the_first_stays(
    ingestion: Ingestion,
) -> None:
    land(ingestion.store, telemetry(1), at=START + timedelta(minutes=1))
    land(ingestion.store, telemetry(1, vin=OTHER_VIN), at=START + timedelta(minutes=2))
    ingest(ingestion)
    assert verdicts(ingestion.lakehouse) == {"accepted": 1, "conflict": 1}
    quarantined = ingestion.lakehouse.scan(silver.QUARANTINE).select("reason", "samples", "sample").collect()
    assert quarantined.rows() == [("conflict", 3, -1)]
    assert_closed(ingestion)


def test_a_copy_that_arrives_when_the_time_is_right_brings_the_samples_that_were_ahead(
    ingestion: Ingestion,
) -> None:
    ahead = telemetry(1, samples=600)  # ten minutes long, received after one: four minutes are too far ahead
    land(ingestion.store, ahead, at=START + timedelta(minutes=1))
    ingest(ingestion)
    assert ingestion.lakehouse.scan(silver.TELEMETRY).collect().height == 361
    land(ingestion.store, ahead, at=START + timedelta(hours=1))
    ingest(ingestion)
    assert ingestion.lakehouse.scan(silver.TELEMETRY).collect().height == 600
    ledger = ingestion.lakehouse.scan(silver.MESSAGES).sort("batch")
    counted = ledger.select("samples_accepted", "samples_duplicate", "samples_quarantined").collect()
    assert counted.rows() == [(361, 0, 239), (239, 361, 0)]
    assert_closed(ingestion)


def test_a_late_object_under_an_old_prefix_is_found(ingestion: Ingestion) -> None:
    land(ingestion.store, telemetry(1))
    ingest(ingestion)
    old = START - timedelta(days=40)
    land(ingestion.store, telemetry(2, at=old), at=old)
    assert pending_days(
        ingestion.lakehouse, ingestion.store, since=date(2008, 1, 1), until=DAY + timedelta(1)
    ) == [old.date()]
    ingest(ingestion, old.date())
    assert ingestion.lakehouse.scan(silver.TELEMETRY).collect().height == 6
    assert_closed(ingestion)


def test_every_unreadable_line_and_object_is_quarantined_with_its_reason(ingestion: Ingestion) -> None:
    land(ingestion.store, b"{", b"\xff\xfe", telemetry(3, vin="X"), telemetry(4, clock="unsynced"))
    land(ingestion.store, telemetry(5), channel="weather")
    prefix = f"telemetry/dt={DAY}/hr=08"
    ingestion.store.put(f"{prefix}/no-envelope.jsonl", b"hello\n\n")
    ingestion.store.put(f"{prefix}/broken.jsonl.gz", b"\x1f\x8bno gzip")
    ingestion.store.put(f"{prefix}/empty.jsonl", b"")
    ingest(ingestion)
    reasons = ingestion.lakehouse.scan(silver.QUARANTINE).group_by("reason").len().collect()
    assert dict(reasons.iter_rows()) == {
        "not_json": 1,
        "not_utf8": 1,
        "vin_invalid": 1,
        "clock_unsynced": 1,
        "schema_violated": 1,
        "envelope_malformed": 2,
        "object_corrupt": 1,
    }
    assert ingestion.lakehouse.scan(bronze.OBJECTS).collect().height == 5
    hashes = ingestion.lakehouse.scan(silver.QUARANTINE).select("reason", "payload_digest").collect()
    assert hashes.null_count().row(0) == (0, 0)
    told = dict(hashes.iter_rows())
    assert told["not_json"] == digest(b"{")
    assert told["clock_unsynced"] == digest(telemetry(4, clock="unsynced"))
    assert told["object_corrupt"] == digest(b"\x1f\x8bno gzip")
    assert_closed(ingestion)


def test_a_conflict_and_a_sample_ahead_have_the_digest_of_their_message(ingestion: Ingestion) -> None:
    other, ahead = telemetry(1, vin=OTHER_VIN), telemetry(2, samples=600)
    land(ingestion.store, telemetry(1), other, ahead)
    ingest(ingestion)
    rows = ingestion.lakehouse.scan(silver.QUARANTINE).select("reason", "payload_digest").unique().collect()
    assert sorted(rows.iter_rows()) == [("clock_ahead", digest(ahead)), ("conflict", digest(other))]


def traffic(seed: int) -> list[list[bytes]]:
    """Objects of messages with duplicates, malformed ones and several devices, in no order."""
    chance = random.Random(seed)
    payloads = [telemetry(n, at=START + timedelta(minutes=n), device_id=f"edge-{n % 3}") for n in range(30)]
    payloads += [event(n, at=START + timedelta(minutes=n), device_id="edge-9") for n in range(10)]
    payloads += [*chance.choices(payloads, k=15), b"{", b"\xff"]
    chance.shuffle(payloads)
    return [payloads[start : start + 5] for start in range(0, len(payloads), 5)]


def test_shuffled_deliveries_give_the_same_rows(tmp_path_factory: pytest.TempPathFactory) -> None:
    seen = []
    for seed in range(3):
        ingestion = fresh(str(tmp_path_factory.mktemp("shuffled")))
        objects = traffic(1)
        random.Random(seed).shuffle(objects)
        for number, payloads in enumerate(objects):
            land(ingestion.store, *payloads, at=START + timedelta(hours=1, seconds=number))
            if number % 4 == seed:
                ingest(ingestion)
        ingest(ingestion)
        assert_closed(ingestion)
        seen.append(contents(ingestion.lakehouse, (silver.TELEMETRY, silver.EVENTS)))
    assert seen[0] == seen[1] == seen[2]


def test_a_backfill_after_increments_gives_equal_rows(ingestion: Ingestion) -> None:
    for number, payloads in enumerate(traffic(2)):
        land(ingestion.store, *payloads, at=START + timedelta(hours=1, seconds=number))
        if number % 4 == 0:
            ingest(ingestion)
    land(ingestion.store, telemetry(3, vin=OTHER_VIN, device_id="edge-0"), at=START + timedelta(hours=2))
    later = START + timedelta(days=1)
    land(ingestion.store, telemetry(0, device_id="edge-0"), telemetry(99), at=later)
    ingest(ingestion, DAY, later.date())
    before = contents(ingestion.lakehouse)
    for day in (DAY, later.date()):
        ingestion.redo(day, Progress())
    assert contents(ingestion.lakehouse) == before
    assert_closed(ingestion)


def test_a_backfill_repairs_what_is_wrong_and_tells_gold(ingestion: Ingestion) -> None:
    land(ingestion.store, telemetry(1), telemetry(2, at=START + timedelta(minutes=1)))
    ingest(ingestion)
    wrong = ingestion.lakehouse.scan(silver.TELEMETRY).with_columns(speed_kmh=pl.lit(999.0)).collect()
    key = wrong.item(0, "object_key")
    ingestion.lakehouse.replace(silver.TELEMETRY, lambda _: wrong, predicate=f"object_key = '{key}'")
    batch = ingestion.lakehouse.open(silver.MESSAGES).batch
    ingestion.redo(DAY, Progress())
    assert ingestion.lakehouse.scan(silver.TELEMETRY).select(pl.col("speed_kmh").max()).collect().item() == 36.0
    ledger = ingestion.lakehouse.scan(silver.MESSAGES).collect()
    assert ledger.get_column("batch").min() > batch  # type: ignore[operator]
    assert ledger.get_column("touched").list.len().to_list() == [1, 1]


def test_bronze_is_the_source_where_landing_has_expired(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("expired")
    ingestion = fresh(str(directory))
    for payloads in traffic(3):
        land(ingestion.store, *payloads, at=START + timedelta(hours=1))
    ingest(ingestion)
    before = contents(ingestion.lakehouse)
    for file in (directory / "landing").rglob("*.gz"):
        file.unlink()
    ingestion.redo(DAY, Progress())
    assert contents(ingestion.lakehouse) == before


def test_overlapping_runs_write_every_row_once(ingestion: Ingestion, root: str) -> None:
    for number, payloads in enumerate(traffic(4)):
        land(ingestion.store, *payloads, at=START + timedelta(hours=1, seconds=number))
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(ingest, fresh(root)) for _ in range(3)]
        for run in runs:
            run.result()
    assert_closed(ingestion)
    alone = fresh(root, "another-lake")
    ingest(alone)
    tables = (bronze.MESSAGES, bronze.OBJECTS, silver.TELEMETRY, silver.EVENTS, silver.MESSAGES)
    assert contents(ingestion.lakehouse, tables) == contents(alone.lakehouse, tables)


def test_a_rebuild_from_landing_gives_equal_rows(ingestion: Ingestion, root: str) -> None:
    for number, payloads in enumerate(traffic(5)):
        land(ingestion.store, *payloads, at=START + timedelta(hours=1, seconds=number))
        if number % 4 == 0:
            ingest(ingestion)
    ingest(ingestion)
    again = fresh(root, "rebuilt")
    ingest(again)
    assert contents(again.lakehouse) == contents(ingestion.lakehouse)


def test_an_object_larger_than_a_batch_is_judged_in_slices(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_dagster.defs.ingestion.SLICE_BYTES", 2000)
    payloads = [telemetry(n, at=START + timedelta(seconds=10 * n)) for n in range(40)]
    land(ingestion.store, *payloads, *payloads[:7], at=START + timedelta(hours=1))
    ingest(ingestion)
    before = contents(ingestion.lakehouse)
    assert verdicts(ingestion.lakehouse) == {"accepted": 40, "duplicate": 7}
    ingestion.redo(DAY, Progress())
    assert contents(ingestion.lakehouse) == before
    assert_closed(ingestion)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_a_backfill_killed_after_any_commit_loses_no_row(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_dagster.defs.ingestion.SLICE_BYTES", 2000)
    ingestion = fresh(str(tmp_path_factory.mktemp("killed")))
    for number in range(3):
        payloads = [telemetry(10 * number + n, at=START + timedelta(minutes=n)) for n in range(10)]
        land(ingestion.store, *payloads, payloads[0], at=START + timedelta(hours=1, seconds=number))
    ingest(ingestion)
    before = contents(ingestion.lakehouse)
    write = Lakehouse._try_write
    for last in range(1, 30, 2):
        seen = 0

        def deadly(self: Lakehouse, *arguments: object, limit: int = last) -> bool:
            nonlocal seen
            seen += 1
            if seen > limit:
                raise Killed
            return write(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Lakehouse, "_try_write", deadly)
        with contextlib.suppress(Killed):
            ingestion.redo(DAY, Progress())
        monkeypatch.setattr(Lakehouse, "_try_write", write)
        assert contents(ingestion.lakehouse, (silver.TELEMETRY,)) == {
            "silver.telemetry": before["silver.telemetry"]
        }
    ingestion.redo(DAY, Progress())
    assert contents(ingestion.lakehouse) == before


def test_an_object_that_cannot_be_read_keeps_no_other_from_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion = fresh(str(tmp_path))
    land(ingestion.store, telemetry(1))
    bad = land(ingestion.store, telemetry(2, at=START + timedelta(minutes=5)))
    path = tmp_path / "landing" / bad.key
    path.unlink()
    path.symlink_to("/proc/self/mem")  # reading it fails, also for root
    progress = ingest(ingestion)
    assert list(progress.unreadable) == [bad.key]
    assert ingestion.lakehouse.scan(silver.TELEMETRY).collect().height == 3
    path.unlink()
    land(ingestion.store, telemetry(2, at=START + timedelta(minutes=5)), name=bad.key.split("/")[-1][:-9])
    assert ingest(ingestion).unreadable == {}
    assert ingestion.lakehouse.scan(silver.TELEMETRY).collect().height == 6


def test_two_contents_on_two_event_days_are_told_by_a_warning_alone(ingestion: Ingestion) -> None:
    later = START + timedelta(days=1)
    land(ingestion.store, telemetry(1))
    ingest(ingestion)
    land(ingestion.store, telemetry(1, at=later), at=later + timedelta(minutes=1))
    ingest(ingestion, later.date())
    assert identities_with_two_contents(ingestion.lakehouse) == 1
    assert_closed(ingestion)


def test_slices_bound_the_samples_that_a_small_object_expands_to(ingestion: Ingestion) -> None:
    times = list(range(ms(START), ms(START) + 5_000))
    many = [
        telemetry(n, t=times, signals={"SPEED": [None] * len(times)}, device_id=f"edge-{n}") for n in range(41)
    ]
    land(ingestion.store, *many)
    ingest(ingestion)
    assert ingestion.lakehouse.open(silver.TELEMETRY).batch == 3
    assert_closed(ingestion)


def test_balances_notice_accepted_samples_that_are_gone(tmp_path: Path) -> None:
    ingestion = fresh(str(tmp_path))
    key = land(ingestion.store, telemetry(1)).key
    ingest(ingestion)
    ingestion.lakehouse.replace(
        silver.TELEMETRY, lambda snapshot: snapshot.rows().head(1).collect(), predicate=f"object_key = '{key}'"
    )
    assert not balances(ingestion.lakehouse).close


@pytest.mark.parametrize("name", ["with space", "ünï", "ha#sh", "o'brien"])
def test_a_lake_may_lie_below_a_path_with_odd_letters(tmp_path: Path, name: str) -> None:
    ingestion = fresh(str(tmp_path / name))
    land(ingestion.store, telemetry(1), event(2))
    ingest(ingestion)
    ingestion.redo(DAY, Progress())
    one_day = ingestion.lakehouse.scan(silver.TELEMETRY, Days(DAY, DAY)).collect()
    assert one_day.height == 3
    assert ask(ingestion.lakehouse, "select count(*) from silver.telemetry", time_zone="UTC").item() == 3
