from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from smartdrive_edge.adapter import requests
from smartdrive_edge.adapter.answers import Failure
from smartdrive_edge.adapter.discovery import Discovery, discover, set_up
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.adapter.transport import Transport

if TYPE_CHECKING:
    from edge.tests.adapter.conftest import Peer

VIN = ["7E81014490201575657", "7E8215A5A5A314A5A58", "7E82257303030303031"]


def said(*lines: str) -> list[bytes | float]:
    return ["\r".join((*lines, "", ">")).encode()]


@pytest.fixture
def car(peer: Peer) -> Peer:
    """A genuine adapter in a car with CAN."""
    peer.on("ATZ", said("", "", "ELM327 v1.4b"))
    for line in ("ATE0", "ATL0", "ATS0", "ATH1", "ATAT1", "ATTP0", "ATTP6"):
        peer.on(line, said("OK"))
    peer.on("0100", said("SEARCHING...", "7E9064100FFFFFFFF", "7E806410008180001"))
    peer.on("0120", said("7E8064120A0000001"))
    peer.on("0140", said("7E8064140C0000000"))
    peer.on("0902", said(*VIN))
    return peer


def discovered(peer: Peer, protocol: str = "0") -> Discovery:
    with Transport(peer.port) as transport:
        return discover(transport, protocol)


def test_a_genuine_adapter_in_a_car_is_discovered_whole(car: Peer) -> None:
    found = discovered(car)
    assert found.adapter.identity == "ELM327 v1.4b"
    assert found.adapter.clone_signs == ()
    assert found.adapter.reads_ignition
    assert found.adapter.voltage_v == 12.3
    assert found.car is not None
    assert found.car.dialect == Dialect("6")
    assert found.car.dialect.name == "ISO 15765-4 (CAN 11/500)"
    assert found.car.engine == 0
    assert found.car.supported == {0x05, 0x0C, 0x0D, 0x21, 0x23, 0x41, 0x42}
    assert found.car.vin == "WVWZZZ1JZXW000001"
    assert found.reason is None


def test_discovery_sends_what_reads_only_and_resets_first(car: Peer) -> None:
    discovered(car)
    asked = car.lines[car.lines.index("ATZ") :]
    assert asked == [
        *("ATZ", "ATE0", "ATL0", "ATS0", "ATH1", "ATAT1", "ATI", "ATRV", "ATIGN", "ATTP0", "0100", "ATDPN"),
        *("0120", "0140", "0902"),
    ]


def test_a_protocol_that_was_used_before_is_tried_first_and_then_all(car: Peer) -> None:
    car.on("0100", said("UNABLE TO CONNECT"), said("7E8064100BE3EA812"))
    found = discovered(car, "6")
    assert found.car is not None
    assert [line for line in car.lines if line.startswith("ATTP")] == ["ATTP6", "ATTP0"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("SEARCHING...", "UNABLE TO CONNECT"), Failure.UNABLE_TO_CONNECT),
        (said("NO DATA"), Failure.NO_DATA),
        (said("BUS INIT: ...ERROR"), Failure.BUS_ERROR),
        (said("7F0112"), Failure.GARBAGE),
    ],
)
def test_without_a_car_there_is_still_an_adapter(car: Peer, answer: list[bytes | float], reason: Failure) -> None:
    car.on("0100", answer)
    found = discovered(car)
    assert (found.car, found.reason) == (None, reason)
    assert found.adapter.voltage_v == 12.3


def test_a_car_without_vin_and_with_a_damaged_mask_still_has_signals(car: Peer) -> None:
    car.on("0902", said("NO DATA"))
    car.on("0120", said("7E806412080"))
    found = discovered(car)
    assert found.car is not None
    assert (found.car.vin, found.car.supported) == (None, {0x05, 0x0C, 0x0D})


def test_masks_that_promise_more_masks_than_there_are_end(car: Peer) -> None:
    for base in range(0x00, 0x100, 0x20):
        car.on(f"01{base:02X}", said(f"7E80641{base:02X}00000001"))
    found = discovered(car)
    assert found.car is not None
    assert found.car.supported == frozenset()
    assert car.lines[-2:] == ["01E0", "0902"]


@pytest.mark.parametrize(
    ("identity", "refused", "signs"),
    [
        ("ELM327 v1.5", [], ["released no v1.5"]),
        ("ELM327 v2.1", ["ATAT1", "ATIGN"], ["knows ATAT1", "knows ATIGN"]),
        ("ELM327 v2.1", [], []),
        ("ELM327 v1.3a", ["ATIGN"], []),  # which v1.4 brought
        ("ELM327 v1.4", ["ATIGN"], ["knows ATIGN"]),
        ("STN1110 v4.0.1", ["ATIGN"], []),
    ],
)
def test_a_clone_gives_itself_away(car: Peer, identity: str, refused: list[str], signs: list[str]) -> None:
    car.on("ATI", said(identity))
    for line in refused:
        car.on(line, said("?"))
    with Transport(car.port) as transport:
        adapter, _ = set_up(transport)
    assert adapter.identity == identity
    assert len(adapter.clone_signs) == len(signs)
    assert all(sign in found for sign, found in zip(signs, adapter.clone_signs, strict=True))


def test_an_adapter_that_refuses_headers_is_read_without(car: Peer) -> None:
    car.on("ATH1", said("?"))
    car.on("0100", said("410008180001"))
    car.on("0120", said("412020000000"))
    car.on("0902", said("014", "0:490201575657", "1:5A5A5A314A5A58", "2:57303030303031"))
    found = discovered(car)
    assert found.adapter.refused == {requests.HEADERS_ON}
    assert found.car is not None
    assert found.car.dialect == Dialect("6", has_headers=False)
    assert found.car.supported == {0x05, 0x0C, 0x0D, 0x23}
    assert found.car.vin == "WVWZZZ1JZXW000001"
