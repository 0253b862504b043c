"""What lies around given instants: samples within a window, and the nearest known value before or after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

S_US: Final = 1_000_000
MINUTE_US: Final = 60 * S_US
DAY_US: Final = 86_400 * S_US


def held(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame computed once, for steps that use it several times.

    With `cache` the plan of all steps together is a tree that doubles with each use, and planning took most of the
    time. What is held here is one voltmeter's readings or less, never whole samples.
    """
    return frame.collect(engine="streaming").lazy()


def around(
    samples: pl.LazyFrame, marks: pl.LazyFrame, *, by: Sequence[str], before_us: int, after_us: int
) -> pl.LazyFrame:
    """Pair each mark with the samples from so long before it (included) to so long after it (excluded).

    A plain join on `by` would pair every start of a vehicle with every sample of it. A window touches at most two
    time slots of its own length, so that an equality join on the slot finds all pairs and few others.

    Args:
        samples: `by`, ``at_us`` and more.
        marks: `by`, ``mark_us`` and more, none of it named as a column of `samples`.
        by: columns that must be equal.
        before_us: microseconds.
        after_us: microseconds.

    Returns:
        One row per pair: columns of both, and ``since_us`` = at_us - mark_us; in no particular order.
    """
    width = before_us + after_us
    first = (pl.col("mark_us") - before_us) // width
    slots = pl.concat([marks.with_columns(slot=first), marks.with_columns(slot=first + 1)])
    return (
        samples.with_columns(slot=pl.col("at_us") // width)
        .join(slots, on=[*by, "slot"], how="inner")
        .with_columns(since_us=pl.col("at_us") - pl.col("mark_us"))
        .filter((pl.col("since_us") >= -before_us) & (pl.col("since_us") < after_us))
        .drop("slot")
    )


def last_known(
    marks: pl.LazyFrame, values: pl.LazyFrame, *, until_us: int, within_us: int, names: Sequence[str]
) -> pl.LazyFrame:
    """Add to each mark the last values of its vehicle up to `until_us` after it, not older than `within_us`.

    Args:
        marks: ``vehicle_id``, ``mark_us`` and more.
        values: ``vehicle_id``, ``at_us`` and `names`; one row per vehicle and instant.
        until_us: offset from the mark of the last instant that counts; negative lies before it.
        within_us: how much older than that instant the values may be.
        names: columns to add; null where nothing is known.
    """
    return _nearest(marks, values, offset_us=until_us, within_us=within_us, names=names, is_backward=True)


def first_known(
    marks: pl.LazyFrame, values: pl.LazyFrame, *, from_us: int, within_us: int, names: Sequence[str]
) -> pl.LazyFrame:
    """Add to each mark the first values of its vehicle from `from_us` after it on, within `within_us` of that.

    Args:
        marks: ``vehicle_id``, ``mark_us`` and more.
        values: ``vehicle_id``, ``at_us`` and `names`; one row per vehicle and instant.
        from_us: offset from the mark of the first instant that counts; negative lies before it.
        within_us: how much younger than that instant the values may be.
        names: columns to add; null where nothing is known.
    """
    return _nearest(marks, values, offset_us=from_us, within_us=within_us, names=names, is_backward=False)


def _nearest(
    marks: pl.LazyFrame,
    values: pl.LazyFrame,
    *,
    offset_us: int,
    within_us: int,
    names: Sequence[str],
    is_backward: bool,
) -> pl.LazyFrame:
    return (
        marks.with_columns(sought_us=pl.col("mark_us") + offset_us)
        .sort("vehicle_id", "sought_us")
        .join_asof(
            values.select("vehicle_id", *names, sought_us="at_us").sort("vehicle_id", "sought_us"),
            on="sought_us",
            by="vehicle_id",
            strategy="backward" if is_backward else "forward",
            tolerance=within_us,
            check_sortedness=False,  # both are sorted by vehicle and time
        )
        .drop("sought_us")
    )
