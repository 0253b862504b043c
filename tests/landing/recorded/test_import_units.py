from __future__ import annotations

import pytest

from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, UnitError, parse_unit, to_contract


@pytest.mark.parametrize(
    ("signal", "unit", "recorded", "expected"),
    [
        ("SPEED", "mph", 60.0, 96.56064),
        ("SPEED", "m/s", 10.0, 36.0),
        ("SPEED", "Km/H", 88.0, 88.0),
        ("SPEED", "kn", 10.0, 18.52),
        ("COOLANT_TEMP", "℉", 212.0, 100.0),
        ("COOLANT_TEMP", "°F", -40.0, -40.0),
        ("COOLANT_TEMP", "ºC", 90.0, 90.0),
        ("COOLANT_TEMP", "℃", 90.0, 90.0),
        ("COOLANT_TEMP", "K", 273.15, 0.0),
        ("INTAKE_PRESSURE", "psi", 14.5037738, 100.0),
        ("INTAKE_PRESSURE", "bar", 1.01325, 101.325),
        ("BAROMETRIC_PRESSURE", "inHg", 29.92, 101.32075888),
        ("BAROMETRIC_PRESSURE", "hPa", 1013.25, 101.325),
        ("EVAP_VAPOR_PRESSURE", "kPa", 0.5, 500.0),
        ("ELM_VOLTAGE", "mV", 12_345.0, 12.345),
        ("ACCEL_X", "g", -1.0, -9.80665),
        ("ACCEL_X", "m/s²", 2.5, 2.5),
        ("MAF", "g/sec", 3.85, 3.85),
        ("MAF", "lb/min", 1.0, 7.559872833),
        ("FUEL_RATE", "gal/h", 1.0, 3.785411784),
        ("DISTANCE_W_MIL", "miles", 10.0, 16.09344),
        ("ODOMETER", "m", 1500.0, 1.5),
        ("RUN_TIME", "min", 2.0, 120.0),
        ("TIME_SINCE_DTC_CLEARED", "h", 1.0, 60.0),
        ("FUEL_LEVEL", "%", 40.0, 40.0),
        ("COMMANDED_EQUIV_RATIO", "", 0.98, 0.98),
        ("COMMANDED_EQUIV_RATIO", "λ", 0.98, 0.98),
    ],
)
def test_a_recorded_value_is_converted_to_the_unit_of_the_contract(signal, unit, recorded, expected):
    assert to_contract(signal, unit)(recorded) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("signal", UNIT_OF_SIGNAL)
def test_a_value_in_the_unit_of_the_contract_stays_exactly_as_it_is(signal):
    assert to_contract(signal, UNIT_OF_SIGNAL[signal])(0.1 + 0.2) == 0.1 + 0.2


@pytest.mark.parametrize(
    ("signal", "unit", "reason"),
    [
        ("SPEED", "mhp", "unit_unknown"),
        ("SPEED", "kPa", "unit_mismatch"),
        ("SPEED", "", "unit_missing"),
        ("SPEED", None, "unit_missing"),
        ("COMMANDED_EQUIV_RATIO", "V", "unit_mismatch"),
    ],
)
def test_a_unit_that_cannot_be_converted_is_refused(signal, unit, reason):
    with pytest.raises(UnitError) as caught:
        to_contract(signal, unit)
    assert caught.value.reason == reason


def test_the_nearest_unit_is_named():
    with pytest.raises(UnitError, match="did you mean 'km/h'"):
        parse_unit("km/hh")
