"""Sequence numbers that are missing among those of one boot of one device."""

from __future__ import annotations

from typing import Final

import polars as pl

_BOOT: Final = ["device_id", "boot_id"]


def sequence_gaps(seen: pl.LazyFrame) -> pl.DataFrame:
    """Where numbers are missing between the lowest and the highest seen of each boot.

    Counted from neighbours, never enumerated: a number may be as large as 2**53.

    Args:
        seen: device_id, boot_id, seq and arrived_at, one row a delivery, in any order.

    Returns:
        One row a gap: device_id, boot_id, after and before (the numbers seen on both sides), missing (how many lie
        between them), and noticed_at: when the later of both neighbours first arrived.
    """
    first = pl.col("arrived_at").min()
    ordered = seen.group_by(*_BOOT, "seq").agg(first).sort(*_BOOT, "seq").collect(engine="streaming")
    earlier = ordered.select(pl.col("seq", "arrived_at").shift(1).over(_BOOT))
    return (
        ordered.with_columns(
            after=earlier.get_column("seq"),
            noticed_at=pl.max_horizontal("arrived_at", earlier.get_column("arrived_at")),
        )
        .with_columns(missing=pl.col("seq") - pl.col("after") - 1)
        .filter(pl.col("missing") > 0)
        .select(*_BOOT, "after", pl.col("seq").alias("before"), "missing", "noticed_at")
    )
