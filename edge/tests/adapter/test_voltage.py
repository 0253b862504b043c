from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.adapter.voltage import Calibration, parse_voltage


@pytest.mark.parametrize(
    ("line", "volts"),
    [("12.3V", 12.3), ("12.34 V", 12.34), ("12v", 12.0), ("9.6V", 9.6), (" 14.1v ", 14.1), ("12.3", 12.3)],
)
def test_a_voltage_is_read_as_adapters_write_it(line: str, volts: float) -> None:
    assert parse_voltage(line) == volts


@pytest.mark.parametrize(
    "line",
    [
        "",
        "V",
        "12",
        "12.V",
        ".5V",
        "-12.3V",
        "12,3V",
        "1.2.3V",
        "123V",
        "12.3VV",
        "\u0661\u0662V",
        "?",
        "OK",
        "nanV",
    ],
)
def test_garbage_is_no_voltage(line: str) -> None:
    assert parse_voltage(line) is None


@pytest.mark.parametrize("line", ["0.0V", "0V", "0.9V", "99.9V", "36.1V"])
def test_what_no_car_battery_can_be_is_not_measured_rather_than_zero(line: str) -> None:
    assert parse_voltage(line) is None


def test_calibration_scales_and_shifts() -> None:
    assert parse_voltage("12.0V", Calibration(offset_v=0.25, scale=1.02)) == pytest.approx(12.49)


@pytest.mark.parametrize(("offset", "scale"), [(math.nan, 1.0), (0.0, 0.0), (0.0, -1.0), (math.inf, 1.0)])
def test_a_calibration_that_makes_no_sense_is_refused(offset: float, scale: float) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Calibration(offset, scale)


@given(st.text(max_size=12))
def test_no_text_raises_anything(line: str) -> None:
    volts = parse_voltage(line)
    assert volts is None or 1.0 <= volts <= 36.0


def test_recorded_voltages_are_read(recorded_pairs: list[tuple[str, list[str]]]) -> None:
    assert [parse_voltage(lines[0]) for request, lines in recorded_pairs if request == "ATRV"] == [12.0, 14.1]
