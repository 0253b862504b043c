"""What trips measure beyond speed: three witnesses of distance, stop-start, cold starts, rounded places, rates."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.trips import HALO_DAYS, segment_trips
from smartdrive_dagster.lake.frames import conform
from smartdrive_dagster.tables import Days, gold
from tests.domain.driven import DAY, DAY_S, EVER, Sample, drive, recorded_drives, telemetry, window

KM_PER_DEGREE = 6371.0088 * 3.141592653589793 / 180


def trips_of(samples: list[Sample], *, days: Days = EVER, gap_s: float = 300) -> pl.DataFrame:
    return conform(gold.TRIPS, segment_trips(telemetry(samples), days=days, gap_s=gap_s).collect())


def only(samples: list[Sample]) -> dict[str, Any]:
    (trip,) = trips_of(samples).to_dicts()
    return trip


def northward(km_per_s: float) -> dict[str, Any]:
    return {"latitude_deg": lambda t: 47 + t * km_per_s / KM_PER_DEGREE, "longitude_deg": 19.0}


def test_the_odometer_and_the_positions_check_the_distance_of_speed():
    driven = drive(600, 1, speed_kmh=72.0, odometer_km=lambda t: 1000 + t * 0.0202, **northward(0.02))
    trip = only(driven)
    assert (trip["distance_method"], trip["distance_km"]) == ("speed", pytest.approx(12))
    assert trip["odometer_distance_km"] == pytest.approx(12.12)
    assert trip["gps_distance_km"] == pytest.approx(12, rel=1e-6)
    assert trip["distance_difference_km"] == pytest.approx(-0.12)


def test_the_odometer_tells_the_distance_where_speed_has_holes():
    driven = drive(600, 1, speed_kmh=72.0, odometer_km=lambda t: 1000 + t * 0.02)
    for row in driven[200:400]:
        row["speed_kmh"] = None
    trip = only([row for row in driven if row["speed_kmh"] or row["odometer_km"]])
    assert (trip["distance_method"], trip["distance_km"]) == ("odometer", pytest.approx(12))
    assert trip["speed_distance_km"] == pytest.approx(8, abs=0.03)
    assert trip["distance_difference_km"] == pytest.approx(4, abs=0.03)
    assert trip["mean_speed_kmh"] == pytest.approx(72)


@pytest.mark.parametrize(
    "odometer",
    [
        pytest.param(lambda t: 1000 - t * 0.02, id="runs backwards"),
        pytest.param(lambda t: 1000 + t, id="faster than any car"),
        pytest.param(lambda t: 1000 + t * 0.02 if 200 < t < 400 else None, id="read in the middle only"),
    ],
)
def test_an_odometer_that_cannot_be_right_tells_nothing(odometer: Any):
    trip = only(drive(600, 1, speed_kmh=72.0, odometer_km=odometer))
    assert trip["odometer_distance_km"] is trip["distance_difference_km"] is None


def test_positions_tell_the_distance_where_there_is_no_speed():
    trip = only(drive(600, 1, engine_speed_rpm=2000.0, **northward(0.02)))
    assert (trip["distance_method"], trip["distance_km"]) == ("gps", pytest.approx(12, rel=1e-6))
    assert trip["speed_distance_km"] is trip["mean_speed_kmh"] is None


@pytest.mark.parametrize(
    "positions",
    [
        pytest.param(
            {"latitude_deg": lambda t: 47 + (t % 2) * 5e-6, "longitude_deg": 19.0}, id="noise at standstill"
        ),
        pytest.param({"latitude_deg": 0.0, "longitude_deg": 0.0}, id="no fix"),
        pytest.param({"latitude_deg": lambda t: 40.0 + (t % 2), "longitude_deg": 19.0}, id="jumps of a degree"),
    ],
)
def test_positions_that_go_nowhere_make_no_distance(positions: dict[str, Any]):
    assert not only(drive(60, 1, engine_speed_rpm=800.0, **positions))["gps_distance_km"]


def test_two_receivers_do_not_lengthen_the_way():
    one = drive(600, 1, speed_kmh=72.0, device_id="one", **northward(0.02))
    two = drive(500, 1, start_s=43_200.5, speed_kmh=72.0, device_id="two", **northward(0.02))
    for row in two:
        row["longitude_deg"] += 0.0002
    trip = only(one + two)
    assert trip["gps_distance_km"] == pytest.approx(12, rel=1e-6)
    assert trip["has_several_devices"]
    assert not only(one)["has_several_devices"]


def test_the_antimeridian_is_no_way_around_the_world():
    east = {"latitude_deg": 0.1, "longitude_deg": lambda t: (179.999 + t * 1e-4 + 180) % 360 - 180}
    assert only(drive(60, 1, engine_speed_rpm=900.0, **east))["gps_distance_km"] < 1


def test_the_engine_stopped_at_a_light_is_stop_start_and_not_idling():
    stops = drive(
        180,
        1,
        speed_kmh=lambda t: 0.0 if 60 <= t <= 120 else 40.0,
        engine_speed_rpm=lambda t: 0.0 if 60 <= t <= 100 else 900.0,
    )
    trip = only(stops)
    assert trip["stop_start_s"] == pytest.approx(41, abs=1)
    assert trip["idle_s"] == pytest.approx(19, abs=1)
    assert only(drive(60, 1, speed_kmh=0.0))["stop_start_s"] is None


def test_places_are_rounded_to_a_hundredth_of_a_degree():
    trip = only(drive(100, 1, speed_kmh=72.0, latitude_deg=lambda t: 47.49612 + t * 1e-3, longitude_deg=-0.12345))
    assert (trip["start_latitude_deg"], trip["start_longitude_deg"]) == (47.5, -0.12)
    assert (trip["end_latitude_deg"], trip["end_longitude_deg"]) == (47.6, -0.12)


def test_a_place_minutes_after_the_start_is_not_that_of_the_start():
    late = drive(600, 1, speed_kmh=72.0, latitude_deg=lambda t: 47.5 if t > 200 else None, longitude_deg=19.0)
    trip = only(late)
    assert (trip["start_latitude_deg"], trip["end_latitude_deg"]) == (None, 47.5)


@pytest.mark.parametrize(
    ("coolant", "ambient", "intake", "before_s", "is_cold"),
    [
        pytest.param(12.0, 10.0, None, None, True, id="as cold as the air"),
        pytest.param(42.0, 40.0, None, None, True, id="as the air of a hot day"),
        pytest.param(60.0, 10.0, None, None, False, id="half warm"),
        pytest.param(12.0, None, 14.0, None, True, id="as cold as the intake"),
        pytest.param(55.0, None, 52.0, None, False, id="an intake that the engine has heated"),
        pytest.param(20.0, None, None, None, True, id="cold, nothing known of the air"),
        pytest.param(20.0, None, None, 7 * 3600, True, id="cold after a night"),
        pytest.param(20.0, None, None, 3600, False, id="not warm yet an hour ago"),
        pytest.param(None, 10.0, 10.0, None, None, id="coolant unknown"),
    ],
)
def test_a_cold_start_is_told_by_the_coolant(
    coolant: float | None,
    ambient: float | None,
    intake: float | None,
    before_s: float | None,
    is_cold: bool | None,
):
    temperatures = {"coolant_temp_c": coolant, "ambient_air_temp_c": ambient, "intake_temp_c": intake}
    samples = drive(120, 1, speed_kmh=30.0, **temperatures)
    if before_s is not None:
        samples += drive(60, 1, start_s=43_200 - before_s, speed_kmh=30.0)
    trip = trips_of(samples).sort("started_at").to_dicts()[-1]
    assert (trip["is_cold_start"], trip["coolant_start_c"]) == (is_cold, coolant)


@pytest.mark.parametrize(
    ("rate_hz", "coverage_pct", "distance_km"), [(10, 100, 2), (1, 100, 2), (0.5, 0, 0), (0.2, 0, 0)]
)
def test_a_trip_says_where_driving_events_can_be_seen(rate_hz: float, coverage_pct: float, distance_km: float):
    trip = only(drive(100, rate_hz, speed_kmh=72.0))
    assert trip["speed_rate_hz"] == pytest.approx(rate_hz)
    assert trip["event_coverage_pct"] == pytest.approx(coverage_pct)
    assert trip["event_distance_km"] == pytest.approx(distance_km)


def test_the_pause_before_a_trip_is_no_interval_of_it():
    trips = trips_of(drive(10, 1, speed_kmh=36.0) + drive(1, 1, start_s=50_000, speed_kmh=36.0))
    assert trips["speed_rate_hz"].to_list() == [1, 1]


def test_two_slow_devices_do_not_see_events_together():
    slow = [drive(100, 0.6, start_s=43_200 + n * 0.8, speed_kmh=72.0, device_id=f"d{n}") for n in range(2)]
    trip = only(slow[0] + slow[1])
    assert (trip["speed_rate_hz"], trip["event_coverage_pct"]) == (pytest.approx(0.6), 0)


def test_the_measures_are_the_same_day_by_day_and_in_any_order():
    rng = random.Random(5)
    samples: list[Sample] = []
    for _ in range(24):
        start_s = rng.choice([0, DAY_S]) + rng.choice([-40, -5, 0, 3600, 43_200])
        place = {"latitude_deg": lambda t: 47 + t / 9e3, "longitude_deg": 19.0} if rng.random() < 0.5 else {}
        samples += drive(
            rng.choice([8, 60]),
            rng.choice([0.5, 1, 2]),
            start_s=start_s + rng.choice([0, 0.5, 7]),
            speed_kmh=rng.choice([0.0, lambda t: 5 * t % 70]),
            engine_speed_rpm=rng.choice([None, 0.0, 900.0]),
            odometer_km=rng.choice([None, lambda t: 10 + t / 60]),
            coolant_temp_c=rng.choice([None, 20.0, 80.0]),
            device_id=rng.choice([None, "one", "two"]),
            **place,
        )
    at_once = trips_of(samples, gap_s=5)
    assert at_once.height > 4
    one_by_one = [
        segment_trips(telemetry(window(samples, day.widened(HALO_DAYS))), days=day, gap_s=5).collect()
        for day in (Days(day, day) for day in Days(DAY - timedelta(1), DAY + timedelta(2)))
    ]
    assert_frame_equal(pl.concat(one_by_one).sort("started_at"), at_once.sort("started_at"), check_exact=True)
    rng.shuffle(samples)
    again = segment_trips(telemetry(samples), days=EVER, gap_s=5).collect(engine="streaming")
    assert_frame_equal(again, at_once, check_exact=True)


def test_positions_of_real_drives_agree_with_their_speed(recordings: Path):
    found = segment_trips(recorded_drives(recordings), days=EVER, gap_s=300).collect()
    assert set(found["distance_method"]) == {"speed"}
    assert found["gps_distance_km"].sum() == pytest.approx(found["distance_km"].sum(), rel=0.01)
    assert found["event_coverage_pct"].min() > 80


def test_figures_are_the_same_to_the_last_bit_whatever_is_computed_with_them():
    """Polars divides by a column of equal values by multiplying with the reciprocal, which rounds otherwise."""
    samples = [
        {**row, "vehicle_id": str(car)}
        for car in range(3)
        for row in drive(240, 0.5 + car, speed_kmh=lambda t, car=car: 31 + 4 * car + t % 5, **northward(0.01))
    ]
    alone = trips_of([row for row in samples if row["vehicle_id"] == "0"])
    together = trips_of(samples).filter(pl.col("vehicle_id") == "0")
    assert_frame_equal(together, alone, check_exact=True)
