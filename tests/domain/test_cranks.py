from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from smartdrive_edge.simulator import Car, scenario

from smartdrive_dagster.domain.cranks import HALO_DAYS, detect_cranks
from smartdrive_dagster.lake.frames import conform, polars_schema
from smartdrive_dagster.tables import Days, battery
from tests.batteries import EVER, MORNING, Row, parked, rested_start, sample, seconds, start, telemetry, volts


def cranks_of(rows: list[Row], days: Days = EVER) -> pl.DataFrame:
    found = detect_cranks(telemetry(rows), days=days).collect()
    assert found.schema == polars_schema(battery.CRANKS)
    return conform(battery.CRANKS, found)


def only(found: pl.DataFrame) -> dict[str, Any]:
    assert found.height == 1
    return found.row(0, named=True)


def test_no_samples_make_no_starts():
    assert cranks_of([]).is_empty()


def test_a_start_has_its_waveform():
    found = only(cranks_of(rested_start(plateau_v=10.6, inrush_v=9.1)))
    assert found["started_at"] == MORNING
    assert found["event_date"] == date(2025, 3, 10)
    assert (found["method"], found["confirmed_by"], found["voltage_source"]) == (
        "voltage_dip",
        "engine_speed",
        "adapter",
    )
    assert (found["resting_voltage_v"], found["resting_method"], found["off_method"]) == (
        12.6,
        "parked",
        "observed",
    )
    assert found["off_s"] is None
    assert (found["voltage_before_v"], found["inrush_min_v"], found["plateau_v"]) == (12.6, 9.1, 10.6)
    assert found["plateau_low_v"] < 10.6 < found["plateau_high_v"]
    assert (found["inrush_samples"], found["plateau_samples"]) == (2, 10)
    assert found["sampling_rate_hz"] == 20
    assert found["duration_s"] == pytest.approx(0.9)
    assert found["recovery_voltage_v"] == 13.9
    assert (found["engine_speed_rise_rpm"], found["engine_started_after_s"]) == (900, 1.52)
    assert found["ambient_air_temp_c"] == 25
    assert (found["quality"], found["inconclusive_reason"]) == ("good", None)


def test_the_same_start_without_phases_as_an_imported_log_has_it_is_found():
    rows = start(phase=None)
    found = only(cranks_of(rows))
    assert (found["plateau_v"], found["resting_method"], found["off_method"]) == (10.6, "before_start", "assumed")


def test_the_control_units_voltage_serves_where_the_adapters_is_not_there():
    found = only(cranks_of(start(source="control_module_voltage_v")))
    assert (found["voltage_source"], found["plateau_v"]) == ("control_module", 10.6)


def test_of_two_voltmeters_the_one_with_more_readings_counts():
    slow = [
        {**row, "device_id": "edge-2"} for row in start(plateau_v=10.2, rate_hz=12) if "adapter_voltage_v" in row
    ]
    found = only(cranks_of([*start(plateau_v=10.6, rate_hz=40), *slow]))
    assert found["plateau_v"] == 10.6


def test_an_inrush_of_15_ms_to_6_v_is_ignored():
    def spiked(since_s: float) -> float | None:
        return 6.0 if 0 <= since_s < 0.015 else None

    found = only(cranks_of(rested_start(plateau_v=10.6, rate_hz=125, shape=spiked)))
    assert found["inrush_min_v"] == 6.0
    assert found["plateau_v"] == 10.6


def test_a_lone_spike_of_15_ms_to_6_v_is_no_start_and_hides_none():
    def spiked(since_s: float) -> float | None:
        return 6.0 if -0.9 <= since_s < -0.885 else None

    found = only(cranks_of(rested_start(plateau_v=10.6, rate_hz=125, shape=spiked)))
    assert (found["started_at"], found["plateau_v"]) == (MORNING, 10.6)
    assert cranks_of([row for row in start(rate_hz=125, shape=spiked) if row["event_at"] < MORNING]).is_empty()


def test_pre_glow_before_the_start_is_not_taken_for_the_start():
    def glowing(since_s: float) -> float | None:
        return 11.5 if -1.8 <= since_s < 0 else None

    found = only(cranks_of(start(plateau_v=10.0, shape=glowing)))
    assert (found["started_at"], found["plateau_v"]) == (MORNING, 10.0)


def test_a_warm_engine_that_fires_early_ends_the_plateau():
    found = only(cranks_of(start(plateau_v=10.6, rate_hz=50, lasts_s=0.4)))
    assert (found["plateau_v"], found["plateau_samples"], found["duration_s"]) == (10.6, 15, 0.4)


@pytest.mark.parametrize(("rate_hz", "samples"), [(4, 2), (8, 4)])
def test_fewer_than_five_samples_in_the_plateau_are_inconclusive(rate_hz: float, samples: int):
    found = only(cranks_of(rested_start(rate_hz=rate_hz)))
    assert found["plateau_samples"] == samples
    assert found["plateau_v"] is None
    assert (found["quality"], found["inconclusive_reason"]) == ("poor", "too_few_samples")


@pytest.mark.parametrize("with_voltage", [True, False])
def test_a_start_that_only_the_engine_speed_shows_says_nothing_about_the_battery(with_voltage: bool):
    rows = [
        sample(MORNING + seconds(n), phase="running", engine_speed_rpm=0.0 if n < 5 else 800.0) for n in range(20)
    ]
    slow = [volts(MORNING + seconds(n + 0.5), 12.5) for n in range(20)] if with_voltage else []
    found = only(cranks_of([*rows, *slow]))
    assert found["started_at"] == MORNING + seconds(5)
    assert (found["method"], found["voltage_source"], found["plateau_v"]) == ("engine_speed_rise", "none", None)
    assert found["inconclusive_reason"] == ("no_dip" if with_voltage else "no_voltage")


def test_an_engine_that_stops_is_no_start():
    running = [volts(MORNING + seconds(n / 20), 14.2, phase="running") for n in range(200)]
    stopped = [volts(MORNING + seconds(10 + n / 20), 12.7, phase="post_drive") for n in range(200)]
    turning = [sample(MORNING + seconds(n), engine_speed_rpm=800.0 if n < 10 else 0.0) for n in range(20)]
    assert cranks_of([*running, *stopped, *turning]).is_empty()
    assert cranks_of([*running, *stopped]).is_empty()


@pytest.mark.parametrize("rpm", [800.0, None])
def test_a_heavy_load_on_a_running_engine_is_no_start(rpm: float | None):
    dip = [volts(MORNING + seconds(n / 20), 12.8 if 60 <= n < 80 else 14.2) for n in range(200)]
    turning = [sample(MORNING + seconds(n + 0.01), engine_speed_rpm=rpm) for n in range(10)]
    assert cranks_of([*dip, *turning]).is_empty()


def test_a_heavy_load_on_a_standing_engine_is_no_start():
    rows = [row | {"engine_speed_rpm": 0.0} if row.get("engine_speed_rpm") else row for row in rested_start()]
    assert cranks_of(rows).is_empty()


def test_without_any_engine_speed_the_alternator_confirms_the_start():
    rows = [row for row in rested_start() if "engine_speed_rpm" not in row]
    assert only(cranks_of(rows))["confirmed_by"] == "charging"


@pytest.mark.parametrize(
    ("minutes_ago", "off_method", "resting_v"), [(10, "none", None), (29, "none", None), (31, "observed", 12.6)]
)
def test_a_battery_rests_from_half_an_hour_after_the_engine_on(
    minutes_ago: int, off_method: str, resting_v: float | None
):
    ran = sample(MORNING - timedelta(minutes=minutes_ago), phase="running", engine_speed_rpm=800.0)
    found = only(cranks_of([*parked(MORNING), ran, *start()]))
    assert (found["off_method"], found["resting_voltage_v"]) == (off_method, resting_v)
    assert found["off_s"] == minutes_ago * 60


@pytest.mark.parametrize(("hours_ago", "off_s"), [(23, 82_800), (25, None)])
def test_the_engine_is_looked_for_in_the_24_h_before_a_start(hours_ago: int, off_s: float | None):
    ran = sample(MORNING - timedelta(hours=hours_ago), phase="running", engine_speed_rpm=800.0)
    assert only(cranks_of([ran, *rested_start()]))["off_s"] == off_s


def test_readings_soon_after_the_engine_are_no_resting_voltage():
    ended = MORNING - timedelta(minutes=45)
    ran = sample(ended, phase="running", engine_speed_rpm=800.0)
    fading = [volts(ended + timedelta(minutes=m), 12.9, phase="post_drive", ignition=0.0) for m in range(1, 30)]
    settled = [volts(ended + timedelta(minutes=m), 12.5, phase="sentinel", ignition=0.0) for m in (31, 41)]
    assert only(cranks_of([ran, *fading, *settled, *start()]))["resting_voltage_v"] == 12.5


def test_the_place_is_the_last_position_in_tenths_of_a_degree():
    seen = sample(MORNING - timedelta(hours=20), latitude_deg=47.4979, longitude_deg=19.0402)
    found = only(cranks_of([seen, *rested_start()]))
    assert (found["place_latitude_deg"], found["place_longitude_deg"]) == (47.5, 19.0)
    assert not {"place_latitude_deg", "place_longitude_deg", "vehicle_id"} & set(battery.CRANKS.statistics_columns)


def test_a_24_v_system_is_not_judged_by_the_lines_of_a_12_v_one():
    rows = [
        row | {"adapter_voltage_v": row["adapter_voltage_v"] * 2} if "adapter_voltage_v" in row else row
        for row in start()
    ]
    assert only(cranks_of(rows))["inconclusive_reason"] == "no_voltage"


@pytest.mark.parametrize("name", ["winter-start", "weak-battery", "drive"])
def test_the_plateau_of_the_edges_simulated_cars_is_found(name: str):
    car = Car(scenario(name, 3), 3)
    truth = car.cranks[0]
    ticks = [truth.at_s - 3 + n * 0.04 for n in range(200)]
    rows = [
        volts(MORNING + seconds(t), round(car.voltage_at(t), 1), phase="cranking", ignition=1.0) for t in ticks
    ]
    rows += [
        sample(MORNING + seconds(t + 0.01), phase="cranking", engine_speed_rpm=car.state_at(t).rpm)
        for t in ticks[::20]
    ]
    found = only(cranks_of(rows))
    assert truth.plateau_v is not None
    assert found["plateau_v"] == pytest.approx(truth.plateau_v, abs=0.08)
    assert found["plateau_low_v"] < truth.plateau_v < found["plateau_high_v"]


@pytest.fixture(scope="module")
def recorded(recordings: Path) -> list[tuple[float, float]]:
    """Engine speed and volts of a running engine at 50 Hz."""
    lines = (recordings / "haltech_voltage_50hz.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines if line[:2].isdigit() and line.count(",") > 100]
    return [(float(row[11]), float(row[12]) / 1000) for row in cells]


def test_the_recorded_voltage_of_a_running_engine_shows_no_start(recorded: list[tuple[float, float]]):
    assert len(recorded) == 879
    rows = [volts(MORNING + seconds(n / 50), v, engine_speed_rpm=rpm) for n, (rpm, v) in enumerate(recorded)]
    assert cranks_of(rows).is_empty()
    assert cranks_of([volts(row["event_at"], row["adapter_voltage_v"]) for row in rows]).is_empty()


def test_recorded_noise_hardly_moves_the_plateau(recorded: list[tuple[float, float]]):
    levels = [v for _, v in recorded]
    noise = [v - sum(levels[n : n + 50]) / 50 for n, v in enumerate(levels[25:-25])]
    assert max(map(abs, noise)) > 0.01
    rows = rested_start(plateau_v=10.4, rate_hz=50)
    noisy = [
        row | {"adapter_voltage_v": row["adapter_voltage_v"] + noise[n]} if "adapter_voltage_v" in row else row
        for n, row in enumerate(rows)
    ]
    assert only(cranks_of(noisy))["plateau_v"] == pytest.approx(10.4, abs=0.1)


# What incremental runs stand on

STARTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 2 * 86_400),
        st.sampled_from([9.4, 10.1, 10.6]),
        st.sampled_from([7.0, 20.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def rows_of(starts: list[tuple[str, int, float, float, bool]]) -> list[Row]:
    return [
        row
        for vehicle, second, plateau_v, rate_hz, is_rested in starts
        for row in (rested_start if is_rested else start)(
            MORNING + seconds(second), plateau_v, rate_hz=rate_hz, vehicle=vehicle
        )
    ]


@given(starts=STARTS, seed=st.integers(0, 1000))
@settings(max_examples=6)
def test_neither_the_order_of_rows_nor_other_vehicles_matter(starts: list[Any], seed: int):
    rows = rows_of(starts)
    expected = cranks_of(rows)
    Random(seed).shuffle(rows)
    assert_frame_equal(cranks_of(rows), expected, check_exact=True)
    alone = cranks_of([row for row in rows if row["vehicle_id"] == "a"])
    assert_frame_equal(alone, expected.filter(pl.col("vehicle_id") == "a"), check_exact=True)


@given(starts=STARTS)
@settings(max_examples=4)
def test_each_day_computed_from_its_window_equals_all_at_once(starts: list[Any]):
    rows = rows_of(starts)
    parts = []
    for day in Days(MORNING.date(), MORNING.date() + timedelta(3)):
        window = Days(day, day).widened(HALO_DAYS)
        parts.append(cranks_of([row for row in rows if row["event_date"] in window], Days(day, day)))
    whole = cranks_of(rows)
    assert_frame_equal(pl.concat(parts).sort("vehicle_id", "started_at"), whole, check_exact=True)
