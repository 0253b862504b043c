"""dtc_summary: trouble codes by vehicle, local date of their opening, and family."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import failing_rows, load_models, run_model
from smartdrive_dagster.tables import Days, codes


@pytest.fixture
def lakehouse(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path / "lake"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def episode(code: str, opened: str, closed: str | None, **columns: Any) -> dict[str, Any]:
    opened_at = at(opened)
    return {
        "episode_id": code + opened,
        "vehicle_id": "A",
        "dtc_code": code,
        "dtc_family": code[:3],
        "system": "powertrain",
        "origin": "generic",
        "title": "x",
        "title_tier": "own",
        "severity": "warning",
        "severity_rule": "powertrain",
        "opened_at": opened_at,
        "event_date": opened_at.date(),
        "last_seen_at": opened_at,
        "closed_at": at(closed) if closed else None,
        "is_open": closed is None,
        "status": "stored",
        "occurrence": 1,
        "scans": 1,
        "algo_version": "1",
    } | columns


def test_families_count_their_episodes_on_the_local_date_of_the_opening(
    lakehouse: Lakehouse, rows_of: Any
) -> None:
    rows = rows_of(
        codes.DTC_EPISODES,
        episode("P0301", "2025-06-10T22:30:00", "2025-06-12T10:00:00", has_mil=False),
        episode("P0302", "2025-06-11T08:00:00", None, occurrence=2, has_mil=True),
        episode("P0302", "2025-06-10T23:00:00", "2025-06-11T07:00:00", status="pending", severity="info"),
        episode("P0217", "2025-06-11T09:00:00", None, severity="critical"),
        episode("P0301", "2025-06-11T22:30:00", None),  # in Berlin already the next day
    )
    lakehouse.append_once(codes.DTC_EPISODES, lambda _: rows)
    model = load_models()["dtc_summary"]
    day = date(2025, 6, 11)
    found = run_model(model, lakehouse, Days(day, day), time_zone="Europe/Berlin")
    assert found.sort("dtc_family").to_dicts() == [
        {
            "vehicle_id": "A",
            "local_date": day,
            "dtc_family": "P02",
            "dtc_codes": "P0217",
            "episodes": 1,
            "open_episodes": 1,
            "recurred_episodes": 0,
            "confirmed_episodes": 1,
            "critical_episodes": 1,
            "warning_episodes": 0,
            "open_critical_episodes": 1,
            "has_mil": None,
            "first_opened_at": at("2025-06-11T09:00:00"),
            "last_seen_at": at("2025-06-11T09:00:00"),
            "last_closed_at": None,
        },
        {
            "vehicle_id": "A",
            "local_date": day,
            "dtc_family": "P03",
            "dtc_codes": "P0301 P0302",
            "episodes": 3,
            "open_episodes": 1,
            "recurred_episodes": 1,
            "confirmed_episodes": 2,
            "critical_episodes": 0,
            "warning_episodes": 2,
            "open_critical_episodes": 0,
            "has_mil": True,
            "first_opened_at": at("2025-06-10T22:30:00"),
            "last_seen_at": at("2025-06-11T08:00:00"),
            "last_closed_at": None,
        },
    ]
    assert {test.name: failing_rows(model, test, found, lakehouse) for test in model.data_tests} == dict.fromkeys(
        (test.name for test in model.data_tests), 0
    )


def test_a_closed_family_says_when_the_last_episode_ended(lakehouse: Lakehouse, rows_of: Any) -> None:
    rows = rows_of(
        codes.DTC_EPISODES,
        episode("P0301", "2025-06-10T08:00:00", "2025-06-12T10:00:00"),
        episode("P0302", "2025-06-10T09:00:00", "2025-07-01T10:00:00"),
    )
    lakehouse.append_once(codes.DTC_EPISODES, lambda _: rows)
    found = run_model(
        load_models()["dtc_summary"], lakehouse, Days(date(2025, 6, 9), date(2025, 6, 11)), time_zone="UTC"
    )
    assert found.select("open_episodes", "last_closed_at").rows() == [(0, at("2025-07-01T10:00:00"))]
