"""What a VIN tells, and the last word on a profile. The VINs are made up."""

from datetime import UTC, datetime

import polars as pl
import pytest

from smartdrive_dagster.domain.vehicles import VinFacts, current_profiles, describe_vin
from smartdrive_dagster.tables import facts


@pytest.mark.parametrize(
    ("vin", "expected"),
    [
        pytest.param(
            "WVWZZZ1KZAW000001", ("Volkswagen", "Europe", 2010), id="the year code of a maker that sets it"
        ),
        pytest.param("TMBZZZ5E5F0000001", ("Škoda", "Europe", 2015), id="a letter of the second cycle"),
        pytest.param("1HGCM82633A000001", ("Honda", "North America", 2003), id="a digit at position 7"),
        pytest.param("5YJSA1E26HF000001", ("Tesla", "North America", 2017), id="a letter at position 7"),
        pytest.param("JTDKN36U770000001", ("Toyota", "Asia", None), id="a maker that need not set it"),
        pytest.param("WBA3A51000F000001", ("BMW", "Europe", None), id="0 is no year code"),
        pytest.param(
            "LZZZZZZZ7ENZZ0001", (None, "Asia", 2014), id="an unknown maker where the law asks for a year"
        ),
        pytest.param("MA3ZZZZZZJZ000001", ("Suzuki", "Asia", 2018), id="India"),
        pytest.param("0ZZZZZZZ7ENZZ0001", (None, None, None), id="no region begins with 0"),
    ],
)
def test_make_region_and_model_year_are_read_where_they_stand(vin: str, expected: tuple):
    assert describe_vin(vin, seen_year=2025) == VinFacts(*expected)


@pytest.mark.parametrize(("seen_year", "year"), [(2009, 2000), (2028, 2000), (2029, 2030), (2031, 2030)])
def test_a_year_code_means_the_newest_year_that_had_begun_when_the_vehicle_was_seen(seen_year: int, year: int):
    assert describe_vin("WVWZZZ1KZYW000001", seen_year=seen_year).model_year == year


def test_a_year_that_has_not_come_is_no_year():
    assert describe_vin("1HGCM8Z63LA000001", seen_year=2015).model_year is None


def test_the_last_word_on_each_fact_stands_and_silence_changes_nothing(rows_of):
    def word(day: int, **said: object) -> dict[str, object]:
        return {"vehicle_id": "a", "message_id": f"m{day}", "set_at": datetime(2025, 1, day, tzinfo=UTC)} | said

    words = rows_of(
        facts.PROFILES,
        word(1, name="Old", fuel_type="petrol"),
        word(3, name="New"),
        word(2, fuel_type="e10", battery_capacity_ah=70.0),
        {**word(1, name="Other"), "vehicle_id": "b", "message_id": "n"},
    )
    found = current_profiles(words.lazy()).collect()
    assert found.columns == ["vehicle_id", *facts.PROFILE_COLUMNS]
    a, b = found.sort("vehicle_id").to_dicts()
    assert (a["name"], a["fuel_type"], a["battery_capacity_ah"], a["currency"]) == ("New", "e10", 70.0, None)
    assert b["name"] == "Other"
    shuffled = pl.concat([words[3:], words[:3].reverse()])
    assert current_profiles(shuffled.lazy()).collect().sort("vehicle_id").equals(found.sort("vehicle_id"))
