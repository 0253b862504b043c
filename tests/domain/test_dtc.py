"""Structure of trouble codes: every code has one, no text breaks it."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartdrive_dagster.domain.dtc import Structure, decode_structure, family_of, normal_code
from smartdrive_dagster.tables import codes

HEX = "0123456789ABCDEF"


@pytest.mark.parametrize(
    ("code", "system", "origin", "subsystem", "fault"),
    [
        ("P0171", "powertrain", "generic", "fuel_and_air", "71"),
        ("P0016", "powertrain", "generic", "fuel_air_emissions", "16"),
        ("P0201", "powertrain", "generic", "injectors", "01"),
        ("P0301", "powertrain", "generic", "ignition", "01"),
        ("P0420", "powertrain", "generic", "emissions", "20"),
        ("P0562", "powertrain", "generic", "speed_idle_inputs", "62"),
        ("P0606", "powertrain", "generic", "computer_outputs", "06"),
        ("P0730", "powertrain", "generic", "transmission", "30"),
        ("P0A80", "powertrain", "generic", "hybrid", "80"),
        ("P1A80", "powertrain", "manufacturer", "hybrid", "80"),
        ("P1345", "powertrain", "manufacturer", "ignition", "45"),
        ("P2135", "powertrain", "generic", "fuel_and_air", "35"),
        ("P2BAD", "powertrain", "generic", "fuel_air_emissions", "AD"),
        ("P2D57", "powertrain", "generic", "further_powertrain", "57"),
        ("P3000", "powertrain", "manufacturer", "fuel_air_emissions", "00"),
        ("P33FF", "powertrain", "manufacturer", "ignition", "FF"),
        ("P3400", "powertrain", "generic", "cylinder_deactivation", "00"),
        ("P3999", "powertrain", "generic", None, "99"),
        ("P3A00", "powertrain", "reserved", None, "00"),
        ("C0035", "chassis", "generic", None, "35"),
        ("C1234", "chassis", "manufacturer", None, "34"),
        ("C2234", "chassis", "manufacturer", None, "34"),
        ("C3234", "chassis", "reserved", None, "34"),
        ("B0001", "body", "generic", None, "01"),
        ("B1001", "body", "manufacturer", None, "01"),
        ("B3001", "body", "reserved", None, "01"),
        ("U0001", "network", "generic", "network_electrical", "01"),
        ("U0100", "network", "generic", "communication_lost", "00"),
        ("U0300", "network", "generic", "software_mismatch", "00"),
        ("U0401", "network", "generic", "invalid_data", "01"),
        ("U1000", "network", "manufacturer", None, "00"),
        ("U2FFF", "network", "manufacturer", None, "FF"),
        ("U3003", "network", "generic", "control_module_supply", "03"),
    ],
)
def test_a_code_says_its_system_who_assigned_it_its_subsystem_and_number(
    code: str, system: str, origin: str, subsystem: str | None, fault: str
) -> None:
    assert decode_structure(code) == Structure(code, system, origin, subsystem, fault)  # type: ignore[arg-type]


def test_every_code_that_can_be_written_has_a_structure_of_the_declared_vocabulary() -> None:
    for letters in product("PCBU", "0123", HEX):
        structure = decode_structure("".join(letters) + "7F")
        assert structure is not None
        assert structure.system in codes.SYSTEMS
        assert structure.origin in codes.ORIGINS
        assert structure.fault == "7F"


@given(st.one_of(st.text(), st.text("PCBUpcbu0123456789ABCDEFabcdef \n", max_size=7)))
def test_any_text_is_a_code_or_none_and_never_an_error(text: str) -> None:
    structure = decode_structure(text)
    assert (structure is None) == (normal_code(text) is None)
    if structure is not None:
        assert structure.code == text.strip().upper()
        assert family_of(structure.code) + structure.fault == structure.code


@pytest.mark.parametrize(
    "text", ["", "P017", "P01711", "X0171", "P4171", "P01G1", "P\uff10171", "P0171\x00", "P 0171"]
)
def test_what_is_no_code_has_no_structure(text: str) -> None:
    assert decode_structure(text) is None


@pytest.mark.parametrize("text", ["p0171", " P0171\n", "p0a80"])
def test_small_letters_and_blanks_around_do_no_harm(text: str) -> None:
    assert decode_structure(text) == decode_structure(text.strip().upper()) != None  # noqa: E711


def test_all_codes_of_a_public_list_are_decoded(recordings: Path) -> None:
    with (recordings / "dtc_codes.csv").open(encoding="utf-8") as file:
        listed = [row["code"] for row in csv.DictReader(file)]
    decoded = [structure for code in listed if (structure := decode_structure(code)) is not None]
    assert len(listed) == len(decoded) == 9533
    assert {structure.origin for structure in decoded} == {"generic"}
