"""Forecasts for the places where vehicles stand: asked once a place and hour, and missed where nobody answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.forecasts import Fetched, fetch_forecasts
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.weather import daily_forecast
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import battery, facts
from tests.conftest import RowsOf
from tests.landing.test_open_meteo import Service, answer, serving
from tests.messages import SECRET, START

DAY = START.date()
CARS = ("a" * 26, "b" * 26, "c" * 26, "d" * 26)
PLACES = ((47.5, 19.1), (47.52, 19.08), (48.2, 16.4), (None, None))


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        made.answers = [(200, json.dumps(answer(*[-4.0] * 96)).encode())]
        yield made


@pytest.fixture
def lakehouse(tmp_path: Path, rows_of: RowsOf) -> Lakehouse:
    return standing(Lakehouse(str(tmp_path / "lake")), rows_of, DAY)


def standing(lakehouse: Lakehouse, rows_of: RowsOf, day: date) -> Lakehouse:
    rows = [
        {"vehicle_id": car, "event_date": day, "place_latitude_deg": lat, "place_longitude_deg": lon}
        for car, (lat, lon) in zip(CARS, PLACES, strict=True)
    ]
    health = rows_of(battery.BATTERY_HEALTH, *rows)
    lakehouse.replace_days(battery.BATTERY_HEALTH, lambda _: health, [day], batch=1)
    return lakehouse


@pytest.fixture
def store(tmp_path: Path) -> LandingStore:
    return LandingStore(str(tmp_path / "landing"))


def fetch(lakehouse: Lakehouse, store: LandingStore, url: str, now: datetime = START) -> Fetched:
    return fetch_forecasts(lakehouse, store, url, SECRET, now=now, sleep=lambda _: None)


def test_vehicles_at_one_place_share_a_request_and_an_hour_is_asked_for_once(
    lakehouse: Lakehouse, store: LandingStore, service: Service
) -> None:
    assert fetch(lakehouse, store, service.url) == Fetched(3, 1, 2, 0, 0, None)
    assert sorted(asked["latitude"] for asked in service.asked) == [["47.5"], ["48.2"]]
    assert fetch(lakehouse, store, service.url, START + timedelta(minutes=9)) == Fetched(3, 1, 0, 2, 0, None)
    assert len(service.asked) == 2
    assert fetch(lakehouse, store, service.url, START + timedelta(hours=1)).landed == 2
    keys = [entry.key for entry in store.list().objects]
    assert not any(text in key for key in keys for text in ("47", "48.2", *CARS))
    ingestion = Ingestion(lakehouse, store, SECRET)
    while ingestion.advance(DAY, Progress()):
        pass
    weather = lakehouse.scan(facts.WEATHER).group_by("vehicle_id", "latitude_deg").len().sort("vehicle_id")
    assert weather.collect().rows() == [(CARS[0], 47.5, 192), (CARS[1], 47.5, 192), (CARS[2], 48.2, 192)]


def test_where_nobody_answers_nothing_lands_and_the_result_says_so(
    lakehouse: Lakehouse, store: LandingStore, service: Service
) -> None:
    service.answers = [(500, b"")]
    fetched = fetch(lakehouse, store, service.url)
    assert (fetched.landed, fetched.failed) == (0, 2)
    assert str(fetched).endswith("the weather service answered with status 500")
    assert store.list().objects == ()


def test_without_a_known_place_nobody_is_asked(tmp_path: Path, store: LandingStore, service: Service) -> None:
    fetched = fetch(Lakehouse(str(tmp_path / "empty")), store, service.url)
    assert str(fetched).startswith("nothing landed: 0 vehicles with a known place")
    assert service.asked == []


def test_a_saved_answer_is_landed_for_the_vehicles_near_it(
    lakehouse: Lakehouse, store: LandingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_of: RowsOf
) -> None:
    for name, value in (("LAKE_URL", lakehouse.url), ("LANDING_URL", store.url), ("SECRET", SECRET.decode())):
        monkeypatch.setenv(f"SMARTDRIVE_{name}", value)
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(answer(-4.0, -5.0)))
    done = CliRunner().invoke(app, ["weather", "import", str(saved)])
    assert "no vehicle was last seen near" in str(done.exception)  # the lake heard of them long ago
    standing(lakehouse, rows_of, datetime.now(UTC).date() - timedelta(1))
    done = CliRunner().invoke(app, ["weather", "import", str(saved), "--issued-at", "2025-12-01T00:00Z"])
    assert done.exit_code == 0, done.exception
    assert "around 2 vehicles" in done.output
    assert "47" not in done.output
    done = CliRunner().invoke(app, ["weather", "fetch"])
    assert "SMARTDRIVE_WEATHER_URL is not set" in str(done.exception)


def test_the_schedule_is_off_until_a_service_is_named(
    lakehouse: Lakehouse, store: LandingStore, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(lake_url=lakehouse.url, landing_url=store.url)
    context = dg.build_schedule_context(resources={"lake": LakeResource.of(settings)})
    assert isinstance(daily_forecast(context), dg.SkipReason)
    monkeypatch.setenv("SMARTDRIVE_WEATHER_URL", service.url)
    monkeypatch.setenv("SMARTDRIVE_SECRET", SECRET.decode())
    assert isinstance(daily_forecast(context), dg.RunRequest)
    done = definitions(settings).resolve_job_def("fetch_weather").execute_in_process()
    assert done.success
