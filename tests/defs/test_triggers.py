"""Sensors ask the tables, decide purely, and never pile up runs."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.dead_runs import process_tag
from smartdrive_dagster.defs.ingest import IngestConfig, LoopState, reason_to_stop
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.partitions import range_tags
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.specs import key
from smartdrive_dagster.defs.triggers import (
    RunHistory,
    days_to_ingest,
    gold_sensor,
    landing_sensor,
)
from smartdrive_dagster.defs.work import touches_after
from smartdrive_dagster.metrics.catalogue import IN_THE_CLOUD, LINES, OBJECTS, REJECTED_LINES, SAMPLES
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days
from tests.messages import SECRET, land, telemetry

NOW = datetime(2025, 12, 10, 12, tzinfo=UTC)
DAY = date(2025, 12, 10)


def test_a_day_with_a_run_under_way_is_not_requested_again() -> None:
    assert days_to_ingest({DAY: 1}, {DAY: RunHistory(is_active=True)}, NOW) == []
    assert days_to_ingest({DAY: 1}, {}, NOW) == [DAY]


@pytest.mark.parametrize(
    ("pending", "history", "is_requested"),
    [
        (2, RunHistory(failures=9, last_failure=NOW, left=2), False),
        (3, RunHistory(failures=9, last_failure=NOW, left=2), True),
        (3, RunHistory(failures=9, last_failure=NOW, left=2, is_active=True), False),
        (3, RunHistory(failures=9, last_failure=NOW), False),
        (2, RunHistory(failures=1, last_failure=NOW - timedelta(hours=2), left=2), True),
    ],
)
def test_a_day_waits_for_its_unreadable_objects_only_while_nothing_else_has_landed(
    pending: int, history: RunHistory, is_requested: bool
) -> None:
    assert days_to_ingest({DAY: pending}, {DAY: history}, NOW) == ([DAY] if is_requested else [])


@pytest.mark.parametrize(("failures", "pause_s"), [(1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (50, 3600)])
def test_the_pause_after_failures_doubles_up_to_an_hour(failures: int, pause_s: int) -> None:
    history = RunHistory(failures=failures, last_failure=NOW)
    assert not history.allows(NOW + timedelta(seconds=pause_s - 1))
    assert history.allows(NOW + timedelta(seconds=pause_s))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (LoopState(now=100, started=0, last_work=99, is_over=False, is_awaited=False), None),
        (LoopState(now=100, started=0, last_work=54, is_over=False, is_awaited=False), "nothing came"),
        (LoopState(now=700, started=0, last_work=700, is_over=False, is_awaited=False), "budget"),
        (LoopState(now=1, started=0, last_work=1, is_over=False, is_awaited=True), "another run waits"),
        (LoopState(now=1, started=0, last_work=1, is_over=True, is_awaited=False), "its day is over"),
    ],
)
def test_a_looping_run_ends_for_a_reason(state: LoopState, words: str | None) -> None:
    reason = reason_to_stop(state, IngestConfig())
    assert (reason is None) if words is None else (reason is not None and words in reason)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "secret").write_bytes(SECRET)
    return Settings(
        lake_url=f"{tmp_path}/lake", landing_url=f"{tmp_path}/landing", secret_file=tmp_path / "secret"
    )


def requests(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, settings: Settings) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=instance,
        repository_def=definitions(settings).get_repository_def(),
        resources={"lake": LakeResource.of(settings)},
    )
    return sensor.evaluate_tick(context)  # type: ignore[return-value]


def test_the_landing_sensor_asks_for_recent_days_with_something_new_and_then_for_none(
    settings: Settings,
) -> None:
    resource = LakeResource.of(settings)
    now = datetime.now(UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        assert not requests(landing_sensor, instance, settings).run_requests
        land(resource.landing(), telemetry(1, at=now), at=now)
        land(resource.landing(), telemetry(2, at=now), at=now - timedelta(days=30))
        asked = requests(landing_sensor, instance, settings).run_requests or []
        assert [request.partition_key for request in asked] == [now.date().isoformat()]
        assert [request.run_key for request in asked] == [None]
        ingestion = Ingestion(resource.lakehouse(), resource.landing(), settings.lake_secret())
        while ingestion.advance(now.date(), Progress()):
            pass
        assert not requests(landing_sensor, instance, settings).run_requests
        stale = requests(gold_sensor, instance, settings).run_requests or []
        today = range_tags(Days(now.date(), now.date()))
        assert [request.tags.items() >= today.items() for request in stale] == [True]
        everything = {key(table) for table in computations()}
        assert [set(request.asset_selection or ()) for request in stale] == [everything]
        nightly = {"key_is_unique", "balances"}
        checks = {check.name for request in stale for check in request.asset_check_keys or ()}
        assert "batch_follows_spec" in checks
        assert not checks & nightly


def test_sensors_write_how_far_the_lake_is_behind_where_they_are_asked_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resource, now = LakeResource.of(settings), datetime.now(UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        requests(landing_sensor, instance, settings)
        assert capsys.readouterr().out == ""
        monkeypatch.setenv("SMARTDRIVE_EMF_METRICS", "true")
        key = land(resource.landing(), telemetry(1, at=now), at=now).key
        written = (now - timedelta(minutes=20)).timestamp()
        os.utime(Path(settings.landing_url) / key, (written, written))
        requests(landing_sensor, instance, settings)
        behind = json.loads(capsys.readouterr().out)
        ingestion = Ingestion(resource.lakehouse(), resource.landing(), settings.lake_secret())
        while ingestion.advance(now.date(), Progress()):
            pass
        for sensor in (landing_sensor, gold_sensor):
            requests(sensor, instance, settings)
        caught_up, gold = map(json.loads, capsys.readouterr().out.splitlines())
    assert behind["service"] == "smartdrive-lake"
    (described,) = behind["_aws"]["CloudWatchMetrics"]
    assert (described["Namespace"], described["Dimensions"]) == ("SmartDrive", [["service"]])
    assert described["Metrics"][0] == {"Name": "smartdrive_lake_landing_lag_seconds", "Unit": "Seconds"}
    assert 1200 <= behind["smartdrive_lake_landing_lag_seconds"] < 1300
    assert behind["smartdrive_lake_objects_waiting"] == 1
    assert caught_up["smartdrive_lake_landing_lag_seconds"] == 0
    assert caught_up["smartdrive_lake_newest_message_age_seconds"] < 300
    assert (gold["smartdrive_lake_gold_days_waiting"], gold["smartdrive_lake_failed_runs"]) == (1, 0)
    told = {name for line in (behind, caught_up, gold) for name in line} - {"_aws", "service"}
    of_runs = {metric.name for metric in (OBJECTS, LINES, REJECTED_LINES, SAMPLES)}  # tests/defs/test_runs.py
    assert told | of_runs == {metric.name for metric in IN_THE_CLOUD}


def test_no_run_is_requested_while_one_is_under_way(settings: Settings) -> None:
    now = datetime.now(UTC)
    land(LakeResource.of(settings).landing(), telemetry(1, at=now), at=now)
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions(settings).resolve_job_def("ingest")
        tags = {"dagster/partition": now.date().isoformat()}
        instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        assert not requests(landing_sensor, instance, settings).run_requests


def test_a_day_that_has_not_begun_is_not_forgotten(settings: Settings) -> None:
    """A message received at 23:58 may be stamped tomorrow: tomorrow's Gold must become due by itself."""
    resource = LakeResource.of(settings)
    tomorrow = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), time(0, 1), UTC)
    land(resource.landing(), telemetry(1, at=tomorrow), at=tomorrow - timedelta(minutes=3))
    arrival = (tomorrow - timedelta(minutes=3)).date()
    ingestion = Ingestion(resource.lakehouse(), resource.landing(), settings.lake_secret())
    while ingestion.advance(arrival, Progress()):
        pass
    lakehouse = resource.lakehouse()
    today = datetime.now(UTC).date()
    assert touches_after(lakehouse, today, floor=0)
    assert not touches_after(lakehouse, tomorrow.date(), floor=0)
    assert not touches_after(lakehouse, today, floor=1)


def test_a_killed_command_s_run_is_buried_and_blocks_nobody(settings: Settings) -> None:
    now = datetime.now(UTC)
    land(LakeResource.of(settings).landing(), telemetry(1, at=now), at=now)
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions(settings).resolve_job_def("ingest")
        ours = {"dagster/partition": now.date().isoformat(), **process_tag()}
        instance.create_run_for_job(job, tags=ours, status=dg.DagsterRunStatus.STARTED)
        assert not requests(landing_sensor, instance, settings).run_requests
        gone = {name: value.rsplit("/", 2)[0] + "/1/0" for name, value in process_tag().items()}
        for run in instance.get_runs():
            instance.add_run_tags(run.run_id, gone)
        assert instance.get_runs()[0].status is dg.DagsterRunStatus.STARTED
        requests(landing_sensor, instance, settings)
        assert instance.get_runs()[0].status is dg.DagsterRunStatus.FAILURE
