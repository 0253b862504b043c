"""`smartdrive metrics`: what it measures, that Prometheus reads it, and that it is cheap to ask often."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.landing.heartbeat import Heartbeat
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.metrics.catalogue import AT_HOME_ONLY, IN_THE_CLOUD
from smartdrive_dagster.processing import dagster_instance, process
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.watch.metrics_command import MetricsServer
from tests.messages import land, telemetry


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return tmp_path


def run(*options: str) -> dict[str, float]:
    done = CliRunner().invoke(app, ["metrics", *options])
    assert done.exit_code == 0, done.output
    return read(done.stdout)


def read(text: str) -> dict[str, float]:
    return {
        sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }


def test_an_empty_house_has_its_numbers_and_stays_empty(here: Path) -> None:
    assert run() == {
        "smartdrive_lake_landing_lag_seconds": 0,
        "smartdrive_lake_objects_waiting": 0,
        "smartdrive_lake_objects_total": 0,
        "smartdrive_lake_lines_total": 0,
        "smartdrive_lake_rejected_lines_total": 0,
        "smartdrive_lake_samples_total": 0,
        "smartdrive_lake_gold_days_waiting": 0,
    }
    assert list(here.iterdir()) == []


def test_every_number_of_the_catalogue_is_measured(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    store = LandingStore(str(here / "landing"))
    land(store, telemetry(1, at=now, samples=60), b"no message", at=now)
    monkeypatch.setenv("DAGSTER_HOME", str(here / "dagster"))
    (here / "dagster").mkdir()
    with dagster_instance() as instance:
        process(Settings(), instance)
    late = here / "landing" / land(store, telemetry(2, at=now), at=now).key
    os.utime(late, ((now - timedelta(hours=1)).timestamp(),) * 2)
    heartbeat = here / "lander.json"
    Heartbeat(1, now.timestamp() - 9, None, 7, 3).write(heartbeat)
    found = run("--heartbeat", str(heartbeat))
    assert 3600 <= found.pop("smartdrive_lake_landing_lag_seconds") < 3700
    assert found.pop("smartdrive_lake_newest_message_age_seconds") < 300
    assert 9 <= found.pop("smartdrive_lander_silence_seconds") < 100
    assert found == {
        "smartdrive_lake_objects_waiting": 1,
        "smartdrive_lake_objects_total": 1,
        "smartdrive_lake_lines_total": 2,
        "smartdrive_lake_rejected_lines_total": 1,
        "smartdrive_lake_samples_total": 60,
        "smartdrive_lake_gold_days_waiting": 0,
        "smartdrive_lake_failed_runs": 0,
        "smartdrive_lander_connected": 0,
        "smartdrive_lander_failures": 3,
        "smartdrive_lander_messages_total": 7,
    }
    names = {metric.name for metric in (*IN_THE_CLOUD, *AT_HOME_ONLY)}
    told = {"smartdrive_lake_landing_lag_seconds", "smartdrive_lake_newest_message_age_seconds"}
    told |= {name.removesuffix("_total") for name in found} | {"smartdrive_lander_silence_seconds"}
    assert names - told == {"smartdrive_lake_daemon_silence_seconds"}  # no daemon ran here


def test_a_file_is_replaced_whole(here: Path) -> None:
    file = here / "smartdrive.prom"
    file.write_text("old")
    assert CliRunner().invoke(app, ["metrics", "--no-daemon", "--output", str(file)]).exit_code == 0
    assert read(file.read_text())["smartdrive_lake_objects_waiting"] == 0
    assert [path.name for path in here.iterdir()] == [file.name]


@contextmanager
def serving(server: MetricsServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with server:
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
    finally:
        thread.join()


def test_many_scrapes_measure_once_and_a_broken_lake_is_no_number() -> None:
    looks: list[float] = []

    def text() -> str:
        looks.append(time.monotonic())
        return "# EOF\n"

    with serving(MetricsServer(("127.0.0.1", 0), text, 60.0)) as url:
        for _ in range(5):
            answer = requests.get(f"{url}/metrics", timeout=10)
            assert (answer.status_code, answer.text) == (200, "# EOF\n")
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert requests.get(f"{url}/", timeout=10).status_code == 404
    assert len(looks) == 1

    def broken() -> str:
        raise OSError("s3://a-secret-bucket")

    with serving(MetricsServer(("127.0.0.1", 0), broken, 60.0)) as url:
        failed = requests.get(f"{url}/metrics", timeout=10)
        assert (failed.status_code, failed.text) == (503, "OSError\n")
