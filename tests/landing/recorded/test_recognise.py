"""Logs of other software: what they are recognised as, what they give, and what is asked instead of guessed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdrive_dagster.landing.recorded.date_texts import dates_in_name, parse_date_time, parse_time_of_day
from smartdrive_dagster.landing.recorded.errors import (
    AmbiguousLogError,
    FormatUndetectedError,
    LogImportError,
    LogUnreadableError,
    OptionError,
)
from smartdrive_dagster.landing.recorded.importer import ImportReport, import_log
from smartdrive_dagster.landing.recorded.meter import number_and_unit
from smartdrive_dagster.landing.recorded.recognise import Given, Recognised, recognise
from smartdrive_dagster.landing.recorded.times import parse_number

VIN = "1M8GDM9AXKP042788"
AT = datetime(2026, 5, 1, tzinfo=UTC)
T0 = 1_714_595_264  # 2024-05-01T20:27:44Z
TORQUE = (
    "GPS Time, Device Time, Longitude, Latitude,GPS Speed (Meters/second), Altitude, G(x),"
    "Engine Coolant Temperature(°C),Engine RPM(rpm),Speed (OBD)(km/h),Voltage (OBD Adapter)(V)"
)


@dataclass(frozen=True)
class Read:
    found: Recognised
    report: ImportReport

    @property
    def first(self) -> dict[str, float]:
        return self.report.preview[0][1]

    @property
    def begins(self) -> str:
        return datetime.fromtimestamp((self.report.first_ms or 0) / 1000, UTC).isoformat()

    @property
    def left_out(self) -> dict[str, str]:
        return {plan.name: plan.because for plan in self.found.plans if plan.signal is None}


Reader = Callable[..., Read]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Recognise and read a log without landing it."""

    def run(content: str | bytes, name: str = "log.csv", **said: Any) -> Read:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        found = recognise(path, Given(**said))
        form = found.checked(path)
        options = {"day": found.day, "time_zone": found.time_zone, "start": found.start}
        return Read(
            found, import_log(path, vin=VIN, secret=b"s" * 32, store=None, format=form, received_at=AT, **options)
        )

    return run


def table(header: str, rows: Iterable[str]) -> str:
    return "\n".join((header, *rows, ""))


def torque_row(second: int, more: str = "") -> str:
    coolant = "-" if second % 2 else "88"
    time = f"Wed May 01 20:27:{second:02d} GMT+02:00 2024,01-May-2024 20:27:{second:02d}.123"
    return f"{time},13.4,52.5,{second / 3.6:.2f},35,0.1,{coolant},{800 + second},{second},14.1{more}"


def test_torque_is_read_with_its_absent_values_and_the_header_that_a_restart_writes_anew(read: Reader) -> None:
    rows = [
        *map(torque_row, range(4)),
        TORQUE,
        *map(torque_row, range(4, 6)),
        f"{TORQUE},Intake Air Temperature(°F)",
        *(torque_row(second, ",86.0") for second in range(6, 8)),
    ]
    result = read(table(TORQUE, rows))
    assert result.found.title.startswith("Torque Pro")
    expected = {"RPM": 8, "SPEED": 8, "ELM_VOLTAGE": 8, "LATITUDE": 8, "LONGITUDE": 8, "COOLANT_TEMP": 4}
    assert result.report.signals == expected | {"INTAKE_TEMP": 2}
    assert result.report.quarantined == {}
    assert result.begins == "2024-05-01T18:27:00.123000+00:00"  # the zone stands in the GPS times
    assert set(result.left_out) == {"GPS Time", "GPS Speed (Meters/second)", "Altitude", "G(x)"}
    assert result.report.preview[-1][1] == {"RPM": 804.0, "SPEED": 4.0, "ELM_VOLTAGE": 14.1, "COOLANT_TEMP": 88.0}


def track(*points: dict[str, Any]) -> str:
    return json.dumps({"type": "FeatureCollection", "properties": {}, "features": list(points)})


def point(second: int, **phenomenons: tuple[Any, str]) -> dict[str, Any]:
    named = {name.replace("_", " "): {"value": value, "unit": unit} for name, (value, unit) in phenomenons.items()}
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [7.5, 51.25]},
        "properties": {"time": f"2024-05-01T20:27:{second:02d}Z", "phenomenons": named},
    }


def test_a_track_of_envirocar_is_read_point_by_point(read: Reader) -> None:
    points = [point(s, Speed=(36.5, "km/h"), Rpm=(900, "u/min"), Intake_Temperature=(33.0, "c")) for s in (44, 45)]
    damaged = point(46, Speed=("fast", "km/h"), Rpm=(None, "u/min"), MAF=(3.2, "l/s"), CO2=(1.5, "kg/h"))
    result = read(track(*points, damaged, {"type": "Feature"}), "track.json")
    assert result.report.signals == {"RPM": 2, "SPEED": 2, "INTAKE_TEMP": 2, "LATITUDE": 3, "LONGITUDE": 3}
    assert result.report.quarantined == {"not_a_number": 1, "value_missing": 1, "unit_unknown": 1, "cell_count": 1}
    assert result.report.ignored == {"CO2": 1}
    assert result.begins == "2024-05-01T20:27:44+00:00"


def test_a_track_without_an_adapter_takes_the_phone_s_speed(read: Reader) -> None:
    assert read(track(point(44, GPS_Speed=(36.5, "km/h"))), "track.json").first == {"SPEED": 36.5}


ENCODED = "Zeit;Drehzahl (U/min);Geschwindigkeit (km/h);Kühlmitteltemperatur (°C)"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_encodings_delimiters_and_decimal_commas_are_found_out(
    read: Reader, encoding: str, delimiter: str
) -> None:
    text = table(ENCODED, [f"01.05.2024 20:27:{s:02d},5;{800 + s},5;{s},25;88,5" for s in range(10, 20)])
    result = read(text.replace(";", delimiter).encode(encoding))
    assert result.first == {"RPM": 810.5, "SPEED": 10.25, "COOLANT_TEMP": 88.5}
    assert result.begins == "2024-05-01T20:27:10.500000+00:00"


def test_utf_16_of_the_other_byte_order_is_read(read: Reader) -> None:
    text = "\ufeff" + table("time,rpm", [f"{T0},800"])
    assert read(text.encode("utf-16-be")).first == {"RPM": 800.0}


@pytest.mark.parametrize("unit", ["°C", "Â°C", "ÂºC", "�C", "ºC", "℃", "Ã\x82Â°C", "degC", "øC"])
def test_a_degree_sign_lost_in_translation_is_still_one(read: Reader, unit: str) -> None:
    assert read(table(f"time,Coolant temp ({unit})", [f"{T0},88"])).first == {"COOLANT_TEMP": 88.0}


def test_units_in_the_cells_are_taken_off_and_converted(read: Reader) -> None:
    header = "TIMESTAMP;COOLANT;RPM;SPEED;MAF;VOLTAGE;THROTTLE"
    rows = [f"{T0 + n}000;180°F;{3000 + n} rpm;48mph;4,49g/s;14.1V;20,5%" for n in range(3)]
    assert read(table(header, rows)).first == pytest.approx(
        {
            "COOLANT_TEMP": 82.222222222,
            "RPM": 3000.0,
            "SPEED": 77.248512,
            "MAF": 4.49,
            "ELM_VOLTAGE": 14.1,
            "THROTTLE_POS": 20.5,
        }
    )


def test_imperial_units_are_converted(read: Reader) -> None:
    header = "time,Speed (mph),Coolant [°F],Intake Manifold Pressure(psi),Odometer (miles)"
    first = read(table(header, [f"{T0},60,212,14.5037738,10"])).first
    expected = {"SPEED": 96.56064, "COOLANT_TEMP": 100.0, "INTAKE_PRESSURE": 100.0, "ODOMETER": 16.09344}
    assert first == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("2024-05-01.csv", "2024-05-01"),
        ("drive_20240501_x.csv", "2024-05-01"),
        ("trackLog-2024-May-01.csv", "2024-05-01"),
        ("1 May 2024.csv", "2024-05-01"),
        ("25-05-2024.csv", "2024-05-25"),
        ("05-05-2024.csv", "2024-05-05"),
    ],
)
def test_a_time_of_day_takes_its_date_from_the_file_s_name(read: Reader, name: str, day: str) -> None:
    result = read(table("time,rpm", ["20:27:44.5,800", "20:27:45,810"]), name)
    assert result.begins == f"{day}T20:27:44.500000+00:00"
    assert any("as the file's name says" in note for note in result.found.notes)


def test_a_date_that_is_given_goes_before_the_file_s_name(read: Reader) -> None:
    log = table("time,rpm", ["20:27:44,800"])
    assert read(log, "01-05-2024.csv", day=date(2024, 1, 5)).begins == "2024-01-05T20:27:44+00:00"


def test_elapsed_times_count_from_the_start(read: Reader) -> None:
    log = table("Time (ms),rpm", ["0,800", "250,810"])
    start = datetime.fromisoformat("2024-05-01T20:27:44+02:00")
    assert read(log, start=start).begins == "2024-05-01T18:27:44+00:00"
    local = read(log, start=datetime(2024, 5, 1, 20, 27, 44), time_zone="Europe/Berlin")  # noqa: DTZ001
    assert local.begins == "2024-05-01T18:27:44+00:00"
    assert (local.report.last_ms or 0) - (local.report.first_ms or 0) == 250
    assert read(log, "2024-05-01_20-27-44.csv").begins == "2024-05-01T20:27:44+00:00"


def test_a_start_gives_another_identity_and_none_gives_the_one_of_before(read: Reader) -> None:
    log, day = table("Time (s),rpm", ["0,800"]), date(2024, 5, 1)
    midnight, later = datetime(2024, 5, 1), datetime(2024, 5, 1, 1)  # noqa: DTZ001
    ids = {read(log, **said).report.boot_id for said in ({"day": day}, {"start": midnight}, {"start": later})}
    assert len(ids) == 3


def test_readings_in_rows_are_read_too(read: Reader) -> None:
    rows = [
        f"2024-05-01T20:27:{s:02d}Z,{name}"
        for s in range(3)
        for name in ("Engine RPM,800,rpm", "Vehicle speed,10,mph", "Flux,1,T")
    ]
    result = read(table("timestamp,sensor,value,unit", rows))
    assert result.first == {"RPM": 800.0, "SPEED": 16.09344}
    assert result.report.ignored == {"Flux": 3}


def test_a_column_that_is_not_understood_is_listed_with_a_reason(read: Reader) -> None:
    header = "time,rpm,Flux,Note,Coolant (kPa),Speed (km/h)"
    result = read(table(header, [f"{T0 + n},800,{n},x,5,{9000 + n}" for n in range(5)]))
    assert result.report.signals == {"RPM": 5}
    assert result.left_out == {
        "Flux": "no signal of the contract is known under this name",
        "Note": "holds no numbers",
        "Coolant (kPa)": "is in kPa, which does not measure COOLANT_TEMP",
        "Speed (km/h)": "its values (9000 to 9004 km/h) are none of SPEED",
    }
    assert result.report.read == result.report.mapped + sum(result.report.ignored.values())


AMBIGUOUS = [
    ("time,rpm,speed", f"{T0},800,30", {}, r"km/h or mph.*--column \"speed=SPEED:mph\""),
    ("time,coolant", f"{T0},30", {}, "°C or °F"),
    ("time,rpm", "05/06/2024 20:27:44,800", {}, r"two ways.*time=TIME:dmy.*time=TIME:mdy"),
    ("Date,Time,rpm", "05/06/2024,20:27:44,800", {}, r"two ways.*Date=TIME:dmy"),
    ("time,rpm", "20:27:44,800", {}, "carry no date"),
    ("time,rpm", "20:27:44,800", {"name": "01-05-2024.csv"}, "--date 2024-05-01 .*--date 2024-01-05"),
    ("seconds,rpm", "73664,800", {}, "since midnight or since the recording began"),
    ("Time (s),rpm", "0,800", {"name": "2024-05-01.csv"}, "pass --start 2024-05-01T"),
    ("count,rpm", "0,800", {}, "no column is known to hold times"),
    ("time,rpm,RPM", f"{T0},800,900", {}, r"'rpm', 'RPM#2' can all be RPM"),
    ("time;rpm", f"{T0};1,200", {}, "decimal or groups thousands"),
    ("time,throttle", f"{T0},0.35", {}, "percent, or a fraction"),
    ("time,vin,rpm", f"{T0},a,800\n{T0},b,800", {}, "more than one vehicle"),
]


@pytest.mark.parametrize(("header", "row", "said", "question"), AMBIGUOUS)
def test_what_has_two_readings_is_refused_with_what_to_pass(
    read: Reader, header: str, row: str, said: dict[str, Any], question: str
) -> None:
    with pytest.raises(AmbiguousLogError, match=f"(?s){question}"):
        read(table(header, [row]), **said)


def test_what_is_passed_settles_the_question(read: Reader) -> None:
    log = table("Date,Time,rpm,speed,x", [f"05/06/2024,20:27:44,{800 + n},30,2" for n in range(1)])
    columns = {"Date": "TIME:dmy", "speed": "SPEED:mph", "rpm": "-", "x": "ENGINE_LOAD:%"}
    result = read(log, columns=columns)
    assert (result.begins, result.first) == ("2024-06-05T20:27:44+00:00", {"SPEED": 48.28032, "ENGINE_LOAD": 2.0})
    grouped = table("time;rpm", [f"{T0};1,200"])
    assert read(grouped, decimal="1,234.5").first == {"RPM": 1200.0}
    assert read(grouped, decimal=",").first == {"RPM": 1.2}


def test_an_option_that_does_not_fit_the_log_is_refused(read: Reader) -> None:
    log = table("time,rpm", [f"{T0},800"])
    for columns, text in (({"rmp": "-"}, "did you mean 'rpm'"), ({"rpm": "RPMM"}, "did you mean 'RPM'")):
        with pytest.raises(OptionError, match=text):
            read(log, columns=columns)


def test_units_of_the_log_s_other_columns_settle_one_without_and_it_is_said(read: Reader) -> None:
    result = read(table("time,rpm,speed,Trip (miles)", [f"{T0},800,30,2"]))
    assert result.first["SPEED"] == pytest.approx(48.28032)
    assert any("'speed' is taken to be in mph" in note for note in result.found.notes)


@pytest.mark.parametrize(("factor", "kmh"), [(1.0, 60.0), (1.609344, 96.56064), (3.6, 216.0)])
def test_positions_tell_the_unit_of_a_speed_without_one(read: Reader, factor: float, kmh: float) -> None:
    step = 60 * factor / 3600 / 111.195  # degrees of latitude in a second at a recorded 60
    rows = [f"{T0 + n},60,{52 + n * step:.7f},13.4" for n in range(60)]
    assert read(table("time,speed,lat,lon", rows)).first == {"SPEED": pytest.approx(kmh)}


def test_a_row_of_units_below_the_header_is_read_as_such(read: Reader) -> None:
    result = read(table("Time,RPM,Speed,Coolant", ["[ms],[rpm],[mph],[°F]", f"{T0}000,800,60,212"]))
    assert result.first == pytest.approx({"RPM": 800.0, "SPEED": 96.56064, "COOLANT_TEMP": 100.0})
    assert (result.report.read, result.report.quarantined) == (3, {})


HOSTILE = [
    (b"", LogUnreadableError, "is empty"),
    (b"\n\n", LogUnreadableError, "no line of text"),
    (b"time,rpm,speed (km/h)\n", LogUnreadableError, "no row below"),
    (bytes(range(256)) * 9, LogUnreadableError, "is no text"),
    (b"PK\x03\x04\x00\x00", LogUnreadableError, "is no text"),
    (b"\xff\xfe\x00", LogImportError, "log.csv"),
    (b"<html>log in</html>", FormatUndetectedError, "begins with '<html>"),
    (b"1,2,3\n4,5,6\n", FormatUndetectedError, "mapping file"),
    (b"time,rpm\n1,2,3,4\n1,2,3,4\n", FormatUndetectedError, "another number of cells"),
    (b'{"a": [1', LogUnreadableError, "no complete JSON"),
    (b'{"a": 1}', FormatUndetectedError, "no track of enviroCar"),
    (b'{"features": ' + b"[" * 100_000, LogUnreadableError, "no complete JSON"),
]


@pytest.mark.parametrize(("content", "error", "text"), HOSTILE)
def test_a_file_that_is_no_log_is_refused_in_plain_words(
    read: Reader, content: bytes, error: type[LogImportError], text: str
) -> None:
    with pytest.raises(error, match=text):
        read(content)


def test_damaged_cells_are_counted_and_the_rest_is_read(read: Reader) -> None:
    rows = [f"{T0 + n},{800 + n},{n}" for n in range(20)]
    rows[3], rows[4], rows[5] = f"{T0 + 3},{'9' * 400},3", f"{T0 + 4},1e999,NaN", f"{T0 + 5},1,2,3"
    rows[6] = f'{T0 + 6},"8,6'
    result = read(table("time,rpm,speed (km/h)", rows))
    assert result.report.quarantined == {"not_finite": 2, "cell_count": 1, "quotes_broken": 1}
    assert result.report.signals == {"RPM": 16, "SPEED": 17}


def test_a_claim_of_a_gigabyte_is_read_as_far_as_it_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.write(b'{"features": 1')
        file.truncate(1 << 30)  # sparse: it takes no room
    with pytest.raises(LogUnreadableError, match="larger than 128 MiB"):
        recognise(path, Given())


NUMBERS = st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9).map(lambda value: round(value, 3)))


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.sampled_from(["", "C", " km/h", "V", " rpm", "°F", "%", " g/s"]))
def test_a_number_comes_out_of_every_spelling_of_it(value: float, unit: str) -> None:
    plain, comma = f"{value}", f"{value}".replace(".", ",")
    grouped = f"{value:,}"
    turned = grouped.translate(str.maketrans(",.", ".,"))
    assert number_and_unit(plain + unit, ".") == (value, unit.strip())
    assert number_and_unit(comma + unit, "any") == (value, unit.strip())
    assert number_and_unit(grouped + unit, "1,234.5") == (value, unit.strip())
    assert number_and_unit(turned + unit, "1.234,5") == (value, unit.strip())


@pytest.mark.parametrize("text", ["1,23", "12,3456", ",123", "1,,234", "1_000", "0x1F", "1.2.3", ""])
def test_a_group_that_is_none_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_number(text, "1,234.5")


@settings(max_examples=60, deadline=None)
@given(st.datetimes(datetime(2008, 1, 1), datetime(2099, 1, 1)))  # noqa: DTZ001
def test_a_date_comes_out_of_every_spelling_of_it(at: datetime) -> None:
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    clock = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
    twelve = f"{at:%I:%M:%S}.{at.microsecond // 1000:03d} {'AM' if at.hour < 12 else 'PM'}"
    assert parse_date_time(f"{at:%Y-%m-%d} {clock}", "ymd") == at
    assert parse_date_time(f"{at:%d.%m.%Y} {clock.replace('.', ',')}", "dmy") == at
    assert parse_date_time(f"{at:%m/%d/%Y} {twelve}", "mdy") == at
    assert parse_date_time(f"{at:%d-%b-%Y} {clock}", "dmy") == at
    assert parse_time_of_day(twelve) == parse_time_of_day(clock)
    assert at.date() in dates_in_name(f"x_{at:%Y%m%d}_y")


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_date_or_a_value_error(text: str) -> None:
    for order in ("ymd", "dmy", "mdy"):
        try:
            parse_date_time(text, order)  # type: ignore[arg-type]
        except ValueError:
            continue
    assert isinstance(dates_in_name(text), dict)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.one_of(st.sampled_from(["", "800", "82C", "1,2", "-", "20:27:44", '"']), st.text(max_size=5)),
            max_size=4,
        ),
        max_size=8,
    ),
    st.sampled_from(["time,rpm,speed (km/h)", "Zeit;Drehzahl", "time,name,value,unit"]),
)
def test_any_cells_below_a_header_are_read_or_refused(
    tmp_path_factory: Any, rows: list[list[str]], header: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(table(header, [",".join(row) for row in rows]).encode("utf-8", "surrogatepass"))
    try:
        found = recognise(path, Given(day=date(2024, 5, 1)))
        form = found.checked(path)
        options = {"day": found.day, "time_zone": found.time_zone, "start": found.start}
        report = import_log(
            path,
            vin=VIN,
            secret=b"s" * 32,
            store=None,
            format=form,
            received_at=AT,
            **options,  # type: ignore[arg-type]
        )
    except LogImportError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
    else:
        parts = report.mapped + report.duplicate + sum(report.ignored.values()) + sum(report.quarantined.values())
        assert report.read == parts
