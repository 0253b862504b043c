"""What racing processes do: append, ingest, maintain. Each function is the body of a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import date
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import polars as pl

from smartdrive_dagster.lake import evolution
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse, Snapshot
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import Table, bronze
from tests.faults.lake_road import batches_of, ingest, recompute_trips
from tests.faults.unguarded import DEDUPLICATION, drop
from tests.messages import START

TABLE: Final = bronze.OBJECTS
DAY: Final = START.date()
_CLOUD: Final = "AWS_"


def start(body: Callable[..., None], *arguments: object, retention: str = evolution.RETENTION) -> BaseProcess:
    """Start a process; it shares nothing with this one but its arguments and the way to S3."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    cloud = {name: value for name, value in os.environ.items() if name.startswith(_CLOUD)}
    process = processes.Process(target=_run, args=(os.getpid(), cloud, retention, body, arguments), daemon=True)
    process.start()
    return process


def _run(
    campaign: int,
    cloud: Mapping[str, str],
    retention: str,
    body: Callable[..., None],
    arguments: tuple[object, ...],
) -> None:
    threading.Thread(target=_end_with, args=(campaign,), daemon=True).start()
    os.environ.update(cloud)
    evolution.RETENTION = retention  # type: ignore[misc]
    try:
        body(*arguments)
    except Exception as error:  # a control has many, and each traceback fills a screen
        sys.exit(f"{body.__name__}: {type(error).__name__}: {str(error)[:160]}")


def _end_with(campaign: int) -> None:
    """Some of these processes work for ever: none of them outlives the campaign, however that ends."""
    while Path(f"/proc/{campaign}").exists():
        time.sleep(1.0)
    os._exit(1)


def objects(*names: str, day: date = DAY) -> pl.DataFrame:
    """Rows of bronze.objects, one a name."""
    count = len(names)
    known = pl.DataFrame(
        {
            "object_key": [f"telemetry/dt={day}/hr=08/{name}.jsonl" for name in names],
            "landing_date": [day] * count,
            "channel": ["telemetry"] * count,
            "size_bytes": [1] * count,
            "lines": [1] * count,
            "payload_bytes": [1] * count,
            "first_received_at": [START] * count,
            "last_received_at": [START] * count,
        },
    )
    schema = polars_schema(TABLE)
    unknown = [pl.lit(None).alias(name) for name in schema if name not in known.columns]
    return known.with_columns(unknown).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def missing(rows: pl.DataFrame) -> Callable[[Snapshot], pl.DataFrame]:
    """What a snapshot lacks of some rows."""
    return lambda snapshot: rows.lazy().join(snapshot.rows(), on="object_key", how="anti").collect()


def write(lake: str, number: int, commits: int, is_guarded: bool, signals: str) -> None:
    """Append rows of one's own, and rows that every writer wants to append."""
    lakehouse = Lakehouse(lake)
    lost, slowest_s = _count_lost_races(), 0.0
    _report_and_wait(signals, number)
    for commit in range(commits):
        rows = objects(f"own-{number}-{commit}", f"shared-{commit}")
        began = time.monotonic()
        lakehouse.append_once(TABLE, missing(rows) if is_guarded else lambda _, rows=rows: rows)  # type: ignore[misc]
        slowest_s = max(slowest_s, time.monotonic() - began)
    counted = {"lost": lost[0], "most_in_a_row": lost[1], "slowest_s": slowest_s}
    Path(signals, f"done-{number}").write_text(json.dumps(counted))


def rewrite(lake: str, number: int, commits: int, signals: str) -> None:
    """Append small files to a day of one's own, and replace some of them: what maintenance gets in the way of."""
    lakehouse = Lakehouse(lake)
    _report_and_wait(signals, number)
    for commit in range(commits):
        lakehouse.append_once(TABLE, missing(objects(f"kept-{number}-{commit}", f"replaced-{number}-{commit}")))
        if commit % 3 == 2:
            names = [f"replaced-{number}-{commit - back}" for back in range(3)]
            rows = objects(*names).with_columns(lines=pl.lit(2))
            predicate = f"object_key IN ({', '.join(map(repr, rows['object_key']))})"
            lakehouse.replace(TABLE, lambda _, rows=rows: rows, predicate=predicate)  # type: ignore[misc]
    Path(signals, f"done-{number}").touch()


def rewritten(writers: int, commits: int) -> pl.DataFrame:
    """The rows that so many `rewrite` leave behind."""
    parts = []
    for number in range(writers):
        whole = commits - commits % 3
        parts += [objects(*(f"kept-{number}-{commit}" for commit in range(commits)))]
        parts += [
            objects(*(f"replaced-{number}-{c}" for c in range(whole))).with_columns(lines=pl.lit(2, pl.Int64))
        ]
        parts += [objects(*(f"replaced-{number}-{c}" for c in range(whole, commits)))]
    return pl.concat(part.cast(dict(polars_schema(TABLE))) for part in parts)


def take_in(
    lake: str, landing: str, days: list[date], batch: int, is_guarded: bool, signals: str, number: int
) -> None:
    """Ingest arrival days and bring Gold up to date, as one of several runs at once."""
    if not is_guarded:
        drop(DEDUPLICATION)
    lakehouse, store = Lakehouse(lake), LandingStore(landing)
    _report_and_wait(signals, number)
    with batches_of(batch):
        ingest(lakehouse, store, days)
    while recompute_trips(lakehouse):
        pass
    Path(signals, f"done-{number}").touch()


def maintain(lake: str, table: Table, signals: str) -> None:
    """Maintain a table again and again."""
    lakehouse = Lakehouse(lake)
    _report_and_wait(signals, "maintenance")
    while True:
        lakehouse.maintain(table)


def vacuum_all(lake: str, table: Table, signals: str) -> None:
    """The guard off: delete every file that the newest version does not name, however young it is."""
    lakehouse = Lakehouse(lake)
    _report_and_wait(signals, "maintenance")
    while True:
        delta = lakehouse.open(table).delta
        if delta is not None:
            delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)


def wait_until_ready(signals: Path, count: int) -> None:
    """Wait until so many processes stand at the line, then let them go."""
    deadline = time.monotonic() + 300
    while len(list(signals.glob("ready-*"))) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {count} processes came to the line")
        time.sleep(0.005)
    (signals / "go").touch()


def _report_and_wait(signals: str, name: object) -> None:
    Path(signals, f"ready-{name}").touch()
    while not Path(signals, "go").exists():
        time.sleep(0.005)


def _count_lost_races() -> list[int]:
    """Counts of lost races: in all, and the most in a row."""
    counts, row = [0, 0], [0]
    try_write = Lakehouse._try_write

    def counted(self: Lakehouse, *arguments: Any) -> Commit | None:
        commit = try_write(self, *arguments)
        row[0] = 0 if commit else row[0] + 1
        counts[0] += commit is None
        counts[1] = max(counts[1], row[0])
        return commit

    Lakehouse._try_write = counted  # type: ignore[method-assign]
    return counts
