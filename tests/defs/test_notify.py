"""Telling people through Dagster: the sensor asks, the run sends, and a failed run is told once a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.notify import alert_sensor, daily_digest, failure_sensor
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables.alerts import ALERTS
from tests.alerting.conftest import HttpSink, http_sink  # noqa: F401 - a fixture
from tests.conftest import RowsOf

SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class House:
    """A lake with alerts, and the definitions over it."""

    def __init__(self, root: Path, rows_of: RowsOf) -> None:
        self.lakehouse = Lakehouse(str(root / "lake"))
        self.settings = Settings(lake_url=self.lakehouse.url, landing_url=str(root / "landing"), secret="s" * 16)
        self.instance = dg.DagsterInstance.ephemeral()
        self._rows_of = rows_of

    def alert(self, name: str, severity: str = "warning") -> None:
        now = datetime.now(UTC) - timedelta(minutes=5)
        row = {"alert_id": name, "vehicle_id": "v" * 26, "severity": severity, "opened_at": now, "title": name}
        rows = self._rows_of(ALERTS, {**row, "updated_at": now, "event_date": now.date(), "text": "Look."})
        self.lakehouse.append_once(ALERTS, lambda _: rows)

    def look(self) -> list[dg.RunRequest | dg.SkipReason]:
        resources = {"lake": LakeResource.of(self.settings)}
        with dg.build_sensor_context(self.instance, resources=resources) as context:
            found = alert_sensor(context)
            return [*found] if isinstance(found, Iterator) else [found]

    def send(self, **config: bool) -> dg.ExecuteInProcessResult:
        job = definitions(self.settings).resolve_job_def("notify")
        run_config = {**SILENT, "ops": {"send_alerts": {"config": config}}}
        return job.execute_in_process(instance=self.instance, run_config=run_config)


@pytest.fixture
def house(tmp_path: Path, rows_of: RowsOf) -> Iterator[House]:
    made = House(tmp_path, rows_of)
    with made.instance:
        yield made


@pytest.fixture
def hook(http_sink: HttpSink, monkeypatch: pytest.MonkeyPatch) -> HttpSink:  # noqa: F811
    monkeypatch.setenv("SMARTDRIVE_WEBHOOK_URL", http_sink.url)
    return http_sink


def subjects(sink: HttpSink) -> list[str]:
    return [body["subject"] for body in sink.bodies]


def test_without_a_channel_nothing_is_asked_for(house: House) -> None:
    house.alert("a")
    (skipped,) = house.look()
    assert isinstance(skipped, dg.SkipReason)
    assert "SMARTDRIVE_SLACK_WEBHOOK" in str(skipped.skip_message)


def test_a_new_alert_is_asked_for_sent_once_and_then_not_asked_for(house: House, hook: HttpSink) -> None:
    house.alert("a")
    assert [type(found) for found in house.look()] == [dg.RunRequest]
    assert house.send().success
    assert subjects(hook) == ["[warning] vehicle vvvvvvvv: a"]
    assert [type(found) for found in house.look()] == [dg.SkipReason]
    assert house.send().success
    assert len(hook.bodies) == 1


def test_a_channel_that_is_down_fails_no_run(house: House, hook: HttpSink) -> None:
    house.alert("a")
    hook.status = 503
    assert house.send().success
    assert hook.bodies == []


def test_a_digest_waits_for_its_hour_but_what_is_critical_does_not(
    house: House, hook: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTDRIVE_ALERT_DIGEST", "true")
    for name, severity in (("a", "warning"), ("b", "critical"), ("c", "warning")):
        house.alert(name, severity)
    house.send()
    assert subjects(hook) == ["[critical] vehicle vvvvvvvv: b"]
    house.send(as_digest=True)
    assert subjects(hook)[1:] == ["[warning] 2 alerts"]


@pytest.mark.parametrize(("digest", "requested"), [("true", True), ("false", False)])
@pytest.mark.usefixtures("hook")
def test_the_daily_schedule_asks_only_where_a_digest_is_wanted(
    house: House, monkeypatch: pytest.MonkeyPatch, digest: str, requested: bool
) -> None:
    monkeypatch.setenv("SMARTDRIVE_ALERT_DIGEST", digest)
    found = daily_digest(lake=LakeResource.of(house.settings))
    assert isinstance(found, dg.RunRequest) is requested


def test_a_failed_run_is_told_once_a_day(house: House, hook: HttpSink) -> None:
    @dg.op
    def fail() -> None:
        raise ValueError("with a secret in it")

    @dg.job(name="ingest")
    def failing() -> None:
        fail()

    for _ in range(2):
        done = failing.execute_in_process(instance=house.instance, raise_on_error=False, run_config=SILENT)
        with dg.build_run_status_sensor_context(
            sensor_name="failure_sensor",
            dagster_instance=house.instance,
            dagster_run=done.dagster_run,
            dagster_event=next(event for event in done.all_events if event.is_run_failure),
            resources={"lake": LakeResource.of(house.settings)},
        ).for_run_failure() as context:
            failure_sensor(context)
    assert subjects(hook) == ["[critical] SmartDrive: job ingest failed"]
    assert "secret" not in str(hook.bodies)
