from __future__ import annotations

from pathlib import Path

import pytest

from smartdrive_dagster.landing.recorded.errors import FormatError, FormatUndetectedError
from smartdrive_dagster.landing.recorded.formats import known_formats, load_format, parse_format
from smartdrive_dagster.landing.recorded.importer import detect_format

WIDE = "shape: wide\ntime: {column: t, form: epoch_s}\ncolumns:\n  v: {signal: SPEED, unit: km/h}\n"
LONG = "shape: long\ntime: {column: t, form: epoch_s}\nreading: {name: n, value: v, unit: u}\n"
LONG += "pids: {x: {signal: RPM}}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (WIDE.replace("SPEED", "SPED"), "columns.v.signal: 'SPED' is no signal.*did you mean 'SPEED'"),
        (WIDE.replace("km/h", "kmm/h"), "columns.v: 'kmm/h' is no known unit; did you mean 'km/h'"),
        (WIDE.replace("km/h", "kPa"), "columns.v: 'kPa' does not measure SPEED"),
        (WIDE.replace(", unit: km/h", ""), "columns.v: the unit is missing, for example 'km/h'"),
        (WIDE + "delimeter: ','", "delimeter: no such field; did you mean 'delimiter'"),
        (WIDE + "encoding: utf-7", "encoding: 'utf-7' is none of"),
        (WIDE + "delimiter: ';;'", "delimiter: ';;' is neither one character"),
        (WIDE + "header: false", "delimiter: must be given"),
        (WIDE + "ignore: {V: why}", "ignore: 'v' is mapped as well"),
        (WIDE + "shape: long", "'shape' is given twice"),
        (WIDE + "columns: {}", "'columns' is given twice"),
        (WIDE.replace("v: {s", "1: {s"), "the name 1 must stand in quotes"),
        (WIDE.replace("km/h", "%"), "no valid YAML"),
        (WIDE.replace("epoch_s", "epoch"), "time.form: input should be 'epoch_s', 'epoch_ms'"),
        (WIDE.replace("epoch_s", "strptime"), "time: pattern: needed for the form strptime"),
        (WIDE.replace("epoch_s", "strptime, pattern: '%Y-%Q'"), "pattern: 'Q' is a bad directive"),
        (WIDE.replace("epoch_s", "strptime, pattern: '%d.%m. %H:%M'"), "a day without a year"),
        (WIDE.replace("epoch_s", "seconds_of_day, unit: km"), "time: unit: 'km' is no unit of time"),
        (WIDE.replace("km/h", "km/h, scale: 0"), "columns.v.scale: 0 would make all readings equal"),
        (WIDE.replace("km/h", "km/h, scale: .nan"), "columns.v.scale: input should be a finite number"),
        (WIDE.replace("km/h", "km/h, range: [9, 1]"), "the least value must be below"),
        (LONG.replace("reading", "readings"), "readings: no such field; did you mean 'reading'"),
        (WIDE + "pids: {x: {signal: RPM, unit: rpm}}", "a wide log needs columns, and neither reading nor pids"),
        ("- a list", "a mapping of field names to values is expected"),
        ("", "a mapping of field names to values is expected"),
    ],
)
def test_a_fault_in_a_mapping_is_named_with_file_field_and_nearest_name(text, complaint):
    with pytest.raises(FormatError, match=f"(?s)car.yml: .*{complaint}"):
        parse_format(text, source="car.yml")


def test_a_mapping_of_each_shape_is_accepted():
    assert parse_format(WIDE, source="w").columns["v"].signal == "SPEED"
    assert parse_format(LONG, source="l").pids["x"].signal == "RPM"


def test_an_unknown_format_names_the_nearest_and_the_way_to_a_mapping_file():
    with pytest.raises(FormatError, match=r"car-scaner: neither .*did you mean 'car-scanner'.*mapping file"):
        load_format("car-scaner")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00", b"a: [", b"x" * (1 << 20) + b"y"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    path = tmp_path / "mapping.yml"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"mapping\.yml"):
        load_format(path)


def test_the_built_in_formats_are_known_and_valid():
    assert known_formats()["car-scanner"].startswith("Car Scanner")
    assert all(load_format(name) for name in known_formats())


def test_the_documented_example_is_valid():
    example = Path(__file__).parents[3] / "docs" / "formats" / "drive-recorder.yml"
    assert load_format(example).shape == "wide"


def test_the_reason_given_for_ignoring_a_column_does_not_change_what_is_imported():
    assert parse_format(WIDE + "ignore: {a: text}", source="x").effect() == parse_format(WIDE, source="x").effect()
    assert parse_format(WIDE + "decimal: any", source="x").effect() != parse_format(WIDE, source="x").effect()


@pytest.mark.parametrize(
    "header",
    [
        '"SECONDS";"PID";"VALUE";"UNITS";',
        "\ufeffSECONDS;PID;VALUE;UNITS\r",
        '"SECONDS";"PID";"VALUE";"UNITS";"LATITUDE";"LONGTITUDE";',
    ],
)
def test_a_car_scanner_log_is_recognised_by_its_header(tmp_path, header):
    path = tmp_path / "log.csv"
    path.write_text(f"{header}\n1;Engine RPM;800;rpm;\n", encoding="utf-8")
    assert detect_format(path) == load_format("car-scanner")


def test_an_unknown_header_asks_for_a_format(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("time,speed\n1,2\n")
    with pytest.raises(FormatUndetectedError, match=r"--format \(car-scanner, envirocar\).*mapping file"):
        detect_format(path)
