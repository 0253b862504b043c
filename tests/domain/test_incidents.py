"""Incidents: what gives a crash away, what does not, and the evidence that is kept."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.incidents import HALO_DAYS, altered_incidents, detect_incidents
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


def incidents_of(samples: list[Sample], *, days: Days = EVER) -> pl.DataFrame:
    return conform(driving.INCIDENTS, detect_incidents(telemetry(samples), days=days).collect())


def crash(rate_hz: float = 10, *, start_s: float = NOON_S, **signals: Any) -> list[Sample]:
    """A minute at 80 km/h, then nothing moves."""
    return drive(120, rate_hz, start_s=start_s, **{"speed_kmh": lambda t: 80.0 if t < 60 else 0.0, **signals})


def hit(at_s: float, g: float) -> Any:
    return lambda t: g * G if abs(t - at_s) < 0.05 else 0.0


@pytest.mark.parametrize("rate_hz", [1, 2, 10])
def test_a_speed_that_falls_as_no_brake_makes_it_is_an_incident(rate_hz: float):
    (found,) = incidents_of(crash(rate_hz)).to_dicts()
    assert (found["kind"], found["source"], found["confidence"]) == ("speed_drop", "speed", "medium")
    assert (found["speed_before_kmh"], found["speed_after_kmh"]) == (80, 0)
    assert found["started_at"] == MIDNIGHT + timedelta(seconds=NOON_S + 60)


@pytest.mark.parametrize(("g", "found"), [(0.75, 0), (0.85, 1), (3, 1)])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_an_impact_is_a_single_reading_over_the_limit_without_the_bias(g: float, found: int, bias: float):
    samples = drive(120, 10, speed_kmh=50.0, accel_y_mps2=lambda t: bias * G + hit(60, g)(t))
    assert incidents_of(samples)["kind"].to_list() == ["impact"] * found


@pytest.mark.parametrize(
    ("signals", "confidence"),
    [
        pytest.param({"accel_x_mps2": hit(60, -5)}, "high", id="speed and accelerometer"),
        pytest.param({"speed_kmh": 30.0, "accel_x_mps2": hit(60, -5)}, "medium", id="moving"),
        pytest.param({"speed_kmh": 0.0, "accel_x_mps2": hit(60, -5)}, "low", id="standing"),
        pytest.param({"speed_kmh": None, "accel_x_mps2": hit(60, -5)}, "low", id="speed unknown"),
    ],
)
def test_the_confidence_says_how_many_witnesses_there_are(signals: dict[str, Any], confidence: str):
    assert incidents_of(crash(**signals))["confidence"].to_list() == [confidence]


@pytest.mark.parametrize(
    ("course", "kind"),
    [
        pytest.param(ramp((60, 100), (62, 100 - 2 * 0.9 * G * 3.6)), ["hard_stop"], id="brakes at their limit"),
        pytest.param(ramp((60, 100), (64, 100 - 4 * 0.6 * G * 3.6)), [], id="hard braking"),
        pytest.param(lambda t: 0.0 if 60 <= t < 63 else 80.0, [], id="three seconds of zeros"),
        pytest.param(lambda t: 0.0 if 60 <= t < 63 else 34.0, [], id="zeros within what brakes could do"),
        pytest.param(lambda t: 0.0 if 60 <= t < 61 else 80.0, [], id="a single zero"),
        pytest.param(lambda t: 0.0 if t < 60 else 60.0, [], id="wheels that spin"),
    ],
)
def test_what_a_fall_of_speed_is_taken_for(course: Any, kind: list[str]):
    assert incidents_of(crash(1, speed_kmh=course))["kind"].to_list() == kind


def test_no_fall_is_made_up_over_a_gap():
    samples = [row for n, row in enumerate(crash(1)) if not 55 <= n < 66]
    assert incidents_of(samples).height == 0


def test_what_follows_within_half_a_minute_belongs_to_the_incident():
    knocks = crash(accel_x_mps2=lambda t: sum(hit(at, -4)(t) for at in (60, 62, 85)))
    (found,) = incidents_of(knocks).to_dicts()
    assert (found["ended_at"] - found["started_at"]).total_seconds() == 25
    far = drive(200, 10, speed_kmh=50.0, accel_x_mps2=lambda t: hit(60, -4)(t) + hit(100, -4)(t))
    assert incidents_of(far).height == 2


def test_a_sensor_that_went_mad_is_one_incident():
    mad = drive(4000, 1, speed_kmh=50.0, accel_x_mps2=lambda t: 2 * G if t > 2500 else 0.0)
    assert incidents_of(mad).height == 1


def test_thirty_seconds_on_both_sides_are_kept_with_all_that_was_measured():
    samples = crash(2, engine_speed_rpm=1500.0, latitude_deg=47.5)
    samples[110]["extra_signals"] = {"AIRBAG": 1.0}
    (found,) = incidents_of(samples).to_dicts()
    kept = json.loads(found["telemetry"])
    assert kept["schema"] == "incident-telemetry.v1"
    assert found["samples"] == len(kept["t_us"]) == 121
    at_us = round(found["started_at"].timestamp() * 1e6)
    assert (kept["t_us"][0], kept["t_us"][-1]) == (at_us - 30_000_000, at_us + 30_000_000)
    assert set(kept["signals"]) == {"speed_kmh", "engine_speed_rpm", "latitude_deg", "AIRBAG"}
    assert kept["signals"]["speed_kmh"] == [80.0] * 60 + [0.0] * 61
    assert kept["signals"]["AIRBAG"].count(1.0) == 1


def test_a_later_change_of_the_evidence_shows():
    found = incidents_of(crash(1))
    text = found["telemetry"].item()
    assert found["telemetry_sha256"].item() == hashlib.sha256(text.encode()).hexdigest()
    assert altered_incidents(found.lazy()).collect().height == 0
    forged = found.with_columns(telemetry=pl.col("telemetry").str.replace("80.0", "50.0"))
    assert altered_incidents(forged.lazy()).collect()["incident_id"].to_list() == found["incident_id"].to_list()


@pytest.mark.parametrize("start_s", [DAY_S - 61.0, DAY_S - 60.0, DAY_S - 59.0])
def test_day_by_day_in_any_order_gives_the_rows_of_all_at_once(start_s: float):
    samples = crash(2, start_s=start_s, accel_x_mps2=hit(60.5, -3), device_id="one")
    at_once = incidents_of(samples)
    assert at_once.height == 1
    one_by_one = [
        detect_incidents(telemetry(window(samples, day.widened(HALO_DAYS))), days=day).collect()
        for day in (Days(day, day) for day in Days(DAY - timedelta(1), DAY + timedelta(2)))
    ]
    assert_frame_equal(pl.concat(one_by_one), at_once, check_exact=True)
    backwards = telemetry(samples).collect()[list(range(len(samples)))[::-1]].lazy()
    assert_frame_equal(
        detect_incidents(backwards, days=EVER).collect(engine="streaming"), at_once, check_exact=True
    )


def test_real_drives_without_a_crash_have_no_incident(recordings: Path):
    assert detect_incidents(recorded_drives(recordings), days=EVER).collect().height == 0
