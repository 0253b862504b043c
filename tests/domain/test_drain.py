from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.drain import find_drain_episodes
from smartdrive_dagster.domain.parked_days import HALO_DAYS, summarise_parked_days
from smartdrive_dagster.lake.frames import conform, polars_schema
from smartdrive_dagster.tables import Days, battery, silver
from tests.batteries import EVER, Row, sample, telemetry, volts

PARKED = datetime(2025, 1, 6, 0, 0, tzinfo=UTC)


def parking(
    voltage: Callable[[float], float], *, days: float, since: datetime = PARKED, vehicle: str = "a", seed: int = 1
) -> list[Row]:
    """An engine that stops, then a sentinel reading every ten minutes: tenths of a volt, with 20 mV of noise."""
    rng = Random(seed)
    rows = [sample(since - timedelta(minutes=1), vehicle=vehicle, phase="running", engine_speed_rpm=800.0)]
    for n in range(1, round(days * 144)):
        reading = round(voltage(n / 144) + rng.gauss(0, 0.02), 1)
        at = since + timedelta(minutes=10 * n)
        rows.append(volts(at, reading, vehicle=vehicle, phase="sentinel", ignition=0.0))
    return rows


def days_of(rows: list[Row], days: Days = EVER) -> pl.DataFrame:
    found = summarise_parked_days(telemetry(rows), days=days).collect()
    assert found.schema == polars_schema(battery.PARKED_DAYS)
    return conform(battery.PARKED_DAYS, found)


def episodes_of(rows: list[Row], events: list[Row] | None = None) -> pl.DataFrame:
    schema = polars_schema(silver.EVENTS)
    told = pl.DataFrame([{name: row.get(name) for name in schema} for row in events or []], schema=schema)
    found = find_drain_episodes(days_of(rows).lazy(), told.lazy()).collect()
    assert found.schema == polars_schema(battery.DRAIN_EPISODES)
    return conform(battery.DRAIN_EPISODES, found)


def event(kind: str, at: datetime, voltage: float = 11.4) -> Row:
    detail = f'{{"phase": "sentinel", "voltage_v": {voltage}}}'
    return {"vehicle_id": "a", "event_at": at, "event_date": at.date(), "type": kind, "detail": detail}


def only(found: pl.DataFrame) -> dict[str, Any]:
    assert found.height == 1
    return found.row(0, named=True)


# Parked days


def test_nothing_parked_has_no_days_and_no_episodes():
    assert days_of([]).is_empty()
    assert episodes_of([]).is_empty()


@pytest.mark.parametrize("slope", [0.0, -0.01, -0.05, -0.2])
def test_the_slope_of_a_rest_is_found_in_tenths_of_a_volt(slope: float):
    last = days_of(parking(lambda day: 12.62 + slope * day, days=6)).row(-1, named=True)
    assert last["slope_v_per_day"] == pytest.approx(slope, abs=0.012)
    assert last["slope_low_v_per_day"] <= last["slope_v_per_day"] <= last["slope_high_v_per_day"]
    assert last["slope_low_v_per_day"] - 0.004 <= slope <= last["slope_high_v_per_day"] + 0.004
    assert last["resting_voltage_v"] == pytest.approx(12.62 + slope * 5.9, abs=0.06)
    assert last["method"] == "theil_sen"


def test_surface_charge_is_no_slope():
    def fading(day: float) -> float:
        return 12.5 + 0.5 * 2.718 ** (-day * 24 / 1.5)

    rows = parking(fading, days=3)
    assert days_of(rows)["slope_v_per_day"].to_list()[-1] == pytest.approx(0, abs=0.02)
    assert episodes_of(rows).is_empty()


def test_a_few_wild_readings_do_not_move_the_slope():
    rows = parking(lambda day: 12.6, days=4)
    wild = [row | {"adapter_voltage_v": 7.0} if n % 40 == 20 else row for n, row in enumerate(rows)]
    assert abs(days_of(wild)["slope_v_per_day"].to_list()[-1]) < 0.02


@pytest.mark.parametrize(
    ("days", "step", "reason"), [(0.5, 1, "too_short"), (0.8, 1, "too_short"), (4, 200, "too_few_readings")]
)
def test_a_rest_that_tells_no_slope_says_why(days: float, step: int, reason: str):
    rows = parking(lambda day: 12.6, days=days)
    row = days_of([rows[0], *rows[1::step]]).row(-1, named=True)
    assert (row["slope_v_per_day"], row["method"], row["inconclusive_reason"]) == (None, "none", reason)


def test_a_drive_begins_the_rest_anew():
    drained = parking(lambda day: 12.6 - 0.1 * day, days=3)
    fresh = parking(lambda day: 12.6, days=3, since=PARKED + timedelta(days=3, hours=6))
    found = days_of(drained + fresh)
    assert found["slope_v_per_day"].to_list()[2] == pytest.approx(-0.1, abs=0.02)
    assert abs(found["slope_v_per_day"].to_list()[-1]) < 0.02


# Episodes


def test_a_steady_battery_has_no_episode():
    assert episodes_of(parking(lambda day: 12.6 - 0.005 * day, days=10)).is_empty()


def test_a_steep_slope_opens_an_episode_that_stays_open():
    found = only(episodes_of(parking(lambda day: 12.6 - 0.12 * day, days=5)))
    assert found["method"] == "slope"
    assert (found["is_open"], found["closed_at"]) == (True, None)
    assert found["slope_v_per_day"] == pytest.approx(-0.12, abs=0.03)
    assert found["slope_low_v_per_day"] <= found["slope_v_per_day"] <= found["slope_high_v_per_day"] <= -0.025
    assert date(2025, 1, 7) <= found["event_date"] <= date(2025, 1, 8)
    assert (found["severity"], found["confidence"], found["inconclusive_reason"]) == ("warning", "high", None)


def test_a_parked_day_without_a_sign_closes_the_episode():
    drained = parking(lambda day: 12.6 - 0.12 * day, days=4)
    charged = parking(lambda day: 12.6, days=2, since=PARKED + timedelta(days=4, hours=1))
    found = only(episodes_of(drained + charged))
    assert not found["is_open"]
    assert found["last_seen_at"] < found["closed_at"]


def test_a_flat_battery_is_critical_and_says_that_it_has_no_slope():
    found = only(episodes_of(parking(lambda day: 11.4, days=0.5)))
    assert (found["method"], found["severity"], found["confidence"]) == ("flat_readings", "critical", "medium")
    assert (found["slope_v_per_day"], found["inconclusive_reason"]) == (None, "too_short")
    assert found["opened_at"] == PARKED + timedelta(minutes=30)


@pytest.mark.parametrize(("low", "episodes"), [(2, 0), (3, 1)])
def test_three_low_readings_make_a_flat_battery(low: int, episodes: int):
    rows = parking(lambda day: 12.4, days=0.5)
    rows = [row | {"adapter_voltage_v": 11.5} if 20 <= n < 20 + low else row for n, row in enumerate(rows)]
    assert episodes_of(rows).height == episodes


def test_low_readings_right_after_the_engine_are_no_drain():
    rows = parking(lambda day: 11.4 if day * 24 * 60 < 29 else 12.5, days=0.5)
    assert episodes_of(rows).is_empty()


def test_a_reported_drain_is_an_episode_of_its_own_until_the_device_resumes():
    at = PARKED + timedelta(hours=5)
    found = only(episodes_of([], [event("external_drain", at), event("power_saving", at)]))
    assert (found["method"], found["opened_at"], found["min_voltage_v"]) == ("event", at, 11.4)
    assert found["is_open"]
    resumed = at + timedelta(hours=9)
    found = only(episodes_of([], [event("external_drain", at), event("resumed", resumed, 14.1)]))
    assert (found["is_open"], found["closed_at"]) == (False, resumed)


def test_slope_low_readings_and_report_of_one_parking_are_one_episode():
    rows = parking(lambda day: 12.4 - 0.3 * day, days=4.5)
    found = only(episodes_of(rows, [event("external_drain", PARKED + timedelta(days=3.3))]))
    assert (found["method"], found["severity"], found["confidence"]) == ("slope_and_flat", "critical", "high")
    assert found["min_voltage_v"] < 11.2


# What incremental runs stand on

PARKINGS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 9), st.sampled_from([0.0, -0.1, -0.4])),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one[:2],
)


def rows_of(parkings: list[tuple[str, int, float]]) -> list[Row]:
    return [
        row
        for vehicle, day, slope in parkings
        for row in parking(
            lambda d, slope=slope: 12.6 + slope * d, days=1.6, since=PARKED + timedelta(days=day), vehicle=vehicle
        )
    ]


@given(parkings=PARKINGS, seed=st.integers(0, 1000))
@settings(max_examples=5)
def test_neither_the_order_of_rows_nor_other_vehicles_matter(parkings: list[Any], seed: int):
    rows = rows_of(parkings)
    days, episodes = days_of(rows), episodes_of(rows)
    Random(seed).shuffle(rows)
    assert_frame_equal(days_of(rows), days, check_exact=True)
    assert_frame_equal(episodes_of(rows), episodes, check_exact=True)
    alone = [row for row in rows if row["vehicle_id"] == "a"]
    assert_frame_equal(episodes_of(alone), episodes.filter(pl.col("vehicle_id") == "a"), check_exact=True)


def test_each_day_computed_from_its_window_equals_all_at_once():
    rows = rows_of([("a", 0, -0.1), ("a", 4, 0.0), ("b", 1, -0.4)]) + parking(
        lambda day: 12.5, days=9, vehicle="c"
    )
    whole = days_of(rows)
    parts = []
    for day in Days(date(2025, 1, 6), date(2025, 1, 15)):
        window = Days(day, day).widened(HALO_DAYS)
        parts.append(days_of([row for row in rows if row["event_date"] in window], Days(day, day)))
    assert_frame_equal(pl.concat(parts).sort("vehicle_id", "event_date"), whole, check_exact=True)
