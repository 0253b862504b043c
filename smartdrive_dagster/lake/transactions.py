"""The numbers that applications recorded in a table's log, all of them read at once.

delta-rs answers for one application at a time and reads the log anew for each: where each day has its mark, as
many times as there are days. Four weeks of trips on S3 took 9,200 requests so, and take 770.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

_TXN: Final = pl.Struct({"appId": pl.String, "version": pl.Int64})
_HINT: Final[dict[str, pl.DataType]] = {
    "version": pl.Int64(),
    "parts": pl.Int64(),
    "v2Checkpoint": pl.Struct({"path": pl.String}),
}
_MOST_WITHOUT_CHECKPOINT: Final = 200  # commits; there is a checkpoint each 50


def recorded(uri: str, version: int, storage_options: Mapping[str, str]) -> dict[str, int] | None:
    """By application id, the number last recorded up to a version (`txn` actions of the Delta protocol).

    Args:
        uri: of the table.
        version: of the table, 0 or more.
        storage_options: how to reach it.

    Returns:
        None where the log does not lie there as it does for the newest versions: the checkpoint that is named is a
        later one or of several files, or files have gone meanwhile. Then delta-rs has to be asked.
    """
    log, options = f"{uri}/_delta_log", dict(storage_options) or None
    try:
        hint = pl.scan_ndjson(
            f"{log}/_last_checkpoint", schema=_HINT, storage_options=options, credential_provider=None
        ).collect()
    except (PolarsError, OSError):
        return None if version > _MOST_WITHOUT_CHECKPOINT else _of_commits(log, range(version + 1), options)
    checkpoint, parts, newer_form = hint.row(0)
    if checkpoint > version or parts is not None or newer_form is not None:
        return None
    try:
        seen = pl.scan_parquet(
            f"{log}/{checkpoint:020}.checkpoint.parquet", storage_options=options, credential_provider=None
        )
        numbers = _numbers(seen.select(pl.col("txn").struct.field("appId", "version")))
    except (PolarsError, OSError):
        return None
    later = _of_commits(log, range(checkpoint + 1, version + 1), options)
    return None if later is None else numbers | later


def _of_commits(log: str, versions: Iterable[int], options: dict[str, str] | None) -> dict[str, int] | None:
    names = [f"{log}/{version:020}.json" for version in versions]
    if not names:
        return {}
    try:
        actions = pl.scan_ndjson(
            names, schema={"txn": _TXN}, storage_options=options, credential_provider=None
        ).select(pl.col("txn").struct.field("appId", "version"))
        return _numbers(actions)
    except (PolarsError, OSError):
        return None


def _numbers(actions: pl.LazyFrame) -> dict[str, int]:
    """The last number of each application, of actions in the order of the log."""
    last = actions.drop_nulls("appId").group_by("appId", maintain_order=True).agg(pl.col("version").last())
    return dict(last.collect().iter_rows())
