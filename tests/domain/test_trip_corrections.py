"""What an owner says about trips: merges, splits and labels, whatever comes later, in whatever order."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.trips import HALO_DAYS, segment_trips
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.tables import Days, facts
from tests.domain.driven import DAY, DAY_S, EVER, MIDNIGHT, NOON_S, Sample, drive, telemetry, window

# Three trips of a minute, ten minutes apart.
STARTS = (NOON_S, NOON_S + 660, NOON_S + 1320)


def three_trips(shift_s: float = 0.0, vehicle: str = "a") -> list[Sample]:
    return [
        row for start in STARTS for row in drive(60, 1, start_s=start + shift_s, vehicle=vehicle, speed_kmh=36.0)
    ]


def at(second: float) -> datetime:
    return MIDNIGHT + timedelta(seconds=second)


def word(
    kind: str,
    first_s: float,
    last_s: float | None = None,
    *,
    label: str | None = None,
    set_s: float = 0.0,
    **of: Any,
) -> dict[str, Any]:
    last_s = first_s if last_s is None else last_s
    return {
        "vehicle_id": "a",
        "kind": kind,
        "from_at": at(first_s),
        "to_at": at(last_s),
        "label": label,
        "set_at": at(DAY_S + set_s),
        **of,
    }


def corrected(samples: list[Sample], *words: dict[str, Any], days: Days = EVER) -> pl.DataFrame:
    schema = polars_schema(facts.CORRECTIONS)
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in words], schema=schema).lazy()
    return segment_trips(telemetry(samples), days=days, gap_s=300, corrections=frame).collect()


def spans(trips: pl.DataFrame) -> list[tuple[float, float]]:
    return [
        ((row["started_at"] - at(NOON_S)).total_seconds(), (row["ended_at"] - at(NOON_S)).total_seconds())
        for row in trips.iter_rows(named=True)
    ]


def flags(trips: pl.DataFrame) -> list[bool]:
    return trips["is_corrected"].to_list()


def test_without_a_word_nothing_changes():
    plain = segment_trips(telemetry(three_trips()), days=EVER, gap_s=300).collect()
    assert_frame_equal(corrected(three_trips()), plain, check_exact=True)
    assert spans(plain) == [(0, 60), (660, 720), (1320, 1380)]
    assert flags(plain) == [False] * 3


@pytest.mark.parametrize(("first", "last"), [(0, 720), (30, 700), (60, 660), (-100, 900)])
def test_a_merge_joins_the_trips_whose_gap_lies_within_its_interval(first: float, last: float):
    trips = corrected(three_trips(), word("merge", NOON_S + first, NOON_S + last))
    assert spans(trips) == [(0, 720), (1320, 1380)]
    assert flags(trips) == [True, False]
    assert trips["distance_km"].to_list() == [pytest.approx(1.2), pytest.approx(0.6)]


@pytest.mark.parametrize(("first", "last"), [(61, 720), (0, 659), (100, 200)])
def test_a_merge_that_leaves_a_part_of_the_gap_joins_nothing(first: float, last: float):
    assert corrected(three_trips(), word("merge", NOON_S + first, NOON_S + last)).height == 3


def test_a_merge_of_a_whole_day_joins_all_its_trips_and_those_of_no_other_vehicle():
    samples = three_trips() + three_trips(vehicle="b")
    trips = corrected(samples, word("merge", 0, DAY_S))
    assert trips.group_by("vehicle_id").len().sort("vehicle_id")["len"].to_list() == [1, 3]


@pytest.mark.parametrize("moment", [30, 29.5, 29.001])
def test_a_split_begins_a_trip_with_the_first_sample_that_is_not_before_it(moment: float):
    trips = corrected(three_trips(), word("split", NOON_S + moment))
    assert spans(trips) == [(0, 29), (30, 60), (660, 720), (1320, 1380)]
    assert flags(trips) == [True, True, False, False]


@pytest.mark.parametrize("moment", [0, -5, 300, 2000])
def test_a_split_where_a_trip_begins_anyway_or_none_is_changes_nothing(moment: float):
    trips = corrected(three_trips(), word("split", NOON_S + moment))
    assert (trips.height, flags(trips)) == (3, [False] * 3)


@pytest.mark.parametrize(
    ("words", "trips"),
    [
        pytest.param([("merge", 0), ("split", 1)], 3, id="a split takes the merge back"),
        pytest.param([("split", 0), ("merge", 1)], 2, id="a merge takes the split back"),
        pytest.param([("merge", 1), ("split", 0)], 2, id="by set_at and not by arrival"),
        pytest.param([("merge", 0), ("split", 1), ("merge", 2)], 2, id="and back again"),
    ],
)
def test_the_latest_word_on_a_boundary_wins(words: list[tuple[str, float]], trips: int):
    forms = {"merge": (NOON_S, NOON_S + 720), "split": (NOON_S + 660, None)}
    said = [word(kind, *forms[kind], set_s=set_s) for kind, set_s in words]
    assert corrected(three_trips(), *said).height == trips
    assert corrected(three_trips(), *said[::-1]).height == trips


def test_a_merge_takes_back_a_split_within_a_trip():
    said = [word("split", NOON_S + 30), word("merge", NOON_S, NOON_S + 60, set_s=1)]
    trips = corrected(three_trips(), *said)
    assert (spans(trips)[0], flags(trips)[0]) == ((0, 60), False)
    again = corrected(three_trips(), *said, word("split", NOON_S + 30, set_s=2))
    assert (spans(again)[0], flags(again)[:2]) == ((0, 29), [True, True])


def test_a_label_is_that_of_every_trip_that_it_meets_and_the_latest_wins():
    said = [
        word("label", NOON_S + 30, NOON_S + 700, label="errand"),
        word("label", NOON_S, NOON_S + 10, label="work", set_s=1),
        word("label", NOON_S + 700, NOON_S + 1400, label="home", set_s=-1),
    ]
    assert corrected(three_trips(), *said)["label"].to_list() == ["work", "errand", "home"]
    taken_back = word("label", NOON_S, NOON_S + 60, label="", set_s=2)
    assert corrected(three_trips(), *said, taken_back)["label"].to_list() == [None, "errand", "home"]


def test_a_gap_of_more_than_a_day_stays_one():
    samples = drive(60, 1, speed_kmh=36.0) + drive(60, 1, start_s=NOON_S + DAY_S + 200, speed_kmh=36.0)
    assert corrected(samples, word("merge", NOON_S, NOON_S + 2 * DAY_S)).height == 2


@pytest.mark.parametrize("shift_s", [0, DAY_S - NOON_S - 100, DAY_S - NOON_S - 700])
def test_corrected_days_computed_one_by_one_equal_those_computed_at_once(shift_s: float):
    samples = three_trips(shift_s)
    said = [
        word("merge", NOON_S + shift_s, NOON_S + shift_s + 1380),
        word("split", NOON_S + shift_s + 30, set_s=1),
        word("label", NOON_S + shift_s + 700, NOON_S + shift_s + 710, label="x"),
    ]
    at_once = corrected(samples, *said)
    assert at_once.height == 2
    one_by_one = [
        corrected(window(samples, day.widened(HALO_DAYS)), *said, days=day)
        for day in (Days(day, day) for day in Days(DAY - timedelta(1), DAY + timedelta(2)))
    ]
    assert_frame_equal(pl.concat(one_by_one), at_once, check_exact=True)
