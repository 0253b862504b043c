"""The adapter package against the simulated car, whose truth is known."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from smartdrive_edge.adapter import requests
from smartdrive_edge.adapter.answers import Answer, Failure, NoAnswer
from smartdrive_edge.adapter.decode import decode_codes, decode_values
from smartdrive_edge.adapter.discovery import Car, Discovery, discover
from smartdrive_edge.adapter.requests import current
from smartdrive_edge.adapter.rotation import FAST, Rotation, Wanted
from smartdrive_edge.adapter.signals import BY_NAME, BY_PID
from smartdrive_edge.adapter.transport import AdapterGoneError, Transport
from smartdrive_edge.adapter.voltage import parse_voltage
from smartdrive_edge.simulator import FaultKind, Simulator

MOVING_S = 60.0
RPM = current(0x0C)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A car that drives, with two control units."""
    with Simulator("drive", ecus=2) as simulator:
        simulator.clock.skip(MOVING_S)
        yield simulator
        assert simulator.forbidden_requests == []
        assert simulator.eeprom_writes == []
        assert "" not in [exchange.request for exchange in simulator.log]


@pytest.fixture
def transport(simulator: Simulator) -> Iterator[Transport]:
    with Transport(simulator.port) as transport:
        yield transport


def car_of(found: Discovery) -> Car:
    assert found.car is not None, found.reason
    return found.car


@pytest.mark.parametrize(("protocol", "engine"), [("6", 0), ("7", 0x10)])
@pytest.mark.parametrize("ecus", [1, 2])
def test_the_car_is_discovered(protocol: str, engine: int, ecus: int) -> None:
    with Simulator("drive", protocol=protocol, ecus=ecus) as simulator, Transport(simulator.port) as transport:
        simulator.clock.skip(MOVING_S)
        car = car_of(discover(transport))
        assert (car.dialect.protocol, car.engine, car.vin) == (protocol, engine, simulator.car.scenario.vin)
        assert {0x05, 0x0C, 0x0D, 0x10, 0x42} <= car.supported
        assert simulator.forbidden_requests == []
        assert simulator.eeprom_writes == []


def test_values_are_those_of_the_car(simulator: Simulator, transport: Transport) -> None:
    car = car_of(discover(transport))
    for names in (["RPM", "SPEED", "COOLANT_TEMP", "MAF", "THROTTLE_POS", "FUEL_LEVEL"], ["SPEED"], ["RPM"]):
        pids = [BY_NAME[name].pid for name in names]
        before = simulator.car.state_at(simulator.clock.now())
        outcome = transport.query(current(*pids))
        after = simulator.car.state_at(simulator.clock.now())
        assert isinstance(outcome, Answer)
        values = decode_values(outcome.lines, pids, car.dialect, car.engine)
        truth = {
            "RPM": (before.rpm, after.rpm, 60),
            "SPEED": (before.speed_kmh, after.speed_kmh, 1),
            "COOLANT_TEMP": (before.coolant_c, after.coolant_c, 1),
            "MAF": (before.maf_gps, after.maf_gps, 1),
            "THROTTLE_POS": (before.throttle_pct, after.throttle_pct, 1),
            "FUEL_LEVEL": (before.fuel_level_pct, after.fuel_level_pct, 1),
        }
        for name in names:
            one, other, tolerance = truth[name]
            value = values[name]
            assert value is not None
            assert min(one, other) - tolerance <= value <= max(one, other) + tolerance, name


def test_trouble_codes_have_their_status(simulator: Simulator, transport: Transport) -> None:
    simulator.clock.skip(300.0)
    car = car_of(discover(transport))
    listed = {}
    for request in (requests.STORED_CODES, requests.PENDING_CODES, requests.PERMANENT_CODES):
        outcome = transport.query(request)
        assert isinstance(outcome, Answer)
        codes = decode_codes(outcome.lines, request.mode or 0, car.dialect)
        assert codes is not None
        listed[request] = {code.code for code in codes}
    assert listed == {
        requests.STORED_CODES: {"P0301"},
        requests.PENDING_CODES: {"P0301", "P0715"},
        requests.PERMANENT_CODES: {"P0420"},
    }


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.NO_DATA, Failure.NO_DATA),
        (FaultKind.ABSENT_ECU, Failure.NO_DATA),
        (FaultKind.UNABLE_TO_CONNECT, Failure.UNABLE_TO_CONNECT),
        (FaultKind.BUS_INIT, Failure.BUS_ERROR),
        (FaultKind.CAN_ERROR, Failure.CAN_ERROR),
        (FaultKind.BUFFER_FULL, Failure.BUFFER_FULL),
        (FaultKind.STOPPED, Failure.STOPPED),
        (FaultKind.DEAD, Failure.TIMEOUT),
        (FaultKind.LATE_PROMPT, Failure.TIMEOUT),
    ],
)
def test_a_fault_has_its_reason_and_ends_with_it(
    simulator: Simulator, transport: Transport, kind: FaultKind, reason: Failure
) -> None:
    car = car_of(discover(transport))
    simulator.fault(kind)
    began = time.monotonic()
    outcome = transport.query(RPM, 0.5)
    assert time.monotonic() - began < 0.8
    assert isinstance(outcome, NoAnswer)
    assert outcome.reason is reason
    simulator.heal()
    outcome = transport.query(RPM, 4.0)
    assert isinstance(outcome, Answer), outcome
    assert decode_values(outcome.lines, [0x0C], car.dialect, car.engine)["RPM"]


def test_frames_out_of_order_are_put_right(simulator: Simulator, transport: Transport) -> None:
    car = car_of(discover(transport))
    simulator.fault(FaultKind.OUT_OF_ORDER)
    pids = [0x0C, 0x0D, 0x05, 0x10, 0x2F]
    outcome = transport.query(current(*pids))
    assert isinstance(outcome, Answer)
    assert None not in decode_values(outcome.lines, pids, car.dialect, car.engine).values()


@pytest.mark.parametrize("pids", [[0x0C], [0x0D], [0x0C, 0x0D, 0x05, 0x10, 0x2F]])
def test_truncated_answers_are_no_values(pids: list[int]) -> None:
    with Simulator("drive") as simulator, Transport(simulator.port) as transport:
        simulator.clock.skip(MOVING_S)
        car = car_of(discover(transport))
        simulator.fault(FaultKind.TRUNCATED)
        outcome = transport.query(current(*pids))
        assert isinstance(outcome, Answer)
        assert set(decode_values(outcome.lines, pids, car.dialect, car.engine).values()) == {None}


def test_garbage_never_becomes_a_value_that_the_car_did_not_have(
    simulator: Simulator, transport: Transport
) -> None:
    car = car_of(discover(transport))
    simulator.fault(FaultKind.GARBAGE)
    for _ in range(20):
        before = simulator.car.state_at(simulator.clock.now()).speed_kmh
        outcome = transport.query(current(0x0D), 0.4)
        if isinstance(outcome, Answer):
            speed = decode_values(outcome.lines, [0x0D], car.dialect, car.engine)["SPEED"]
            assert speed is None or speed == pytest.approx(before, abs=5)
    simulator.heal()
    assert isinstance(transport.query(RPM, 4.0), Answer)


def test_after_an_unplug_a_new_transport_goes_on(simulator: Simulator, transport: Transport) -> None:
    car_of(discover(transport))
    simulator.fault(FaultKind.UNPLUG, for_s=0.3)
    time.sleep(0.1)
    with pytest.raises(AdapterGoneError):
        transport.query(RPM)
    deadline = time.monotonic() + 5
    while not Path(simulator.port).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with Transport(simulator.port) as again:
        assert car_of(discover(again)).vin == simulator.car.scenario.vin


@pytest.mark.parametrize(("latency", "at_least"), [("15/60", 10), ("30/90", 7)])
@pytest.mark.parametrize("shared", [True, False])
def test_speed_and_rpm_reach_one_hertz_beside_all_that_the_car_supports(
    latency: str, at_least: int, shared: bool
) -> None:
    with Simulator("drive", latency=latency) as simulator, Transport(simulator.port) as transport:
        simulator.clock.skip(MOVING_S)
        car = car_of(discover(transport))
        names = [BY_PID[pid].name for pid in sorted(car.supported & BY_PID.keys())]
        rotation = Rotation([*map(Wanted, names), Wanted("ELM_VOLTAGE")], is_can=shared)
        asked, began, counts = 0, time.monotonic(), Counter[str]()
        while (now := time.monotonic()) < began + 6.0:
            request = rotation.next_request(now)
            if request is None:
                time.sleep(rotation.wait_s(now))
                continue
            outcome = transport.query(request)
            asked += 1
            assert isinstance(outcome, Answer)
            if request == requests.VOLTAGE:
                answered = {"ELM_VOLTAGE"} if parse_voltage(outcome.lines[0]) else set()
            else:
                values = decode_values(outcome.lines, request.pids, car.dialect, car.engine)
                answered = {name for name, value in values.items() if value is not None}
            rotation.record(request, outcome.asked_at, outcome.ended_at, answered)
            counts.update(answered)
        assert all(counts[name] >= 6 for name in FAST), counts
        assert all(counts[name] for name in names) or not shared
        assert shared or asked / 6.0 >= min(at_least, len(names) / 6.0)
