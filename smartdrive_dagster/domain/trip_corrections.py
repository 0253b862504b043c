"""What an owner says about trips: where one ends although nothing shows it, where one goes on, what it was for.

A correction names a vehicle and an interval, never a trip, so it means the same after any rebuild. Where several
speak of one boundary or one trip, the latest wins: a split takes back a merge and the other way round.
"""

from __future__ import annotations

from typing import Final

import polars as pl

MAX_CORRECTION_DAYS: Final = 1
"""A correction's interval is no longer: what it changes then lies within the halo of the days that it names."""

_AT = pl.col("at_us")
_PREVIOUS = pl.col("previous_us")


def corrected_starts(running: pl.LazyFrame, corrections: pl.LazyFrame | None, *, longest_us: int) -> pl.LazyFrame:
    """Apply merges and splits to the starts of trips.

    A merge joins what lies on both sides of a gap that is wholly within its interval; a gap over `longest_us`
    stays one. A split begins a trip with the first instant that is not before it.

    Args:
        running: running instants sorted by vehicle and time, with ``previous_us`` (the vehicle's instant before;
            null for its first) and ``is_new`` (whether the gap limit begins a trip here).
        corrections: rows of silver.corrections, or None for none.
        longest_us: the longest gap that may be merged over.

    Returns:
        The rows with ``is_new`` as corrected, and ``is_corrected`` where a word decided.
    """
    if corrections is None:
        return running.with_columns(is_corrected=pl.lit(value=False))
    words = corrections.select(
        "vehicle_id",
        "kind",
        from_us=pl.col("from_at").dt.epoch("us"),
        to_us=pl.col("to_at").dt.epoch("us"),
        set_us=pl.col("set_at").dt.epoch("us"),
    )
    # Few instants can be a boundary: those after a gap, and those to which a split or a merge's interval points.
    # So the words are joined to these, and not to all instants.
    splits = words.filter(pl.col("kind") == "split")
    merges = words.filter(pl.col("kind") == "merge")
    split_here = (
        splits.sort("vehicle_id", "from_us")
        .join_asof(
            running.select("vehicle_id", "at_us", "previous_us"),
            left_on="from_us",
            right_on="at_us",
            by="vehicle_id",
            strategy="forward",
            check_sortedness=False,  # both are sorted by vehicle and time
            coalesce=False,
        )
        .filter(pl.col("previous_us") < pl.col("from_us"))
        .group_by("vehicle_id", "at_us")
        .agg(split_set_us=pl.col("set_us").max())
    )
    boundaries = running.join(split_here, on=["vehicle_id", "at_us"], how="left", maintain_order="left").cache()
    merged_here = (
        boundaries.filter(pl.col("is_new") | pl.col("split_set_us").is_not_null())
        .select("vehicle_id", "at_us", "previous_us")
        .join(merges, on="vehicle_id")
        .filter((pl.col("from_us") <= _PREVIOUS) & (pl.col("to_us") >= _AT) & (longest_us >= _AT - _PREVIOUS))
        .group_by("vehicle_id", "at_us")
        .agg(merge_set_us=pl.col("set_us").max())
    )
    split_at, merge_at = (pl.col(name).fill_null(-1) for name in ("split_set_us", "merge_set_us"))
    is_split, is_merged = (split_at >= merge_at) & (split_at >= 0), merge_at > split_at
    return (
        boundaries.join(merged_here, on=["vehicle_id", "at_us"], how="left", maintain_order="left")
        .with_columns(
            is_corrected=(is_split & ~pl.col("is_new")) | (is_merged & pl.col("is_new")),
            is_new=(pl.col("is_new") | is_split) & ~is_merged,
        )
        .drop("split_set_us", "merge_set_us")
    )


def labels(trips: pl.LazyFrame, corrections: pl.LazyFrame | None) -> pl.LazyFrame:
    """Find the label of each trip: the latest of those whose interval meets it; an empty one takes it back.

    Args:
        trips: one row per trip with ``trip``, ``vehicle_id``, ``started_at_us`` and ``ended_at_us``.
        corrections: rows of silver.corrections, or None for none.

    Returns:
        trip and label, for the trips that have one.
    """
    if corrections is None:
        return trips.select("trip", label=pl.lit(None, pl.String)).filter(pl.lit(value=False))
    words = corrections.filter((pl.col("kind") == "label") & pl.col("label").is_not_null()).select(
        "vehicle_id",
        "label",
        "set_at",
        from_us=pl.col("from_at").dt.epoch("us"),
        to_us=pl.col("to_at").dt.epoch("us"),
    )
    meets = (pl.col("from_us") <= pl.col("ended_at_us")) & (pl.col("to_us") >= pl.col("started_at_us"))
    return (
        trips.select("trip", "vehicle_id", "started_at_us", "ended_at_us")
        .join(words, on="vehicle_id")
        .filter(meets)
        .sort("trip", "set_at", "label")
        .group_by("trip", maintain_order=True)
        .agg(pl.col("label").last())
        .filter(pl.col("label") != "")
    )
