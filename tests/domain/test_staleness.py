from datetime import date

import polars as pl
import pytest

from smartdrive_dagster.domain.staleness import (
    TOUCHED_SCHEMA,
    candidate_days,
    stale_days,
    touched_pairs,
    vehicles_touching,
    with_every_day,
)
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.tables import silver


def dec(day: int) -> date:
    return date(2025, 12, day)


def touched(*pairs: tuple[int, str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [(dec(day), vehicle, batch) for day, vehicle, batch in pairs], TOUCHED_SCHEMA, orient="row"
    )


def ledger(*rows: tuple[int, list[tuple[int, str]] | None]) -> pl.LazyFrame:
    schema = {name: polars_schema(silver.MESSAGES)[name] for name in ("touched", "batch", "channel")}
    return pl.LazyFrame(
        [
            {
                "touched": None if pairs is None else [{"event_date": dec(d), "vehicle_id": v} for d, v in pairs],
                "batch": batch,
                "channel": "telemetry",
            }
            for batch, pairs in rows
        ],
        schema=schema,
    )


def test_pairs_carry_the_highest_batch_that_touched_them():
    pairs = touched_pairs(
        ledger((1, [(1, "a"), (1, "b")]), (3, [(1, "a")]), (2, [(1, "a"), (2, "a")])), ["telemetry"]
    ).collect()
    assert pairs.schema == TOUCHED_SCHEMA
    assert sorted(pairs.rows()) == [(dec(1), "a", 3), (dec(1), "b", 1), (dec(2), "a", 2)]


def test_lines_that_touched_nothing_make_no_pair():
    assert touched_pairs(ledger((1, []), (2, None)), ["telemetry"]).collect().is_empty()
    assert touched_pairs(ledger(), ["telemetry"]).collect().schema == TOUCHED_SCHEMA


@pytest.mark.parametrize(
    ("halo", "days"), [(0, [10]), (1, [9, 10, 11]), (2, [8, 9, 10, 11, 12])], ids=["none", "one", "two"]
)
def test_a_touched_day_makes_its_halo_candidates(halo, days):
    assert candidate_days(touched((10, "a", 1), (10, "b", 2)), halo) == [dec(day) for day in days]


def test_candidates_cross_months_and_come_once_and_sorted():
    pairs = touched((2, "a", 1), (1, "a", 1))
    assert candidate_days(pairs, 1) == [date(2025, 11, 30), dec(1), dec(2), dec(3)]


def test_nothing_touched_makes_nothing_stale():
    assert candidate_days(touched(), 1) == []
    assert stale_days(touched(), {dec(1): 0}, 1) == []
    assert vehicles_touching(touched(), {dec(1): 0}, 1) == set()


@pytest.mark.parametrize(("seen", "stale"), [(0, True), (4, True), (5, False), (6, False)])
def test_a_day_is_stale_until_it_has_seen_the_batch_that_touched_it(seen, stale):
    assert stale_days(touched((10, "a", 5), (10, "b", 3)), {dec(10): seen}, 0) == ([dec(10)] if stale else [])


@pytest.mark.parametrize(("distance", "stale"), [(0, True), (2, True), (3, False)])
def test_a_day_is_stale_by_what_happened_in_its_halo_and_not_beyond(distance, stale):
    for day in (10 - distance, 10 + distance):
        assert stale_days(touched((day, "a", 5)), {dec(10): 4}, 2) == ([dec(10)] if stale else [])


def test_only_the_days_that_were_asked_for_come_back_and_sorted():
    pairs = touched((10, "a", 5), (11, "a", 5), (12, "a", 5))
    assert stale_days(pairs, {dec(12): 0, dec(10): 0, dec(20): 0}, 0) == [dec(10), dec(12)]


def test_the_newest_of_a_halos_batches_counts():
    pairs = touched((9, "a", 7), (10, "a", 2), (11, "a", 3))
    assert stale_days(pairs, {dec(10): 6}, 1) == [dec(10)]
    assert stale_days(pairs, {dec(10): 7}, 1) == []


def test_vehicles_are_those_that_touched_a_window_after_its_days_last_computation():
    pairs = touched((9, "before", 5), (10, "old", 3), (10, "new", 5), (11, "after", 5), (12, "far", 9))
    assert vehicles_touching(pairs, {dec(10): 3}, 1) == {"before", "new", "after"}
    assert vehicles_touching(pairs, {dec(10): 0}, 1) == {"before", "old", "new", "after"}
    assert vehicles_touching(pairs, {dec(10): 5}, 1) == set()


def test_each_day_asks_with_what_it_has_seen_itself():
    pairs = touched((10, "a", 3), (20, "b", 3))
    assert vehicles_touching(pairs, {dec(10): 0, dec(20): 3}, 0) == {"a"}


def test_only_the_channels_that_matter_touch():
    rows = ledger((1, [(1, "a")]))
    assert touched_pairs(rows, ["weather"]).collect().is_empty()
    assert touched_pairs(rows, ["weather", "telemetry"]).collect().height == 1


def test_a_pair_without_a_day_touches_all_days_of_its_vehicle():
    profile = pl.DataFrame([(None, "a", 9), (dec(2), "b", 8)], TOUCHED_SCHEMA, orient="row")
    known = touched((1, "a", 1), (2, "a", 2), (3, "b", 3))
    spread = with_every_day(profile, known)
    assert sorted(spread.rows()) == [(dec(1), "a", 9), (dec(2), "a", 9), (dec(2), "b", 8)]


def test_a_pair_without_a_vehicle_touches_all_vehicles():
    forecast = pl.DataFrame([(dec(1), None, 5), (dec(9), "a", 5)], TOUCHED_SCHEMA, orient="row")
    assert vehicles_touching(forecast, {dec(1): 0}, 0) is None
    assert vehicles_touching(forecast, {dec(1): 5}, 0) == set()
    assert vehicles_touching(forecast, {dec(9): 0}, 0) == {"a"}
