"""`smartdrive status --check --notify`: who is told of what the watch found, and how often."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from smartdrive_dagster.alerting.channels import Webhook
from smartdrive_dagster.alerting.outbox import Outbox
from smartdrive_dagster.cli import app
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.watch.findings import Finding
from smartdrive_dagster.watch.telling import tell
from tests.alerting.conftest import HttpSink
from tests.messages import land, telemetry

NOW = datetime(2025, 12, 1, 8, tzinfo=UTC)
DAEMON = Finding("daemon", "Dagster's daemon: no heartbeat of sensor for 6 min", "silent")
GAP = Finding("sequence_gap", "sequence gap: 3 messages missing", "edge-1/boot-1")
Tell = Callable[..., int]


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    server = HttpSink()
    yield server
    server.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(Lakehouse(str(tmp_path / "state")))


@pytest.fixture
def told(outbox: Outbox, sink: HttpSink) -> Tell:
    """Tell at a minute; how many messages came."""

    def at(minute: float, *found: Finding, unseen: tuple[str, ...] = ()) -> int:
        before, now = len(sink.bodies), NOW + timedelta(minutes=minute)
        tell(found, outbox, [Webhook(sink.url)], severity="warning", unseen=unseen, now=now)
        return len(sink.bodies) - before

    return at


def test_what_lasts_is_told_once_and_again_when_it_was_over(told: Tell, sink: HttpSink) -> None:
    later = Finding("daemon", "Dagster's daemon: no heartbeat of sensor for 9 min", "silent")
    counts = [told(0, DAEMON), told(1, DAEMON), told(3, later), told(4), told(5), told(6, DAEMON), told(7, DAEMON)]
    assert counts == [1, 0, 0, 0, 0, 1, 0]
    ids = [body["notices"][0]["episode_id"] for body in sink.bodies]
    assert ids == [
        "watch/daemon/silent/2025-12-01T08:00:00.000000Z",
        "watch/daemon/silent/2025-12-01T08:06:00.000000Z",
    ]
    assert sink.bodies[0]["severity"] == "critical"
    assert DAEMON.text in sink.bodies[0]["body"]


def test_what_is_new_beside_what_lasts_is_told_alone_and_several_things_in_one_message(
    told: Tell, sink: HttpSink
) -> None:
    other = Finding("sequence_gap", "sequence gap: 1 message missing", "edge-2/boot-1")
    assert [told(0, DAEMON), told(1, DAEMON, GAP, other)] == [1, 1]
    assert [len(body["notices"]) for body in sink.bodies] == [1, 2]
    assert sink.bodies[1]["severity"] == "warning"


def test_what_was_not_looked_at_is_not_over(told: Tell) -> None:
    assert told(0, DAEMON, GAP) == 1
    assert told(1, unseen=("daemon",)) == 0  # the gap is over
    assert told(2, DAEMON) == 0
    assert told(3, DAEMON, GAP) == 1


def test_a_channel_that_takes_nothing_is_tried_again_after_a_minute(told: Tell, sink: HttpSink) -> None:
    sink.status = 500
    assert told(0, DAEMON) == 0
    sink.status = 200
    assert [told(0.5, DAEMON), told(1.5, DAEMON), told(3, DAEMON)] == [0, 1, 0]


def test_later_data_overturns_no_fault_of_the_pipeline(told: Tell, outbox: Outbox) -> None:
    told(0, DAEMON)
    assert outbox.supersede([], now=NOW) == 0
    assert told(1, DAEMON) == 0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*options: str) -> Result:
    return CliRunner().invoke(app, ["status", "--check", "--no-daemon", *options])


def test_the_command_tells_by_webhook_what_it_prints(
    here: Path, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTDRIVE_WEBHOOK_URL", sink.url)
    key = land(LandingStore(str(here / "landing")), telemetry(1), at=datetime.now(UTC)).key
    written = datetime.now(UTC).timestamp() - 3600
    os.utime(here / "landing" / key, (written, written))
    assert check().exit_code == 1
    assert sink.bodies == []
    first, second = check("--notify"), check("--notify")
    assert (first.exit_code, second.exit_code) == (1, 1)
    assert first.stdout == check().stdout + "note: told 1 over webhook\n"
    assert "note" not in second.stdout
    assert check("--notify", "--max-lag", "999").exit_code == 0  # over
    sink.status = 500
    assert check("--notify").stdout.endswith("note: webhook took nothing: HTTP: answered 500\n")
    assert [body["notices"][0]["title"] for body in sink.bodies] == ["SmartDrive: landing lags"]
    assert first.stdout.splitlines()[0] in sink.bodies[0]["body"]


def test_a_lake_that_cannot_be_looked_at_is_told_without_the_errors_words(
    here: Path, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTDRIVE_WEBHOOK_URL", sink.url)
    log = here / "lake" / "silver" / "messages" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("no log")
    for _ in range(2):
        assert check("--notify").exit_code == 1
    (body,) = sink.bodies
    assert body["notices"][0]["text"].startswith("the lake cannot be looked at: ")
    assert str(here) not in str(body)


def test_with_nobody_to_tell_the_option_is_wrong(here: Path) -> None:
    done = check("--notify")
    assert done.exit_code == 2
    assert "SMARTDRIVE_WEBHOOK_URL" in done.output
    assert CliRunner().invoke(app, ["status", "--notify"]).exit_code == 2
    assert list(here.iterdir()) == []
