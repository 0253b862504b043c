"""Fuel: the method that the signals allow, its figures, and the reason where there is none."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.fuel import trip_fuel
from smartdrive_dagster.domain.fuel_types import FUELS, blend
from smartdrive_dagster.domain.trips import segment_trips
from smartdrive_dagster.lake.frames import conform, polars_schema
from smartdrive_dagster.tables import driving, facts
from tests.domain.driven import EVER, Sample, drive, telemetry

AIR_GPS = 14.7


def fuel_of(samples: list[Sample], *words: dict[str, Any]) -> pl.DataFrame:
    frame = telemetry(samples)
    profiles = None
    if words:
        schema = polars_schema(facts.PROFILES)
        said = [
            {"vehicle_id": "a", "set_at": datetime(2025, 1, 1, tzinfo=UTC), "message_id": "p", **w} for w in words
        ]
        profiles = pl.DataFrame([{name: row.get(name) for name in schema} for row in said], schema=schema).lazy()
    trips = segment_trips(frame, days=EVER, gap_s=300)
    return conform(driving.TRIP_FUEL, trip_fuel(frame, trips, profiles).collect())


def driven(rate_hz: float = 1, **signals: Any) -> list[Sample]:
    """Ten minutes at 72 km/h: 12 km."""
    return drive(600, rate_hz, **{"speed_kmh": 72.0, "engine_speed_rpm": 2000.0, **signals})


def only(samples: list[Sample], *words: dict[str, Any]) -> dict[str, Any]:
    (row,) = fuel_of(samples, *words).to_dicts()
    return row


def test_the_fuels_have_the_figures_of_their_handbooks():
    assert {name: round(fuel.stoichiometric, 1) for name, fuel in FUELS.items()} == {
        "petrol": 14.7,
        "e10": 14.1,
        "e85": 9.8,
        "diesel": 14.5,
        "lpg": 15.6,
    }
    assert {name: round(fuel.co2_kg_per_l, 2) for name, fuel in FUELS.items()} == {
        "petrol": 2.36,
        "e10": 2.28,
        "e85": 1.63,
        "diesel": 2.64,
        "lpg": 1.63,
    }


def test_the_fuel_rate_is_integrated_as_it_is():
    row = only(driven(fuel_rate_lph=6.0, fuel_type_code=4.0, maf_gps=40.0))
    assert (row["method"], row["fuel_type"], row["fuel_type_source"], row["reason"]) == (
        "fuel_rate",
        "diesel",
        "pid",
        None,
    )
    assert row["fuel_l"] == pytest.approx(1.0)
    assert (row["fuel_low_l"], row["fuel_high_l"]) == (pytest.approx(0.95), pytest.approx(1.05))
    assert row["fuel_l_per_100km"] == pytest.approx(100 / 12)
    assert row["co2_kg"] == pytest.approx(2.64, abs=0.005)


@pytest.mark.parametrize(
    ("profile", "code", "litres"),
    [
        pytest.param(None, 1.0, 0.6 / 0.745, id="petrol by PID 51"),
        pytest.param("petrol", None, 0.6 / 0.745, id="petrol by the profile"),
        pytest.param("e10", 1.0, 0.8347, id="E10: the owner knows better than PID 51"),
        pytest.param("e85", None, 1.1487, id="E85"),
        pytest.param("lpg", 1.0, 0.6 * 14.7 / 15.6 / 0.54, id="converted to LPG"),
        pytest.param("hybrid", 17.0, 0.6 / 0.745, id="a hybrid that says what it burns"),
    ],
)
def test_air_becomes_fuel_by_the_fuels_own_ratio_and_density(
    profile: str | None, code: float | None, litres: float
):
    words = [{"fuel_type": profile}] if profile else []
    row = only(driven(maf_gps=AIR_GPS, fuel_type_code=code), *words)
    assert row["method"] == "maf"
    assert row["fuel_l"] == pytest.approx(litres, rel=1e-3)
    assert row["fuel_low_l"] < 0.9 * row["fuel_l"] < row["fuel_l"] < row["fuel_high_l"]


def test_the_measured_share_of_ethanol_beats_the_name_of_the_fuel():
    row = only(driven(maf_gps=AIR_GPS, ethanol_pct=60.0), {"fuel_type": "e85"})
    assert row["fuel_l"] == pytest.approx(600 * AIR_GPS / blend(0.6).air_g_per_l, rel=1e-6)
    assert row["co2_kg"] == pytest.approx(row["fuel_l"] * blend(0.6).co2_kg_per_l)


def test_lambda_leans_the_mixture_and_its_end_is_a_cut_of_fuel():
    cut = driven(
        maf_gps=AIR_GPS, fuel_type_code=1.0, commanded_equivalence_ratio=lambda t: 1.99 if t >= 300 else 1.1
    )
    row = only(cut)
    assert row["method"] == "maf_lambda"
    assert row["fuel_l"] == pytest.approx(0.3 / 0.745 / 1.1, rel=0.01)


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param({"maf_gps": 30.0}, id="air alone"),
        pytest.param({"maf_gps": 30.0, "commanded_equivalence_ratio": 1.0}, id="a lambda that stands for nothing"),
        pytest.param({"intake_pressure_kpa": 150.0, "intake_temp_c": 40.0}, id="manifold pressure"),
    ],
)
def test_a_diesel_is_never_taken_for_a_petrol_engine(signals: dict[str, float]):
    row = only(driven(fuel_type_code=4.0, **signals), {"displacement_l": 2.0})
    assert (row["method"], row["reason"], row["fuel_l"]) == ("none", "diesel_runs_lean", None)


def test_a_diesel_with_its_lambda_has_a_figure_and_where_lambda_ends_only_bounds():
    lean = only(driven(maf_gps=30.0, fuel_type_code=4.0, commanded_equivalence_ratio=1.8))
    assert lean["fuel_l"] == pytest.approx(600 * 30 / 1.8 / (14.5 * 835), rel=1e-6)
    capped = only(driven(maf_gps=30.0, fuel_type_code=4.0, commanded_equivalence_ratio=1.999))
    bound = 600 * 30 / 1.999 / (14.5 * 835)
    assert (capped["fuel_low_l"], capped["fuel_l"]) == (pytest.approx(0), pytest.approx(bound / 2, rel=1e-5))
    assert capped["fuel_high_l"] >= bound


def test_speed_density_is_the_last_resort_and_needs_the_displacement():
    signals = {"intake_pressure_kpa": 40.0, "intake_temp_c": 25.0, "fuel_type_code": 1.0}
    row = only(driven(**signals), {"displacement_l": 1.6})
    air_gps = 2000 / 120 * 1.6e-3 * 0.8 * 40_000 / (287.05 * 298.15) * 1000
    assert (row["method"], row["fuel_l"]) == ("speed_density", pytest.approx(600 * air_gps / 10_951.5, rel=1e-4))
    assert only(driven(**signals))["reason"] == "displacement_unknown"


@pytest.mark.parametrize(
    ("signals", "profile", "reason"),
    [
        pytest.param({}, None, "no_signal", id="nothing measured"),
        pytest.param({"maf_gps": 10.0}, None, "fuel_type_unknown", id="nobody names the fuel"),
        pytest.param({"maf_gps": 10.0, "fuel_type_code": 2.0}, None, "fuel_type_unknown", id="methanol"),
        pytest.param(
            {"maf_gps": 10.0, "fuel_type_code": 4.0}, "petrol", "fuel_type_conflict", id="a diesel, says PID 51"
        ),
        pytest.param({"maf_gps": 10.0}, "hybrid", "hybrid_fuel_unknown", id="a hybrid of what"),
        pytest.param({"maf_gps": 10.0}, "cng", "fuel_not_by_litre", id="gas by the kilogram"),
        pytest.param({"fuel_rate_lph": 1.0}, "electric", "fuel_not_by_litre", id="no fuel at all"),
        pytest.param(
            {"fuel_rate_lph": lambda t: 5.0 if t < 500 else None}, None, "coverage_too_low", id="half a signal"
        ),
        pytest.param(
            {"maf_gps": lambda t: 5.0 if t < 500 else None}, "petrol", "coverage_too_low", id="half the air"
        ),
    ],
)
def test_where_nobody_can_say_the_row_says_why(signals: dict[str, Any], profile: str | None, reason: str):
    row = only(driven(**signals), *([{"fuel_type": profile}] if profile else []))
    assert (row["method"], row["reason"]) == ("none", reason)
    assert row["fuel_l"] is row["fuel_l_per_100km"] is row["co2_kg"] is row["cost"] is None


def test_signals_that_come_in_turn_every_five_seconds_suffice():
    turn = {"maf_gps": 0, "commanded_equivalence_ratio": 2, "fuel_type_code": 3}
    values = {"maf_gps": AIR_GPS, "commanded_equivalence_ratio": 1.0, "fuel_type_code": 1.0}
    signals = {name: (lambda t, n=n, name=name: values[name] if t % 5 == n else None) for name, n in turn.items()}
    row = only(driven(**signals))
    assert (row["method"], row["fuel_coverage_pct"]) == ("maf_lambda", pytest.approx(100))
    assert row["fuel_l"] == pytest.approx(0.6 / 0.745, rel=0.01)


def test_time_that_nobody_recorded_counts_for_neither_fuel_nor_distance():
    row = only([sample for n, sample in enumerate(driven(fuel_rate_lph=6.0)) if not 200 <= n < 400])
    assert (row["fuel_l"], row["distance_km"]) == (pytest.approx(2 / 3, rel=0.01), pytest.approx(8, rel=0.01))
    assert row["fuel_coverage_pct"] == pytest.approx(100)


def test_a_trip_costs_what_the_fuel_cost_then():
    prices = [(1, 1.0, "EUR"), (10, 2.0, "EUR"), (20, 700.0, "HUF")]
    words = [
        {
            "set_at": datetime(2025, 3, day, tzinfo=UTC),
            "message_id": f"p{day}",
            "fuel_price_per_l": p,
            "currency": c,
        }
        for day, p, c in prices
    ]
    samples = driven(fuel_rate_lph=6.0)
    assert (only(samples, *words)["cost"], only(samples, *words)["currency"]) == (pytest.approx(2), "EUR")
    assert only(samples, words[2])["currency"] == "HUF"  # before the first price, the first
    assert only(samples, {"name": "x"})["cost"] is None


def test_one_row_a_trip_in_any_order_of_the_samples():
    samples = driven(fuel_rate_lph=6.0) + drive(
        60, 1, start_s=60_000, speed_kmh=36.0, fuel_rate_lph=lambda t: t / 7
    )
    rows = fuel_of(samples)
    assert rows["distance_km"].to_list() == [pytest.approx(12), pytest.approx(0.6)]
    assert rows["fuel_l_per_100km"].to_list()[1] is None  # under a kilometre
    random.Random(1).shuffle(samples)
    assert_frame_equal(fuel_of(samples), rows, check_exact=True)
    assert rows["started_at"][1] - rows["started_at"][0] == timedelta(seconds=60_000 - 43_200)
