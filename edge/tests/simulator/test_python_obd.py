"""What the simulator says, read by the parser that the product uses."""

from __future__ import annotations

import pytest
from obd import commands
from obd.protocols import ECU, ISO_15765_4_11bit_500k, ISO_15765_4_29bit_500k
from smartdrive_edge.simulator import Car, scenario
from smartdrive_edge.simulator.bus import Bus
from smartdrive_edge.simulator.elm327 import Elm327
from smartdrive_edge.simulator.faults import Fault, FaultKind, FaultSchedule
from smartdrive_edge.simulator.latency import Latency

T = 400.0
VIN = b"\x49\x02\x01XSMZZZDRVEX000002"  # the second car: seed 1
PARSERS = {"6": ISO_15765_4_11bit_500k, "7": ISO_15765_4_29bit_500k}


def adapter(protocol: str = "6", ecus: int = 1, *faults: FaultKind) -> Elm327:
    schedule = FaultSchedule(tuple(Fault(kind) for kind in faults))
    made = Elm327(Bus(Car(scenario("drive", 1), 1), protocol), Latency(), schedule, ecus=ecus)
    for line in ("ATE0", "ATH1", "ATS0", f"ATTP{protocol}"):
        made.reply(line, T)
    return made


def lines(made: Elm327, request: str) -> list[str]:
    text = b"".join(chunk.data for chunk in made.reply(request, T)).decode()
    return text.removesuffix("\r\r>").split("\r")


@pytest.mark.parametrize("protocol", ["6", "7"])
@pytest.mark.parametrize("ecus", [1, 2])
def test_a_vin_of_three_frames_decodes(protocol: str, ecus: int) -> None:
    made = adapter(protocol, ecus)
    parse = PARSERS[protocol](lines(made, "0100"))
    messages = [m for m in parse(lines(made, "0902")) if m.ecu == ECU.ENGINE]
    # not by commands.VIN.decode: it strips leading and trailing 0s and 1s off a VIN
    assert [bytes(message.data) for message in messages] == [VIN]


@pytest.mark.parametrize("protocol", ["6", "7"])
def test_values_of_the_engine_decode_although_the_transmission_answers_too(protocol: str) -> None:
    made = adapter(protocol, 2)
    parse = PARSERS[protocol](lines(made, "0100"))
    state = Car(scenario("drive", 1), 1).state_at(T)
    for name, truth, within in (
        ("RPM", state.rpm, 0.25),
        ("SPEED", state.speed_kmh, 0.5),
        ("COOLANT_TEMP", state.coolant_c, 0.5),
        ("MAF", state.maf_gps, 0.01),
        ("THROTTLE_POS", state.throttle_pct, 0.5),
        ("FUEL_RATE", state.fuel_rate_lph, 0.05),
        ("CONTROL_MODULE_VOLTAGE", state.voltage_v, 0.001),
    ):
        command = commands[name]
        messages = [m for m in parse(lines(made, command.command.decode())) if m.ecu == ECU.ENGINE]
        assert len(messages) == 1
        assert command.decode(messages).magnitude == pytest.approx(truth, abs=within), name


def test_trouble_codes_status_and_fuel_type_decode() -> None:
    made = adapter()
    parse = PARSERS["6"](lines(made, "0100"))
    assert [code for code, _ in commands.GET_DTC.decode(parse(lines(made, "03")))] == ["P0301"]
    assert [code for code, _ in commands.GET_CURRENT_DTC.decode(parse(lines(made, "07")))] == ["P0301"]
    status = commands.STATUS.decode(parse(lines(made, "0101")))
    assert (status.MIL, status.DTC_count, status.ignition_type) == (True, 1, "spark")
    assert commands.FUEL_TYPE.decode(parse(lines(made, "0151"))) == "Gasoline"


def test_the_parser_puts_frames_that_changed_places_in_order() -> None:
    swapped = adapter("6", 1, FaultKind.OUT_OF_ORDER)
    frames = lines(swapped, "0902")
    assert [frame[3:5] for frame in frames] == ["10", "22", "21"]
    parse = PARSERS["6"](lines(adapter(), "0100"))
    assert [bytes(message.data) for message in parse(frames)] == [VIN]


def test_a_truncated_frame_of_a_long_answer_makes_a_vin_that_is_too_short() -> None:
    frames = lines(adapter("6", 1, FaultKind.TRUNCATED), "0902")
    parse = PARSERS["6"](lines(adapter(), "0100"))
    assert [bytes(message.data) for message in parse(frames)] == [VIN[:-1]]
