from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from smartdrive_edge.simulator import Car, Engine, Key, Scenario, Segment, TroubleCode
from smartdrive_edge.simulator.bus import Bus, code_bytes
from smartdrive_edge.simulator.elm327 import FRUITLESS_SEARCH_S, Elm327
from smartdrive_edge.simulator.latency import Latency
from smartdrive_edge.simulator.pids import ENGINE_PIDS

T = 100.0  # the engine runs
KEY_OFF = 5.0
CODES = (
    TroubleCode("P0301", "stored", since_s=50.0),
    TroubleCode("U0100", "stored", since_s=60.0),
    TroubleCode("C1234", "stored", since_s=61.0),
    TroubleCode("B2ABC", "stored", since_s=62.0),
    TroubleCode("P0171", "pending"),
    TroubleCode("P0420", "permanent"),
    TroubleCode("P0715", "stored", ecu=1),
)
SCRIPT = Scenario(
    "test",
    "",
    (
        Segment(10.0),
        Segment(1.0, Key.ON, Engine.CRANKING),
        Segment(990.0, Key.ON, Engine.RUNNING),
        Segment(60, Key.ON),
    ),
    codes=CODES,
)


class Bench:
    """An adapter on the table: send a line, see the text."""

    def __init__(self, *, ecus: int = 1, protocol: str = "6", script: Scenario = SCRIPT, setup: str = "") -> None:
        self.bus = Bus(Car(script, seed=1), protocol)
        self.adapter = Elm327(self.bus, Latency(), ecus=ecus)
        for line in ("ATE0", f"ATTP{protocol}", *setup.split()):
            assert self.raw(line).endswith("OK\r\r>")

    def raw(self, line: str, t_s: float = T) -> str:
        return b"".join(chunk.data for chunk in self.adapter.reply(line, t_s)).decode()

    def took_s(self, line: str, t_s: float = T) -> float:
        return sum(chunk.after_s for chunk in self.adapter.reply(line, t_s))

    def lines(self, line: str, t_s: float = T) -> list[str]:
        text = self.raw(line, t_s)
        assert text.endswith("\r\r>")
        return text.removesuffix("\r\r>").split("\r")

    def payload(self, request: str, t_s: float = T) -> str:
        """The engine's answer with headers and spaces off, frames joined and padding cut."""
        for setting in ("ATH0", "ATS0"):
            self.raw(setting)
        lines = self.lines(request, t_s)
        if len(lines) == 1:
            return lines[0]
        return "".join(line.partition(":")[2] for line in lines[1:])[: 2 * int(lines[0], 16)]


def test_a_fresh_adapter_echoes_spaces_and_searches() -> None:
    adapter = Elm327(Bus(Car(SCRIPT)), Latency())
    text = [b"".join(chunk.data for chunk in adapter.reply(line, T)).decode() for line in ("ATZ", "0100", "ATDPN")]
    assert text[0] == "ATZ\r\r\rELM327 v1.5\r\r>"
    assert re.fullmatch(r"0100\rSEARCHING\.\.\.\r41 00( [0-9A-F]{2}){4} \r\r>", text[1])
    assert text[2] == "ATDPN\rA6\r\r>"
    assert b"SEARCHING" not in b"".join(chunk.data for chunk in adapter.reply("0100", T))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("AT I", "ELM327 v1.5"),
        ("at@1", "OBDII to RS232 Interpreter"),
        ("ATDPN", "6"),
        ("ATDP", "ISO 15765-4 (CAN 11/500)"),
        ("ATIGN", "ON"),
        ("ATAT0", "OK"),
        ("ATAT2", "OK"),
        ("ATST32", "OK"),
        ("ATL0", "OK"),
        ("ATFOO", "?"),
        ("ATST", "?"),
        ("XYZ", "?"),
        ("0", "?"),
        ("0102030405060708", "?"),
        ("\x7f\x7f", "?"),
    ],
)
def test_a_command_is_answered_as_by_the_chip(command: str, answer: str) -> None:
    assert Bench().lines(command) == [answer]


def test_case_spaces_and_control_characters_do_not_matter() -> None:
    bench = Bench(setup="ATS0")
    assert bench.lines(" 01\t0 d") == bench.lines("010D")


def test_echo_linefeeds_and_spaces_are_switches() -> None:
    bench = Bench()
    assert bench.raw("0105") == f"41 05 {bench.payload('0105')[4:]} \r\r>"
    bench.raw("ATE1")
    assert bench.raw("01 05").startswith("01 05\r4105")
    bench.raw("ATL1")
    assert re.fullmatch(r"0105\r\n4105[0-9A-F]{2}\r\n\r\n>", bench.raw("0105"))


def test_an_empty_line_repeats_the_last_command() -> None:
    bench = Bench(setup="ATS0")
    bench.raw("04")
    assert bench.lines("") == ["7F0422"]
    assert [request.request for request in bench.bus.forbidden_requests] == [b"\x04", b"\x04"]


def test_voltage_is_the_cars_with_one_decimal_key_off_or_on() -> None:
    bench = Bench()
    for t in (KEY_OFF, 10.05, 10.4, T):
        assert bench.lines("ATRV", t) == [f"{bench.bus.car.voltage_at(t):.1f}V"]


def test_the_ignition_input_follows_the_key_only_where_it_is_wired() -> None:
    assert Bench().lines("ATIGN", KEY_OFF) == ["OFF"]
    unwired = Elm327(Bus(Car(SCRIPT)), Latency(), ignition_wired=False)
    assert b"ON" in unwired.reply("ATIGN", KEY_OFF)[-1].data


@pytest.mark.parametrize("command", ["ATSP0", "AT SP 6", "ATSPA6", "ATPP2CSV11", "ATSD12", "ATCV1234", "AT@3X"])
def test_what_wears_the_eeprom_is_counted(command: str) -> None:
    bench = Bench()
    assert bench.adapter.eeprom_writes == []
    assert bench.lines(command) == ["OK"]
    assert len(bench.adapter.eeprom_writes) == 1


@pytest.mark.parametrize("command", ["ATTP6", "ATST32", "ATS0", "ATSPX", "ATZ"])
def test_what_does_not_wear_the_eeprom_is_not_counted(command: str) -> None:
    bench = Bench()
    bench.raw(command)
    assert bench.adapter.eeprom_writes == []


def test_a_stored_protocol_outlives_a_reset_and_a_tried_one_does_not() -> None:
    bench = Bench()
    bench.raw("ATZ")
    assert "A0" in bench.raw("ATDPN")
    bench.raw("ATSP6")
    bench.raw("ATTP7")
    bench.raw("ATZ")
    assert bench.raw("ATDPN") == "ATDPN\r6\r\r>"


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [("7", "NO DATA"), ("8", "CAN ERROR"), ("A", "CAN ERROR"), ("3", "BUS INIT: ...ERROR"), ("1", "NO DATA")],
)
def test_a_protocol_that_the_car_does_not_speak_fails_as_on_a_car(protocol: str, answer: str) -> None:
    assert Bench(setup=f"ATTP{protocol}").lines("0100") == [answer]


def test_a_search_without_a_car_that_is_awake_takes_long_and_fails() -> None:
    bench = Bench(setup="ATTP0")
    assert bench.lines("0100", KEY_OFF) == ["SEARCHING...", "UNABLE TO CONNECT"]
    assert bench.took_s("0100", KEY_OFF) == FRUITLESS_SEARCH_S
    assert bench.lines("ATDPN") == ["A0"]


def test_a_silent_car_costs_the_timeout_that_was_set() -> None:
    bench = Bench()
    assert bench.lines("0100", KEY_OFF) == ["NO DATA"]
    assert bench.took_s("0100", KEY_OFF) == pytest.approx(0.208)
    bench.raw("ATST19")
    assert bench.took_s("0100", KEY_OFF) == pytest.approx(0.108)


def test_the_count_of_frames_ends_the_wait_and_a_wrong_one_costs() -> None:
    bench = Bench()
    assert bench.took_s("010C") == pytest.approx(0.025)
    assert bench.took_s("010C1") == pytest.approx(0.0125)
    assert bench.took_s("010C2") == pytest.approx(0.2125)
    assert bench.lines("010C1") == bench.lines("010C")
    assert len(bench.lines("0902")) == 4
    assert len(bench.lines("09021")) == 2  # the length and the first frame: the rest is not waited for


def test_adaptive_timing_shortens_the_wait_and_its_absence_costs_the_timeout() -> None:
    assert Bench(setup="ATAT0").took_s("010C") == pytest.approx(0.2125)
    assert Bench(setup="ATAT2").took_s("010C") < Bench().took_s("010C")


def test_a_latency_is_read_in_milliseconds() -> None:
    assert Latency.parse("15/60.5") == Latency(at_s=0.015, pid_s=0.0605)


@pytest.mark.parametrize("text", ["8", "8/", "a/b", "-8/25", ""])
def test_a_latency_that_is_not_two_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="15/60"):
        Latency.parse(text)


def test_headers_show_the_sender_and_whole_frames() -> None:
    bench = Bench(setup="ATH1")
    assert re.fullmatch(r"7E8 03 41 05 [0-9A-F]{2} AA AA AA AA ", bench.lines("0105")[0])
    bench.raw("ATS0")
    assert bench.lines("0902") == ["7E8101449020158534D", "7E8215A5A5A44525645", "7E82258303030303031"]


def test_29_bit_headers_have_four_bytes() -> None:
    bench = Bench(protocol="7", ecus=2, setup="ATH1")
    first, second = bench.lines("010D")
    assert first.startswith("18 DA F1 10 03 41 0D ")
    assert second.startswith("18 DA F1 18 03 41 0D ")


def test_two_ecus_answer_in_turn() -> None:
    bench = Bench(ecus=2, setup="ATH1 ATS0")
    assert [line[:3] for line in bench.lines("010D")] == ["7E8", "7E9"]
    assert [line[:5] for line in bench.lines("090A")] == [
        f"{e}{n}" for n in ("10", "21", "22", "23") for e in ("7E8", "7E9")
    ]
    assert [line[:3] for line in bench.lines("0105")] == ["7E8"]


def test_every_pid_that_a_bitmap_names_is_answered_and_no_other() -> None:
    for ecus in (1, 2):
        bench = Bench(ecus=ecus)
        named: set[int] = set()
        base: int | None = 0
        while base is not None:
            bits = int(bench.payload(f"01{base:02X}")[4:12], 16) if ecus == 1 else _bitmap(bench, base)
            found = {base + i for i in range(1, 33) if bits >> (32 - i) & 1}
            named |= found
            base = base + 32 if base + 32 in found else None
        answered = {
            pid
            for pid in range(1, 256)
            if (bench.lines(f"01{pid:02X}") if ecus == 1 else _second(bench, pid)) != ["NO DATA"]
        }
        assert answered == named
        assert {0x0C, 0x0D} <= named


def _second(bench: Bench, pid: int) -> list[str]:
    bench.raw("ATH1")
    bench.raw("ATS0")
    return [line for line in bench.lines(f"01{pid:02X}") if line.startswith("7E9")] or ["NO DATA"]


def _bitmap(bench: Bench, base: int) -> int:
    answer = _second(bench, base)[0]
    return int(answer[9:17], 16) if answer != "NO DATA" else 0


@pytest.mark.parametrize(
    ("pid", "decode", "quantity"),
    [
        ("04", lambda a: a[0] / 2.55, "load_pct"),
        ("05", lambda a: a[0] - 40, "coolant_c"),
        ("0C", lambda a: (a[0] * 256 + a[1]) / 4, "rpm"),
        ("0D", lambda a: a[0], "speed_kmh"),
        ("0F", lambda a: a[0] - 40, "intake_c"),
        ("10", lambda a: (a[0] * 256 + a[1]) / 100, "maf_gps"),
        ("11", lambda a: a[0] / 2.55, "throttle_pct"),
        ("1F", lambda a: a[0] * 256 + a[1], "run_time_s"),
        ("2F", lambda a: a[0] / 2.55, "fuel_level_pct"),
        ("42", lambda a: (a[0] * 256 + a[1]) / 1000, "voltage_v"),
        ("46", lambda a: a[0] - 40, "ambient_c"),
        ("5E", lambda a: (a[0] * 256 + a[1]) / 20, "fuel_rate_lph"),
        ("A6", lambda a: int.from_bytes(a, "big") / 10, "odometer_km"),
    ],
)
def test_a_value_decodes_by_j1979_to_what_is_true(pid: str, decode: object, quantity: str) -> None:
    assert callable(decode)
    bench = Bench()
    value = decode(bytes.fromhex(bench.payload(f"01{pid}"))[2:])
    assert value == pytest.approx(getattr(bench.bus.car.state_at(T), quantity), abs=0.51)


def test_a_value_beyond_its_range_is_clamped() -> None:
    fast = Bench(script=Scenario("fast", "", (Segment(50.0, Key.ON, Engine.RUNNING, 400.0),), ambient_c=-60.0))
    assert fast.payload("010D") == "410DFF"
    assert fast.payload("0146") == "414600"


def test_one_request_may_ask_for_six_pids() -> None:
    bench = Bench()
    single = [bench.payload(f"01{pid}")[2:] for pid in ("0B", "0C", "11", "0D", "05", "0F")]
    assert bench.payload("010B0C110D050F3") == "41" + "".join(single)
    assert bench.payload("010B6F0D") == "41" + single[0] + single[3]
    assert bench.lines("016F7F") == ["NO DATA"]


def test_codes_are_two_bytes_each_behind_their_number() -> None:
    bench = Bench()
    assert bench.payload("03") == "4304" + "0301" + "C100" + "5234" + "AABC"
    assert bench.payload("07") == "47010171"
    assert bench.payload("0A") == "4A010420"
    assert bench.payload("03", 20.0) == "4300"
    assert bench.payload("0101").startswith("410184")
    assert bench.payload("0101", 20.0).startswith("410100")


@pytest.mark.parametrize("text", ["", "P", "X0301", "P4301", "P03G1"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no trouble code"):
        code_bytes(text)


def test_the_freeze_frame_holds_what_was_true_when_the_code_appeared() -> None:
    bench = Bench()
    assert bench.payload("020200") == "4202000301"
    assert bench.payload("020C00")[6:] == bench.payload("010C", 50.0)[4:]
    assert bench.payload("020C00")[6:] != bench.payload("010C")[4:]
    assert bench.lines("020C01") == ["NO DATA"]
    assert bench.lines("020C00", 20.0) == ["NO DATA"]
    assert bench.payload("020200", 20.0) == "4202000000"
    bits = int(bench.payload("020000")[6:], 16)
    assert bits >> (32 - 0x0C) & 1
    assert bits >> (32 - 0x02) & 1


def test_clearing_is_refused_while_running_obeyed_with_the_engine_off_and_recorded_both_times() -> None:
    bench = Bench()
    assert bench.payload("04") == "7F0422"
    assert bench.payload("03").startswith("4304")
    engine_off = 1010.0
    assert bench.payload("04", engine_off) == "44"
    assert bench.payload("03", engine_off + 1) == "4300"
    assert bench.payload("0A", engine_off + 1) == "4A010420"
    assert [r.request for r in bench.bus.forbidden_requests] == [b"\x04", b"\x04"]


@pytest.mark.parametrize(
    "request_", ["04", "0801", "1003", "1101", "14FFFFFF", "2E010203", "2F509203FF", "3101", "3E00"]
)
@pytest.mark.parametrize("t_s", [KEY_OFF, T])
def test_a_request_that_writes_is_recorded_even_if_nobody_is_awake(request_: str, t_s: float) -> None:
    bench = Bench()
    bench.raw(request_, t_s)
    assert [r.request.hex().upper() for r in bench.bus.forbidden_requests] == [request_]
    wrong = Bench(setup="ATTP8")
    wrong.raw(request_, t_s)
    assert len(wrong.bus.forbidden_requests) == 1


@pytest.mark.parametrize("request_", ["0100", "020200", "03", "07", "0902", "0A", "22F190"])
def test_a_request_that_reads_is_not_recorded(request_: str) -> None:
    bench = Bench()
    bench.raw(request_)
    assert bench.bus.forbidden_requests == []


def test_name_and_vin_are_answered() -> None:
    bench = Bench()
    assert bytes.fromhex(bench.payload("0902")) == b"\x49\x02\x01XSMZZZDRVEX000001"
    assert bytes.fromhex(bench.payload("090A")) == b"\x49\x0a\x01ECM\0\0-EngineControl\0"
    assert bench.payload("0900") == "490040400000"
    assert bench.lines("0904") == ["NO DATA"]


_SIZES = {**{f"{pid.number:02X}": pid.size for pid in ENGINE_PIDS}, **dict.fromkeys(("00", "20", "40", "60"), 4)}


def test_answers_have_the_shape_of_recorded_ones(recorded_pairs: list[tuple[str, str]]) -> None:
    """Same bytes up to values: lengths, line numbers, parameter numbers and padding are those of real adapters."""
    compared = 0
    for request, recorded in recorded_pairs:
        text = recorded.upper().removeprefix("SEARCHING...")
        if not re.match(r"01|09 ?02", request) or not re.fullmatch(r"[0-9A-F:]+", text):
            continue  # a service that this car lacks, an error text or noise
        wanted = shape(text)
        if wanted is None:
            continue  # a sensor that this car lacks
        asked = "0902" if "490201" in text else "01" + "".join(wanted.parameters[0])
        count = request.split()[-1] if " " in request and len(request.split()[-1]) == 1 else ""
        bench = Bench(ecus=len(wanted.parameters), setup="ATS0")
        assert shape("".join(bench.lines(asked + count))) == wanted, (request, recorded)
        compared += 1
    assert compared >= 15


@dataclass(frozen=True)
class Shape:
    lines: list[tuple[str, int]]  # the part before the colon, and how many digits follow
    parameters: list[list[str]]  # numbers, by ECU
    padding: str


def shape(text: str) -> Shape | None:
    lines = [line.rpartition(":")[::2] for line in re.split(r"(?=[0-9A-F]:)", text)]
    length = 2 * int(lines[0][1], 16) if len(lines) > 1 else len(text)
    body = "".join(data for _, data in lines[len(lines) > 1 :])
    body, padding = body[:length], body[length:]
    sized = [(number, len(data)) for number, data in lines]
    if body.startswith("490201"):
        return Shape(sized, [["02"]], padding)
    ecus: list[list[str]] = []
    while body:
        if body.startswith("41") and (not ecus or body[2:4] == ecus[0][0]):
            ecus.append([])
            body = body[2:]
        number, body = body[:2], body[2:]
        if number not in _SIZES:
            return None
        ecus[-1].append(number)
        body = body[2 * _SIZES[number] :]
    return Shape(sized, ecus, padding)
