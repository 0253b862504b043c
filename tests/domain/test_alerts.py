"""Alerts: episodes of what the other Gold tables say."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from smartdrive_dagster.domain.alerts import alerts
from smartdrive_dagster.lake.frames import conform, polars_schema
from smartdrive_dagster.tables import Days, battery, codes, driving, silver
from smartdrive_dagster.tables.alerts import ALERTS
from tests.conftest import RowsOf

DAY = date(2025, 12, 1)
NOON = datetime(2025, 12, 1, 12, tzinfo=UTC)
EVER = Days(date(2025, 1, 1), date(2026, 12, 31))
INPUTS = {
    "health": battery.BATTERY_HEALTH,
    "cranks": battery.CRANKS,
    "drains": battery.DRAIN_EPISODES,
    "codes": codes.DTC_EPISODES,
    "incidents": driving.INCIDENTS,
    "events": silver.EVENTS,
    "risks": battery.WINTER_RISK,
}


def found(days: Days = EVER, **frames: pl.DataFrame) -> pl.DataFrame:
    empty = {name: pl.LazyFrame(schema=polars_schema(table)) for name, table in INPUTS.items()}
    rows = alerts(**empty | {name: frame.lazy() for name, frame in frames.items()}, days=days).collect()
    assert conform(ALERTS, rows).equals(rows)
    return rows


def health(rows_of: RowsOf, *statuses: str, vehicle: str = "v") -> pl.DataFrame:
    days = [
        {"vehicle_id": vehicle, "event_date": DAY + timedelta(n), "status": status, "soh_pct": 61.4}
        for n, status in enumerate(statuses)
    ]
    return rows_of(battery.BATTERY_HEALTH, *days)


def told(rows: pl.DataFrame) -> list[tuple[object, ...]]:
    return sorted(rows.select("severity", "state", "event_date", "resolved_at").rows(), key=str)


def midnight(days: int) -> datetime:
    return datetime(2025, 12, 1, tzinfo=UTC) + timedelta(days=days)


def test_a_battery_that_stays_bad_is_one_alert_and_one_that_worsens_two(rows_of: RowsOf) -> None:
    rows = found(health=health(rows_of, "ok", "warning", "critical", "critical", "ok", "warning"))
    assert told(rows) == [
        ("critical", "resolved", DAY + timedelta(2), midnight(4)),
        ("warning", "open", DAY + timedelta(5), None),
        ("warning", "resolved", DAY + timedelta(1), midnight(4)),
    ]
    assert rows.get_column("alert_id").n_unique() == 3


def test_a_battery_alert_begins_with_the_start_that_showed_it(rows_of: RowsOf) -> None:
    starts = rows_of(
        battery.CRANKS,
        *({"vehicle_id": "v", "event_date": DAY, "started_at": NOON + timedelta(hours=n)} for n in (0, 2, 1)),
    )
    (row,) = found(health=health(rows_of, "critical"), cranks=starts).filter(severity="critical").to_dicts()
    assert row["opened_at"] == NOON + timedelta(hours=2)
    assert row["text"].startswith("State of health 61 %. Replace")


def test_a_battery_of_which_nothing_is_known_raises_nothing(rows_of: RowsOf) -> None:
    assert found(health=health(rows_of, "unknown", "ok", "unknown")).is_empty()


def test_vehicles_are_judged_apart(rows_of: RowsOf) -> None:
    both = pl.concat([health(rows_of, "warning", vehicle="a"), health(rows_of, "warning", vehicle="b")])
    assert found(health=both).get_column("vehicle_id").to_list() == ["a", "b"]


@pytest.mark.parametrize(("closed_at", "state"), [(None, "open"), (NOON + timedelta(days=1), "resolved")])
def test_a_drain_is_an_alert_as_long_as_it_lasts(rows_of: RowsOf, closed_at: datetime | None, state: str) -> None:
    drain = {"vehicle_id": "v", "opened_at": NOON, "last_seen_at": NOON, "closed_at": closed_at}
    (row,) = found(
        drains=rows_of(battery.DRAIN_EPISODES, {**drain, "severity": "critical", "min_voltage_v": 11.234})
    ).to_dicts()
    assert (row["state"], row["resolved_at"]) == (state, closed_at)
    assert "Lowest voltage 11.23 V" in row["text"]


def test_a_trouble_code_names_itself_and_says_what_to_do(rows_of: RowsOf) -> None:
    code = {"vehicle_id": "v", "dtc_code": "P0301", "title": "Misfire, cylinder 1", "severity": "critical"}
    (row,) = found(codes=rows_of(codes.DTC_EPISODES, {**code, "opened_at": NOON})).to_dicts()
    assert row["subject"] == "P0301"
    assert row["title"] == "Trouble code P0301: Misfire, cylinder 1"
    assert row["text"].startswith("Misfire, cylinder 1. Stop")


def test_an_incident_is_over_when_it_has_happened_and_a_doubtful_one_is_none(rows_of: RowsOf) -> None:
    common = {"vehicle_id": "v", "started_at": NOON, "ended_at": NOON, "peak_g": -1.234}
    rows = found(
        incidents=rows_of(
            driving.INCIDENTS,
            {**common, "incident_id": "sure", "confidence": "high"},
            {**common, "incident_id": "doubtful", "confidence": "low"},
        )
    )
    assert rows.select("source_id", "state", "severity").rows() == [("sure", "resolved", "critical")]
    assert "1.23 g" in rows.item(0, "text")


def test_a_low_voltage_lasts_until_the_next_sign_of_life(rows_of: RowsOf) -> None:
    kinds = ("low_voltage", "low_voltage", "ignition_on", "health", "low_voltage", "health")
    events = rows_of(
        silver.EVENTS,
        *(
            {"vehicle_id": "v", "type": kind, "message_id": str(n), "event_at": NOON + timedelta(hours=n)}
            for n, kind in enumerate(kinds)
        ),
    )
    rows = found(events=events.filter(pl.col("type") != "health"))
    assert rows.select("opened_at", "updated_at", "resolved_at").rows() == [
        (NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=2)),
        (NOON + timedelta(hours=4), NOON + timedelta(hours=4), None),
    ]
    assert found(events=events).equals(rows)  # a report of the device's health is no sign of the car's


def test_only_alerts_that_opened_in_the_window_are_wanted(rows_of: RowsOf) -> None:
    rows = health(rows_of, "warning", "ok", "warning")
    assert told(found(Days(DAY + timedelta(1), DAY + timedelta(9)), health=rows)) == [
        ("warning", "open", DAY + timedelta(2), None)
    ]


def test_the_order_of_rows_does_not_matter(rows_of: RowsOf) -> None:
    rows = health(rows_of, "ok", "warning", "critical", "ok", "critical", "warning")
    mixed = list(rows.to_dicts())
    random.Random(1).shuffle(mixed)
    assert found(health=pl.DataFrame(mixed, rows.schema)).equals(found(health=rows))


def risks(rows_of: RowsOf, *days: tuple[int, bool | None], low_c: float = -7.25) -> pl.DataFrame:
    return rows_of(
        battery.WINTER_RISK,
        *(
            {
                "vehicle_id": "v",
                "event_date": DAY + timedelta(n),
                "is_at_risk": is_at_risk,
                "forecast_min_c": low_c,
                "forecast_at": midnight(n) - timedelta(hours=9),
                "soh_pct": 78.2,
            }
            for n, is_at_risk in days
        ),
    )


def test_frost_and_a_weak_battery_are_told_a_day_ahead_and_once_for_a_cold_spell(rows_of: RowsOf) -> None:
    rows = found(risks=risks(rows_of, (2, False), (3, True), (4, None), (5, True), (6, False), (20, True)))
    assert rows.select("severity", "opened_at", "resolved_at", "source_id").rows() == [
        ("warning", midnight(2), midnight(6), str(DAY + timedelta(3))),
        ("warning", midnight(19), None, str(DAY + timedelta(20))),
    ]
    assert rows.item(0, "text").startswith("Frost of -7.2 °C is forecast for 2025-12-04 (UTC) and the battery is")
    assert "State of health 78 %." in rows.item(0, "text")
    assert "Charge " not in rows.item(0, "text").split("78 %.")[0]


def test_a_later_forecast_of_the_same_day_is_the_same_alert_and_summer_parts_two_winters(rows_of: RowsOf) -> None:
    first, later = (found(risks=risks(rows_of, (3, True), low_c=low)) for low in (-1.0, -9.0))
    assert first.item(0, "alert_id") == later.item(0, "alert_id")
    rows = found(risks=risks(rows_of, (3, True), (300, True)))
    assert rows.get_column("resolved_at").to_list() == [midnight(4), None]
