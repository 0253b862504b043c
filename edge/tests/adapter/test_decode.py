from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obd import commands
from obd.codes import DTC
from smartdrive_edge.adapter.decode import (
    TroubleCode,
    choose_engine,
    decode_codes,
    decode_lamp,
    decode_supported,
    decode_values,
    decode_vin,
)
from smartdrive_edge.adapter.frames import Dialect, read_messages
from smartdrive_edge.adapter.signals import BY_NAME, BY_PID

CAN = Dialect("6")
LONG_CAN = Dialect("7")
ISO_9141 = Dialect("3")
NO_HEADERS = Dialect("6", has_headers=False)
ENGINE = 0
VIN = "WVWZZZ1JZXW000001"


def frames(payload: bytes, ecu: str = "7E8", padding: int = 0xAA) -> list[str]:
    """A message as a control unit sends it over CAN (ISO 15765-2)."""
    if len(payload) <= 7:
        return [f"{ecu}{len(payload):02X}{payload.ljust(7, bytes([padding])).hex().upper()}"]
    first = f"{ecu}1{len(payload):03X}{payload[:6].hex().upper()}"
    rest = [payload[place : place + 7] for place in range(6, len(payload), 7)]
    return [
        first,
        *(f"{ecu}2{n % 16:X}{p.ljust(7, bytes([padding])).hex().upper()}" for n, p in enumerate(rest, start=1)),
    ]


def rpm(lines: list[str], dialect: Dialect = CAN, engine: int = ENGINE) -> float | None:
    return decode_values(lines, [0x0C], dialect, engine)["RPM"]


@pytest.mark.parametrize(
    ("pid", "data", "value"),
    [
        (0x04, "80", 50.196),
        (0x05, "28", 0.0),
        (0x0C, "1AF8", 1726.0),
        (0x0D, "00", 0.0),
        (0x0E, "80", 0.0),
        (0x10, "0156", 3.42),
        (0x1F, "003C", 60.0),
        (0x2F, "FF", 100.0),
        (0x42, "36B0", 14.0),
        (0x44, "8000", 0.99942),
        (0x46, "1E", -10.0),
        (0x5E, "0064", 5.0),
    ],
)
def test_a_value_is_a_plain_number_in_the_contracts_unit(pid: int, data: str, value: float) -> None:
    answer = frames(bytes((0x41, pid)) + bytes.fromhex(data))
    assert decode_values(answer, [pid], CAN, ENGINE) == {BY_PID[pid].name: pytest.approx(value, abs=1e-3)}


def test_names_are_those_of_the_contract() -> None:
    assert all(re.fullmatch("[A-Z][A-Z0-9_]{0,63}", name) for name in BY_NAME)
    assert {name for name in BY_NAME if not hasattr(commands, name)} == {"ODOMETER"}
    assert BY_NAME.keys() >= {
        "RPM",
        "SPEED",
        "MAF",
        "FUEL_RATE",
        "FUEL_LEVEL",
        "CONTROL_MODULE_VOLTAGE",
        "OIL_TEMP",
    }


def test_texts_and_bit_fields_are_no_signals() -> None:
    fields = {"STATUS", "FUEL_STATUS", "AIR_STATUS", "O2_SENSORS", "OBD_COMPLIANCE", "PIDS_A", "FREEZE_DTC"}
    assert not fields & BY_NAME.keys()
    assert decode_values(frames(b"\x41\x03\x02\x00"), [0x03], CAN, ENGINE) == {}


@pytest.mark.parametrize("pid", sorted(BY_PID))
def test_every_signal_decodes_its_own_size_and_nothing_shorter(pid: int) -> None:
    signal = BY_PID[pid]
    whole = bytes((0x41, pid)) + b"\x81" * signal.size
    assert isinstance(decode_values(frames(whole), [pid], CAN, ENGINE)[signal.name], float)
    for size in range(len(whole)):
        if size:
            assert decode_values(frames(whole[:size]), [pid], CAN, ENGINE) == {signal.name: None}


# Faults of python-OBD 0.7.3


@pytest.mark.parametrize(
    "line", ["7E804410C1A", "7E804410C", "7E804410C1AF", "7E803410C1A", "7E802410CAAAAAAAAAA", "7E80441"]
)
def test_a_truncated_frame_is_not_padded_into_a_value(line: str) -> None:
    assert rpm([line]) is None


def test_a_truncated_frame_outside_can_is_not_padded_into_a_value() -> None:
    assert rpm(["486B10410C1AF8CC"], ISO_9141, 0x10) == 1726.0
    assert rpm(["486B10410C1AF8"], ISO_9141, 0x10) is None


def test_a_long_answer_whose_end_is_missing_has_no_values() -> None:
    pids = [0x0B, 0x0C, 0x0F, 0x11, 0x0D]
    answer = frames(bytes.fromhex("410B300C1AF80F3211200D32"))
    assert None not in decode_values(answer, pids, CAN, ENGINE).values()
    for broken in (answer[:1], answer[1:], [answer[0], answer[1][:-6]]):
        assert set(decode_values(broken, pids, CAN, ENGINE).values()) == {None}


def test_of_two_control_units_the_engine_counts_in_whatever_order_they_answer() -> None:
    engine, gearbox = "7E804410C1AF8", "7E904410C0000"
    assert rpm([engine, gearbox]) == rpm([gearbox, engine]) == 1726.0
    assert rpm([gearbox]) is None


def test_an_answer_that_follows_a_response_pending_counts() -> None:
    assert rpm(["7E8037F0178AAAAAAAA", "7E804410C1AF8"]) == 1726.0
    answer = ["7E8037F0978", *frames(b"\x49\x02\x01" + VIN.encode())]
    assert decode_vin(answer, CAN, ENGINE) == VIN


@pytest.mark.parametrize("line", ["7E80143", "7E8", "", "7", "7E800", "7E810", "7E82", "7E830AAAAAAAAAA"])
def test_a_frame_that_is_too_short_raises_nothing_and_means_nothing(line: str) -> None:
    received = read_messages([line], CAN)
    assert (received.messages, received.is_damaged) == ((), True)
    assert decode_codes([line], 3, CAN) is None


@pytest.mark.parametrize("vin", [VIN, "1HGCM82633A004352", "WVWZZZ1KZAM690392", "2T1BURHE0JC012210"])
def test_a_vin_keeps_the_zeros_ones_and_twos_at_its_ends(vin: str) -> None:
    assert decode_vin(frames(b"\x49\x02\x01" + vin.encode()), CAN, ENGINE) == vin
    assert decode_vin(frames(b"\x49\x02\x01" + vin.encode(), padding=0), CAN, ENGINE) == vin


def test_a_vin_of_an_older_car_is_put_together_from_numbered_lines() -> None:
    padded = b"\0\0\0" + VIN.encode()
    parts = [padded[place : place + 4].hex().upper() for place in range(0, 20, 4)]
    answer = [f"486B104902{number:02X}{part}CC" for number, part in enumerate(parts, start=1)]
    assert decode_vin(answer, ISO_9141, 0x10) == VIN
    assert decode_vin(answer[::-1], ISO_9141, 0x10) == VIN
    assert decode_vin(answer[:-1], ISO_9141, 0x10) is None


@pytest.mark.parametrize(
    "vin", ["WVWZZZ1JZXW00000I", "WVWZZZ1JZXW00000", "wvwzzz1jzxw000001", "WVWZZZ1JZXW0000012"]
)
def test_what_is_no_vin_of_iso_3779_is_none(vin: str) -> None:
    assert decode_vin(frames(b"\x49\x02\x01" + vin.encode()), CAN, ENGINE) is None


def test_the_engines_vin_comes_before_anothers() -> None:
    gearbox = frames(b"\x49\x02\x01" + b"1HGCM82633A004352", "7E9")
    assert decode_vin(gearbox + frames(b"\x49\x02\x01" + VIN.encode()), CAN, ENGINE) == VIN
    assert decode_vin(gearbox, CAN, ENGINE) == "1HGCM82633A004352"


@given(st.permutations(frames(b"\x49\x02\x01" + VIN.encode())))
def test_frames_out_of_order_make_the_same_message(answer: list[str]) -> None:
    assert decode_vin(answer, CAN, ENGINE) == VIN


def test_frames_of_two_control_units_may_interleave() -> None:
    engine, gearbox = (frames(b"\x49\x02\x01" + VIN.encode(), ecu) for ecu in ("7E8", "7E9"))
    answer = [line for pair in zip(engine, gearbox, strict=True) for line in pair]
    assert decode_vin(answer, CAN, ENGINE) == VIN


def test_codes_of_every_control_unit_count_once_and_have_titles() -> None:
    answer = [
        *frames(bytes.fromhex("430203010420")),
        *frames(bytes.fromhex("43020715C123"), "7E9"),
        *frames(b"\x43\0", "7EA"),
    ]
    answer += frames(bytes.fromhex("43010301"), "7EB")
    codes = decode_codes(answer, 3, CAN)
    assert codes is not None
    assert [code.code for code in codes] == ["P0301", "P0420", "P0715", "U0123"]
    assert codes[0] == TroubleCode("P0301", "Cylinder 1 Misfire Detected")


@pytest.mark.parametrize("service", [3, 7, 10])
def test_each_status_has_its_service_and_no_other(service: int) -> None:
    answer = frames(bytes((0x40 + service, 1)) + bytes.fromhex("0301"))
    others = {3, 7, 10} - {service}
    assert decode_codes(answer, service, CAN) == (TroubleCode("P0301", "Cylinder 1 Misfire Detected"),)
    assert [decode_codes(answer, other, CAN) for other in others] == [None, None]


@pytest.mark.parametrize("service", [3, 7, 10])
def test_older_cars_send_no_count_of_codes(service: int) -> None:
    answer = [f"486B10{0x40 + service:02X}03010420C123CC", f"486B10{0x40 + service:02X}071500000000CC"]
    codes = decode_codes(answer, service, ISO_9141)
    assert codes is not None
    assert [code.code for code in codes] == ["P0301", "P0420", "U0123", "P0715"]


def test_a_car_without_codes_says_so_and_a_silent_one_says_nothing() -> None:
    assert decode_codes(frames(b"\x43\x00"), 3, CAN) == ()
    assert decode_codes(["486B1043000000000000CC"], 3, ISO_9141) == ()
    assert decode_codes(["7E8037F0A11"], 10, CAN) is None
    assert decode_codes([], 3, CAN) is None


@pytest.mark.parametrize(
    "broken",
    [
        ["7E804430203010420"],  # says more codes than it holds
        [*frames(bytes.fromhex("43010301")), "7E90643020715C1"],  # one unit's codes are cut short
        frames(bytes.fromhex("4304030104200715C123"))[:1],
        ["486B104303010420CC"],
    ],
)
def test_a_damaged_list_of_codes_is_none_not_a_shorter_list(broken: list[str]) -> None:
    assert decode_codes(broken, 3, ISO_9141 if broken[0].startswith("48") else CAN) is None


def test_a_code_with_a_letter_is_written_in_capitals_and_has_its_title() -> None:
    assert decode_codes(frames(bytes.fromhex("43010A00")), 3, CAN) == (TroubleCode("P0A00", DTC["P0A00"]),)


def test_a_code_that_the_library_does_not_know_has_no_title() -> None:
    assert decode_codes(frames(bytes.fromhex("43013FFF")), 3, CAN) == (TroubleCode("P3FFF", None),)


ON, OFF = frames(bytes.fromhex("410181076500")), frames(bytes.fromhex("410100076500"))
OFF_TOO = frames(bytes.fromhex("410100040000"), ecu="7E9")
ON_TOO = frames(bytes.fromhex("410182040000"), ecu="7E9")


@pytest.mark.parametrize(
    ("lines", "is_on"),
    [
        (ON, True),
        (OFF, False),
        ([*OFF, *ON_TOO], True),
        ([*OFF, *OFF_TOO], False),
        ([], None),
        (["NO DATA"], None),
        (["7E8044101810765"], None),  # two of the four bytes
        ([*OFF, "7E9034101"], None),
        ([*ON, "7E9034101"], True),
        (frames(bytes.fromhex("410C0FA0")), None),
    ],
)
def test_the_lamp_is_on_if_any_unit_says_so_and_off_if_all_do(lines: list[str], is_on: bool | None) -> None:
    assert decode_lamp(lines, CAN) is is_on


def test_the_evaporative_pressure_is_signed_as_a_pair_of_bytes() -> None:
    assert decode_values(frames(bytes.fromhex("41320080")), [0x32], CAN, ENGINE) == {"EVAP_VAPOR_PRESSURE": 32.0}
    assert decode_values(frames(bytes.fromhex("4132FFFC")), [0x32], CAN, ENGINE) == {"EVAP_VAPOR_PRESSURE": -1.0}


def test_the_fuel_type_is_its_code_and_not_available_is_none() -> None:
    assert decode_values(frames(b"\x41\x51\x04"), [0x51], CAN, ENGINE) == {"FUEL_TYPE": 4.0}
    assert decode_values(frames(b"\x41\x51\x00"), [0x51], CAN, ENGINE) == {"FUEL_TYPE": None}


def test_the_odometer_counts_tenths_of_kilometres() -> None:
    assert decode_values(frames(bytes.fromhex("41A600098968")), [0xA6], CAN, ENGINE) == {"ODOMETER": 62500.0}


# Several PIDs in one answer


def test_an_answer_to_several_pids_is_divided_by_their_lengths_in_any_order() -> None:
    answer = frames(bytes.fromhex("410D320C1AF80528"))
    assert decode_values(answer, [0x0C, 0x0D, 0x05, 0x0F], CAN, ENGINE) == {
        "RPM": 1726.0,
        "SPEED": 50.0,
        "COOLANT_TEMP": 0.0,
        "INTAKE_TEMP": None,
    }


@pytest.mark.parametrize(
    "payload", ["410C1AF80D", "410C1AF80D3200", "410C1AF80C1AF8", "410C1AF80528", "410C1A0D32"]
)
def test_an_answer_that_does_not_come_out_exactly_is_not_trusted_at_all(payload: str) -> None:
    assert decode_values(frames(bytes.fromhex(payload)), [0x0C, 0x0D], CAN, ENGINE) == {"RPM": None, "SPEED": None}


@given(
    st.lists(
        st.sampled_from(sorted(pid for pid in BY_PID if BY_PID[pid].is_groupable)),
        max_size=6,
        min_size=2,
        unique=True,
    ),
    st.data(),
)
def test_values_asked_together_are_those_asked_one_by_one(pids: list[int], data: st.DataObject) -> None:
    given_bytes = {pid: data.draw(st.binary(min_size=BY_PID[pid].size, max_size=BY_PID[pid].size)) for pid in pids}
    together = frames(b"\x41" + b"".join(bytes([pid]) + value for pid, value in given_bytes.items()))
    alone = {}
    for pid, value in given_bytes.items():
        alone |= decode_values(frames(bytes((0x41, pid)) + value), [pid], CAN, ENGINE)
    assert decode_values(together, pids[::-1], CAN, ENGINE) == alone


@given(
    st.lists(st.text(alphabet="0123456789ABCDEF:", max_size=24), max_size=5),
    st.sampled_from("1356789"),
    st.booleans(),
)
def test_no_lines_raise_anything(lines: list[str], protocol: str, has_headers: bool) -> None:
    dialect = Dialect(protocol, has_headers)
    decode_values(lines, [0x0C, 0x0D], dialect, dialect.engine)
    decode_values(lines, [0x0C], dialect, dialect.engine)
    decode_codes(lines, 3, dialect)
    decode_vin(lines, dialect, dialect.engine)
    decode_supported(lines, 0, dialect, dialect.engine)
    choose_engine(lines, dialect)


@given(st.integers(0, 0xFFFF), st.integers(1, 30))
def test_a_line_cut_anywhere_gives_the_value_or_nothing(raw: int, kept: int) -> None:
    line = frames(b"\x41\x0c" + raw.to_bytes(2, "big"))[0]
    assert rpm([line[:kept]]) in {None, raw / 4}
    assert rpm([line[:10]]) is None


# Addresses


def test_only_addresses_of_control_units_are_heard() -> None:
    assert rpm(["6E804410C1AF8"]) is None
    assert rpm(["7D804410C1AF8"]) is None


def test_with_long_addresses_the_engine_is_at_10() -> None:
    answer = ["18DAF118064100FFFFFFFF", "18DAF110064100BE3EA813"]
    assert choose_engine(answer, LONG_CAN) == 0x10
    assert rpm(["18DAF11004410C1AF8", "18DAF11804410C0000"], LONG_CAN, 0x10) == 1726.0


def test_without_the_standard_address_the_unit_with_most_pids_is_the_engine() -> None:
    answer = ["7EA0641008000000A", "7E9064100BE3EA813"]
    assert choose_engine(answer, CAN) == choose_engine(answer[::-1], CAN) == 1
    assert choose_engine(["7E8024100", "NODATA"], CAN) is None


def test_supported_pids_are_the_engines() -> None:
    answer = ["7E9064100FFFFFFFF", "7E806410080180001"]
    assert decode_supported(answer, 0x00, CAN, ENGINE) == {0x01, 0x0C, 0x0D, 0x20}
    assert decode_supported(["7E806412080000000"], 0x20, CAN, ENGINE) == {0x21}
    assert decode_supported(["7E8054100801800"], 0x00, CAN, ENGINE) is None


def test_without_headers_two_answers_that_differ_cannot_be_told_apart() -> None:
    assert rpm(["410C1AF8"], NO_HEADERS) == 1726.0
    assert rpm(["410C1AF8", "410C1AF8"], NO_HEADERS) == 1726.0
    assert rpm(["410C1AF8", "410C0000"], NO_HEADERS) is None


# Recorded answers

RECORDED = {
    "01 06 07 10 0E 2": {"SHORT_FUEL_TRIM_1": 0.0, "LONG_FUEL_TRIM_1": 8.594, "TIMING_ADVANCE": 0.0, "MAF": None},
    "01 0B 05 1": {"INTAKE_PRESSURE": 255.0, "COOLANT_TEMP": -40.0},
    "01 0B 0C 0F 11 0D 2": {
        "INTAKE_PRESSURE": 255.0,
        "RPM": 0.0,
        "INTAKE_TEMP": -40.0,
        "THROTTLE_POS": 0.0,
        "SPEED": 0.0,
    },
    "01 0C 0F 1": {"RPM": 0.0, "INTAKE_TEMP": -40.0},
    "0105": {"COOLANT_TEMP": -6.0},
    "010B": {"INTAKE_PRESSURE": 53.0},
    "010C": {"RPM": 5382.75},
}


def test_recorded_answers_decode(recorded_pairs: list[tuple[str, list[str]]]) -> None:
    seen = set()
    for request, lines in recorded_pairs:
        if not request.startswith("01") or request == "010D":
            continue
        pids = list(bytes.fromhex(re.sub(r" \d$", "", request)[2:]))
        values = decode_values(lines, pids, NO_HEADERS, ENGINE)
        if request in RECORDED:
            seen.add(request)
            assert values == {name: pytest.approx(value, abs=1e-3) for name, value in RECORDED[request].items()}
        elif any(line.startswith("41") or ":41" in line for line in lines) and pids[0] % 0x20:
            values.pop("MAF", None)  # which that engine did not have
            assert None not in values.values(), (request, lines)
    assert seen == RECORDED.keys()


def test_recorded_masks_of_two_control_units_are_ambiguous_without_headers_and_single_ones_are_not(
    recorded_pairs: list[tuple[str, list[str]]],
) -> None:
    masks = [
        (int(request[2:], 16), lines) for request, lines in recorded_pairs if re.fullmatch("01[0246]0", request)
    ]
    assert {len(lines) for _, lines in masks} == {1, 2}
    for base, lines in masks:
        supported = decode_supported(lines, base, NO_HEADERS, ENGINE)
        if len(lines) == 2 or not lines[0].startswith("41"):
            assert supported is None
        else:
            assert supported is not None
            assert all(base < pid <= base + 0x20 for pid in supported)
    assert decode_supported(["4100BE3EA813"], 0, NO_HEADERS, ENGINE) == {
        *(0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x11, 0x13, 0x15, 0x1C, 0x1F, 0x20),
    }


def test_recorded_vins_decode_whole(recorded_pairs: list[tuple[str, list[str]]]) -> None:
    vins = {decode_vin(lines, NO_HEADERS, ENGINE) for request, lines in recorded_pairs if request.startswith("09")}
    assert len(vins) == 1
    (vin,) = vins
    assert vin is not None
    assert vin.endswith("2")


def test_recorded_answers_to_other_services_are_no_values(recorded_pairs: list[tuple[str, list[str]]]) -> None:
    for request, lines in recorded_pairs:
        if not request.startswith(("01", "ST")):
            assert decode_values(lines, [0x0C, 0x0D], NO_HEADERS, ENGINE) == {"RPM": None, "SPEED": None}
