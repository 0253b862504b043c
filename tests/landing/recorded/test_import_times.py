from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from smartdrive_dagster.landing.recorded.errors import OptionError
from smartdrive_dagster.landing.recorded.format_model import TimeColumn
from smartdrive_dagster.landing.recorded.times import TimeFaultError, open_clock


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def read(cells: list[str], form: str, day: date | None = None, zone: str = "UTC", **options: Any) -> list[int]:
    clock = open_clock(TimeColumn(column="t", form=form, **options), day=day, time_zone=zone, decimal="any")
    return [clock(cell) for cell in cells]


@pytest.mark.parametrize(
    ("cell", "form", "options", "expected"),
    [
        ("1714595264.3447", "epoch_s", {}, "2024-05-01T20:27:44.345"),
        ("1714595264,3447", "epoch_s", {}, "2024-05-01T20:27:44.345"),
        ("1714595264344", "epoch_ms", {}, "2024-05-01T20:27:44.344"),
        ("2024-05-01T20:27:44.344Z", "iso8601", {"zone": "Asia/Tokyo"}, "2024-05-01T20:27:44.344"),
        ("2024-05-01 20:27:44+02:00", "iso8601", {}, "2024-05-01T18:27:44"),
        ("2024-05-01 20:27:44", "iso8601", {"zone": "Europe/Berlin"}, "2024-05-01T18:27:44"),
        ("01.05.2024 20:27:44", "strptime", {"pattern": "%d.%m.%Y %H:%M:%S"}, "2024-05-01T20:27:44"),
        ("20:27:44.5", "strptime", {"pattern": "%H:%M:%S.%f", "day": date(2024, 5, 1)}, "2024-05-01T20:27:44.5"),
        ("73664.344182", "seconds_of_day", {"day": date(2024, 5, 1)}, "2024-05-01T20:27:44.344"),
        ("1500", "seconds_since_start", {"day": date(2024, 5, 1), "unit": "ms"}, "2024-05-01T00:00:01.5"),
    ],
)
def test_each_form_of_time_is_read(cell, form, options, expected):
    assert read([cell], form, **options) == [ms(expected)]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "time_missing"),
        ("soon", "time_invalid"),
        ("nan", "time_invalid"),
        ("1e400", "time_invalid"),
        ("1_714_595_264", "time_invalid"),
        ("-1", "time_out_of_range"),
        ("1714595264344", "time_out_of_range"),
        ("1199145599", "time_out_of_range"),
        ("4102444800", "time_out_of_range"),
    ],
)
def test_a_time_that_cannot_be_meant_has_a_reason(cell, reason):
    with pytest.raises(TimeFaultError) as caught:
        read([cell], "epoch_s")
    assert caught.value.reason == reason


@pytest.mark.parametrize("form", ["seconds_of_day", "seconds_since_start"])
def test_times_without_a_date_ask_for_one(form):
    with pytest.raises(OptionError, match=r"carry no date.*--date"):
        read(["1"], form)


def test_an_unknown_time_zone_is_refused():
    for zone in ("Berlin", "Europe", "../etc", ""):
        with pytest.raises(OptionError, match="no IANA time zone"):
            read(["1714595264"], "epoch_s", zone=zone)


def test_seconds_of_the_day_that_step_back_by_more_than_twelve_hours_are_of_the_next_day():
    times = read(["86399.5", "0.5", "50000", "86399", "1"], "seconds_of_day", day=date(2024, 5, 1))
    assert times == [
        ms("2024-05-01T23:59:59.5"),
        ms("2024-05-02T00:00:00.5"),
        ms("2024-05-02T13:53:20"),
        ms("2024-05-02T23:59:59"),
        ms("2024-05-03T00:00:01"),
    ]


def test_times_of_day_by_a_pattern_pass_midnight_too():
    times = read(["23:59", "00:01"], "strptime", day=date(2024, 12, 31), pattern="%H:%M")
    assert times == [ms("2024-12-31T23:59"), ms("2025-01-01T00:01")]


def test_a_long_pause_after_midnight_does_not_lead_back_to_the_day_before():
    times = read(["86390", "10", "70000"], "seconds_of_day", day=date(2024, 5, 1))
    assert times[2] == ms("2024-05-02T00:00") + 70_000_000


@pytest.mark.parametrize(
    ("cells", "last"),
    [
        (["86399", "1", "86399.5", "2"], "2024-05-02T00:00:02"),
        (["73664", "9", "73665"], "2024-05-01T20:27:45"),
        (["3000", "86399", "3001"], "2024-05-01T00:50:01"),
    ],
)
def test_disorder_at_midnight_or_one_damaged_time_does_not_move_the_rest_of_the_log(cells, last):
    assert read(cells, "seconds_of_day", day=date(2024, 5, 1))[-1] == ms(last)


def test_a_local_time_that_the_change_to_summer_time_skips_is_refused():
    spring = ["2024-03-31 01:59:59", "2024-03-31 03:00:00"]
    first, second = read(spring, "iso8601", zone="Europe/Berlin")
    assert second - first == 1000
    with pytest.raises(TimeFaultError) as caught:
        read(["2024-03-31 02:30:00"], "iso8601", zone="Europe/Berlin")
    assert caught.value.reason == "time_nonexistent"


def test_of_a_local_time_that_comes_twice_the_first_is_taken():
    assert read(["2024-10-27 02:30:00"], "iso8601", zone="Europe/Berlin") == [ms("2024-10-27T00:30")]


def test_a_day_without_a_midnight_begins_at_its_first_instant():
    start = read(["0"], "seconds_since_start", day=date(2018, 11, 4), zone="America/Sao_Paulo")
    assert start == [ms("2018-11-04T03:00")]
