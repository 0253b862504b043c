"""driver_scores and fuel_economy on real tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import Model, failing_rows, load_models, run_model
from smartdrive_dagster.tables import Days, Table, driving, gold

MONDAY = date(2025, 6, 9)
BERLIN = "Europe/Berlin"
Write = Callable[..., None]


@pytest.fixture
def lakehouse(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path / "lake"))


@pytest.fixture
def write(lakehouse: Lakehouse, rows_of: Callable[..., pl.DataFrame]) -> Write:
    def append(table: Table, *rows: dict[str, Any]) -> None:
        lakehouse.append_once(table, lambda _: rows_of(table, *rows))

    return append


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return load_models()


def trip(start: str, *, vehicle: str = "A", **columns: Any) -> dict[str, Any]:
    at = datetime.fromisoformat(start).replace(tzinfo=UTC)
    measured = {"distance_km": 50.0, "event_distance_km": 50.0, "duration_s": 3600.0, "idle_s": 360.0}
    return {
        "trip_id": vehicle + start,
        "vehicle_id": vehicle,
        "started_at": at,
        "ended_at": at + timedelta(hours=1),
        "event_date": at.date(),
    } | (measured | columns)


def event(start: str, kind: str, source: str = "speed", vehicle: str = "A") -> dict[str, Any]:
    at = datetime.fromisoformat(start).replace(tzinfo=UTC)
    row = {"event_id": f"{vehicle}{start}{kind}{source}", "vehicle_id": vehicle, "kind": kind, "source": source}
    return row | {"started_at": at, "ended_at": at, "event_date": at.date()}


def rows_of_week(models: dict[str, Model], lakehouse: Lakehouse, *, zone: str = "UTC", days: Days | None = None):
    model = models["driver_scores"]
    rows = run_model(model, lakehouse, days or Days(MONDAY, MONDAY + timedelta(6)), time_zone=zone)
    assert [test for test in model.data_tests if failing_rows(model, test, rows, lakehouse)] == []
    return rows.sort("vehicle_id", "week_start_date").to_dicts()


class TestDriverScores:
    def test_a_score_is_what_events_and_idling_leave_of_a_hundred(self, models, lakehouse, write):
        write(gold.TRIPS, trip("2025-06-10T06:00:00"), trip("2025-06-14T06:00:00"))
        write(
            driving.DRIVING_EVENTS,
            event("2025-06-10T06:10:00", "braking"),
            event("2025-06-10T06:20:00", "braking", "both"),
            event("2025-06-14T06:10:00", "acceleration"),
            event("2025-06-14T06:20:00", "cornering"),
            event("2025-06-14T06:30:00", "braking", "accelerometer"),
        )
        (row,) = rows_of_week(models, lakehouse)
        assert (row["week_start_date"], row["trips"], row["status"]) == (MONDAY, 2, "scored")
        assert (row["brakings"], row["accelerations"], row["idle_share_pct"]) == (2, 1, pytest.approx(10))
        assert row["score"] == pytest.approx(100 - 3 * 2 - 1.5 * 1 - 30 * 0.1)
        assert row["method"] == "events_and_idle"

    @pytest.mark.parametrize(
        ("columns", "status"),
        [
            pytest.param({"distance_km": 9.9, "event_distance_km": 9.9}, "too_short", id="under 10 km"),
            pytest.param({"distance_km": None, "event_distance_km": None}, "too_short", id="no distance at all"),
            pytest.param({"event_distance_km": 0.0}, "speed_under_1_hz", id="speed under 1 Hz"),
            pytest.param({"event_distance_km": 9.9}, "speed_under_1_hz", id="speed under 1 Hz for the most part"),
        ],
    )
    def test_a_week_that_cannot_be_scored_has_none_and_says_why(self, models, lakehouse, write, columns, status):
        write(gold.TRIPS, trip("2025-06-10T06:00:00", **columns))
        (row,) = rows_of_week(models, lakehouse)
        assert (row["score"], row["brakings_per_100km"], row["status"]) == (None, None, status)

    def test_a_score_is_never_below_zero_and_without_idling_of_events_alone(self, models, lakehouse, write):
        write(gold.TRIPS, trip("2025-06-10T06:00:00", idle_s=None), trip("2025-06-10T06:00:00", vehicle="B"))
        hard = [event(f"2025-06-10T06:{minute:02}:00", "braking", vehicle="B") for minute in range(40)]
        write(driving.DRIVING_EVENTS, *hard)
        a, b = rows_of_week(models, lakehouse)
        assert (a["score"], a["method"], a["idle_share_pct"]) == (100, "events", None)
        assert (b["score"], b["brakings"]) == (0, 40)

    def test_weeks_begin_on_the_local_monday_and_only_theirs_in_the_window_are_computed(
        self, models, lakehouse, write
    ):
        write(gold.TRIPS, trip("2025-06-08T21:59:00"), trip("2025-06-08T22:00:00"), trip("2025-06-15T21:59:00"))
        weeks = rows_of_week(models, lakehouse, zone=BERLIN)
        assert [(row["week_start_date"], row["trips"]) for row in weeks] == [(MONDAY, 2)]
        tuesday = Days(MONDAY + timedelta(1), MONDAY + timedelta(6))
        assert rows_of_week(models, lakehouse, zone=BERLIN, days=tuesday) == []
        only_monday = rows_of_week(models, lakehouse, zone=BERLIN, days=Days(MONDAY, MONDAY))
        assert only_monday == weeks


class TestFuelEconomy:
    def test_a_day_divides_fuel_by_distance_of_the_trips_that_have_both(self, models, lakehouse, write):
        def fuelled(start: str, **columns: Any) -> dict[str, Any]:
            row = {name: value for name, value in trip(start).items() if name in driving.TRIP_FUEL.by_name}
            return row | {"method": "none", "fuel_type_source": "none"} | columns

        found = {"method": "maf", "fuel_type": "e10", "fuel_l": 3.0, "fuel_low_l": 2.5, "fuel_high_l": 3.5}
        paid = {"cost": 5.0, "currency": "EUR", "co2_kg": 7.0}
        write(
            driving.TRIP_FUEL,
            fuelled("2025-06-10T06:00:00", **found, **paid),
            fuelled("2025-06-10T12:00:00", reason="coverage_too_low"),
            fuelled("2025-06-10T18:00:00", **found | {"distance_km": None}, **paid),
            fuelled("2025-06-12T18:00:00", **found, cost=1.0, currency="EUR"),
            fuelled("2025-06-12T19:00:00", **found, cost=1.0, currency="HUF"),
        )
        model = models["fuel_economy"]
        first, second = (
            run_model(model, lakehouse, Days(MONDAY, MONDAY + timedelta(6)), time_zone="UTC")
            .sort("local_date")
            .to_dicts()
        )
        assert (first["trips"], first["measured_trips"], first["methods"]) == (3, 2, "maf, none")
        assert (first["fuel_l"], first["distance_km"], first["fuel_types"]) == (6, 100, "e10")
        assert (first["fuel_l_per_100km"], first["fuel_low_l_per_100km"]) == (6, 5)
        assert (first["cost"], first["currency"], first["co2_kg"]) == (10, "EUR", 14)
        assert (second["cost"], second["currency"]) == (None, None)
