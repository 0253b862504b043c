from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.winter_risk import assess_winter_risk
from smartdrive_dagster.lake.frames import conform, polars_schema
from smartdrive_dagster.tables import Days, Table, battery

DAY = date(2025, 1, 10)
MIDNIGHT = datetime(2025, 1, 10, tzinfo=UTC)
WEATHER = pl.Schema(
    {
        "vehicle_id": pl.String(),
        "latitude_deg": pl.Float64(),
        "longitude_deg": pl.Float64(),
        "forecast_at": pl.Datetime("us", "UTC"),
        "valid_at": pl.Datetime("us", "UTC"),
        "temperature_c": pl.Float64(),
        "landing_date": pl.Date(),
    }
)
Row = dict[str, Any]


def frame(table: Table, rows: list[Row]) -> pl.LazyFrame:
    schema = polars_schema(table)
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema).lazy()


def health(days_ago: int = 1, **columns: Any) -> Row:
    row = {
        "vehicle_id": "a",
        "event_date": DAY - timedelta(days_ago),
        "soh_pct": 95.0,
        "soc_pct": 90.0,
        "place_latitude_deg": 47.5,
        "place_longitude_deg": 19.0,
    }
    return row | columns


def forecast(low_c: float, *, hours_ago: float = 6, day: date = DAY, hours: int = 24, **columns: Any) -> list[Row]:
    """A forecast whose coldest hour is the third of the day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    issued = midnight - timedelta(hours=hours_ago)
    return [
        {
            "vehicle_id": "a",
            "latitude_deg": 47.5,
            "longitude_deg": 19.0,
            "forecast_at": issued,
            "valid_at": midnight + timedelta(hours=hour),
            "temperature_c": low_c if hour == 3 else low_c + 4,
            "landing_date": issued.date(),
        }
        | columns
        for hour in range(hours)
    ]


def risks_of(
    rows: list[Row],
    weather: list[Row],
    *,
    parked: list[Row] | None = None,
    days: Days | None = None,
) -> pl.DataFrame:
    found = assess_winter_risk(
        frame(battery.BATTERY_HEALTH, rows),
        frame(battery.PARKED_DAYS, parked or []),
        pl.DataFrame(weather, schema=WEATHER).lazy(),
        days=days or Days(DAY, DAY),
    ).collect()
    assert found.schema == polars_schema(battery.WINTER_RISK)
    return conform(battery.WINTER_RISK, found)


def only(found: pl.DataFrame) -> Row:
    assert found.height == 1
    return found.row(0, named=True)


@pytest.mark.parametrize(
    ("low_c", "soh", "soc", "risk", "reason"),
    [
        (-0.1, 84.9, 90.0, True, None),
        (-0.1, 85.0, 60.0, False, None),
        (-0.1, 95.0, 59.9, True, None),
        (0.0, 10.0, 10.0, False, None),
        (-5.0, 80.0, None, True, "battery_state_incomplete"),
        (-5.0, None, 50.0, True, "battery_state_incomplete"),
        (-5.0, None, 90.0, None, "battery_state_incomplete"),
        (-5.0, 95.0, None, None, "battery_state_incomplete"),
        (-5.0, None, None, None, "no_battery_state"),
        (3.0, None, None, False, None),
    ],
)
def test_frost_and_a_weak_battery_are_a_risk(
    low_c: float, soh: float | None, soc: float | None, risk: bool | None, reason: str | None
):
    row = only(risks_of([health(soh_pct=soh, soc_pct=soc)], forecast(low_c)))
    assert (row["is_at_risk"], row["inconclusive_reason"]) == (risk, reason)
    assert row["forecast_min_c"] == low_c
    assert row["event_date"] == DAY
    assert (row["method"] == "none") == (row["confidence"] == "none") == (risk is None)


def test_a_forecast_for_another_place_is_none_and_the_row_says_so():
    elsewhere = health(place_latitude_deg=47.4)
    row = only(risks_of([elsewhere], forecast(-5)))
    assert (row["inconclusive_reason"], row["is_at_risk"]) == ("no_forecast", None)


@pytest.mark.parametrize("of", ["forecast", "vehicle"])
def test_a_forecast_for_the_vehicle_counts_where_a_place_is_not_known(of: str):
    nowhere = {"latitude_deg": None, "longitude_deg": None}
    away = {"place_latitude_deg": None, "place_longitude_deg": None}
    weather = forecast(-5, **(nowhere if of == "forecast" else {}))
    row = only(risks_of([health(soh_pct=50.0, **(away if of == "vehicle" else {}))], weather))
    assert (row["forecast_min_c"], row["is_at_risk"]) == (-5, True)


def test_a_day_of_which_nobody_said_the_weather_has_no_row():
    assert risks_of([health()], []).is_empty()
    assert risks_of([health()], forecast(-5, vehicle_id="b")).is_empty()


def test_the_last_forecast_before_the_day_counts_and_none_of_the_day_itself():
    weather = [*forecast(-3, hours_ago=30), *forecast(-8, hours_ago=5), *forecast(9, hours_ago=-2)]
    row = only(risks_of([health(soh_pct=50.0)], weather))
    assert (row["forecast_min_c"], row["forecast_at"]) == (-8, MIDNIGHT - timedelta(hours=5))
    assert (row["forecast_hours"], row["confidence"]) == (24, "high")


@pytest.mark.parametrize(("hours_ago", "known"), [(0, True), (48, True), (49, False), (-1, False)])
def test_a_forecast_is_good_for_48_hours(hours_ago: float, known: bool):
    row = only(risks_of([health()], forecast(-3, hours_ago=hours_ago)))
    assert (row["forecast_min_c"] is not None) is known


def test_a_forecast_of_some_hours_only_has_little_confidence():
    row = only(risks_of([health(soh_pct=50.0)], forecast(-3, hours=12)))
    assert (row["is_at_risk"], row["forecast_hours"], row["confidence"]) == (True, 12, "low")


def test_only_what_was_known_the_day_before_is_used():
    rows = [health(2, soh_pct=90.0), health(0, soh_pct=10.0), health(-1, soh_pct=20.0)]
    row = only(risks_of(rows, forecast(-3)))
    assert (row["soh_pct"], row["soh_date"], row["is_at_risk"]) == (90, DAY - timedelta(2), False)


def test_a_parked_days_charge_replaces_that_of_an_earlier_start():
    parked = [{"vehicle_id": "a", "event_date": DAY - timedelta(1), "resting_voltage_v": 12.2}]
    row = only(risks_of([health(4, soc_pct=90.0)], forecast(-3), parked=parked))
    assert row["soc_pct"] == pytest.approx(100 * (12.2 - 11.89) / 0.76)
    assert (row["soc_method"], row["is_at_risk"]) == ("parked", True)


@pytest.mark.parametrize(("days_ago", "rows", "soc"), [(7, 1, 90), (8, 1, None), (30, 1, None), (31, 0, None)])
def test_old_news_of_a_vehicle_is_let_go(days_ago: int, rows: int, soc: float | None):
    found = risks_of([health(days_ago)], forecast(-3))
    assert found.height == rows
    assert found["soc_pct"].to_list() == [soc] * rows


def test_there_is_a_row_for_each_day_with_weather_after_the_first_news():
    weather = [hour for n in range(-5, 2) for hour in forecast(-3, day=DAY + timedelta(n))]
    found = risks_of([health(2)], weather, days=Days(DAY - timedelta(5), DAY + timedelta(1)))
    assert found["event_date"].to_list() == [DAY - timedelta(1), DAY, DAY + timedelta(1)]


def test_neither_the_order_of_rows_nor_the_range_of_days_nor_other_vehicles_matter():
    rows = [health(n, soh_pct=60.0 + 4 * n, vehicle_id=vehicle) for n in range(6) for vehicle in ("a", "b")]
    weather = [
        one
        for n in range(4)
        for h in (5, 20)
        for vehicle in ("a", "b")
        for one in forecast(n - 2.0, hours_ago=h, day=DAY - timedelta(n), vehicle_id=vehicle)
    ]
    days = Days(DAY - timedelta(4), DAY)
    whole = risks_of(rows, weather, days=days)
    Random(1).shuffle(rows)
    Random(2).shuffle(weather)
    assert_frame_equal(risks_of(rows, weather, days=days), whole, check_exact=True)
    parts = pl.concat([risks_of(rows, weather, days=Days(day, day)) for day in days]).sort(
        "vehicle_id", "event_date"
    )
    assert_frame_equal(parts, whole, check_exact=True)
    alone = risks_of([row for row in rows if row["vehicle_id"] == "b"], weather, days=days)
    assert_frame_equal(alone, whole.filter(pl.col("vehicle_id") == "b"), check_exact=True)
