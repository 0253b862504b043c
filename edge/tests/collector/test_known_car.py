from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.adapter.requests import Request
from smartdrive_edge.collector.known_car import KnownCar
from smartdrive_edge.collector.schedule import Schedule
from smartdrive_edge.policy import Plan

VIN = "WVWZZZ1JZXW000001"
CAR = KnownCar(Car(Dialect("7", has_headers=True), 0x10, frozenset({0x04, 0x0C, 0x0D}), VIN), VIN)
STORED: dict[str, Any] = json.loads(CAR.to_json())


@pytest.mark.parametrize(
    "known",
    [
        CAR,
        KnownCar(None, VIN),
        KnownCar(Car(Dialect("3", has_headers=False), 0, frozenset(), None), None),
        KnownCar(),
    ],
)
def test_what_is_remembered_comes_back(known: KnownCar) -> None:
    assert KnownCar.from_json(known.to_json()) == known


def test_nothing_remembered_is_no_car() -> None:
    assert KnownCar.from_json(None) == KnownCar()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"car"',
        "NaN",
        "\ud800",
        "[" * 100_000,
        '{"vin": ' + "9" * 5000 + "}",
        CAR.to_json()[:-7],
        CAR.to_json().replace(VIN, "WVWZZZ1JZXW00000I"),
        json.dumps({"vin": VIN.lower()}),
        json.dumps({"vin": f"{VIN}\n"}),
        *(
            json.dumps(STORED | damage)
            for damage in (
                {"vin": 17},
                {"vin": "too short"},
                {"protocol": "0", "vin": None},
                {"protocol": "Z", "vin": "I"},
                {"engine": "7E8", "vin": None},
                {"supported": [4, "0C"], "vin": None},
                {"supported": 12, "vin": None},
            )
        ),
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_what_is_damaged_is_no_car(text: str) -> None:
    assert KnownCar.from_json(text) == KnownCar()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(VIN),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(STORED)), inner),
    max_leaves=12,
)


@given(
    st.one_of(
        st.text(),
        json_values.map(json.dumps),
        st.dictionaries(st.sampled_from(sorted(STORED)), json_values).map(lambda some: json.dumps(STORED | some)),
    )
)
def test_whatever_the_spool_gives_back_can_be_used(text: str) -> None:
    known = KnownCar.from_json(text)
    assert KnownCar.from_json(known.to_json()) == known
    if known.vin is not None:
        assert len(known.vin) == 17
    if known.car is not None:
        assert known.car.vin == known.vin
        assert Request(f"ATTP{known.car.dialect.protocol}").wire
        schedule = Schedule()
        schedule.meet(known.car)
        schedule.follow(Plan(voltage_every_s=5.0, rpm_every_s=1.0, speed_every_s=1.0, rotation_every_s=5.0), 0.0)
        request = schedule.next_request(0.0)
        assert request is not None
        assert request.wire


@given(st.binary(max_size=4), st.integers(0, 200))
def test_a_stored_car_with_flipped_bytes_never_gets_another_vin_that_is_none(noise: bytes, place: int) -> None:
    text = bytearray(CAR.to_json().encode())
    text[place % len(text) : place % len(text) + len(noise)] = noise
    known = KnownCar.from_json(text.decode(errors="replace"))
    assert known.vin is None or (len(known.vin) == 17 and known.vin.isascii() and known.vin.isalnum())
