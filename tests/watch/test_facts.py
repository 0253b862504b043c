"""Looks at real landing zones, tables and instances: what is wrong is found, and nothing else."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._daemon.types import DaemonHeartbeat

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.domain.trips import HALO_DAYS
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.heartbeat import Heartbeat
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.processing import process
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import silver
from smartdrive_dagster.up.files import Files
from smartdrive_dagster.watch.facts import look
from smartdrive_dagster.watch.findings import Facts, Finding, Lander, Limits, findings
from tests.messages import SECRET, event, land, telemetry

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _now() -> None:
    """A test begins long after this module was read, in a long run of tests."""
    _look_at_the_clock()


def _look_at_the_clock() -> None:
    globals()["NOW"] = datetime.now(UTC)


def soon() -> datetime:
    """When what happened right now is not late yet."""
    return datetime.now(UTC) + timedelta(minutes=5)


def later() -> datetime:
    """When it is."""
    return datetime.now(UTC) + timedelta(minutes=61)


class Home:
    """A lake with its landing zone, looked at as if it were another time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lakehouse = Lakehouse(str(directory / "lake"))
        self.store = LandingStore(str(directory / "landing"))
        self.ingestion = Ingestion(self.lakehouse, self.store, SECRET)

    def land(self, *payloads: bytes, ago: timedelta = timedelta(minutes=1), channel: str = "telemetry") -> str:
        return land(self.store, *payloads, at=NOW - ago, channel=channel).key

    def ingest(self) -> None:
        for day in sorted({entry.landing_date for entry in self.store.list().objects}):
            while self.ingestion.advance(day, Progress()):
                pass

    def look(self, at: datetime, **asked: Path) -> Facts:
        return look(
            self.lakehouse, self.store, Limits(), at=at, dagster_home=asked.get("dagster"), up=asked.get("up")
        )

    def wrong(self, at: datetime, **asked: Path) -> list[Finding]:
        return findings(self.look(at, **asked), Limits())

    def kinds(self, at: datetime) -> list[str]:
        return [finding.kind for finding in self.wrong(at)]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that is up to date, Gold included."""
    _look_at_the_clock()
    directory = tmp_path_factory.mktemp("healthy")
    (directory / "secret").write_bytes(SECRET)
    home = Home(directory)
    home.land(*(telemetry(n, at=NOW - timedelta(hours=3, minutes=-n), samples=60) for n in range(5)))
    with dg.DagsterInstance.ephemeral() as instance:
        process(
            Settings(
                lake_url=f"{directory}/lake", landing_url=f"{directory}/landing", secret_file=directory / "secret"
            ),
            instance,
        )
    return directory


@pytest.fixture
def home(healthy: Path, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(healthy, tmp_path, dirs_exist_ok=True)))


def sent(*numbers: int, boot: str = "boot-2", **changes: object) -> list[bytes]:
    """Messages of another boot, from before any time of arrival in these tests."""
    return [telemetry(n, at=NOW - timedelta(days=9), boot_id=boot, **changes) for n in numbers]


def test_nothing_is_wrong_with_a_lake_that_is_up_to_date_or_empty(home: Home, tmp_path: Path) -> None:
    assert home.wrong(soon()) == home.wrong(later()) == []
    facts = home.look(soon())
    assert (facts.objects, facts.strays, facts.arrivals[0].lines) == (1, 0, 5)
    assert Home(tmp_path / "nowhere").wrong(NOW) == []
    assert not (tmp_path / "nowhere").exists()


def test_an_object_lags_until_the_ledger_has_it(home: Home) -> None:
    key = home.land(telemetry(5, at=NOW - timedelta(hours=1)))
    assert home.kinds(soon()) == []
    (finding,) = home.wrong(later())
    assert finding.kind == "landing_lags"
    assert finding.text.startswith("landing lags: 1 object landed")
    assert finding.text.endswith(f"ago: {key}")
    (batch,) = home.ingestion.unread(NOW.date(), Progress())
    home.ingestion.to_bronze(batch, Progress())
    assert home.kinds(later()) == ["landing_lags"]
    home.ingest()
    assert home.kinds(soon()) == []


def test_what_lies_in_bronze_alone_lags_from_its_receipt(home: Home) -> None:
    key = home.land(telemetry(5, at=NOW - timedelta(hours=1)))
    (batch,) = home.ingestion.unread(NOW.date(), Progress())
    home.ingestion.to_bronze(batch, Progress())
    (home.directory / "landing" / key).unlink()  # its retention has ended
    assert home.kinds(soon()) == []
    assert home.kinds(later()) == ["landing_lags"]


def test_an_object_that_cannot_be_read_is_told_with_the_reason(home: Home) -> None:
    key = f"telemetry/dt={NOW:%Y-%m-%d}/hr=00/bad.jsonl"
    bad = home.directory / "landing" / key
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.symlink_to("/proc/self/mem")
    landed = datetime.fromtimestamp(
        bad.stat().st_mtime, UTC
    )  # when this process first looked at it, long ago maybe
    facts = home.look(landed + timedelta(minutes=5))
    assert list(facts.unreadable) == [key]
    assert findings(facts, Limits()) == []


@pytest.mark.parametrize(
    ("bad", "ago", "share"),
    [
        (1, timedelta(minutes=1), None),
        (3, timedelta(minutes=1), "3 of 155 lines of the last 24 h"),
        (3, timedelta(hours=30), "3 of 155 lines of the last 48 h"),
        (3, timedelta(hours=60), None),
    ],
)
def test_the_share_of_rejected_lines_is_that_of_a_day_or_two(
    home: Home, bad: int, ago: timedelta, share: str | None
) -> None:
    home.land(*sent(*range(150 - bad)), *[b"{"] * bad, ago=ago)
    home.ingest()
    wrong = [finding.text for finding in home.wrong(soon())]
    assert [text.partition(" rejected")[0] for text in wrong] == ([f"quarantine: {share}"] if share else [])
    assert all(text.endswith("not_json 3") for text in wrong)


def gap_texts(home: Home, at: datetime | None = None) -> list[str]:
    return [finding.text for finding in home.wrong(at or later()) if finding.kind == "sequence_gap"]


def test_missing_messages_are_noticed_after_the_grace_and_forgotten_when_they_come(home: Home) -> None:
    home.land(*sent(7, 8, 12, 15))
    home.ingest()
    assert gap_texts(home, soon()) == []
    (text,) = gap_texts(home)
    assert "device edge-00001, boot boot-2: 5 messages missing in 2 gaps between 8 and 15 " in text
    assert text.endswith("the device has not told how many it dropped")
    home.land(*sent(9, 10, 11, 13, 14), ago=timedelta(0))
    home.ingest()
    assert gap_texts(home) == []


def test_a_gap_between_an_old_message_and_a_new_one_counts_and_one_between_old_ones_does_not(home: Home) -> None:
    home.land(*sent(1, 5), ago=timedelta(days=5))
    home.ingest()
    assert gap_texts(home) == []
    home.land(*sent(9))
    home.ingest()
    (text,) = gap_texts(home)
    assert "3 messages missing between 5 and 9 " in text


def test_a_message_that_was_rejected_or_came_twice_has_come(home: Home) -> None:
    home.land(
        *sent(1, 1, 6, 6),
        *sent(2, vin="X"),
        *sent(3, clock="unsynced"),
        *sent(4, signals={"RPM": []}),
        *sent(5, phase="flying"),
    )
    home.ingest()
    assert gap_texts(home) == []


def test_the_largest_number_that_a_sender_may_give_is_told_like_any_other(home: Home) -> None:
    home.land(*sent(0, 2**53 - 1, boot="hostile"))
    home.ingest()
    (text,) = gap_texts(home)
    assert f"{2**53 - 2:,} messages missing between 0 and {2**53 - 1}" in text


def test_the_drops_that_a_device_counted_lately_are_told_with_its_gap(home: Home) -> None:
    def health(seq: int, drops: int) -> bytes:
        detail = {"spool_age_s": 1.0, "achieved_hz": {}, "restarts": 0, "drops": drops}
        return event(seq, at=NOW - timedelta(days=9), type_="health", boot_id="boot-2", detail=detail)

    home.land(health(0, 40), ago=timedelta(days=5), channel="events")
    home.land(*sent(1, 4))
    home.land(health(5, 41), channel="events")
    home.ingest()
    (text,) = gap_texts(home)
    assert text.endswith("the device itself counted 1 drop, which may explain 1 of them")


def test_the_ledger_tells_the_sender_of_each_message_of_v1_and_no_statistics_of_it(home: Home) -> None:
    home.land(*sent(1), *sent(2, vin="X"), b"{", ago=timedelta(0))
    home.land(event(3), ago=timedelta(0), channel="events")
    home.ingest()
    ledger = home.lakehouse.scan(silver.MESSAGES).select("device_id", "boot_id", "seq").collect()
    assert set(ledger.rows()) == {
        *(("edge-00001", "boot-1", n) for n in range(5)),
        ("edge-00001", "boot-2", 1),
        ("edge-00001", "boot-2", 2),
        (None, None, None),
    }
    logs = (home.directory / "lake/silver/messages/_delta_log").glob("*.json")
    assert all("edge-00001" not in log.read_text() and "boot-2" not in log.read_text() for log in logs)


def test_a_gold_day_is_stale_when_the_ledger_has_been_ahead_of_it_for_too_long(home: Home) -> None:
    home.land(telemetry(5, at=NOW - timedelta(days=20)))
    home.ingest()
    assert home.kinds(datetime.now(UTC) + timedelta(minutes=50)) == []
    wrong = home.wrong(later())
    assert {finding.kind for finding in wrong} == {"stale"}
    day = (NOW - timedelta(days=20)).date()
    (trips,) = [finding.text for finding in wrong if "gold.trips" in finding.text]
    assert f"{day - timedelta(HALO_DAYS)}…{day + timedelta(HALO_DAYS)}" in trips


def test_rows_that_the_ledger_does_not_know_are_noticed(home: Home) -> None:
    rows = home.lakehouse.scan(silver.TELEMETRY).collect()
    home.lakehouse.append_once(silver.TELEMETRY, lambda _: rows.head(1))
    (finding,) = home.wrong(soon())
    assert finding.text == "a balance does not close: the ledger accepted 300 samples, Silver holds 301"


def test_silver_ahead_of_the_ledger_is_a_write_under_way(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.land(telemetry(5, at=NOW - timedelta(hours=1)))
    with monkeypatch.context() as patch:
        patch.setattr(Ingestion, "_commit_ledger", lambda *_: None)
        home.ingestion.advance(NOW.date(), Progress())
        home.ingestion.advance(NOW.date(), Progress())
    assert home.lakehouse.scan(silver.TELEMETRY).select(pl.len()).collect().item() == 303
    assert home.kinds(soon()) == []
    assert home.kinds(later()) == ["landing_lags"]


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    return Home(tmp_path / "empty")


@pytest.fixture(scope="module")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose daemons all wrote a heartbeat right now, and then were killed: nothing tells of that."""
    _look_at_the_clock()
    directory = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.from_config(str(directory)) as instance:
        for kind in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(NOW.timestamp(), kind, None, None))
    return directory


def test_a_daemon_that_was_killed_is_noticed_by_its_silence(empty: Home, dagster_home: Path) -> None:
    before = sorted(dagster_home.rglob("*"))
    assert empty.wrong(NOW + timedelta(minutes=4), dagster=dagster_home) == []
    (finding,) = empty.wrong(NOW + timedelta(minutes=6), dagster=dagster_home)
    assert finding.text.startswith("Dagster's daemon: no heartbeat of ")
    assert "sensor" in finding.text
    assert sorted(dagster_home.rglob("*")) == before


def test_a_daemon_that_never_ran_is_noticed(empty: Home, dagster_home: Path, tmp_path: Path) -> None:
    never = Path(shutil.copytree(dagster_home, tmp_path / "never"))
    with dg.DagsterInstance.from_config(str(never)) as instance:
        instance.wipe_daemon_heartbeats()
    (finding,) = empty.wrong(NOW, dagster=never)
    assert finding.text.startswith("Dagster's daemon: no heartbeat ever of ")


@pytest.mark.parametrize("is_there", [False, True])
def test_no_instance_is_made_where_there_is_none(empty: Home, tmp_path: Path, is_there: bool) -> None:
    none = tmp_path / "none"
    if is_there:
        none.mkdir()
        (none / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert [finding.text for finding in empty.wrong(NOW, dagster=none)] == [f"no Dagster instance at {none}"]
    assert [path.name for path in none.rglob("*")] == ["dagster.yaml"] * is_there


def test_an_instance_that_cannot_be_asked_is_a_finding(empty: Home, dagster_home: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(dagster_home, tmp_path / "broken"))
    (broken / "history" / "runs.db").write_bytes(b"no database" * 1000)
    (finding,) = empty.wrong(NOW, dagster=broken)
    assert f"the Dagster instance at {broken} cannot be asked: " in finding.text


def test_the_lander_of_a_running_group_is_heard_and_one_that_was_stopped_is_not_missed(
    empty: Home, tmp_path: Path
) -> None:
    files = Files(tmp_path / "up")
    assert empty.look(NOW, up=files.folder).lander is None
    files.make()
    lock = files.take()
    assert lock is not None
    assert empty.look(NOW, up=files.folder).lander == Lander(None)
    Heartbeat(1, NOW.timestamp(), None, 10, 3).write(files.heartbeat)
    assert empty.look(NOW, up=files.folder).lander == Lander(NOW, is_connected=False, failures=3)
    os.close(lock)
    assert empty.look(NOW, up=files.folder).lander is None
