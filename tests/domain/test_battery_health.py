from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.battery_health import assess_battery
from smartdrive_dagster.domain.cranks import detect_cranks
from smartdrive_dagster.lake.frames import conform, polars_schema
from smartdrive_dagster.tables import battery
from tests.batteries import EVER, MORNING, Row, crank, cranks, rested_start, telemetry

FAILING_25C, HEALTHY = 8.8, 10.6
WEATHER = pl.Schema(
    {
        "vehicle_id": pl.String(),
        "latitude_deg": pl.Float64(),
        "longitude_deg": pl.Float64(),
        "forecast_at": pl.Datetime("us", "UTC"),
        "valid_at": pl.Datetime("us", "UTC"),
        "temperature_c": pl.Float64(),
    }
)


def health_of(rows: list[Row], **inputs: pl.LazyFrame | None) -> pl.DataFrame:
    found = assess_battery(cranks(rows), **inputs).collect()
    assert found.schema == polars_schema(battery.BATTERY_HEALTH)
    return conform(battery.BATTERY_HEALTH, found)


def only(found: pl.DataFrame) -> dict[str, Any]:
    assert found.height == 1
    return found.row(0, named=True)


def with_baseline(*plateaus: float, **columns: Any) -> list[Row]:
    """Ten healthy starts and then these, a day apart."""
    return [crank(day, volts, **columns) for day, volts in enumerate([HEALTHY] * 10 + list(plateaus))]


def fuel(fuel_type: str) -> pl.LazyFrame:
    return pl.LazyFrame({"vehicle_id": ["a"], "fuel_type": [fuel_type]})


# The lines


@pytest.mark.parametrize(
    ("plateau_v", "temperature_c", "fails"),
    [
        (9.2, 25, True),
        (9.2, -5, False),
        (9.0, 21, True),
        (9.0, -10, False),
        (9.6, 25, False),
        (9.599, 25, True),
        (9.42, 15, False),
        (9.41, 15, True),
    ],
)
def test_the_failing_line_falls_with_the_cold(plateau_v: float, temperature_c: float, fails: bool):
    row = only(health_of([crank(0, plateau_v, ambient_air_temp_c=float(temperature_c))]))
    assert row["failing_cranks"] == int(fails)
    assert row["status"] == ("warning" if fails else "ok")


@pytest.mark.parametrize(("plateau_v", "advised"), [(8.4, True), (8.6, False)])
def test_under_the_replace_line_replacing_is_advised(plateau_v: float, advised: bool):
    assert only(health_of([crank(0, plateau_v)]))["is_replace_advised"] is advised


@pytest.mark.parametrize(
    ("plateau_v", "temperature_c", "fails"), [(9.2, 25, 1), (9.2, -5, 0), (9.0, 21, 1), (9.0, -10, 0)]
)
def test_telemetry_of_a_start_is_judged_alike(plateau_v: float, temperature_c: float, fails: int):
    rows = rested_start(plateau_v=plateau_v, ambient_c=float(temperature_c))
    found = assess_battery(detect_cranks(telemetry(rows), days=EVER)).collect()
    row = only(found)
    assert (row["conclusive_cranks"], row["failing_cranks"]) == (1, fails)
    assert row["plateau_v"] == plateau_v


# What is inconclusive


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"plateau_v": None, "inconclusive_reason": "too_few_samples"}, "too_few_samples"),
        ({"off_method": "none", "resting_voltage_v": None}, "not_rested"),
        ({"resting_voltage_v": None, "resting_method": "none"}, "no_resting_voltage"),
        ({"resting_voltage_v": 13.0}, "surface_charge"),
        ({"resting_voltage_v": 12.384}, "low_charge"),  # 65 %
        ({"ambient_air_temp_c": None}, "no_temperature"),
    ],
)
def test_an_inconclusive_start_says_why_and_judges_nothing(columns: Row, reason: str):
    row = only(health_of([crank(0, FAILING_25C) | columns]))
    assert row["inconclusive_reason"] == reason
    assert (row["conclusive_cranks"], row["failing_cranks"], row["status"]) == (0, 0, "unknown")
    assert (row["method"], row["confidence"], row["soh_reason"]) == ("none", "none", "no_conclusive_crank")


@pytest.mark.parametrize(
    ("resting_v", "soc"), [(11.5, 0), (11.89, 0), (12.27, 50), (12.384, 65), (12.65, 100), (12.9, 100)]
)
def test_charge_is_linear_in_the_resting_voltage(resting_v: float, soc: float):
    row = only(health_of([crank(0, resting_voltage_v=resting_v)]))
    assert row["soc_pct"] == pytest.approx(soc)
    assert row["soc_low_pct"] <= row["soc_pct"] <= row["soc_high_pct"]
    assert (row["soc_method"], row["resting_voltage_v"]) == ("observed", resting_v)


def test_what_is_assumed_or_loaded_widens_the_interval_of_the_charge():
    known = only(health_of([crank(0, resting_voltage_v=12.3)]))
    assumed = only(health_of([crank(0, resting_voltage_v=12.3, off_method="assumed")]))
    loaded = only(health_of([crank(0, resting_voltage_v=12.3, resting_method="before_start")]))
    assert assumed["soc_low_pct"] < known["soc_low_pct"]
    assert loaded["soc_high_pct"] > known["soc_high_pct"]


# Status and its debounce


def test_three_failing_cycles_in_a_row_are_critical_at_the_third():
    found = health_of([crank(day, FAILING_25C) for day in range(3)])
    assert found["status"].to_list() == ["warning", "warning", "critical"]
    assert found["consecutive_failing_cycles"].to_list() == [1, 2, 3]
    assert found["soh_pct"].null_count() == 3


@pytest.mark.parametrize("between", [HEALTHY, 9.6])
def test_a_cycle_that_does_not_fail_breaks_the_row(between: float):
    rows = [crank(day, volts) for day, volts in enumerate([FAILING_25C, FAILING_25C, between, FAILING_25C])]
    assert health_of(rows)["status"].to_list()[-1] == "warning"


def test_an_inconclusive_cycle_neither_counts_nor_breaks_the_row():
    dull = crank(2, FAILING_25C, resting_voltage_v=12.384)
    rows = [crank(0, FAILING_25C), crank(1, FAILING_25C), dull, crank(3, FAILING_25C)]
    found = health_of(rows)
    assert found["status"].to_list() == ["warning", "warning", "warning", "critical"]
    assert found["method"].to_list() == ["plateau", "plateau", "carried", "plateau"]
    assert found["confidence"].to_list()[2] == "low"


def test_critical_ends_after_three_good_cycles_in_a_row():
    rows = [crank(day, volts) for day, volts in enumerate([FAILING_25C] * 3 + [HEALTHY] * 3)]
    assert health_of(rows)["status"].to_list() == ["warning", "warning", "critical", "critical", "critical", "ok"]


def test_several_starts_of_one_day_count_each():
    rows = [crank(0, FAILING_25C, started_at=MORNING + timedelta(hours=n), crank_id=str(n)) for n in (0, 4, 8)]
    row = only(health_of(rows))
    assert (row["status"], row["cranks"], row["failing_cranks"]) == ("critical", 3, 3)


# State of health


def test_health_begins_with_the_tenth_conclusive_start_and_the_baseline_then_stays():
    found = health_of([*with_baseline(*[11.4] * 12), crank(5, 6.0, resting_voltage_v=12.0, crank_id="low")])
    assert found["soh_pct"].to_list()[:9] == [None] * 9
    assert found["soh_reason"].to_list()[:10] == ["baseline_incomplete"] * 9 + [None]
    assert found["baseline_cranks"].to_list() == [1, 2, 3, 4, 5, 6, 7, 8, 9, *[10] * 13]
    assert found["baseline_v"].to_list()[9:] == [HEALTHY] * 13
    assert found["soh_pct"].to_list()[9:] == [100] * 13


@pytest.mark.parametrize(("plateau_v", "soh"), [(10.6, 100), (9.55, 50), (8.5, 0), (8.0, 0), (11.0, 100)])
def test_health_is_scaled_between_the_replace_line_and_the_baseline(plateau_v: float, soh: float):
    row = health_of(with_baseline(plateau_v)).row(-1, named=True)
    assert row["soh_pct"] == pytest.approx(soh)
    assert row["soh_low_pct"] <= row["soh_pct"] <= row["soh_high_pct"]
    assert row["soh_high_pct"] - row["soh_low_pct"] > 1 or soh in {0, 100}


def test_health_compensates_the_drop_for_the_cold():
    warm, cold = (
        health_of([*with_baseline(), crank(10, volts, ambient_air_temp_c=t)]).row(-1, named=True)
        for volts, t in ((10.0, 25.0), (12.6 - 2.6 * 1.2712, 5.0))
    )
    assert warm["plateau_25c_v"] == pytest.approx(10.0)
    assert cold["plateau_25c_v"] == pytest.approx(10.0, abs=0.001)
    assert cold["soh_high_pct"] - cold["soh_low_pct"] > warm["soh_high_pct"] - warm["soh_low_pct"]


@pytest.mark.parametrize(
    ("fuel_type", "code", "status", "expected"),
    [
        (None, None, "warning", ("unknown", "none")),
        (None, 1.0, "warning", ("other", "pid_51")),
        (None, 4.0, "critical", ("diesel", "pid_51")),
        ("Diesel", 1.0, "critical", ("diesel", "profile")),
        ("petrol", 4.0, "warning", ("other", "profile")),
    ],
)
def test_a_diesel_is_critical_under_70_and_others_under_65_percent_over_three(
    fuel_type: str | None, code: float | None, status: str, expected: tuple[str, str]
):
    weak = 8.5 + 0.67 * (HEALTHY - 8.5)
    rows = with_baseline(weak, weak, weak, fuel_type_code=code)
    found = health_of(rows, profiles=None if fuel_type is None else fuel(fuel_type))
    assert found["status"].to_list()[-3:] == ["warning", "warning", status]
    assert (found["fuel_type"][-1], found["fuel_type_method"][-1]) == expected


@pytest.mark.parametrize(("soh", "status"), [(64, "critical"), (66, "warning"), (79, "warning"), (81, "ok")])
def test_status_follows_health(soh: float, status: str):
    volts = 8.5 + soh / 100 * (HEALTHY - 8.5)
    assert health_of(with_baseline(volts, volts, volts))["status"][-1] == status


def test_a_baseline_under_the_failing_line_gives_no_health():
    found = health_of([crank(day, 9.0) for day in range(11)])
    assert found["soh_reason"][-1] == "baseline_too_low"
    assert found["soh_pct"].null_count() == 11
    assert found["status"][-1] == "critical"


# Temperature


@pytest.mark.parametrize(
    ("columns", "method", "temperature"),
    [
        ({"intake_temp_c": 3.0}, "ambient", 25),
        ({"ambient_air_temp_c": None, "intake_temp_c": 8.0, "coolant_temp_c": 12.0}, "intake", 8),
        ({"ambient_air_temp_c": None, "intake_temp_c": 8.0, "coolant_temp_c": 60.0}, "weather", -3),
        ({"ambient_air_temp_c": None, "intake_temp_c": 8.0}, "intake", 8),
        ({"ambient_air_temp_c": None, "intake_temp_c": 8.0, "off_s": 3600.0}, "weather", -3),
        ({"ambient_air_temp_c": 215.0}, "weather", -3),
        ({"ambient_air_temp_c": None, "place_latitude_deg": 47.4}, "none", None),
        ({"ambient_air_temp_c": None, "place_latitude_deg": None}, "weather", -3),
    ],
)
def test_temperature_is_ambient_else_soaked_intake_else_weather(
    columns: Row, method: str, temperature: float | None
):
    hour = MORNING.replace(minute=0)
    weather = pl.LazyFrame(
        [
            {
                "vehicle_id": vehicle,
                "latitude_deg": 47.5,
                "longitude_deg": 19.0,
                "forecast_at": issued,
                "valid_at": valid,
                "temperature_c": t,
            }
            for vehicle, issued, valid, t in (
                ("a", datetime(2025, 3, 8, tzinfo=UTC), hour, 1.0),
                ("a", datetime(2025, 3, 9, tzinfo=UTC), hour, -3.0),
                ("a", datetime(2025, 3, 9, tzinfo=UTC), hour + timedelta(hours=1), 2.0),
                ("another", datetime(2025, 3, 9, tzinfo=UTC), hour, -30.0),
            )
        ],
        schema=WEATHER,
    )
    place = {"place_latitude_deg": 47.5, "place_longitude_deg": 19.0}
    row = only(health_of([crank(0, **(place | columns))], weather=weather))
    assert row["temperature_method"] == method
    assert row["temperature_c"] == temperature
    assert (row["inconclusive_reason"] == "no_temperature") == (method == "none")


# What a history table stands on

HISTORY = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 30),
        st.sampled_from([None, 8.4, 9.3, 10.1, 10.6]),
        st.sampled_from([12.3, 12.5, 12.6]),
    ),
    max_size=40,
    unique_by=lambda one: one[:2],
)


def history(starts: list[tuple[str, int, float | None, float]]) -> list[Row]:
    return [
        crank(
            day,
            plateau,
            vehicle=vehicle,
            resting_voltage_v=rest,
            inconclusive_reason=None if plateau else "no_dip",
        )
        for vehicle, day, plateau, rest in starts
    ]


@given(starts=HISTORY, seed=st.integers(0, 1000))
@settings(max_examples=8)
def test_neither_the_order_of_rows_nor_other_vehicles_matter(starts: list[Any], seed: int):
    rows = history(starts)
    expected = health_of(rows)
    Random(seed).shuffle(rows)
    assert_frame_equal(health_of(rows), expected, check_exact=True)
    alone = health_of([row for row in rows if row["vehicle_id"] == "a"])
    assert_frame_equal(alone, expected.filter(pl.col("vehicle_id") == "a"), check_exact=True)


@given(starts=HISTORY, day=st.integers(0, 30))
@settings(max_examples=8)
def test_later_starts_change_no_earlier_day(starts: list[Any], day: int):
    until = (MORNING + timedelta(days=day)).date()
    rows = history(starts)
    early = health_of([row for row in rows if row["event_date"] <= until])
    assert_frame_equal(health_of(rows).filter(pl.col("event_date") <= until), early, check_exact=True)
