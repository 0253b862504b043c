"""Lines of landing objects that were taken back: they bring nothing and stand in the ledger as erased."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import polars as pl

from smartdrive_dagster.domain.decoding import Decoded

ERASED: Final = "erased"


def without(decoded: Decoded, retracted: Collection[str]) -> Decoded:
    """What is left of a slice when the lines of some objects bring nothing, and have no samples to account for.

    Args:
        decoded: a slice.
        retracted: object keys.
    """
    if not retracted:
        return decoded
    gone = _is_of(retracted)
    lines = decoded.lines.with_columns(samples=pl.when(gone).then(pl.lit(0, pl.Int64)).otherwise("samples"))
    return replace(
        decoded,
        lines=lines,
        telemetry=decoded.telemetry.filter(~gone),
        events=decoded.events.filter(~gone),
        dtc_readings=decoded.dtc_readings.filter(~gone),
        rejected=decoded.rejected.filter(~gone),
    )


def erased(ledger: pl.DataFrame, retracted: Collection[str]) -> pl.DataFrame:
    """Ledger rows with the verdict of the lines that were taken back."""
    if not retracted:
        return ledger
    gone = _is_of(retracted)
    return ledger.with_columns(verdict=pl.when(gone).then(pl.lit(ERASED)).otherwise("verdict"))


def _is_of(retracted: Collection[str]) -> pl.Expr:
    return pl.col("object_key").is_in(list(retracted))
