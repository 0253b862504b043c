"""`smartdrive alerts`, as a person calls it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smartdrive_dagster.alerting.alerts import present_alerts, recent_alerts
from smartdrive_dagster.alerting.channels import Webhook
from smartdrive_dagster.alerting.outbox import Outbox
from smartdrive_dagster.cli import app
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables.alerts import ALERTS
from tests.alerting.conftest import NOW, HttpSink
from tests.conftest import RowsOf

VEHICLE = "abcdefghijklmnopqrstuvwxyz"


def told(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["alerts", *arguments])
    return done.exit_code, done.output


@pytest.fixture
def lake(tmp_path: Path, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    monkeypatch.setenv("SMARTDRIVE_LAKE_URL", str(tmp_path / "lake"))
    lakehouse = Lakehouse(str(tmp_path / "lake"))
    common = {"vehicle_id": VEHICLE, "event_date": NOW.date(), "updated_at": NOW, "text": "Look at it."}
    rows = rows_of(
        ALERTS,
        {**common, "alert_id": "a", "severity": "critical", "state": "open", "opened_at": NOW, "title": "Failing"},
        {**common, "alert_id": "b", "severity": "info", "state": "resolved", "opened_at": NOW, "title": "Low"},
    )
    lakehouse.append_once(ALERTS, lambda _: rows)
    return lakehouse


def test_a_test_message_goes_over_every_channel(http_sink: HttpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTDRIVE_WEBHOOK_URL", http_sink.url)
    monkeypatch.setenv("SMARTDRIVE_SLACK_WEBHOOK", http_sink.url)
    assert told("test") == (0, "slack: taken\nwebhook: taken\n")
    assert len(http_sink.bodies) == 2
    assert told("test", "--channel", "webhook") == (0, "webhook: taken\n")


def test_a_channel_that_fails_is_told_with_exit_code_1(
    http_sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTDRIVE_WEBHOOK_URL", http_sink.url)
    http_sink.status = 500
    assert told("test") == (1, "webhook: not taken: HTTP: answered 500\n")


def test_without_a_channel_the_variables_to_set_are_named() -> None:
    code, output = told("test")
    assert code == 2
    assert "SMARTDRIVE_SLACK_WEBHOOK" in output


@pytest.mark.usefixtures("lake")
def test_the_list_shows_open_alerts_and_what_was_told(http_sink: HttpSink, tmp_path: Path) -> None:
    outbox = Outbox(Lakehouse(str(tmp_path / "state")))
    lakehouse = Lakehouse(str(tmp_path / "lake"))
    notices = recent_alerts(lakehouse, now=NOW, severity="warning")
    assert [notice.title for notice in notices] == ["vehicle abcdefgh: Failing"]
    outbox.deliver(notices, [Webhook(http_sink.url)], now=NOW)
    _, output = told("list")
    assert "Failing" in output
    assert "webhook" in output
    assert "Low" not in output
    assert "Low" in told("list", "--all")[1]
    assert present_alerts(lakehouse) == {"a", "b"}
    assert recent_alerts(lakehouse, now=datetime.now(UTC), severity="info") == []
