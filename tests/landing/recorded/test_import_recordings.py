"""Real drives against figures that were computed independently (numpy, trapezoid rule)."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from statistics import correlation
from typing import Any

import pytest

from smartdrive_dagster.landing.recorded.importer import detect_format, load_format

DRIVE_RECORDER = Path(__file__).parents[3] / "docs" / "formats" / "drive-recorder.yml"


def kilometres(speed: list[tuple[int, float]]) -> float:
    """Trapezoid rule on speed in km/h over times in ms, never across more than 10 s."""
    steps = pairwise(speed)
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in steps if b[0] - a[0] <= 10_000) / 3_600_000


def truth(recordings: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((recordings / "truth.json").read_text())[name])


def test_a_car_scanner_drive_balances_and_keeps_its_distance(do_import, recordings, day):
    path = recordings / "carscanner_drive.csv"
    expected = truth(recordings, path.name)
    imported = do_import(path, detect_format(path), day=day)
    report, speed = imported.report, imported.series("SPEED")
    assert report.read == expected["rows"] == 14_733
    assert report.mapped + sum(report.ignored.values()) == 14_733
    assert not report.quarantined
    assert len(speed) == expected["speed_samples"]
    assert kilometres(speed) == pytest.approx(expected["dist_trap_km"], rel=0.01)
    assert max(value for _, value in speed) == pytest.approx(expected["max_speed_kmh"], abs=0.01)
    intake = [value for _, value in imported.series("INTAKE_TEMP")]
    assert [min(intake), max(intake)] == pytest.approx(expected["iat_c_min_max"])
    assert (report.last_ms - report.first_ms) / 1000 == pytest.approx(expected["duration_s"], abs=0.001)


def test_every_pid_of_the_car_scanner_drive_is_mapped_or_ignored_with_a_reason(do_import, recordings, day):
    form = load_format("car-scanner")
    report = do_import(recordings / "carscanner_drive.csv", form, day=day).report
    reasons = {name: form.ignore[name] for name in report.ignored}
    assert all(reasons.values())
    assert len(report.signals) + len(reasons) == truth(recordings, "carscanner_drive.csv")["pids"] == 29


def test_the_commanded_mixture_of_the_car_scanner_drive_is_a_ratio_near_one(do_import, recordings, day):
    imported = do_import(recordings / "carscanner_drive.csv", load_format("car-scanner"), day=day)
    ratios = sorted(value for _, value in imported.series("COMMANDED_EQUIV_RATIO"))
    assert ratios[len(ratios) // 2] == pytest.approx(1.0, abs=0.02)


def test_28_recorded_drives_keep_their_rows_distance_and_top_speed(do_import, recordings):
    expected = truth(recordings, "drives_1hz.csv")
    imported = do_import(recordings / "drives_1hz.csv", load_format(DRIVE_RECORDER))
    speed = imported.series("SPEED")
    assert imported.report.samples == expected["rows"] == 23_187
    assert not imported.report.quarantined
    assert max(value for _, value in speed) == pytest.approx(expected["max_speed_kmh"], abs=0.5)
    total = 0.0
    for drive in expected["per_drive"].values():
        own = [entry for entry in speed if drive["start"] * 1000 <= entry[0] <= drive["end"] * 1000]
        assert kilometres(own) == pytest.approx(drive["dist_trap_km"], abs=0.01)
        total += kilometres(own)
    assert total == pytest.approx(expected["total_dist_trap_km"], rel=0.005)


def test_forward_and_left_are_positive_in_the_recorded_drives(do_import, recordings):
    """Correlate the accelerometer with the derivative of speed, and with speed times the rate of the course."""
    imported = do_import(recordings / "drives_1hz.csv", load_format(DRIVE_RECORDER))
    speed, along, across = (dict(imported.series(name)) for name in ("SPEED", "ACCEL_X", "ACCEL_Y"))
    course = _course(dict(imported.series("LATITUDE")), dict(imported.series("LONGITUDE")))
    known = course.keys() & along.keys() & across.keys()
    moving = [at for at in known if speed[at] > 20 and {at - 1000, at + 1000} <= known]
    forward = [(speed[at + 1000] - speed[at - 1000]) / 7.2 for at in moving]
    left = [-speed[at] / 3.6 * _turn(course[at - 1000], course[at + 1000]) / 2 for at in moving]
    assert correlation([along[at] for at in moving], forward) > 0.3
    assert correlation([across[at] for at in moving], left) > 0.3


def test_a_recorded_drive_is_read_in_the_time_zone_that_is_given(do_import, recordings, tmp_path):
    path, options = recordings / "carscanner_drive.csv", {"day": date(2024, 7, 1)}
    utc = do_import(path, load_format("car-scanner"), **options, landing=tmp_path / "utc").report
    summer = do_import(path, load_format("car-scanner"), **options, time_zone="Europe/Berlin").report
    assert utc.first_ms - summer.first_ms == 2 * 3_600_000
    assert datetime.fromtimestamp(utc.first_ms / 1000, UTC).date() == date(2024, 7, 1)


def _course(latitude: dict[int, float], longitude: dict[int, float]) -> dict[int, float]:
    """Compass course in radians (clockwise from north) from the second before to the second after."""
    return {
        at: math.atan2(
            (longitude[at + 1000] - longitude[at - 1000]) * math.cos(math.radians(latitude[at])),
            latitude[at + 1000] - latitude[at - 1000],
        )
        for at in latitude
        if {at - 1000, at + 1000} <= latitude.keys()
    }


def _turn(before: float, after: float) -> float:
    return math.remainder(after - before, 2 * math.pi)
