"""Manoeuvres: what is one, what is none, and what incremental runs stand on."""

import random
from datetime import timedelta
from itertools import pairwise
from math import floor, sin
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.driving_events import HALO_DAYS, detect_driving_events
from smartdrive_dagster.lake.frames import conform
from smartdrive_dagster.tables import Days, driving
from tests.domain.driven import (
    DAY,
    DAY_S,
    EVER,
    MIDNIGHT,
    NOON_S,
    G,
    Sample,
    drive,
    ramp,
    recorded_drives,
    telemetry,
    window,
)

G_KMH_S = G * 3.6  # one g, in km/h a second


def events_of(samples: list[Sample], *, days: Days = EVER) -> pl.DataFrame:
    return conform(driving.DRIVING_EVENTS, detect_driving_events(telemetry(samples), days=days).collect())


def kinds(events: pl.DataFrame) -> list[str]:
    return events["kind"].to_list()


def change(g: float, seconds: float, *, from_kmh: float = 90) -> Any:
    """Ten seconds level, then so many g for so long, then level again."""
    return ramp((10, from_kmh), (10 + seconds, from_kmh + g * seconds * G_KMH_S))


@pytest.mark.parametrize("rate_hz", [1, 2, 5, 10])
@pytest.mark.parametrize(
    ("g", "kind"),
    [(-0.36, ["braking"]), (-0.25, []), (0.3, ["acceleration"]), (0.2, []), (-0.12, [])],
)
def test_a_change_of_speed_is_an_event_from_its_threshold_on_at_any_rate(
    rate_hz: float, g: float, kind: list[str]
):
    samples = drive(30, rate_hz, speed_kmh=change(g, 4, from_kmh=60))
    assert kinds(events_of(samples)) == kind


def test_an_event_says_what_was_seen_by_which_signal():
    (event,) = events_of(drive(30, 10, speed_kmh=change(-0.5, 3))).to_dicts()
    assert event["peak_g"] == pytest.approx(-0.5, abs=0.001)
    assert event["speed_kmh"] == pytest.approx(90, abs=0.1)
    assert (event["started_at"] - MIDNIGHT).total_seconds() == pytest.approx(NOON_S + 10, abs=0.3)
    assert event["duration_s"] == pytest.approx(3, abs=0.6)
    assert (event["rate_hz"], event["event_date"]) == (pytest.approx(10), DAY)
    assert (event["source"], event["method"], event["confidence"]) == ("speed", "speed_difference_1s", "high")


@pytest.mark.parametrize("rate_hz", [5, 10])
@pytest.mark.parametrize("whole_kmh", [floor, round])
def test_a_quiet_drive_in_steps_of_1_kmh_has_no_event(rate_hz: float, whole_kmh: Any):
    # Up to 0.15 g, which is brisk, in whole km/h with readings that come up to 40 ms late.
    late = random.Random(rate_hz)
    samples = drive(240, rate_hz, speed_kmh=lambda at_s: whole_kmh(60 + 26 * sin(at_s / 5)))
    for row in samples:
        row["event_at"] += timedelta(milliseconds=late.randrange(40))
    assert kinds(events_of(samples)) == []


def test_between_two_readings_the_quiet_drive_would_have_had_events():
    samples = drive(60, 10, speed_kmh=lambda at_s: floor(60 + 26 * sin(at_s / 5)))
    steps = [abs(b["speed_kmh"] - a["speed_kmh"]) / 0.1 / G_KMH_S for a, b in pairwise(samples)]
    assert max(steps) > 0.25


@pytest.mark.parametrize(("rate_hz", "found"), [(1, 1), (0.9, 0), (0.5, 0), (0.2, 0)])
def test_nothing_is_found_where_speed_comes_less_often_than_once_a_second(rate_hz: float, found: int):
    assert events_of(drive(60, rate_hz, speed_kmh=change(-0.5, 4))).height == found


def test_a_late_reading_does_not_hide_an_event_and_a_missing_one_hides_its_second():
    samples = drive(30, 1, speed_kmh=change(-0.5, 3))
    samples[12]["event_at"] += timedelta(milliseconds=150)
    assert kinds(events_of(samples)) == ["braking"]
    assert events_of([row for number, row in enumerate(samples) if number not in {11, 13}]).height == 0


def test_pumping_the_brake_is_one_manoeuvre_and_braking_again_later_another():
    pumped = ramp((10, 120), (12, 95), (13, 95), (15, 70))
    assert kinds(events_of(drive(40, 10, speed_kmh=pumped))) == ["braking"]
    again = ramp((10, 120), (12, 95), (17, 95), (19, 70))
    assert kinds(events_of(drive(40, 10, speed_kmh=again))) == ["braking", "braking"]


def test_braking_and_accelerating_are_manoeuvres_of_their_own():
    speeds = ramp((10, 80), (12, 55), (14, 76))
    assert kinds(events_of(drive(30, 10, speed_kmh=speeds))) == ["braking", "acceleration"]


@pytest.mark.parametrize("spoilt", [0.0, 255.0, 600.0])
def test_a_single_reading_that_no_car_could_have_is_no_event(spoilt: float):
    samples = drive(30, 1, speed_kmh=60.0)
    samples[15]["speed_kmh"] = spoilt
    assert events_of(samples).height == 0


def test_two_devices_see_one_manoeuvre_and_their_clocks_make_none():
    speeds = change(-0.4, 3)
    early = drive(30, 1, speed_kmh=speeds, device_id="one")
    late = drive(30, 1, start_s=NOON_S + 0.4, speed_kmh=lambda at_s: speeds(at_s - 0.8), device_id="two")
    assert kinds(events_of(early + late)) == ["braking"]
    gentle = change(-0.2, 5)
    early = drive(30, 1, speed_kmh=gentle, device_id="one")
    late = drive(30, 1, start_s=NOON_S + 0.4, speed_kmh=lambda at_s: gentle(at_s - 0.8), device_id="two")
    assert events_of(early + late).height == 0


def accelerometer(rate_hz: float = 10, *, moving: bool = True, bias: float = 0.0, **axes: Any) -> list[Sample]:
    signals = {f"accel_{axis}_mps2": (lambda at_s, g=g: (bias + g(at_s)) * G) for axis, g in axes.items()}
    return drive(60, rate_hz, speed_kmh=50.0 if moving else 0.0, **signals)


PULSE = ramp((20, 0), (20.5, 0.5), (23, 0.5), (23.5, 0))


@pytest.mark.parametrize(
    ("axis", "sign", "kind"),
    [("x", -1, "braking"), ("x", 1, "acceleration"), ("y", 1, "cornering"), ("y", -1, "cornering")],
)
@pytest.mark.parametrize("bias", [0.0, 0.2, -0.2], ids=["level", "tilted forward", "tilted back"])
def test_an_accelerometer_shows_manoeuvres_without_its_bias(axis: str, sign: int, kind: str, bias: float):
    (event,) = events_of(accelerometer(bias=bias, **{axis: lambda at_s: sign * PULSE(at_s)})).to_dicts()
    assert (event["kind"], event["source"], event["method"]) == (kind, "accelerometer", "accelerometer_mean_1s")
    assert event["peak_g"] == pytest.approx(sign * 0.5, abs=0.001)


def test_a_left_and_a_right_turn_are_two_manoeuvres():
    bend = ramp((20, 0), (20.5, 0.5), (22, 0.5), (23, -0.5), (24.5, -0.5), (25, 0))
    assert events_of(accelerometer(y=bend)).select(pl.col("peak_g").sign()).to_series().to_list() == [1, -1]


def test_an_accelerometer_shakes_for_less_than_a_second_without_an_event():
    assert events_of(accelerometer(50, y=lambda at_s: 0.6 if 20 <= at_s < 20.2 else 0.0)).height == 0


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(accelerometer(y=PULSE, moving=False), id="a door slams"),
        pytest.param(accelerometer(y=PULSE, bias=0.5), id="a sensor at 30 degrees"),
        pytest.param(accelerometer(y=PULSE)[200:225], id="too few readings to know the bias"),
        pytest.param(accelerometer(0.5, y=PULSE), id="a reading every two seconds"),
    ],
)
def test_an_accelerometer_that_cannot_tell_shows_nothing(samples: list[Sample]):
    assert events_of(samples).height == 0


def test_both_sources_make_one_row_with_the_peak_of_speed():
    samples = drive(
        60,
        10,
        speed_kmh=ramp((20, 100), (23, 100 - 0.5 * 3 * G_KMH_S)),
        accel_x_mps2=lambda t: -PULSE(t) * 1.2 * G,
    )
    (event,) = events_of(samples).to_dicts()
    assert (event["kind"], event["source"], event["confidence"]) == ("braking", "both", "high")
    assert event["peak_g"] == pytest.approx(-0.5, abs=0.001)


def test_a_sensor_that_stays_over_the_limit_makes_one_event_of_two_minutes():
    stuck = drive(1000, 1, speed_kmh=50.0, accel_y_mps2=lambda at_s: 0.4 * G if at_s > 600 else 0.0)
    (event,) = events_of(stuck).to_dicts()
    assert event["duration_s"] == pytest.approx(121)


def test_an_event_over_midnight_is_one_and_belongs_to_the_day_on_which_it_began():
    samples = drive(30, 10, start_s=DAY_S - 12, speed_kmh=change(-0.4, 4))
    assert events_of(samples)["event_date"].to_list() == [DAY]
    assert events_of(samples, days=Days(DAY + timedelta(1), DAY + timedelta(1))).height == 0


# What incremental runs stand on

_PIECE = st.tuples(
    st.sampled_from([-30, -3, -1, 0, 40, NOON_S]),  # seconds from a midnight
    st.integers(0, 3),  # which midnight
    st.sampled_from([1.0, 4.0, 0.9]),
    st.sampled_from(["one", "two", None]),
    st.lists(st.sampled_from([0.0, 30.0, 50.0, 63.0, 80.0, None]), min_size=3, max_size=6),
)


def _zigzag(pieces: list[Any]) -> list[Sample]:
    samples: list[Sample] = []
    for offset, day, rate_hz, device, speeds in pieces:
        known = [speed for speed in speeds if speed is not None]
        course = ramp(*((2.0 * n, speed) for n, speed in enumerate(known))) if known else None
        accel = {"accel_x_mps2": lambda t: 5 * sin(t), "accel_y_mps2": lambda t: 5 * sin(2 * t)}
        samples += drive(
            12, rate_hz, start_s=day * DAY_S + offset, speed_kmh=course, device_id=device, **(accel if day else {})
        )
    return samples


@settings(max_examples=5)
@given(pieces=st.lists(_PIECE, min_size=2, max_size=6), data=st.randoms(use_true_random=False))
def test_day_by_day_in_any_order_gives_the_rows_of_all_at_once(pieces: list[Any], data: random.Random):
    samples = _zigzag(pieces)
    shuffled = list(enumerate(samples))
    data.shuffle(shuffled)
    frame = telemetry(samples)
    at_once = detect_driving_events(frame, days=EVER).collect()
    order = [number for number, _ in shuffled]
    again = detect_driving_events(frame.collect()[order].lazy(), days=EVER).collect(engine="streaming")
    assert_frame_equal(again, at_once, check_exact=True)
    one_by_one = [
        detect_driving_events(telemetry(window(samples, day.widened(HALO_DAYS))), days=day).collect()
        for day in (Days(day, day) for day in Days(DAY - timedelta(1), DAY + timedelta(3)))
    ]
    assert_frame_equal(
        pl.concat(one_by_one).sort("vehicle_id", "started_at", "kind", "peak_g"),
        at_once.sort("vehicle_id", "started_at", "kind", "peak_g"),
        check_exact=True,
    )


# Real recordings, read from where they lie and never copied


def test_real_drives_show_the_corners_that_their_recorder_noted(recordings: Path):
    recorded = pl.read_csv(recordings / "drives_1hz.csv", infer_schema_length=None)
    turns = pl.col("accel_event").is_not_null() & (pl.col("accel_y").abs() > 0.45)
    noted = recorded.filter(turns & (pl.col("speed_mph") > 1))
    found = detect_driving_events(recorded_drives(recordings), days=EVER).collect().filter(kind="cornering")
    spans = found.select(
        "vehicle_id", a=pl.col("started_at").dt.epoch("s") - 1, b=pl.col("ended_at").dt.epoch("s") + 1
    )
    hit = noted.select(vehicle_id=pl.col("drive").cast(pl.String), t="time_utc").join(spans, on="vehicle_id")
    assert hit.filter(pl.col("t").is_between("a", "b"))["t"].n_unique() == noted.height
