import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.trips import ALGO_VERSION, HALO_DAYS, MAX_GAP_S, segment_trips
from smartdrive_dagster.tables import Days, gold

SCHEMA = pl.Schema(
    {
        "vehicle_id": pl.String(),
        "event_at": pl.Datetime("us", "UTC"),
        "message_id": pl.String(),
        "sample": pl.Int32(),
        "phase": pl.String(),
        "engine_speed_rpm": pl.Float64(),
        "speed_kmh": pl.Float64(),
        "ignition": pl.Float64(),
    }
)
TRIPS_TYPES = {
    "string": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
    "date": pl.Date(),
    "double": pl.Float64(),
    "long": pl.Int64(),
    "boolean": pl.Boolean(),
}
DAY_S = 86_400
DAY = date(2025, 3, 10)
MIDNIGHT = datetime(2025, 3, 10, tzinfo=UTC)
NOON_S = DAY_S / 2
EVER = Days(date(2008, 1, 1), date(2060, 12, 31))

Sample = dict[str, Any]


def sample(
    at_s: float,
    *,
    rpm: float | None = None,
    speed: float | None = None,
    ignition: float | None = None,
    phase: str | None = None,
    vehicle: str = "a",
) -> Sample:
    """One sample so many seconds after the midnight that begins DAY."""
    return {
        "vehicle_id": vehicle,
        "event_at": MIDNIGHT + timedelta(seconds=at_s),
        "phase": phase,
        "engine_speed_rpm": rpm,
        "speed_kmh": speed,
        "ignition": ignition,
    }


def telemetry(samples: list[Sample]) -> pl.LazyFrame:
    rows = [{"message_id": f"m{n}", "sample": 0, **row} for n, row in enumerate(samples)]
    return pl.DataFrame(rows, schema=SCHEMA).lazy()


def trips_of(samples: list[Sample], *, gap_s: float = 300, days: Days = EVER) -> pl.DataFrame:
    return segment_trips(telemetry(samples), days=days, gap_s=gap_s).collect()


def drive(first_s: float, last_s: float, step_s: float = 1, **signals: Any) -> list[Sample]:
    count = int((last_s - first_s) / step_s) + 1
    return [sample(first_s + n * step_s, **signals) for n in range(count)]


def offsets(trips: pl.DataFrame) -> list[tuple[float, float]]:
    return [
        ((row["started_at"] - MIDNIGHT).total_seconds(), (row["ended_at"] - MIDNIGHT).total_seconds())
        for row in trips.iter_rows(named=True)
    ]


def only(trips: pl.DataFrame) -> dict[str, Any]:
    assert trips.height == 1
    return trips.row(0, named=True)


# The shape of the result


def test_rows_have_the_columns_of_the_spec_in_order_and_type():
    trips = trips_of(drive(0, 5, rpm=900, speed=10))
    assert trips.schema == pl.Schema({column.name: TRIPS_TYPES[column.dtype] for column in gold.TRIPS.columns})


def test_no_samples_make_no_trips_of_the_same_schema():
    trips = trips_of([])
    assert trips.height == 0
    assert trips.schema == trips_of([sample(0, speed=1)]).schema


def test_the_phase_may_be_missing():
    frame = telemetry(drive(0, 5, speed=10)).drop("phase")
    assert segment_trips(frame, days=EVER, gap_s=300).collect().height == 1


def test_required_columns_are_never_null_and_values_are_accepted_ones():
    trips = trips_of([sample(0, speed=5), sample(1000, rpm=700), *drive(5000, 5010, rpm=0, speed=9, vehicle="b")])
    for column in gold.TRIPS.columns:
        values = trips.get_column(column.name)
        assert not (column.required and values.null_count()), column.name
        assert not column.accepted or set(values) <= set(column.accepted)
    assert set(trips["algo_version"]) == {ALGO_VERSION}


def test_a_trip_is_named_by_vehicle_and_start_alone():
    short, long = (only(trips_of(drive(0, end, speed=10)))["trip_id"] for end in (5, 50))
    other_vehicle = only(trips_of(drive(0, 5, speed=10, vehicle="b")))["trip_id"]
    other_start = only(trips_of(drive(1, 5, speed=10)))["trip_id"]
    assert short == long == "cwhnjbt5ykek65j23xika6mtfu"
    assert len({short, other_vehicle, other_start}) == 3


@pytest.mark.parametrize("gap_s", [0, -1, MAX_GAP_S + 1, float("nan")])
def test_a_gap_limit_that_no_halo_could_hold_is_refused(gap_s: float):
    with pytest.raises(ValueError, match="gap limit"):
        trips_of([], gap_s=gap_s)


# What counts as running


@pytest.mark.parametrize(
    ("rpm", "speed", "ignition", "running"),
    [
        pytest.param(800, 50, 1, True, id="driving"),
        pytest.param(800, 0, 1, True, id="red light"),
        pytest.param(800, None, None, True, id="engine turns, nothing else known"),
        pytest.param(None, 50, None, True, id="moves, nothing else known"),
        pytest.param(0, 50, 1, True, id="rolls with the engine stopped"),
        pytest.param(0, 0, 1, False, id="parked with the ignition on"),
        pytest.param(0, None, None, False, id="engine stands"),
        pytest.param(None, 0, None, False, id="stands, engine unknown in this sample"),
        pytest.param(None, None, 1, False, id="ignition on, engine unknown in this sample"),
        pytest.param(None, None, None, False, id="nothing measured in this sample"),
        pytest.param(None, 50, 0, False, id="towed"),
        pytest.param(800, 50, 0, False, id="ignition off says no"),
        pytest.param(None, None, 0, False, id="voltage only, ignition off"),
    ],
)
def test_running_on_a_day_that_knows_the_engine_speed(
    rpm: float | None, speed: float | None, ignition: float | None, running: bool
):
    elsewhere_on_the_day = sample(0, rpm=0)
    trips = trips_of([elsewhere_on_the_day, sample(NOON_S, rpm=rpm, speed=speed, ignition=ignition)])
    assert offsets(trips) == ([(NOON_S, NOON_S)] if running else [])


@pytest.mark.parametrize(
    ("speed", "ignition", "running"),
    [
        pytest.param(50, 1, True, id="driving"),
        pytest.param(0, 1, True, id="ignition on at standstill"),
        pytest.param(None, 1, True, id="ignition alone"),
        pytest.param(50, None, True, id="moves, ignition unknown in this sample"),
        pytest.param(0, None, False, id="stands, ignition unknown in this sample"),
        pytest.param(None, None, False, id="nothing measured in this sample"),
        pytest.param(None, 0, False, id="ignition off"),
    ],
)
def test_running_on_a_day_that_knows_the_ignition_but_not_the_engine_speed(
    speed: float | None, ignition: float | None, running: bool
):
    trips = trips_of([sample(0, ignition=0), sample(NOON_S, speed=speed, ignition=ignition)])
    assert offsets(trips) == ([(NOON_S, NOON_S)] if running else [])


@pytest.mark.parametrize("speed", [None, 0, 30])
def test_with_neither_ignition_nor_engine_speed_a_sample_runs_by_being_there(speed: float | None):
    assert offsets(trips_of(drive(0, 60, speed=speed))) == [(0, 60)]


@pytest.mark.parametrize(
    ("phase", "running"),
    [
        ("cranking", True),
        ("running", True),
        (None, True),
        ("ready", False),
        ("post_drive", False),
        ("sentinel", False),
        ("suspended", False),
    ],
)
@pytest.mark.parametrize("ignition", [None, 1])
def test_a_parked_collector_makes_no_trip_by_taking_samples(
    phase: str | None, running: bool, ignition: float | None
):
    trips = trips_of(drive(0, 1200, 60, phase=phase, ignition=ignition))
    assert trips.height == int(running)


def test_a_measured_movement_counts_in_any_phase():
    assert trips_of([sample(0, speed=20, phase="ready")]).height == 1


def test_voltage_only_samples_after_the_drive_do_not_lengthen_it():
    driving = drive(0, 600, rpm=1500, speed=50, ignition=1, phase="running")
    parked = drive(660, 2400, 60, ignition=0, phase="post_drive") + drive(3000, 40_000, 600, phase="sentinel")
    assert offsets(trips_of(driving + parked)) == [(0, 600)]


def test_what_is_in_the_data_is_asked_per_vehicle():
    presence, parked = drive(0, 60), drive(0, 60, rpm=0, vehicle="b")
    assert trips_of(presence + parked)["vehicle_id"].to_list() == ["a"]


def test_what_is_in_the_data_is_asked_per_utc_day():
    presence, parked = drive(DAY_S, DAY_S + 60), drive(0, 60, rpm=0)
    assert offsets(trips_of(presence + parked)) == [(DAY_S, DAY_S + 60)]


def test_an_instant_runs_if_any_of_its_samples_does():
    trips = trips_of([sample(0, rpm=0), sample(0, speed=30), sample(0)])
    assert offsets(trips) == [(0, 0)]
    assert trips["samples"].to_list() == [1]


def test_signals_that_come_one_a_sample_make_one_trip():
    trip = only(
        trips_of(
            [
                *drive(0.0, 600, rpm=900),
                *drive(0.3, 600.3, speed=36),
                *drive(0.6, 600.6),
            ]
        )
    )
    assert trip["distance_km"] == pytest.approx(36 * 600 / 3600)
    assert trip["duration_s"] == pytest.approx(600.3)
    assert trip["samples"] == 1202


# Where a trip ends


@pytest.mark.parametrize(("gap_s", "trips"), [(299, 2), (299.999999, 2), (300, 1), (300.000001, 1)])
def test_a_gap_ends_a_trip_only_if_it_is_strictly_over_the_limit(gap_s: float, trips: int):
    assert trips_of([sample(0, speed=10), sample(300, speed=10)], gap_s=gap_s).height == trips


def test_stop_start_at_a_light_does_not_end_a_trip():
    samples = drive(0, 60, rpm=900, speed=40) + drive(61, 120, rpm=0, speed=0) + drive(121, 180, rpm=900, speed=40)
    trip = only(trips_of(samples))
    assert (trip["duration_s"], trip["samples"]) == (180, 121)


def test_a_long_stop_ends_a_trip_although_samples_go_on():
    samples = drive(0, 60, rpm=900, speed=40) + drive(61, 500, rpm=0, speed=0) + drive(501, 560, rpm=900, speed=40)
    assert offsets(trips_of(samples)) == [(0, 60), (501, 560)]


def test_vehicles_do_not_share_trips():
    samples = drive(0, 60, speed=40, vehicle="b") + drive(61, 120, speed=40) + drive(900, 960, speed=40)
    assert trips_of(samples)["vehicle_id"].to_list() == ["a", "a", "b"]


def test_a_trip_s_rates_are_the_same_to_the_last_bit_whatever_is_computed_with_it():
    """Polars divides by a column of equal values by multiplying with the reciprocal, which rounds otherwise."""
    samples = [
        sample(day * DAY_S + NOON_S + 5 * n, rpm=900, speed=31 + 4 * car + 3 * day + n % 5, vehicle=str(car))
        for day in range(3)
        for car in range(3)
        for n in range(120)
    ]

    def rates(days: Days, cars: int) -> list[tuple[Any, ...]]:
        chosen = telemetry([row for row in samples if int(row["vehicle_id"]) < cars])
        trips = segment_trips(chosen, days=days, gap_s=300).collect(engine="streaming")
        return trips.filter(pl.col("vehicle_id") == "0").select("mean_speed_kmh", "speed_coverage_pct").rows()

    one_by_one = [row for n in range(3) for row in rates(Days(*[DAY + timedelta(n)] * 2), 3)]
    assert [rates(EVER, cars) for cars in (1, 2, 3)] == [one_by_one] * 3


def test_a_trip_of_a_single_sample_has_no_duration_and_no_rates():
    trip = only(trips_of([sample(0, speed=50, rpm=2000)]))
    assert (trip["duration_s"], trip["samples"], trip["max_speed_kmh"], trip["idle_s"]) == (0, 1, 50, 0)
    assert (trip["distance_km"], trip["distance_method"]) == (None, "none")
    assert trip["speed_coverage_pct"] is trip["mean_speed_kmh"] is None


# What a trip measures


def test_distance_is_the_trapezoid_rule_on_speed():
    trip = only(trips_of([sample(0, speed=0, rpm=800), sample(4, speed=72), sample(10, speed=36)]))
    assert trip["distance_km"] == pytest.approx((4 * 36 + 6 * 54) / 3600)
    assert trip["mean_speed_kmh"] == pytest.approx((4 * 36 + 6 * 54) / 10)
    assert (trip["distance_method"], trip["speed_coverage_pct"], trip["max_speed_kmh"]) == ("speed", 100, 72)


def test_samples_without_speed_do_not_interrupt_it():
    trip = only(trips_of([sample(0, speed=36), sample(3, rpm=900), sample(5, rpm=900), sample(10, speed=36)]))
    assert trip["distance_km"] == pytest.approx(0.1)


@pytest.mark.parametrize(("step_s", "distance_km", "coverage_pct"), [(10, 0.1, 100), (10.000001, None, 0)])
def test_no_distance_is_made_up_over_more_than_ten_seconds(
    step_s: float, distance_km: float | None, coverage_pct: float
):
    trip = only(trips_of([sample(0, speed=36), sample(step_s, speed=36)]))
    assert trip["distance_km"] == pytest.approx(distance_km)
    assert trip["distance_method"] == ("none" if distance_km is None else "speed")
    assert trip["speed_coverage_pct"] == coverage_pct


def test_no_distance_is_counted_between_two_trips():
    trips = trips_of(drive(0, 3, speed=36) + drive(8, 11, speed=36), gap_s=4)
    assert trips["distance_km"].to_list() == [pytest.approx(0.03)] * 2


def test_the_speed_coverage_is_the_share_of_the_duration():
    trip = only(trips_of(drive(0, 30, speed=36) + drive(90, 120, speed=36)))
    assert trip["distance_km"] == pytest.approx(0.6)
    assert trip["speed_coverage_pct"] == pytest.approx(50)
    assert trip["mean_speed_kmh"] == pytest.approx(36)


def test_what_was_never_measured_is_null_and_not_zero():
    trip = only(trips_of(drive(0, 60)))
    names = (
        "distance_km",
        "speed_coverage_pct",
        "max_speed_kmh",
        "mean_speed_kmh",
        "idle_s",
        "max_engine_speed_rpm",
    )
    assert [trip[name] for name in names] == [None] * len(names)
    assert trip["distance_method"] == "none"


def test_highest_values_ignore_missing_ones():
    trip = only(trips_of([sample(0, speed=20), sample(1, rpm=3000), sample(2, speed=30), sample(3, rpm=1000)]))
    assert (trip["max_speed_kmh"], trip["max_engine_speed_rpm"]) == (30, 3000)


def test_what_was_read_outside_the_trip_does_not_count():
    before, after = drive(0, 99, speed=0, rpm=0), drive(161, 300, speed=0, rpm=0)
    trip = only(trips_of(before + drive(100, 160, speed=36, rpm=900) + after))
    assert (trip["duration_s"], trip["samples"], trip["idle_s"]) == (60, 61, 0)
    assert (trip["distance_km"], trip["mean_speed_kmh"]) == (pytest.approx(0.6), pytest.approx(36))


@pytest.mark.parametrize(
    ("standstill", "idle_s"),
    [
        pytest.param(drive(61, 120, rpm=800, speed=0), 59, id="engine turning"),
        pytest.param(drive(61, 120, rpm=0, speed=0), 0, id="engine stopped"),
        pytest.param(drive(61, 120, speed=0), 10, id="engine last seen turning at 60 s"),
        pytest.param(drive(61, 111, 10, rpm=800, speed=0), 50, id="a reading every 10 s"),
        pytest.param(drive(61, 116, 11, rpm=800, speed=0), 0, id="a reading every 11 s"),
        pytest.param(drive(61, 120, rpm=800), 0, id="standstill not measured"),
    ],
)
def test_idling_is_standing_with_the_engine_turning(standstill: list[Sample], idle_s: float):
    samples = drive(0, 60, rpm=900, speed=40) + standstill + drive(121, 180, rpm=900, speed=40)
    assert only(trips_of(samples))["idle_s"] == pytest.approx(idle_s)


@pytest.mark.parametrize("signals", [{"rpm": 800}, {"speed": 0}], ids=["no speed", "no engine speed"])
def test_idling_is_unknown_where_half_of_it_was_never_measured(signals: dict[str, float]):
    assert only(trips_of(drive(0, 60, **signals)))["idle_s"] is None


def test_the_engine_of_one_trip_does_not_idle_in_the_next():
    first = [sample(0, rpm=800, speed=5)]
    second = [sample(5, speed=5), sample(6, speed=0), sample(7, speed=0), sample(8, speed=5, rpm=0)]
    assert trips_of(first + second, gap_s=4)["idle_s"].to_list() == [0, 0]


def test_two_devices_in_one_car_do_not_double_the_distance():
    devices = [drive(0, 60, speed=speed, rpm=rpm) for speed, rpm in ((50, 1000), (54, 1200), (51, None))]
    trip = only(trips_of([row for device in devices for row in device]))
    assert trip["distance_km"] == pytest.approx(52 / 60)
    assert (trip["max_speed_kmh"], trip["max_engine_speed_rpm"], trip["samples"]) == (52, 1200, 183)


def test_two_devices_with_clocks_apart_do_not_double_the_distance():
    trip = only(trips_of(drive(0, 60, speed=50) + drive(0.3, 60, speed=50)))
    assert trip["distance_km"] == pytest.approx(50 / 60)


# Midnight


def test_a_trip_over_midnight_belongs_to_the_day_on_which_it_began():
    samples = drive(DAY_S - 60, DAY_S + 60, speed=36, rpm=900)
    trip = only(trips_of(samples))
    assert (trip["event_date"], trip["duration_s"], trip["is_cut_at_midnight"]) == (DAY, 120, False)
    assert trip["distance_km"] == pytest.approx(1.2)
    assert trips_of(samples, days=Days(DAY, DAY)).height == 1
    assert trips_of(samples, days=Days(DAY + timedelta(1), DAY + timedelta(1))).height == 0


def test_only_trips_that_began_within_the_days_are_returned():
    samples = [sample(n * DAY_S, speed=10) for n in range(-3, 4)]
    trips = trips_of(samples, days=Days(DAY - timedelta(1), DAY + timedelta(1)))
    assert trips["event_date"].to_list() == [DAY - timedelta(1), DAY, DAY + timedelta(1)]


@pytest.mark.parametrize(
    ("first_s", "last_s", "starts"),
    [
        pytest.param(-200, DAY_S + 200, [-200, 0, DAY_S], id="over a day: both its midnights"),
        pytest.param(-200, 2 * DAY_S + 200, [-200, 0, DAY_S, 2 * DAY_S], id="over two days"),
        pytest.param(0, DAY_S, [0, DAY_S], id="from midnight to midnight"),
        pytest.param(100, DAY_S + 200, [100], id="not from the first midnight"),
        pytest.param(-200, DAY_S - 100, [-200], id="not to the second midnight"),
        pytest.param(-DAY_S + 100, DAY_S - 100, [-DAY_S + 100], id="nearly two days, neither of them whole"),
    ],
)
def test_a_chain_over_a_whole_utc_day_is_cut_at_both_its_midnights(
    first_s: float, last_s: float, starts: list[float]
):
    trips = trips_of(drive(first_s, last_s, 100, speed=36))
    assert [start for start, _ in offsets(trips)] == starts
    assert set(trips["is_cut_at_midnight"]) == {len(starts) > 1}
    assert trips["samples"].sum() == int((last_s - first_s) / 100) + 1


def test_samples_around_the_midnights_decide_and_not_samples_on_them():
    trips = trips_of(drive(-150, DAY_S + 150, 100, speed=36))
    assert offsets(trips) == [(-150, -50), (50, DAY_S - 50), (DAY_S + 50, DAY_S + 50 + 100)]


def test_a_cut_loses_no_distance_and_covers_no_more_than_all():
    trips = trips_of(drive(-20, DAY_S + 20, 10, speed=36))
    assert trips["distance_km"].to_list() == [pytest.approx(0.2), pytest.approx(864), pytest.approx(0.2)]
    assert trips["speed_coverage_pct"].to_list() == [100, 100, 100]


def test_a_change_of_the_clocks_changes_nothing():
    for change in (datetime(2025, 3, 30, 1, tzinfo=UTC), datetime(2025, 10, 26, 1, tzinfo=UTC)):
        at_s = (change - MIDNIGHT).total_seconds()
        trip = only(trips_of(drive(at_s - 1800, at_s + 1800, speed=36)))
        assert (trip["duration_s"], trip["event_date"]) == (3600, change.date())
        assert trip["distance_km"] == pytest.approx(36)


# What incremental runs stand on


def bursts(span_days: int = 7) -> st.SearchStrategy[list[Sample]]:
    """Samples of two vehicles in bursts over some days, many of them on or around a midnight."""
    value = st.sampled_from([None, 0.0, 30.0, 50.0])
    start = st.builds(
        lambda day, hour, s: day * DAY_S + hour * 3600 + s,
        st.integers(0, span_days - 1),
        st.sampled_from([0, 0, 6, 12, 23]),
        st.sampled_from([0, 0, -1, 1, -7, 3599]),
    )
    signals = st.fixed_dictionaries(
        {
            "rpm": value,
            "speed": value,
            "ignition": st.sampled_from([None, None, 0.0, 1.0]),
            "phase": st.sampled_from([None, None, "running", "sentinel"]),
            "vehicle": st.sampled_from("aaab"),
        }
    )
    one = st.builds(
        lambda at, steps, signals: [sample(at + step, **signals) for step in steps],
        start,
        st.lists(st.sampled_from([0, 1, 2, 5, 10, 11]), min_size=1, max_size=3),
        signals,
    )
    return st.lists(one, max_size=30).map(lambda found: [row for burst in found for row in burst])


GAPS = st.sampled_from([5.0, 300.0, 21_600.0, 43_200.0, 86_399.0, 86_400.0])


def window(samples: list[Sample], days: Days) -> list[Sample]:
    return [row for row in samples if row["event_at"].date() in days]


@settings(max_examples=10, deadline=None)
@given(samples=bursts(), gap_s=GAPS)
def test_day_by_day_with_its_halo_gives_the_rows_of_all_at_once(samples: list[Sample], gap_s: float):
    at_once = trips_of(samples, gap_s=gap_s)
    days = Days(DAY, DAY + timedelta(7))
    one_by_one = [
        trips_of(window(samples, only_day.widened(HALO_DAYS)), gap_s=gap_s, days=only_day)
        for only_day in (Days(day, day) for day in days.widened(1))
    ]
    assert_frame_equal(pl.concat(one_by_one).sort("vehicle_id", "started_at"), at_once, check_exact=True)


@settings(max_examples=20, deadline=None)
@given(samples=bursts(), gap_s=GAPS, first=st.integers(0, 6), length=st.integers(0, 3), more=st.integers(0, 3))
def test_a_range_of_days_with_any_wider_halo_gives_the_same_rows(
    samples: list[Sample], gap_s: float, first: int, length: int, more: int
):
    days = Days(DAY + timedelta(first), DAY + timedelta(first + length))
    expected = trips_of(samples, gap_s=gap_s, days=days)
    found = trips_of(window(samples, days.widened(HALO_DAYS + more)), gap_s=gap_s, days=days)
    assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("offset_s", [1, NOON_S, DAY_S - 1])
@pytest.mark.parametrize("chain", [range(-4, 1), range(5)], ids=["ends on the day", "begins on the day"])
def test_the_halo_suffices_for_the_longest_gap_and_a_day_less_does_not(chain: range, offset_s: float):
    samples = [sample(n * DAY_S + offset_s, speed=10) for n in chain]
    day = Days(DAY, DAY)
    expected = trips_of(samples, gap_s=MAX_GAP_S, days=day)
    sufficient, narrow = (
        trips_of(window(samples, day.widened(halo)), gap_s=MAX_GAP_S, days=day)
        for halo in (HALO_DAYS, HALO_DAYS - 1)
    )
    assert offsets(expected) == [(offset_s, offset_s)]
    assert_frame_equal(sufficient, expected, check_exact=True)
    assert not narrow.equals(expected)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), gap_s=GAPS, samples=bursts(3))
def test_the_order_of_the_rows_does_not_matter(data: st.DataObject, gap_s: float, samples: list[Sample]):
    shuffled = data.draw(st.permutations(samples))
    assert_frame_equal(trips_of(shuffled, gap_s=gap_s), trips_of(samples, gap_s=gap_s), check_exact=True)


@settings(max_examples=20, deadline=None)
@given(samples=bursts(3), gap_s=GAPS)
def test_a_sample_delivered_twice_adds_only_to_the_count(samples: list[Sample], gap_s: float):
    once, twice = (trips_of(rows, gap_s=gap_s) for rows in (samples, samples + samples))
    assert_frame_equal(twice.drop("samples"), once.drop("samples"), check_exact=True)


def distance_without_cuts_km(speeds: dict[float, float], gap_s: float) -> float:
    times = sorted(speeds)
    return sum(
        (late - early) * (speeds[early] + speeds[late]) / 2 / 3600
        for early, late in pairwise(times)
        if late - early <= min(gap_s, 10)
    )


@settings(max_examples=20, deadline=None)
@given(
    speeds=st.dictionaries(
        st.builds(
            lambda day, at: day * DAY_S + at,
            st.integers(-1, 4),
            st.integers(-12, 12) | st.sampled_from([21_600, 43_200, 64_800]),
        ),
        st.sampled_from([0.0, 7.5, 33.3, 120.0]),
        min_size=1,
        max_size=60,
    ),
    gap_s=GAPS,
)
def test_cutting_at_midnight_never_loses_distance(speeds: dict[float, float], gap_s: float):
    samples = [sample(at, speed=speed, rpm=900) for at, speed in speeds.items()]
    trips = trips_of(samples, gap_s=gap_s)
    assert trips["distance_km"].sum() == pytest.approx(distance_without_cuts_km(speeds, gap_s), abs=1e-6)
    assert trips["samples"].sum() == len(samples)
    assert trips["speed_coverage_pct"].drop_nulls().is_between(0, 100).all()


@pytest.mark.parametrize("absurd", [-100.0, 501.0, 3e9, 1e308])
def test_a_speed_that_no_car_can_have_counts_as_not_measured(absurd: float) -> None:
    clean = drive(0, 60, speed=36.0, rpm=1500.0)
    spoilt = [*clean, *drive(30.5, 30.5, speed=absurd, rpm=1500.0)]
    (with_it,), (without,) = trips_of(spoilt).rows(named=True), trips_of(clean).rows(named=True)
    assert with_it["distance_km"] == without["distance_km"]
    assert with_it["max_speed_kmh"] == 36.0


# Real recordings, read from where they lie and never copied


@pytest.fixture(scope="module")
def truth(recordings: Path) -> dict[str, Any]:
    return json.loads((recordings / "truth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drives(recordings: Path) -> pl.DataFrame:
    recorded = pl.read_csv(recordings / "drives_1hz.csv", infer_schema_length=None)
    return recorded.select(
        drive=pl.col("drive").cast(pl.String),
        event_at=pl.from_epoch("time_utc", time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        message_id=pl.lit("m"),
        sample=pl.int_range(pl.len(), dtype=pl.Int32),
        engine_speed_rpm="engine_rpm",
        speed_kmh=pl.col("speed_mph") * 1.609344,
        ignition=pl.lit(None, pl.Float64),
    )


@pytest.mark.parametrize(("gap_s", "trips"), [(60, 30), (120, 28), (300, 22)])
def test_real_drives_of_one_vehicle_split_into_the_known_number_of_trips(
    drives: pl.DataFrame, truth: dict[str, Any], gap_s: float, trips: int
):
    assert truth["drives_1hz.csv"]["trips_if_split_by_gap_s"][str(gap_s)] == trips
    one_vehicle = drives.lazy().with_columns(vehicle_id=pl.lit("a"))
    assert segment_trips(one_vehicle, days=EVER, gap_s=gap_s).collect().height == trips


@pytest.mark.parametrize(("gap_s", "trips"), [(60, 30), (120, 28), (300, 28)])
def test_real_drives_as_vehicles_of_their_own_agree_with_the_known_distances(
    drives: pl.DataFrame, truth: dict[str, Any], gap_s: float, trips: int
):
    known = truth["drives_1hz.csv"]
    found = segment_trips(drives.lazy().rename({"drive": "vehicle_id"}), days=EVER, gap_s=gap_s).collect()
    assert found.height == trips
    assert found["distance_km"].sum() == pytest.approx(known["total_dist_trap_km"], rel=0.005)
    assert found["max_speed_kmh"].max() == pytest.approx(135.94, abs=0.5)
    per_drive = dict(found.group_by("vehicle_id").agg(pl.col("distance_km").sum()).iter_rows())
    expected = {drive: figures["dist_trap_km"] for drive, figures in known["per_drive"].items()}
    assert per_drive == {drive: pytest.approx(km, rel=0.01) for drive, km in expected.items()}


@pytest.mark.parametrize("gap_s", [120, 300])
def test_real_drives_keep_their_total_distance_under_any_limit(
    drives: pl.DataFrame, truth: dict[str, Any], gap_s: float
):
    one_vehicle = drives.lazy().with_columns(vehicle_id=pl.lit("a"))
    found = segment_trips(one_vehicle, days=EVER, gap_s=gap_s).collect()
    assert found["distance_km"].sum() == pytest.approx(truth["drives_1hz.csv"]["total_dist_trap_km"], rel=0.005)


def test_a_real_recording_with_one_signal_a_sample_is_one_trip(recordings: Path):
    recorded = pl.read_csv(
        recordings / "carscanner_drive.csv", separator=";", infer_schema=False, truncate_ragged_lines=True
    )
    value = pl.col("VALUE").cast(pl.Float64)
    samples = recorded.lazy().select(
        vehicle_id=pl.lit("a"),
        event_at=(
            pl.lit(MIDNIGHT).cast(pl.Datetime("us", "UTC"))
            + pl.duration(microseconds=(pl.col("SECONDS").cast(pl.Float64) * 1e6).round().cast(pl.Int64))
        ),
        message_id=pl.lit("m"),
        sample=pl.int_range(pl.len(), dtype=pl.Int32),
        engine_speed_rpm=pl.when(pl.col("PID") == "Engine RPM").then(value),
        speed_kmh=pl.when(pl.col("PID") == "Vehicle speed").then(value * 1.609344),
        ignition=pl.lit(None, pl.Float64),
    )
    trip = only(segment_trips(samples, days=EVER, gap_s=300).collect())
    assert trip["distance_km"] == pytest.approx(1.508, rel=0.01)
    assert trip["max_speed_kmh"] == pytest.approx(70, abs=0.5)
    assert trip["idle_s"] > 0
