"""Questions to whole tables: unique keys, and whether everything that landed is accounted for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import Table, bronze, facts, silver

CONTENT_DIGEST = silver.CONTENT_DIGEST.name
_OF_SAMPLES = (silver.TELEMETRY, silver.EVENTS, *facts.CHANNEL_OF)


@dataclass(frozen=True, slots=True)
class Balances:
    """Both balances of the lake: nothing is dropped without being counted.

    Attributes:
        objects: landing objects in Bronze.
        lines: their lines.
        unjudged: lines that the ledger does not hold yet.
        verdicts: lines by verdict.
        samples: decoded samples; an event, a correction or a profile is one, of weather each hour.
        samples_accepted: samples in Silver.
        samples_duplicate: samples that another line had brought.
        samples_quarantined: samples rejected.
        objects_out_of_balance: objects with more lines in the ledger than in Bronze; fewer are work left to do.
        lines_out_of_balance: lines whose samples do not add up.
        samples_in_silver: rows of silver.telemetry, silver.events and the tables of facts.
        samples_expired: accepted samples that Silver's retention has deleted.
    """

    objects: int
    lines: int
    unjudged: int
    verdicts: dict[str, int]
    samples: int
    samples_accepted: int
    samples_duplicate: int
    samples_quarantined: int
    objects_out_of_balance: int
    lines_out_of_balance: int
    samples_in_silver: int
    samples_expired: int = 0

    @property
    def close(self) -> bool:
        """Whether everything that landed is accounted for, and what was accepted is there."""
        return (
            not (self.unjudged or self.objects_out_of_balance or self.lines_out_of_balance)
            and self.samples_in_silver + self.samples_expired == self.samples_accepted
        )


def balances(lakehouse: Lakehouse) -> Balances:
    """Draw up both balances from bronze.objects and the ledger."""
    objects = lakehouse.scan(bronze.OBJECTS).select("object_key", "lines").collect()
    ledger = lakehouse.scan(silver.MESSAGES)
    judged = ledger.group_by("object_key").agg(judged=pl.len()).collect()
    held = objects.join(judged, on="object_key", how="left").with_columns(pl.col("judged").fill_null(0))
    counts = ("samples", "samples_accepted", "samples_duplicate", "samples_quarantined", "samples_expired")
    parts = pl.sum_horizontal(counts[1:4])
    totals = ledger.select(
        *(pl.col(name).sum() for name in counts), odd=(parts != pl.col("samples")).sum()
    ).collect()
    verdicts = ledger.group_by("verdict").agg(pl.len()).sort("verdict").collect()
    return Balances(
        objects=objects.height,
        lines=int(objects.get_column("lines").sum()),
        unjudged=int(held.select((pl.col("lines") - pl.col("judged")).clip(lower_bound=0).sum()).item()),
        verdicts=dict(verdicts.iter_rows()),
        samples=int(totals.item(0, "samples")),
        samples_accepted=int(totals.item(0, "samples_accepted")),
        samples_duplicate=int(totals.item(0, "samples_duplicate")),
        samples_quarantined=int(totals.item(0, "samples_quarantined")),
        objects_out_of_balance=held.filter(pl.col("judged") > pl.col("lines")).height,
        lines_out_of_balance=int(totals.item(0, "odd")),
        samples_expired=int(totals.item(0, "samples_expired")),
        samples_in_silver=sum(lakehouse.open(table).count() for table in _OF_SAMPLES),
    )


def row_hash(lakehouse: Lakehouse, table: Table) -> str:
    """A digest of a table's rows, whatever their order and whatever files hold them.

    Equal for two lakes whose rows are equal in everything but their provenance; a row more, less or twice changes
    it. It tells accidents, not forgeries, and is comparable within one version of Polars.

    Returns:
        The number of rows and the sums of two 64-bit hashes of each, in hexadecimal.
    """
    return frame_hash(table, lakehouse.scan(table))


def row_hashes(lakehouse: Lakehouse, tables: Iterable[Table]) -> dict[str, str]:
    """`row_hash` of several tables by their names."""
    return {str(table): row_hash(lakehouse, table) for table in tables}


def frame_hash(table: Table, rows: pl.LazyFrame) -> str:
    """`row_hash` of rows that are at hand, or of another version of a table."""
    content = pl.struct(
        # entries of a map have no order
        pl.col(name).map.entries().list.sort() if table.by_name[name].dtype.startswith("map") else pl.col(name)
        for name in table.content
    )
    sums = (content.hash(seed).cast(pl.Int128).sum().alias(str(seed)) for seed in (1, 2))
    counted = rows.select(pl.len(), *sums).collect(engine="streaming").row(0)
    return "-".join(f"{number:x}" for number in counted)


def repeated_keys(lakehouse: Lakehouse, table: Table) -> int:
    """How many keys of a table appear more than once, over the whole table.

    Two contents under one identity, on different event days, are no fault of the lake's: they count in
    `identities_with_two_contents`.
    """
    key = [*table.key, *([CONTENT_DIGEST] if CONTENT_DIGEST in table.by_name else [])]
    counted = lakehouse.scan(table).group_by(key).agg(rows=pl.len())
    return int(counted.filter(pl.col("rows") > 1).select(pl.len()).collect(engine="streaming").item())


def identities_with_two_contents(lakehouse: Lakehouse) -> int:
    """How many message identities were accepted with more than one content."""
    accepted = lakehouse.scan(silver.MESSAGES).filter(pl.col("verdict") == "accepted")
    contents = accepted.group_by("message_id").agg(contents=pl.col("content_digest").n_unique())
    return int(contents.filter(pl.col("contents") > 1).select(pl.len()).collect().item())
