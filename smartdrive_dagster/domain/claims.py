"""Exactly once: which copy of a sample is the one that Silver holds.

A sample's key is (message_id, sample). It belongs to the first acceptable copy that arrived. Copies of the same
content are duplicates; other content under an identity that was accepted before is a conflict. A rejected copy
claims nothing, so the order of copies does not matter.
"""

from __future__ import annotations

from typing import Final

import polars as pl

CLAIM_COLUMNS: Final = ("message_id", "sample", "content_digest", "object_key", "line_no")
WRITE, OURS, DUPLICATE, CONFLICT, REJECTED = "write", "ours", "duplicate", "conflict", "rejected"
_LINE: Final = ["object_key", "line_no"]


def settle(samples: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Decide each sample's fate.

    Args:
        samples: a batch, with `CLAIM_COLUMNS`, received_at and `reason` (null where acceptable).
        claims: `CLAIM_COLUMNS` of what Silver holds of the batch's messages on the batch's event days.

    Returns:
        The batch with a column `fate`: `write` (new), `ours` (this very line wrote it before a crash),
        `duplicate`, `conflict` or `rejected`.
    """
    held_digest = claims.group_by("message_id").agg(held_digest=pl.col("content_digest").min())
    held = claims.group_by("message_id", "sample").agg(
        held_key=pl.col("object_key").min(), held_line=pl.col("line_no").min()
    )
    arrival = ["received_at", "object_key", "line_no", "sample"]
    acceptable = pl.col("reason").is_null()
    joined = (
        samples.sort(arrival)
        .join(held_digest, on="message_id", how="left", maintain_order="left")
        .join(held, on=["message_id", "sample"], how="left", maintain_order="left")
    )
    first_digest = pl.col("content_digest").filter(acceptable).first().over("message_id")
    settled = joined.with_columns(
        is_conflict=acceptable & (pl.col("content_digest") != pl.coalesce("held_digest", first_digest))
    )
    candidate = acceptable & ~pl.col("is_conflict")
    is_first = candidate & (candidate.cast(pl.Int32).cum_sum().over("message_id", "sample") == 1)
    ours = (pl.col("held_key") == pl.col("object_key")) & (pl.col("held_line") == pl.col("line_no"))
    fate = (
        pl.when(~acceptable)
        .then(pl.lit(REJECTED))
        .when(pl.col("is_conflict"))
        .then(pl.lit(CONFLICT))
        .when(ours.fill_null(False))
        .then(pl.lit(OURS))
        .when(pl.col("held_key").is_not_null())
        .then(pl.lit(DUPLICATE))
        .when(is_first)
        .then(pl.lit(WRITE))
        .otherwise(pl.lit(DUPLICATE))
    )
    return settled.with_columns(fate=fate).drop("held_digest", "held_key", "held_line", "is_conflict")


def line_counts(settled: pl.DataFrame) -> pl.DataFrame:
    """Per line: samples_accepted, samples_duplicate, samples_quarantined, is_conflict and the touched pairs.

    A line in conflict is quarantined as a whole.
    """
    fate = pl.col("fate")
    accepted = fate.is_in([WRITE, OURS])
    return (
        settled.group_by(_LINE)
        .agg(
            samples_accepted=accepted.sum().cast(pl.Int64),
            samples_duplicate=(fate == DUPLICATE).sum().cast(pl.Int64),
            samples_quarantined=fate.is_in([REJECTED, CONFLICT]).sum().cast(pl.Int64),
            is_conflict=(fate == CONFLICT).any(),
            touched=pl.struct("event_date", "vehicle_id").filter(accepted).unique().sort(),
        )
        .sort(_LINE)
    )


def rejected_samples(settled: pl.DataFrame, landed: pl.DataFrame) -> pl.DataFrame:
    """silver.quarantine rows of a settled batch.

    One row for each sample with a reason of its own; one for a line whose samples are all rejected for the same
    reason, and one for a line in conflict.

    Args:
        settled: what `settle` returned.
        landed: object_key, line_no, and what else a row says of its line: channel and payload_digest.
    """
    bad = settled.filter(pl.col("fate").is_in([REJECTED, CONFLICT])).with_columns(
        reason=pl.when(pl.col("fate") == CONFLICT).then(pl.lit(CONFLICT)).otherwise("reason"),
        whole=(pl.col("fate") == CONFLICT).any().over(_LINE),
    )
    totals = settled.group_by(_LINE).agg(total=pl.len())
    where = ["landing_date", "received_at"]
    per_reason = (
        bad.group_by(*_LINE, *where, "reason", "whole")
        .agg(samples=pl.len().cast(pl.Int64), sample=pl.col("sample").min())
        .join(totals, on=_LINE)
    )
    as_line = per_reason.filter((pl.col("samples") == pl.col("total")) & ~pl.col("whole"))
    conflicts = (
        bad.filter(pl.col("whole"))
        .group_by(*_LINE, *where)
        .agg(samples=pl.len().cast(pl.Int64), reason=pl.lit(CONFLICT))
    )
    single = (
        bad.filter(~pl.col("whole")).join(as_line, on=_LINE, how="anti").with_columns(samples=pl.lit(1, pl.Int64))
    )
    columns = [*_LINE, "sample", *where, "reason", "samples"]
    whole_line = pl.lit(-1, pl.Int32).alias("sample")
    return (
        pl.concat(
            [
                as_line.with_columns(whole_line).select(columns),
                conflicts.with_columns(whole_line).select(columns),
                single.select(columns),
            ]
        )
        .join(landed, on=_LINE, how="left")
        .with_columns(detail=pl.lit(None, pl.String))
        .sort(*_LINE, "sample")
    )


def ledger_rows(lines: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """silver.messages rows (without `batch`): every line with its verdict and its balance of samples.

    Args:
        lines: `Decoded.lines`.
        counts: `line_counts` of all settled samples of these lines; a line without one was rejected as a whole.
    """
    zero = [pl.col(name).fill_null(0) for name in ("samples_accepted", "samples_duplicate")]
    verdict = (
        pl.when(pl.col("is_conflict").fill_null(False))
        .then(pl.lit(CONFLICT))
        .when(pl.col("samples_accepted") > 0)
        .then(pl.lit("accepted"))
        .when(pl.col("samples_duplicate") > 0)
        .then(pl.lit(DUPLICATE))
        .otherwise(pl.lit("quarantined"))
    )
    return (
        lines.join(counts, on=_LINE, how="left", maintain_order="left")
        .with_columns(
            *zero,
            pl.col("touched").fill_null([]),
            samples_quarantined=pl.col("samples_quarantined").fill_null(pl.col("samples")),
            samples_expired=pl.lit(0, pl.Int64),
        )
        .with_columns(verdict=verdict)
        .drop("is_conflict", "received_at")
    )
