"""Families of titles: a run of codes in one line."""

from __future__ import annotations

import pytest

from smartdrive_dagster.domain.dtc_titles import Family, TitleTableError, expand

FAULTS = {"C": {"en": "circuit fault", "hu": "áramköri hiba"}, "L": {"en": "too low", "hu": "túl alacsony"}}


def titles(codes: str, faults: str, en: str, hu: str = "x", values: str = "") -> dict[str, str]:
    table = expand([Family("t.csv:2", codes, faults, {"en": en, "hu": hu}, values)], FAULTS)
    return {code: said["en"] for code, said in table.items()}


def hungarian(codes: str, hu: str, values: str) -> list[str]:
    table = expand([Family("t.csv:2", codes, "", {"en": "x", "hu": hu}, values)], FAULTS)
    return [said["hu"] for said in table.values()]


def test_faults_follow_each_other_in_hexadecimal_and_a_dash_leaves_one_out() -> None:
    assert titles("P0A0F", "C L - C", "Pump") == {
        "P0A0F": "Pump: circuit fault",
        "P0A10": "Pump: too low",
        "P0A12": "Pump: circuit fault",
    }


def test_a_line_without_a_fault_is_the_whole_title() -> None:
    assert titles("P0217", "", "Engine too hot") == {"P0217": "Engine too hot"}


def test_values_count_the_first_codes_and_may_have_parts() -> None:
    assert titles("P0130 P0150", "C", "Sensor {1}, bank {0}", values="1/2,2/2") == {
        "P0130": "Sensor 2, bank 1: circuit fault",
        "P0150": "Sensor 2, bank 2: circuit fault",
    }


def test_a_range_of_codes_meets_a_range_of_values() -> None:
    assert titles("P0208-P020A", "", "Cylinder {0}", values="8-10") == {
        "P0208": "Cylinder 8",
        "P0209": "Cylinder 9",
        "P020A": "Cylinder 10",
    }
    assert list(titles("P0001-P0003", "", "Valve {0}", values="A-C").values()) == ["Valve A", "Valve B", "Valve C"]


def test_hungarian_articles_follow_the_sound_of_numerals_and_letters() -> None:
    assert hungarian("P0001-P0006", "{Az0} {0}. henger", "1-6") == [
        "Az 1. henger",
        "A 2. henger",
        "A 3. henger",
        "A 4. henger",
        "Az 5. henger",
        "A 6. henger",
    ]
    assert hungarian("P0001-P0003", "hiba {az0} {0} szelepnél", "A-C") == [
        "hiba az A szelepnél",
        "hiba a B szelepnél",
        "hiba a C szelepnél",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("P017", "C", "Pump"), "P017 is no code"),
        (("P0170", "Z", "Pump"), "unknown fault Z"),
        (("P0170 P0180", "C", "Pump"), "2 codes but 0 values"),
        (("P0170 P0180", "C", "Pump {0}", "x", "A"), "2 codes but 1 values"),
        (("P0170", "C", "Pump {0}"), "no value for {0}"),
        (("P0170 P0171", "C C", "Pump {0}", "x", "A,B"), "P0171 has a title already"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_with_its_place(line: tuple[str, ...], words: str) -> None:
    with pytest.raises(TitleTableError, match=r"t\.csv:2: ") as caught:
        titles(*line)
    assert words in str(caught.value)
