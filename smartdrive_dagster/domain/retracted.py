"""Lines that bring nothing and stand in the ledger as erased: of objects taken back, and of erased vehicles."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import polars as pl

from smartdrive_dagster.domain.decoding import ERASED, Decoded


def without(decoded: Decoded, retracted: Collection[str]) -> Decoded:
    """What is left of a slice when the lines of some objects bring nothing, and have no samples to account for.

    Args:
        decoded: a slice.
        retracted: object keys.
    """
    if not retracted:
        return decoded
    gone = pl.col("object_key").is_in(list(retracted))
    lines = decoded.lines.with_columns(
        samples=pl.when(gone).then(pl.lit(0, pl.Int64)).otherwise("samples"), is_erased=gone | pl.col("is_erased")
    )
    return replace(
        decoded,
        lines=lines,
        telemetry=decoded.telemetry.filter(~gone),
        events=decoded.events.filter(~gone),
        dtc_readings=decoded.dtc_readings.filter(~gone),
        rejected=decoded.rejected.filter(~gone),
    )


def erased(ledger: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Ledger rows with the verdict of the lines that bring nothing.

    Args:
        ledger: `claims.ledger_rows` of the lines, in their order.
        lines: `Decoded.lines`.
    """
    gone = lines.get_column("is_erased")
    return ledger.with_columns(verdict=pl.when(gone).then(pl.lit(ERASED)).otherwise("verdict"))
