"""`smartdrive explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType

    from smartdrive_dagster.defs.backfill import Recomputation
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.lineage import Span
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.tables import Table

EPILOG: Final = (
    "Examples:\n\n  smartdrive explain gold.trips 4yq2\n\n"
    "  smartdrive explain marts.vehicle_daily p3nk 2025-12-01\n\n"
    "  smartdrive explain silver.quarantine telemetry/dt=2025-12-01/hr=08/01kb.jsonl.gz 3\n\n"
    "  smartdrive explain gold.trips 4yq2 --json | jq .messages"
)
_FACTS: Final = ("vehicle_id", "algo_version", "reason", "detail", "verdict", "samples")
_SHOWN_MESSAGES: Final = 20
_DIGEST_LETTERS: Final = 16


@dataclass(frozen=True, slots=True)
class SilverPart:
    """What a row has of one Silver table.

    Attributes:
        table: its name.
        rows: rows of the vehicle in the row's time.
        first_at: the earliest of them; None without any.
        last_at: the latest.
    """

    table: str
    rows: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a row comes from.

    Attributes:
        table: the row's.
        key: its key by column.
        facts: what it says of itself: vehicle, version of the algorithm, or why it was rejected.
        first_at: begin of the time that it stands for; None for a row that names its line itself.
        last_at: end of that.
        version: Delta version of the commit that wrote it; None where the log does not say (any more).
        written_at: time of that commit.
        batch: batch of the ledger that its computation had seen; None for a row that was not computed.
        silver: the Silver rows of its time.
        messages: per line object_key, line_no, landing_date, received_at, payload_bytes, payload_sha256,
            message_id, verdict, batch, silver_rows and is_landed (whether the object still lies in landing).
        versions: Delta version of each table that was read for this.
    """

    table: str
    key: dict[str, object]
    facts: dict[str, object]
    first_at: datetime | None
    last_at: datetime | None
    version: int | None
    written_at: datetime | None
    batch: int | None
    silver: list[SilverPart]
    messages: list[dict[str, Any]]
    versions: dict[str, int]


def explain(
    table: Annotated[str, typer.Argument(help="The row's table, for example gold.trips")],
    key: Annotated[list[str], typer.Argument(help="Its key, column by column; the beginning of an id is enough")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with all messages")] = False,
) -> None:
    """Name the Silver rows, messages and landing objects that a row comes from, and the versions of it all."""
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.lineage import RowNotFoundError
    from smartdrive_dagster.lake.models import readable_tables
    from smartdrive_dagster.lake.nearest import did_you_mean
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.screens import console
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    tables = {str(known): known for known in readable_tables()}
    if table not in tables:
        raise RowNotFoundError(f"there is no table {table}{did_you_mean(table, tables)}")
    found = explanation(
        Lakehouse(settings.lake_url), LandingStore(settings.landing_url), tables[table], key, settings
    )
    if as_json:
        typer.echo(json.dumps(asdict(found), default=lambda value: value.isoformat(), indent=2))
    else:
        for part in show_explanation(found, settings.time_zone):
            console().print(part, soft_wrap=True)


def explanation(
    lakehouse: Lakehouse, store: LandingStore, table: Table, key: Sequence[str], settings: Settings
) -> Explanation:
    """Trace one row back to landing.

    Args:
        lakehouse: the lake.
        store: its landing zone.
        table: the row's.
        key: values of the key's columns, or prefixes.
        settings: the time zone of local dates, and what tells which tables the row's table reads.

    Raises:
        RowNotFoundError: the key names no row or several, or the row says neither its line nor its time.
    """
    import polars as pl

    from smartdrive_dagster.defs.backfill import recomputations
    from smartdrive_dagster.lake.lakehouse import HISTORY
    from smartdrive_dagster.lake.lineage import (
        RowNotFoundError,
        find_row,
        messages,
        row_span,
        silver_rows,
        written_by,
    )
    from smartdrive_dagster.tables import bronze, silver

    read = {str(table): lakehouse.open(table)}
    row = find_row(read[str(table)], key)
    span: Span | None = None
    parts: dict[str, pl.DataFrame] = {}
    if {"object_key", "line_no"} <= row.keys():
        lines = pl.DataFrame([{name: row[name] for name in ("object_key", "line_no", "landing_date")}])
        lines = lines.with_columns(silver_rows=pl.lit(None, pl.Int64))
    else:
        span = row_span(table, row, settings.time_zone)
        if span is None:
            raise RowNotFoundError(f"a row of {table} names neither its line nor its time: it cannot be traced")
        known = recomputations(settings, until=datetime.now(UTC).date())
        for source in _silver_sources(table, known):
            read[str(source)] = lakehouse.open(source)
            parts[str(source)] = silver_rows(read[str(source)], span)
        lines = (
            pl.concat(parts.values())
            .group_by("object_key", "line_no", "landing_date")
            .agg(silver_rows=pl.col("rows").cast(pl.Int64).sum())
        )
    for source in (silver.MESSAGES, bronze.MESSAGES):
        read[str(source)] = lakehouse.open(source)
    told = messages(read[str(silver.MESSAGES)], read[str(bronze.MESSAGES)], lines)
    days = sorted(set(lines.get_column("landing_date")))
    landed = {entry.key for day in days for entry in store.list(on=day).objects}
    day = row.get(table.partition_by or "") if span else None
    written = written_by(read[str(table)], day)
    return Explanation(
        table=str(table),
        key={name: row[name] for name in table.key},
        facts={name: row[name] for name in _FACTS if name in row and name not in table.key},
        first_at=span.first if span else None,
        last_at=span.last if span else None,
        version=written.version if written else None,
        written_at=written.at if written else None,
        batch=max(map(read[str(table)].transaction, (f"{table}/{day}", f"{table}/{HISTORY}"))) if day else None,
        silver=[_silver_part(name, rows) for name, rows in parts.items()],
        messages=[line | {"is_landed": line["object_key"] in landed} for line in told.iter_rows(named=True)],
        versions={name: snapshot.version for name, snapshot in read.items()},
    )


def show_explanation(found: Explanation, time_zone: str) -> Iterator[RenderableType]:
    """What a person reads; times in the owner's zone."""
    from rich.text import Text

    zone = ZoneInfo(time_zone)
    yield Text(f"{found.table} {' '.join(map(str, found.key.values()))}", style="bold")
    yield from (f"  {name}  {value}" for name, value in found.facts.items() if value is not None)
    if found.first_at and found.last_at:
        yield f"  from  {_shown(found.first_at, zone)}\n  to  {_shown(found.last_at, zone)}"
    if found.written_at:
        yield f"  written  {_shown(found.written_at, zone)}, version {found.version}"
    if found.batch is not None:
        yield f"  computed from  the ledger up to its batch {found.batch}"
    for part in found.silver:
        first, last = (_shown(at, zone) for at in (part.first_at, part.last_at))
        yield f"  {part.table}  {part.rows:,} rows{f', {first} to {last}' if part.rows else ''}"
    yield Text(f"messages: {len(found.messages):,}", style="bold")
    yield from (_told(line, zone) for line in found.messages[:_SHOWN_MESSAGES])
    if (hidden := len(found.messages) - _SHOWN_MESSAGES) > 0:
        yield f"and {hidden:,} more messages: --json has them all"
    yield "versions  " + ", ".join(f"{name} {version}" for name, version in found.versions.items())
    if found.messages:
        names = ("landing_date", "object_key", "line_no")
        where = " and ".join(f"{name} = '{found.messages[0][name]}'" for name in names)
        yield "a payload holds the VIN and is not shown; to see one:"
        yield f'  smartdrive sql "select payload from bronze.messages where {where}"'  # noqa: S608 - for a person to copy


def _told(line: Mapping[str, Any], zone: ZoneInfo) -> str:
    facts = [
        f"received {_shown(line['received_at'], zone)}" if line["received_at"] else "",
        line["verdict"] or "not judged yet",
        f"{line['silver_rows']:,} rows" if line["silver_rows"] is not None else "",
        f"SHA-256 {line['payload_sha256'][:_DIGEST_LETTERS]}…" if line["payload_sha256"] else "",
        "in landing" if line["is_landed"] else "expired in landing",
    ]
    return f"  {line['object_key']} line {line['line_no']}\n    {', '.join(filter(None, facts))}"


def _silver_part(name: str, rows: pl.DataFrame) -> SilverPart:
    return SilverPart(
        name,
        int(rows.get_column("rows").sum()),
        rows.get_column("first_at").min(),  # type: ignore[arg-type]
        rows.get_column("last_at").max(),  # type: ignore[arg-type]
    )


def _silver_sources(table: Table, known: Mapping[str, Recomputation]) -> list[Table]:
    """The Silver tables of vehicles' instants and facts that a table reads, itself or through others."""
    from smartdrive_dagster.lake.lineage import is_source

    found: dict[str, Table] = {}
    pending = [table]
    while pending:
        entry = known.get(str(pending.pop()))
        for read in entry.reads if entry else ():
            if is_source(read):
                found[str(read)] = read
            elif read.layer != "silver":
                pending.append(read)
    return list(found.values())


def _shown(at: datetime | None, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat(sep=" ", timespec="seconds") if at else ""
