from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from smartdrive_edge import spool_schema
from smartdrive_edge.messages import Message, Phase, Telemetry, event
from smartdrive_edge.spool import DAY_MS, Row, Spool
from smartdrive_edge.spool_file import SpoolInUseError

VIN = "WVWZZZ1JZXW000001"
EPOCH_MS = 1_764_547_200_000
PHASES: tuple[Phase, ...] = ("cranking", "running", "sentinel")


def samples(phase: Phase, number: int, count: int = 1) -> Telemetry:
    return Telemetry(VIN, phase, [number] * count, {"RPM": [float(number)] * count})


def low_voltage(number: int) -> Message:
    return event(VIN, "low_voltage", number, {"number": number})


def digest(row: Row) -> str:
    return sha256(row.payload).hexdigest()


def body(row: Row) -> dict[str, object]:
    return dict(json.loads(row.payload))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db", "edge-1")
    opened.stamp(EPOCH_MS)
    yield opened
    opened.close()


def test_what_was_appended_is_there_after_a_restart_to_the_byte_and_identities_go_on_elsewhere(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    first = Spool(path, "edge-1")
    first.stamp(EPOCH_MS)
    given = [first.append(low_voltage(number)) for number in range(5)]
    before = first.unsent(0, 10)
    first.close()
    second = Spool(path, "edge-1")
    second.stamp(EPOCH_MS)
    assert second.unsent(0, 10) == before
    assert second.health().restarts == 1
    later = second.append(low_voltage(9))
    assert later is not None
    assert [one.seq for one in given if one] == [0, 1, 2, 3, 4]
    assert later.boot_id != first.boot_id


def test_a_killed_process_leaves_every_appended_message_behind(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from smartdrive_edge.messages import event
from smartdrive_edge.spool import Spool
spool = Spool(Path(sys.argv[1]), "edge-1")
spool.stamp(0)
for number in range(10**6):
    identity = spool.append(event("WVWZZZ1JZXW000001", "low_voltage", number, {}))
    print(identity.boot_id, identity.seq, flush=True)
"""
    printed: set[tuple[str, str]] = set()
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "spool.db")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in itertools.islice(process.stdout, 50):
            boot, seq = line.split()
            printed.add((boot, seq))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].splitlines(keepends=True)
        for line in rest:
            if line.endswith("\n"):
                boot, seq = line.split()
                printed.add((boot, seq))
    rows = Spool(tmp_path / "spool.db", "edge-1").unsent(0, 10**6)
    identities = [(str(body(row)["boot_id"]), str(body(row)["seq"])) for row in rows]
    assert len(set(identities)) == len(identities)
    assert printed - set(identities) == set()
    assert len({boot for boot, _ in printed}) == 3


def test_a_second_process_cannot_open_the_spool(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(SpoolInUseError, match="stop the other collector"):
        Spool(tmp_path / "spool.db", "edge-1")


def test_the_file_is_in_wal_mode_synced_in_full_and_has_a_version(spool: Spool, tmp_path: Path) -> None:
    other = spool_schema.connect(tmp_path / "spool.db")
    names = ("journal_mode", "synchronous", "user_version")
    assert [other.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == ["wal", 2, 1]
    other.close()


def test_a_migration_is_applied_once_and_whole(tmp_path: Path) -> None:
    connection = spool_schema.connect(tmp_path / "spool.db")
    good = (*spool_schema.MIGRATIONS, ("CREATE TABLE later (x)",))
    broken = (*good, ("CREATE TABLE latest (x)", "CREATE NONSENSE"))
    spool_schema.migrate(connection, good)
    spool_schema.migrate(connection, good)
    with pytest.raises(sqlite3.OperationalError):
        spool_schema.migrate(connection, broken)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 2
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'latest'").fetchone()[0] == 0
    connection.close()


def test_over_the_limit_samples_go_first_and_oldest_first_and_cranks_and_events_last(tmp_path: Path) -> None:
    limit = 250_000
    spool = Spool(tmp_path / "spool.db", "edge-1", limit_bytes=limit)
    spool.stamp(EPOCH_MS)
    for number in range(8):
        for phase in PHASES:
            spool.append(samples(phase, number, 500))
        spool.append(low_voltage(number))
    samples_kept = {number for _, number in kept(spool, "running", "sentinel")}
    assert spool.health().used_bytes <= limit
    assert samples_kept, "the limit is chosen so that some samples are dropped and some stay"
    assert 0 not in samples_kept
    assert samples_kept == set(range(min(samples_kept), 8))
    assert len(kept(spool, "cranking")) == 8
    assert set(spool.health().drops) <= {"running", "sentinel"}
    total = sum(spool.health().drops.values())
    assert total + spool.health().messages == 32
    for number in range(8, 40):
        spool.append(samples("cranking", number, 500))
    assert kept(spool, "running", "sentinel") == []
    cranks = [number for _, number in kept(spool, "cranking")]
    assert cranks == list(range(40 - len(cranks), 40))
    assert spool.append(samples("running", 99, 500)) is None
    drops = spool.health().drops
    assert drops["running"] == 9
    assert drops["sentinel"] == 8
    assert sum(drops.values()) + spool.health().messages == 65
    assert spool.health().used_bytes <= limit
    spool.close()
    assert Spool(tmp_path / "spool.db", "edge-1").health().drops == drops


def kept(spool: Spool, *phases: Phase) -> list[tuple[str, int]]:
    found = [body(row) for row in spool.unsent(0, 10**6)]
    signals = [(one["phase"], one["signals"]) for one in found if one.get("phase") in phases]
    return [(str(phase), int(columns["RPM"][0])) for phase, columns in signals if isinstance(columns, dict)]


def test_an_ack_deletes_what_it_names_and_nothing_else(spool: Spool) -> None:
    for number in range(4):
        spool.append(low_voltage(number))
    rows = spool.unsent(0, 10)
    assert spool.acknowledge([digest(rows[1]), digest(rows[2]), "ab" * 32]) == 2
    assert spool.unsent(0, 10) == [rows[0], rows[3]]
    assert spool.acknowledge([digest(rows[1])]) == 0


def test_a_sent_row_is_due_again_after_the_wait_and_then_after_twice_as_long_up_to_a_bound(spool: Spool) -> None:
    spool.append(low_voltage(1))
    number = spool.unsent(0, 1)[0].number
    at, waits = 1000, []
    for _ in range(5):
        spool.mark_sent([number], at, again_ms=30, at_most_ms=200)
        due = next(ms for ms in range(at, at + 1000) if spool.unsent(ms, 1))
        waits.append(due - at)
        at = due
    assert waits == [30, 60, 120, 200, 200]


def test_events_are_sent_before_samples_and_both_oldest_first(spool: Spool) -> None:
    for number in range(2):
        spool.append(samples("running", number))
        spool.append(low_voltage(number))
    assert [body(row)["seq"] for row in spool.unsent(0, 3)] == [1, 3, 0]


def test_after_a_restart_of_the_machine_everything_unacknowledged_is_due(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for boot, due in (("a", 1), ("a", 0), ("b", 1)):
        spool = Spool(path, "edge-1", machine_boot=boot)
        spool.stamp(EPOCH_MS)
        if not path.exists() or spool.health().messages == 0:
            spool.append(low_voltage(1))
        rows = spool.unsent(10, 5)
        assert len(rows) == due
        spool.mark_sent([row.number for row in rows], 10, again_ms=10**9, at_most_ms=10**9)
        spool.close()


def test_without_a_lander_a_row_goes_a_replay_window_after_its_puback(spool: Spool) -> None:
    spool.append(low_voltage(1))
    spool.append(low_voltage(2))
    first = spool.unsent(0, 1)[0]
    spool.mark_puback([first.number], 5_000)
    assert first not in spool.unsent(10**12, 5)
    assert spool.expire(5_000 + DAY_MS - 1) == 0
    assert spool.expire(5_000 + DAY_MS) == 1
    assert spool.health().messages == 1


def test_the_replay_window_begins_anew_with_the_machine_whose_clock_it_counts_on(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db", "edge-1", machine_boot="a")) as spool:
        spool.stamp(EPOCH_MS)
        spool.append(low_voltage(1))
        spool.mark_puback([spool.unsent(0, 1)[0].number], 3 * DAY_MS)
    with closing(Spool(tmp_path / "spool.db", "edge-1", machine_boot="b")) as spool:
        assert spool.unsent(10**12, 1) == []
        assert spool.expire(DAY_MS - 1) == 0
        assert spool.expire(DAY_MS) == 1


def test_samples_wait_for_the_clock_and_are_stamped_once_under_the_identity_they_had(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", "edge-1", machine_boot="a")
    early = [spool.append(samples("running", 5)), spool.append(low_voltage(7))]
    assert spool.unsent(0, 10) == []
    spool.close()
    spool = Spool(tmp_path / "spool.db", "edge-1", machine_boot="a")  # the process ended, the machine did not
    assert spool.health().waiting == 2
    assert spool.stamp(EPOCH_MS) == 2
    stamped = spool.unsent(0, 10)
    found = {(body(row)["boot_id"], body(row)["seq"]): body(row) for row in stamped}
    assert [(one.boot_id, one.seq) in found for one in early if one] == [True, True]
    running = next(one for one in found.values() if "phase" in one)
    assert (running["t"], running["clock"]) == ([EPOCH_MS + 5], "synced")
    assert spool.stamp(EPOCH_MS + 9) == 0
    assert spool.unsent(0, 10) == stamped


def test_what_waited_when_the_machine_restarted_goes_out_unsynced(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", "edge-1", machine_boot="a")
    spool.append(samples("running", 5))
    spool.append(low_voltage(7))
    spool.close()
    spool = Spool(tmp_path / "spool.db", "edge-1", machine_boot="b")
    sent = [body(row) for row in spool.unsent(0, 10)]
    assert [(one["clock"], one["t"]) for one in sent] == [("unsynced", 7), ("unsynced", [5])]
    assert spool.stamp(EPOCH_MS) == 0


@pytest.mark.parametrize("where", ["header", "middle", "everywhere", "truncated", "future"])
def test_a_damaged_file_is_set_aside_reported_and_replaced(tmp_path: Path, where: str) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, "edge-1")
    spool.stamp(EPOCH_MS)
    for number in range(300):
        spool.append(samples("running", number, 50))
    spool.close()
    damage(path, where)
    content = path.read_bytes()
    fresh = Spool(path, "edge-1")
    fresh.stamp(EPOCH_MS)
    assert len(fresh.set_aside) == 1
    assert fresh.set_aside[0].name.startswith("spool.db.damaged-2")
    if where != "future":  # SQLite folds the journal in before the version can be read
        assert fresh.set_aside[0].read_bytes() == content
    assert fresh.append(low_voltage(1)) is not None
    assert fresh.health().messages == 1


def damage(path: Path, where: str) -> None:
    if where == "future":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif where == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    else:
        size = path.stat().st_size
        start, count = {"header": (0, 100), "middle": (size // 2, 40_000), "everywhere": (0, size)}[where]
        with path.open("r+b") as file:
            file.seek(start)
            file.write(b"\xa5" * count)


def test_damage_while_it_runs_opens_a_fresh_file_under_a_new_boot_id(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, "edge-1")
    spool.stamp(EPOCH_MS)
    before = spool.append(low_voltage(1))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    damage(path, "everywhere")
    after = spool.append(low_voltage(2))
    assert before is not None
    assert after is not None
    assert (before.boot_id, before.seq) != (after.boot_id, after.seq)
    assert before.boot_id != after.boot_id
    assert len(spool.set_aside) == 1
    assert [body(row)["boot_id"] for row in spool.unsent(0, 5)] == [after.boot_id]


def test_a_payload_that_the_disk_changed_is_not_sent_but_counted(spool: Spool, tmp_path: Path) -> None:
    spool.append(low_voltage(1))
    spool.append(low_voltage(2))
    connection = sqlite3.connect(tmp_path / "spool.db")
    connection.execute("UPDATE messages SET payload = CAST(replace(payload, 'low', 'lox') AS BLOB) WHERE seq = 0")
    connection.commit()
    connection.close()
    assert [body(row)["seq"] for row in spool.unsent(0, 5)] == [1]
    assert spool.health().drops == {"event": 1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    mount = [*as_root, "mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("mounting a small file system needs root")
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run([*as_root, "umount", "-l", str(folder)], check=True)


def test_a_full_disk_drops_the_oldest_samples_and_goes_on(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool.db", "edge-1")
    spool.stamp(EPOCH_MS)
    given = 0
    for number in range(150):
        spool.append(samples("running", number, 500))
        spool.append(low_voltage(number))
        given += 2
    health = spool.health()
    assert sum(health.drops.values()) + health.messages == given
    assert health.drops.get("event", 0) == 0
    assert health.drops["running"] > 50
    assert health.messages > 150
    newest = max(number for _, number in kept(spool, "running"))
    assert newest >= 148
    rows = spool.unsent(0, 10)
    spool.mark_sent([row.number for row in rows], 0, again_ms=9, at_most_ms=9)
    assert spool.acknowledge([digest(row) for row in rows]) == 10
    spool.close()


def test_a_disk_that_others_fill_costs_no_crash_and_every_loss_is_counted(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool.db", "edge-1")
    spool.stamp(EPOCH_MS)
    spool.append(low_voltage(0))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    lost = sum(spool.append(samples("running", number, 500)) is None for number in range(100))
    assert lost > 0
    held = spool.health()
    assert held.messages + sum(held.drops.values()) == 101
    filler.unlink()
    assert spool.append(low_voltage(1)) is not None
    spool.close()
    reopened = Spool(small_disk / "spool.db", "edge-1").health()
    assert reopened.messages + sum(reopened.drops.values()) == 102


def test_threads_may_share_it(spool: Spool) -> None:
    def work() -> None:
        for number in range(50):
            spool.append(low_voltage(number))
            spool.acknowledge([digest(row) for row in spool.unsent(0, 1)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seqs = [body(row)["seq"] for row in spool.unsent(0, 500)]
    assert len(seqs) == len(set(seqs)) == spool.health().messages
    following = spool.append(low_voltage(1))
    assert following is not None
    assert following.seq == 200


def test_it_keeps_up_with_eighty_messages_a_second_when_it_is_nearly_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", "edge-1", limit_bytes=3_000_000)
    spool.stamp(EPOCH_MS)
    while spool.health().drops.get("running", 0) == 0:
        spool.append(samples("running", 1, 150))
    started = time.monotonic()
    for number in range(80):
        spool.append(samples("running", number, 150))
        spool.mark_sent([row.number for row in spool.unsent(0, 1)], 0, again_ms=9, at_most_ms=9)
    assert time.monotonic() - started < 1


def test_a_file_that_was_deleted_while_in_use_is_written_anew_with_all_that_was_in_it(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db", "edge-1")) as spool:
        spool.stamp(EPOCH_MS)
        for number in range(5):
            spool.append(low_voltage(number))
        for path in tmp_path.glob("spool.db*"):
            path.unlink()
        for number in range(5, 8):
            spool.append(low_voltage(number))
        with pytest.raises(SpoolInUseError):
            Spool(tmp_path / "spool.db", "edge-1")
    with closing(Spool(tmp_path / "spool.db", "edge-1")) as spool:
        assert spool.health().messages == 8
        assert spool.health().drops == {}
