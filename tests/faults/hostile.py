"""The campaign `hostile`: whatever lands, no run fails, and all of it is accepted or set aside with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import bronze, silver
from tests.comparison import repeated
from tests.faults import garbage, lake_worker
from tests.faults.harness import Campaign, Result, Step
from tests.messages import SECRET, land

LIMIT_MIB: Final = 2048  # of the data segment, with what allocators keep in reserve: a third of it is resident
PEAK_MIB: Final = 700
CONTROL_LIMIT_MIB: Final = 1024
_A_BATCH: Final = 100
_QUICK: Final = 600
_LINE: Final = ["object_key", "line_no"]


@dataclass
class Landed:
    """What was put into a landing zone, and what has to become of it.

    Attributes:
        good: lines that have to be accepted, per object.
        reasons: reasons that have to stand in the quarantine, per object (line 0 and all others together).
        exact: the reason of a line.
        lines: how many lines there are, where it is known.
        strays: how many things are no landing objects.
    """

    good: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=dict)
    exact: dict[tuple[str, int], str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    strays: int = 0


def plant(home: Path, payloads: int, *, is_quick: bool) -> Landed:
    """Fill a landing zone with everything hostile, and good messages among it."""
    home.mkdir(parents=True)
    (home / "secret").write_bytes(SECRET)
    landing = home / "landing"
    store = LandingStore(str(landing))
    landed = Landed(strays=garbage.strays(landing))
    made = garbage.generated(payloads)
    for number, start in enumerate(range(0, payloads, _A_BATCH)):
        batch = made[start : start + _A_BATCH]
        batch.insert(number % len(batch), garbage.good(number))
        at = garbage.RECEIVED + timedelta(seconds=number)
        entry = land(store, *batch, at=at, channel="events" if number % 5 == 0 else "telemetry")
        landed.good[entry.key] = 1
        landed.lines[entry.key] = len(batch)
    corpus = garbage.known()
    entry = land(store, *(payload for payload, _ in corpus.values()), at=garbage.RECEIVED)
    landed.lines[entry.key] = len(corpus)
    for line_no, (_, reason) in enumerate(corpus.values(), start=1):
        landed.exact[entry.key, line_no] = reason
    for name, body, good, reasons in garbage.objects(is_quick=is_quick):
        key = f"{garbage.HOUR}/{name}"
        store.put(key, body)
        landed.good[key] = good
        landed.reasons[key] = reasons
    garbage.sparse(landing, (300 if is_quick else 2048) << 20)
    landed.reasons[f"{garbage.HOUR}/sparse.jsonl"] = {"object_too_large"}
    return landed


def faults(home: Path, landed: Landed, unreadable: set[str]) -> Iterator[str]:
    """Promises that do not hold, in words."""
    lakehouse, store = Lakehouse(str(home / "lake")), LandingStore(str(home / "landing"))
    listing = store.list()
    if len(listing.strays) != landed.strays or listing.unreadable:
        yield f"{len(listing.strays)} strays are counted of {landed.strays}"
    held = balances(lakehouse)
    if not held.close:
        yield f"the balances are open: {held}"
    if twice := repeated(lakehouse):
        yield f"keys appear more than once: {twice}"
    objects = lakehouse.scan(bronze.OBJECTS).select("object_key", "lines", "object_digest").collect()
    if gone := {entry.key for entry in listing.objects} - unreadable - set(objects["object_key"]):
        yield f"{len(gone)} objects are nowhere, one is {min(gone)}"
    counted = dict(objects.select("object_key", "lines").iter_rows())
    for key, lines in landed.lines.items():
        if counted.get(key) != lines:
            yield f"{key}: {counted.get(key)} lines of {lines}"
    yield from _unjust(lakehouse, landed)
    yield from _untold(lakehouse, home / "landing", objects)


def _unjust(lakehouse: Lakehouse, landed: Landed) -> Iterator[str]:
    """Good lines that were not accepted, and bad ones with another reason than theirs."""
    ledger = lakehouse.scan(silver.MESSAGES)
    good = ledger.filter(pl.col("verdict") == "accepted").group_by("object_key").agg(pl.len()).collect()
    accepted = dict(good.iter_rows())
    for key, lines in landed.good.items():
        if accepted.get(key, 0) < lines:
            yield f"{key}: {accepted.get(key, 0)} lines accepted, and {lines} are good"
    rows = lakehouse.scan(silver.QUARANTINE).select(*_LINE, "reason").collect()
    reasons: dict[str, set[str]] = {}
    for key, _, reason in rows.iter_rows():
        reasons.setdefault(key, set()).add(reason)
    for key, due in landed.reasons.items():
        if reasons.get(key, set()) != due:
            yield f"{key}: set aside for {reasons.get(key)}, and not for {due}"
    given = {(key, line_no): reason for key, line_no, reason in rows.iter_rows()}
    for line, due_reason in landed.exact.items():
        if given.get(line) != due_reason:
            yield f"line {line[1]}: {given.get(line)}, and not {due_reason}"


def _untold(lakehouse: Lakehouse, landing: Path, objects: pl.DataFrame) -> Iterator[str]:
    """Rejected lines without a row in the quarantine, and rows without a hash or with a wrong one."""
    quarantine = lakehouse.scan(silver.QUARANTINE).select(*_LINE, "reason", "payload_digest").collect()
    rejected = lakehouse.scan(silver.MESSAGES).filter(pl.col("verdict").is_in(["quarantined", "conflict"]))
    if untold := rejected.select(_LINE).collect().join(quarantine, on=_LINE, how="anti").height:
        yield f"{untold} rejected lines have no row in the quarantine"
    if nulls := sum(quarantine.null_count().row(0)):
        yield f"{nulls} rows of the quarantine lack object, line, reason or hash"
    stored = {
        key: digest((landing / key).read_bytes()) if (landing / key).stat().st_size < 1 << 28 else told
        for key, told in objects.select("object_key", "object_digest").iter_rows()
    }
    if wrong := [
        key for key, told in objects.select("object_key", "object_digest").iter_rows() if stored[key] != told
    ]:
        yield f"{len(wrong)} objects have another hash than their bytes, one is {wrong[0]}"
    rows = (
        lakehouse.scan(bronze.MESSAGES)
        .select(*_LINE, "payload")
        .join(quarantine.lazy(), on=_LINE)
        .collect(engine="streaming")
    )
    wrong_rows = sum(
        told != (stored[key] if payload is None else digest(payload))
        for key, payload, told in rows.select("object_key", "payload", "payload_digest").iter_rows()
    )
    if wrong_rows:
        yield f"{wrong_rows} rows of the quarantine have another hash than their payloads"


def library(folder: Path, trials: int, step: Step) -> Result:
    """Through landing, Bronze and Silver, in a process whose memory is limited."""
    step("planting")
    result = Result("hostile payloads and objects", trials=trials)
    landed = plant(folder, trials, is_quick=trials <= _QUICK)
    bad = folder / "landing" / garbage.HOUR / "unreadable.jsonl"
    bad.symlink_to("/proc/self/mem")  # reading it fails, also for root
    closed = folder / "landing" / garbage.HOUR / "closed.jsonl"
    closed.write_bytes(garbage.lines(garbage.good(9999)))
    closed.chmod(0)
    step("ingesting")
    done = lake_worker.run("ingest", folder, "--limit", str(LIMIT_MIB))
    if "died" in done:
        result.broken.append(f"ingestion died: {done}")
        return result
    if f"{garbage.HOUR}/unreadable.jsonl" not in done["unreadable"]:
        result.broken.append("an object that cannot be read was not told")
    bad.unlink()
    closed.chmod(0o644)
    done_then = lake_worker.run("ingest", folder, "--limit", str(LIMIT_MIB))
    if "died" in done_then or done_then["unreadable"]:
        result.broken.append(f"what can be read again was not: {done_then}")
    step("auditing")
    result.broken += faults(folder, landed, set())
    if done["peak_mib"] > PEAK_MIB:
        result.broken.append(f"ingestion took {done['peak_mib']} MiB")
    result.lost = sum("nowhere" in fault or "no row" in fault or " lines of " in fault for fault in result.broken)
    result.notes += [f"{done['objects']:,} objects, {done['lines']:,} lines", f"peak {done['peak_mib']} MiB"]
    return result


def jobs(folder: Path, trials: int, step: Step) -> Result:
    """The same through Dagster's jobs, to Gold."""
    step("planting")
    result = Result("hostile payloads through the jobs", trials=trials)
    landed = plant(folder, trials, is_quick=True)
    step("processing")
    done = lake_worker.run("process", folder, "--limit", str(2 * LIMIT_MIB))
    if "died" in done or done["failed"] or done["again"]:
        result.broken.append(f"a run failed: {done}")
        return result
    step("auditing")
    result.broken += faults(folder, landed, set())
    result.notes += [f"{done['runs']} runs", f"peak {done['peak_mib']} MiB with Dagster"]
    return result


def without_bounds(folder: Path, trials: int, step: Step) -> Result:
    """The control: a reader that lets objects expand as they like."""
    result = Result("control: a reader without bounds", must_fail=True)
    for number in result.count(trials, step):
        home = folder / str(number)
        home.mkdir(parents=True)
        (home / "secret").write_bytes(SECRET)
        store = LandingStore(str(home / "landing"))
        store.put(f"{garbage.HOUR}/bomb.jsonl.zst", garbage.zstd_bomb())
        land(store, garbage.good(1), at=garbage.RECEIVED)
        done = lake_worker.run("ingest_without_bounds", home, "--limit", str(CONTROL_LIMIT_MIB))
        if "died" in done:
            result.broken.append(f"ingestion died: {done['died']}")
    return result


CAMPAIGNS: Final = {
    "hostile": Campaign(library, trials=10_000, quick=_QUICK),
    "hostile-jobs": Campaign(jobs, trials=1_000, quick=0),
    "hostile-control": Campaign(without_bounds, trials=1, quick=1),
}
