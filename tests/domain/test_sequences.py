"""Missing sequence numbers are counted from neighbours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from smartdrive_dagster.domain.sequences import sequence_gaps

START = datetime(2025, 12, 1, tzinfo=UTC)
SCHEMA = {
    "device_id": pl.String(),
    "boot_id": pl.String(),
    "seq": pl.Int64(),
    "arrived_at": pl.Datetime("us", "UTC"),
}


def seen(*rows: tuple[str, str, int, int]) -> pl.LazyFrame:
    """Deliveries as (device, boot, seq, minute of arrival)."""
    made = [(device, boot, seq, START + timedelta(minutes=minute)) for device, boot, seq, minute in rows]
    return pl.LazyFrame(made, schema=SCHEMA, orient="row")


@given(
    st.lists(
        st.tuples(st.sampled_from("de"), st.sampled_from("bc"), st.integers(0, 30), st.integers(0, 99)),
        max_size=40,
    )
)
def test_what_is_missing_is_what_lies_between_and_was_never_seen(rows: list[tuple[str, str, int, int]]) -> None:
    found: dict[tuple[str, str], set[int]] = {}
    for device, boot, after, before, missing, _ in sequence_gaps(seen(*rows)).iter_rows():
        between = set(range(after + 1, before))
        assert len(between) == missing
        found.setdefault((device, boot), set()).update(between)
    for boot_of in {row[:2] for row in rows}:
        numbers = {seq for *who, seq, _ in rows if tuple(who) == boot_of}
        assert found.pop(boot_of, set()) == set(range(min(numbers), max(numbers))) - numbers
    assert not found


def test_a_gap_is_noticed_when_the_later_of_its_neighbours_first_came() -> None:
    (gap,) = sequence_gaps(seen(("d", "b", 9, 5), ("d", "b", 4, 7), ("d", "b", 4, 60))).to_dicts()
    assert gap == {
        "device_id": "d",
        "boot_id": "b",
        "after": 4,
        "before": 9,
        "missing": 4,
        "noticed_at": START + timedelta(minutes=7),
    }


def test_the_largest_number_costs_no_more_than_any_other() -> None:
    (gap,) = sequence_gaps(seen(("d", "b", 0, 0), ("d", "b", 2**53 - 1, 0))).to_dicts()
    assert gap["missing"] == 2**53 - 2
