"""Maintenance in a process of its own, so that its memory is bounded and given back.

Run as ``python -m smartdrive_dagster.lake.maintenance LAKE_URL TABLE...``; prints its result as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from smartdrive_dagster.tables import Table

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Lakehouse

MEMORY_BYTES: Final = 2 * 1024**3


class MaintenanceError(RuntimeError):
    """The child that maintained a table failed; its last words are the text."""


def maintain_apart(lake_url: str, table: Table, *, memory_bytes: int = MEMORY_BYTES) -> dict[str, int]:
    """Maintain one table in a child process whose data segment is limited.

    Returns:
        The fields of `Maintenance`, and `peak_memory_bytes`: the most that the child had resident.

    Raises:
        MaintenanceError: the child failed or ran out of its memory; the table is as it was or maintained in part.
    """
    return _run_child(lake_url, [table], memory_bytes)


def merge_where_fragmented(
    lakehouse: Lakehouse, tables: Iterable[Table], *, memory_bytes: int = MEMORY_BYTES
) -> dict[str, int]:
    """Merge the small files of tables that have too many for the night to be waited for, in one child process.

    Each micro-batch adds a file to a table, and the next ones read them all: by evening that would be slow.

    Returns:
        `merged_files`, `lost_races` and `peak_memory_bytes`; empty where no table is fragmented.

    Raises:
        MaintenanceError: the child failed or ran out of its memory; the tables are as they were or merged in part.
    """
    from smartdrive_dagster.lake.upkeep import MERGE_AT, excess_files

    opened = ((table, lakehouse.open(table).delta) for table in tables)
    fragmented = [table for table, delta in opened if delta is not None and excess_files(delta) >= MERGE_AT]
    return _run_child(lakehouse.url, fragmented, memory_bytes, "--merge-only") if fragmented else {}


def _run_child(lake_url: str, tables: list[Table], memory_bytes: int, *options: str) -> dict[str, int]:
    paths = [table.path for table in tables]
    command = [sys.executable, "-m", __name__, lake_url, *paths, "--memory", str(memory_bytes), *options]
    child = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if child.returncode:
        names = ", ".join(map(str, tables))
        raise MaintenanceError(f"{names}: maintenance ended with {child.returncode}: {child.stderr[-2000:]}")
    result: dict[str, int] = json.loads(child.stdout)
    return result


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake_url")
    parser.add_argument("table", nargs="+", help="path below the lake's root, for example silver/telemetry")
    parser.add_argument("--memory", type=int, default=MEMORY_BYTES, help="bytes of the data segment")
    parser.add_argument("--merge-only", action="store_true", help="leave old versions and the log as they are")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (arguments.memory, arguments.memory))
    from smartdrive_dagster.lake.lakehouse import Lakehouse

    lakehouse = Lakehouse(arguments.lake_url)
    done: Counter[str] = Counter()
    for path in arguments.table:
        done.update(_maintain(lakehouse, _named(path), is_merge_only=arguments.merge_only))
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps(dict(done) | {"peak_memory_bytes": peak_kib * 1024}))


def _named(path: str) -> Table:
    """A table of which only the place matters."""
    layer, name = path.split("/")
    return Table(layer=layer, name=name, description="", columns=(), key=(), partition_by=None)  # type: ignore[arg-type]


def _maintain(lakehouse: Lakehouse, table: Table, *, is_merge_only: bool) -> dict[str, int]:
    if not lakehouse.exists(table):
        raise SystemExit(f"there is no table {table} below {lakehouse.url}")
    if not is_merge_only:
        return asdict(lakehouse.maintain(table))
    merged, lost = lakehouse.merge(table)
    return {"merged_files": merged, "lost_races": lost}


if __name__ == "__main__":
    main()
