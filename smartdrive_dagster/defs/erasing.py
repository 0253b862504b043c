"""An erased vehicle taken out of landing, Bronze and Silver, one layer after the other.

Each step finds by itself what is left to do: a line that still names the vehicle, a stub of which its object or
the ledger does not know yet, a row of the vehicle. So a step may be killed anywhere and done again. Nobody else's
line changes: its object keeps its key and its lines their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.defs.ingestion import BATCH_BYTES, BATCH_OBJECTS, SLICE_BYTES, Ingestion, Progress
from smartdrive_dagster.defs.landed import BronzeObject, Lines, batches, portions
from smartdrive_dagster.domain.decoding import ERASED
from smartdrive_dagster.domain.erasures import Erased
from smartdrive_dagster.domain.identity import digest_text
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.lake.purging import fence, purge
from smartdrive_dagster.landing.erasing import erase_copies, erase_lines, named_strays
from smartdrive_dagster.landing.reader import read_object
from smartdrive_dagster.landing.store import LandingStore, UnreadableError
from smartdrive_dagster.tables import Days, Table, bronze, facts, silver

SAMPLES: Final = (silver.TELEMETRY, silver.EVENTS, silver.DTC_READINGS, *facts.CHANNEL_OF, facts.VEHICLES)
_LINE: Final = ["object_key", "line_no"]
_LINES_AT_ONCE: Final = 200  # in one predicate
_NOTHING: Final = ("message_id", "device_id", "boot_id", "seq", "content_digest")
_COUNTED: Final = ("samples", "samples_accepted", "samples_duplicate", "samples_quarantined", "samples_expired")
_STUB: Final = pl.col("fault") == ERASED

Counts = Mapping[str, int]


class ErasureError(RuntimeError):
    """The erasure cannot be finished now; the text says what to do. What is done already stays done."""


@dataclass(frozen=True)
class Scene:
    """Where an erasure takes place.

    Attributes:
        lakehouse: the lake.
        store: the landing zone.
        erased: whom nothing may name any more.
        retracted: keys of landing objects that were taken back.
    """

    lakehouse: Lakehouse
    store: LandingStore
    erased: Erased
    retracted: frozenset[str] = frozenset()

    def purge(self, table: Table, **counts: int) -> dict[str, int]:
        """Purge a table, and tell what was removed from it."""
        done = purge(self.lakehouse, table)
        return {**counts, "files": done.files, "version": done.version}


def erase_landing(scene: Scene) -> dict[str, Counts]:
    """Replace lines by stubs in every landing object that names a vehicle, and delete copies that do.

    Raises:
        ErasureError: some objects cannot be read, or a key itself names a vehicle.
    """
    listing, names = scene.store.list(), scene.erased.names
    if named := sum(names(entry.key.encode()) for entry in listing.objects):
        raise ErasureError(
            f"{named} landing objects name the vehicle in their keys, which no erasure may change: land their "
            "content under other names, delete them, and repeat"
        )
    objects = lines = unsearched = 0
    faults = list(listing.unreadable)
    for entry in listing.objects:
        try:
            searched = erase_lines(scene.store, entry, names)
        except FileNotFoundError:
            continue
        except UnreadableError as error:
            faults.append(f"{entry.key}: {error}")
            continue
        objects += searched.lines > 0
        lines += searched.lines
        unsearched += not searched.is_whole
    copies = erase_copies(scene.store, names)
    if faults:
        raise ErasureError(f"{len(faults)} landing objects or folders cannot be read, the first is {faults[0]}")
    return {
        "landing": {
            "objects_rewritten": objects,
            "lines": lines,
            "copies": copies,
            "objects_too_large_to_search": unsearched,
            "strays_that_name_it": named_strays(scene.store, listing.strays, names),
        }
    }


def erase_bronze(scene: Scene) -> dict[str, Counts]:
    """Make stubs of the lines that name a vehicle, and bring the rows of their objects up to date."""
    lakehouse = scene.lakehouse
    for table in (bronze.MESSAGES, bronze.OBJECTS):
        fence(lakehouse, table)
    lines = objects = 0
    days = lakehouse.scan(bronze.MESSAGES).select(pl.col("landing_date").unique()).collect()
    for day in sorted(days.get_column("landing_date")):
        for parts in parts_of(lakehouse, day):
            lines += _stub_lines(scene, day, parts)
        objects += _renew_objects(scene, day)
    return {
        str(bronze.MESSAGES): scene.purge(bronze.MESSAGES, lines=lines),
        str(bronze.OBJECTS): scene.purge(bronze.OBJECTS, objects_renewed=objects),
    }


def erase_silver(scene: Scene) -> dict[str, Counts]:
    """Delete a vehicle's rows, judge anew what was in conflict with them, then let the ledger know."""
    lakehouse = scene.lakehouse
    stubs = lakehouse.scan(bronze.MESSAGES).filter(_STUB).select(*_LINE, "landing_date").collect()
    counts: dict[str, Counts] = {}
    for table in (*SAMPLES, silver.QUARANTINE, silver.MESSAGES):
        fence(lakehouse, table)
    for table in SAMPLES:
        counts[str(table)] = {"rows": delete_rows(lakehouse, table, scene.erased, stubs)}
    counts[str(silver.QUARANTINE)] = {"rows": _delete_rejections(lakehouse, stubs)}
    judged = _judge_conflicts_anew(scene, stubs)
    entered = _enter_stubs(scene, stubs)
    counts[str(silver.MESSAGES)] = {"lines": entered, "conflicts_judged_anew": judged}
    return {
        str(table): scene.purge(table, **counts[str(table)])
        for table in (*SAMPLES, silver.QUARANTINE, silver.MESSAGES)
        if lakehouse.exists(table)
    }


def delete_rows(lakehouse: Lakehouse, table: Table, erased: Erased, stubs: pl.DataFrame | None = None) -> int:
    """Delete the rows of erased vehicles, and others' rows that came from some lines; returns how many.

    Args:
        lakehouse: the lake.
        table: with a vehicle_id.
        erased: the vehicles.
        stubs: object_key and line_no of lines that say nothing any more.
    """
    if not lakehouse.exists(table):
        return 0
    has_lines = stubs is not None and "object_key" in table.by_name

    def predicate(snapshot: Snapshot) -> str | None:
        rows = snapshot.rows()
        present = rows.select(pl.col("vehicle_id").unique()).collect(engine="streaming").get_column("vehicle_id")
        vehicles = erased.among(present)
        parts = [f"vehicle_id = '{vehicle}'" for vehicle in vehicles]
        if has_lines and stubs is not None:
            odd = rows.filter(~pl.col("vehicle_id").is_in(vehicles)).select(_LINE).unique()
            lines = odd.join(stubs.lazy(), on=_LINE, how="semi").collect(engine="streaming")
            parts += [Lines(key, line, line).predicate for key, line in lines.head(_LINES_AT_ONCE).iter_rows()]
        return " OR ".join(parts) or None

    deleted = 0
    while rows := lakehouse.delete(table, predicate).rows:
        deleted += rows
    return deleted


def parts_of(lakehouse: Lakehouse, day: date) -> Iterator[list[Lines]]:
    """An arrival day's lines in parts that fit into memory: of many objects, or of one that is large."""
    objects = lakehouse.scan(bronze.OBJECTS, Days(day, day)).sort("object_key")
    columns = ("object_key", "landing_date", "lines", "payload_bytes", "object_digest")
    held = [BronzeObject(*row) for row in objects.select(columns).collect().iter_rows()]
    large = [entry.key for entry in held if entry.weight > BATCH_BYTES]
    small = [entry for entry in held if entry.weight <= BATCH_BYTES]
    for batch in batches(small, lambda entry: entry.weight, max_bytes=BATCH_BYTES, max_objects=BATCH_OBJECTS):
        yield [Lines(entry.key) for entry in batch]
    lines = lakehouse.scan(bronze.MESSAGES, Days(day, day))
    known = {entry.key for entry in held}  # an object gets its row after its lines, unless its writer died
    keys = lines.select(pl.col("object_key").unique()).collect().get_column("object_key")
    for key in (*large, *sorted(set(keys) - known)):
        sizes = lines.filter(Lines(key).expression).select("line_no", size=pl.col("payload").bin.size())
        ordered = sizes.sort("line_no").collect(engine="streaming")
        yield from ([part] for part in portions(key, ordered, SLICE_BYTES, gapless=True))


def lines_in(parts: Sequence[Lines]) -> pl.Expr:
    """The lines of some parts; by the range of their keys, files that hold none are not opened."""
    keys = [part.key for part in parts]
    whole = pl.col("object_key").is_in([part.key for part in parts if part == Lines(part.key)])
    some = (part.expression for part in parts if part != Lines(part.key))
    near = pl.col("object_key").is_between(pl.lit(min(keys)), pl.lit(max(keys)))
    return near & pl.any_horizontal(whole, *some)


def _stub_lines(scene: Scene, day: date, parts: Sequence[Lines]) -> int:
    rows = scene.lakehouse.scan(bronze.MESSAGES, Days(day, day)).filter(lines_in(parts)).collect()
    named = set(rows.filter(_named(rows, scene.erased)).get_column("object_key"))
    replaced = [part for part in parts if part.key in named]
    if not replaced:
        return 0
    count = 0

    def stubbed(snapshot: Snapshot) -> pl.DataFrame:
        nonlocal count
        held = snapshot.rows().filter(pl.col("landing_date") == day, lines_in(replaced)).collect()
        mask = _named(held, scene.erased)
        count = int(mask.sum())
        silent = {"topic": None, "received_at": None, "payload": None, "fault": ERASED}
        schema = polars_schema(bronze.MESSAGES)
        return held.with_columns(
            pl.when(mask).then(pl.lit(value, schema[name])).otherwise(name).alias(name)
            for name, value in silent.items()
        )

    predicate = " OR ".join(part.predicate for part in replaced)
    scene.lakehouse.replace(bronze.MESSAGES, stubbed, predicate=predicate)
    return count


def _named(rows: pl.DataFrame, erased: Erased) -> pl.Series:
    """Which rows of bronze.messages name an erased vehicle in their payload or topic."""
    texts = rows.select("payload", "topic").iter_rows()
    found = [
        (payload is not None and erased.names(payload)) or (topic is not None and erased.names(topic.encode()))
        for payload, topic in texts
    ]
    return pl.Series("named", found, dtype=pl.Boolean)


def _renew_objects(scene: Scene, day: date) -> int:
    """Bring rows of bronze.objects up to date with lines that have become stubs; returns how many that were."""
    lines = scene.lakehouse.scan(bronze.MESSAGES, Days(day, day))
    stubbed = lines.filter(_STUB).select(pl.col("object_key").unique()).collect().get_column("object_key")
    if stubbed.is_empty():
        return 0
    now = (
        lines.filter(pl.col("object_key").is_in(stubbed.to_list()))
        .group_by("object_key")
        .agg(
            payload_bytes=pl.col("payload").bin.size().sum().cast(pl.Int64),
            first_received_at=pl.col("received_at").min(),
            last_received_at=pl.col("received_at").max(),
        )
        .collect(engine="streaming")
    )
    listed = {entry.key: entry for entry in scene.store.list(on=day).objects}
    names = [name for name in now.columns if name != "object_key"]
    held = scene.lakehouse.scan(bronze.OBJECTS, Days(day, day)).join(now.lazy(), on="object_key", suffix="_now")
    changed = []
    for row in held.sort("object_key").collect().iter_rows(named=True):
        entry = listed.get(row["object_key"])
        size = entry.size_bytes if entry else row["size_bytes"]
        fresh = {name: row.pop(f"{name}_now") for name in names} | {"size_bytes": size}
        if any(row[name] != value for name, value in fresh.items()):
            digest = digest_text(read_object(scene.store, entry).sha256) if entry else row["object_digest"]
            changed.append(row | fresh | {"object_digest": digest})
    if changed:
        rows = pl.DataFrame(changed, schema=polars_schema(bronze.OBJECTS))
        predicate = " OR ".join(Lines(row["object_key"]).predicate for row in changed)
        scene.lakehouse.replace(bronze.OBJECTS, lambda _: rows, predicate=predicate)
    return len(changed)


def _delete_rejections(lakehouse: Lakehouse, stubs: pl.DataFrame) -> int:
    def kept(rows: pl.DataFrame, batch: int) -> pl.DataFrame:
        return rows.join(stubs, on=_LINE, how="anti", maintain_order="left")

    days = lakehouse.scan(silver.QUARANTINE).join(stubs.lazy(), on=_LINE, how="semi")
    return _rewrite_days(lakehouse, silver.QUARANTINE, days, kept)


def _judge_conflicts_anew(scene: Scene, stubs: pl.DataFrame) -> int:
    """Judge again what others had sent under an identity that nobody claims any more."""
    ledger = scene.lakehouse.scan(silver.MESSAGES)
    gone = ledger.join(stubs.lazy(), on=_LINE, how="semi").select("message_id").drop_nulls()
    conflicts = ledger.filter(pl.col("verdict") == "conflict").join(stubs.lazy(), on=_LINE, how="anti")
    keys = conflicts.join(gone, on="message_id", how="semi").select(pl.col("object_key").unique()).collect()
    objects = (
        scene.lakehouse.scan(bronze.OBJECTS)
        .filter(pl.col("object_key").is_in(keys.get_column("object_key").to_list()))
        .sort("first_received_at", "object_key", nulls_last=True)
        .select("object_key", "landing_date", "lines", "payload_bytes", "object_digest")
        .collect()
    )
    ingestion = Ingestion(scene.lakehouse, scene.store, scene.erased.secret, scene.retracted, scene.erased)
    ingestion.judge_anew([BronzeObject(*row) for row in objects.iter_rows()], Progress())
    return objects.height


def _enter_stubs(scene: Scene, stubs: pl.DataFrame) -> int:
    """Let the ledger say of lines that they are erased, and nothing else; returns how many did not yet.

    Where Bronze's retention has ended, a line is a vehicle's if it touched days of it.
    """
    ledger = scene.lakehouse.scan(silver.MESSAGES)
    pairs = pl.col("touched").list.eval(pl.element().struct.field("vehicle_id"))
    present = ledger.select(pairs.explode().unique().alias("vehicle_id")).collect(engine="streaming")
    vehicles = scene.erased.among(present.get_column("vehicle_id"))
    touches = pairs.list.eval(pl.element().is_in(vehicles)).list.any()
    clean = (pl.col("verdict") == ERASED) & (pl.col("touched").list.len() == 0)
    clean &= pl.all_horizontal(pl.col(name).is_null() for name in _NOTHING)

    def due(rows: pl.LazyFrame) -> pl.LazyFrame:
        marked = rows.join(stubs.lazy().select(*_LINE, is_stub=True), on=_LINE, how="left", maintain_order="left")
        is_due = (pl.col("is_stub").fill_null(False) | touches.fill_null(False)) & ~clean.fill_null(False)
        return marked.with_columns(is_due=is_due).drop("is_stub")

    def entered(rows: pl.DataFrame, batch: int) -> pl.DataFrame:
        schema = polars_schema(silver.MESSAGES)
        said: dict[str, object] = {
            **dict.fromkeys(_NOTHING),
            **dict.fromkeys(_COUNTED, 0),
            "verdict": ERASED,
            "batch": batch,
        }
        marked = due(rows.lazy()).collect()
        nothing = pl.col("touched").list.head(0)
        return marked.with_columns(
            pl.when("is_due").then(nothing).otherwise("touched").alias("touched"),
            *(
                pl.when("is_due").then(pl.lit(value, schema[name])).otherwise(name).alias(name)
                for name, value in said.items()
            ),
        ).drop("is_due")

    return _rewrite_days(scene.lakehouse, silver.MESSAGES, due(ledger).filter("is_due"), entered)


def _rewrite_days(
    lakehouse: Lakehouse,
    table: Table,
    chosen: pl.LazyFrame,
    rewritten: Callable[[pl.DataFrame, int], pl.DataFrame],
) -> int:
    """Rewrite the arrival days that hold some rows, one commit a day; returns how many rows those are."""
    days = chosen.group_by("landing_date").len().sort("landing_date").collect()
    for day in days.get_column("landing_date"):

        def rows(snapshot: Snapshot, day: date = day) -> pl.DataFrame:
            held = snapshot.rows().filter(pl.col("landing_date") == day).collect()
            return rewritten(held, snapshot.batch + 1)

        lakehouse.replace(table, rows, predicate=f"landing_date = DATE '{day}'")
    return int(days.get_column("len").sum())
