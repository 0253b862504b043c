"""Maintenance beside writers, and killed: the rows stay as they are, whatever becomes of the files."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import polars as pl

from smartdrive_dagster.lake import evolution
from smartdrive_dagster.lake.audit import frame_hash, row_hash
from smartdrive_dagster.lake.lakehouse import Lakehouse
from tests.faults.harness import Campaign, Result, Step
from tests.faults.race_worker import (
    TABLE,
    maintain,
    missing,
    objects,
    rewrite,
    rewritten,
    start,
    vacuum_all,
    wait_until_ready,
)

_WRITERS: Final = 3
# Longer than any reader of the campaign needs its snapshot, short enough that files are deleted meanwhile.
_SHORT: Final = "interval 20 seconds"
_NONE: Final = "interval 0 seconds"


@contextmanager
def retention(interval: str) -> Iterator[None]:
    """Tables created and written in the block keep old versions for so long."""
    before = evolution.RETENTION
    evolution.RETENTION = interval  # type: ignore[misc]
    try:
        yield
    finally:
        evolution.RETENTION = before  # type: ignore[misc]


def killed_alone(folder: Path, trials: int, step: Step) -> Result:
    """Nobody writes: whatever maintenance had done when it died, the rows are the same."""
    result, chance = Result("SIGKILL of maintenance"), random.Random(1)
    lakehouse = Lakehouse(str(folder / "lake"))
    inside = 0
    with retention(_NONE):
        for number in result.count(trials, step):
            _fragment(lakehouse, number)
            expected, version = row_hash(lakehouse, TABLE), lakehouse.open(TABLE).version
            process = _let_go(folder, maintain, str(lakehouse.url), TABLE)
            time.sleep(chance.uniform(0.0, 0.25))
            _kill(process, result)
            began = time.monotonic()
            if row_hash(lakehouse, TABLE) != expected:
                result.broken.append(f"trial {number}: the rows have changed")
            result.recovered_s.append(time.monotonic() - began)
            inside += lakehouse.open(TABLE).version != version
        lakehouse.maintain(TABLE)
        if row_hash(lakehouse, TABLE) != expected:
            result.broken.append("the rows have changed in the end")
    result.notes.append(
        f"in {inside} trials it had committed something; nothing was retained, so files were deleted"
    )
    return result


def killed_beside_writers(folder: Path, trials: int, step: Step) -> Result:
    """Writers append and replace; a trial is a kill. In the end the table holds what it would hold without any."""
    result, chance = Result("SIGKILL of maintenance beside writers"), random.Random(2)
    commits = 12 * trials
    lakehouse = Lakehouse(str(folder / "lake"))
    with retention(_SHORT):
        lakehouse.append_once(TABLE, lambda _: objects().clear())
        signals = _fresh_signals(folder / "writing")
        writers = [
            start(rewrite, lakehouse.url, number, commits, str(signals), retention=_SHORT)
            for number in range(_WRITERS)
        ]
        try:
            wait_until_ready(signals, _WRITERS)
            kept = 0
            while any(writer.is_alive() for writer in writers):
                step(f"{result.trials} kills")
                process = _let_go(folder, maintain, lakehouse.url, TABLE)
                time.sleep(chance.uniform(0.0, 1.0))
                _kill(process, result)
                result.trials += 1
                rows = lakehouse.scan(TABLE)
                before, kept = kept, rows.filter(pl.col("object_key").str.contains("/kept-")).collect().height
                if kept < before:
                    result.broken.append(f"{before} rows were there, then {kept}")
            if codes := [writer.exitcode for writer in writers if writer.exitcode != 0]:
                result.broken.append(f"writers ended with {codes}")
        finally:
            for writer in writers:
                writer.kill()
        done = lakehouse.maintain(TABLE)
    expected, got = rewritten(_WRITERS, commits), lakehouse.scan(TABLE).collect()
    result.lost = expected.join(got, on=["object_key", "lines"], how="anti").height
    result.duplicated = got.height - got.join(expected, on=["object_key", "lines"], how="semi").unique().height
    if row_hash(lakehouse, TABLE) != frame_hash(TABLE, expected.lazy()):
        result.broken.append("the row hash is another")
    result.notes.append(f"{_WRITERS} writers of {commits} commits each; {done.files} files in the end")
    return result


def nothing_retained(folder: Path, trials: int, step: Step) -> Result:
    """The control: whatever the newest version does not name is deleted, be it being written or being read."""
    result = Result("control: nothing is retained", must_fail=True)
    commits = 20
    for number in result.count(trials, step):
        lakehouse = Lakehouse(str(folder / f"lake-{number}"))
        lakehouse.append_once(TABLE, lambda _: objects().clear())
        signals = _fresh_signals(folder / "writing")
        writers = [start(rewrite, lakehouse.url, n, commits, str(signals)) for n in range(_WRITERS)]
        vacuum = _let_go(folder, vacuum_all, lakehouse.url, TABLE)
        try:
            wait_until_ready(signals, _WRITERS)
            for writer in writers:
                writer.join()
        finally:
            for process in (*writers, vacuum):
                process.kill()
        failed = sum(writer.exitcode != 0 for writer in writers)
        if failed:
            result.broken.append(f"{failed} of {_WRITERS} writers failed")
        result.lost += _rows_without_a_file(lakehouse)
    return result


def _rows_without_a_file(lakehouse: Lakehouse) -> int:
    """Rows that the newest version counts and whose files are gone."""
    delta = lakehouse.open(TABLE).delta
    assert delta is not None
    added = pl.DataFrame(delta.get_add_actions(flatten=True))
    return sum(
        count
        for path, count in added.select("path", "num_records").iter_rows()
        if not Path(lakehouse.uri(TABLE), path).exists()
    )


def _fragment(lakehouse: Lakehouse, number: int) -> None:
    """Small files, and some that a replacement has left behind."""
    for part in range(4):
        lakehouse.append_once(TABLE, missing(objects(f"{number}-{part}-a", f"{number}-{part}-b")))
    rows = objects(f"{number}-0-a").with_columns(lines=pl.lit(3))
    lakehouse.replace(TABLE, lambda _: rows, predicate=f"object_key = {rows['object_key'][0]!r}")


def _fresh_signals(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _let_go(folder: Path, body: object, *arguments: object) -> BaseProcess:
    """Start a process and come back when its work begins."""
    signals = _fresh_signals(folder / "signals")
    process = start(body, *arguments, str(signals))  # type: ignore[arg-type]
    wait_until_ready(signals, 1)
    return process


def _kill(process: BaseProcess, result: Result) -> None:
    if not process.is_alive():
        result.broken.append(f"maintenance ended by itself with {process.exitcode}")
    process.kill()
    process.join()


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "maintenance": Campaign(killed_alone, trials=200, quick=4),
    "maintenance-busy": Campaign(killed_beside_writers, trials=40, quick=1),
    "maintenance-control": Campaign(nothing_retained, trials=5, quick=1),
}
