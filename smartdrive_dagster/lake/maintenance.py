"""Maintenance of one table in a process of its own, so that its memory is bounded and given back.

Run as ``python -m smartdrive_dagster.lake.maintenance LAKE_URL TABLE``; prints its result as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import asdict
from typing import Final

from smartdrive_dagster.tables import Table

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
    command = [sys.executable, "-m", __name__, lake_url, table.path, "--memory", str(memory_bytes)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if child.returncode:
        raise MaintenanceError(f"{table}: maintenance ended with {child.returncode}: {child.stderr[-2000:]}")
    result: dict[str, int] = json.loads(child.stdout)
    return result


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake_url")
    parser.add_argument("table", help="path below the lake's root, for example silver/telemetry")
    parser.add_argument("--memory", type=int, default=MEMORY_BYTES, help="bytes of the data segment")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (arguments.memory, arguments.memory))
    from smartdrive_dagster.lake.lakehouse import Lakehouse

    layer, name = arguments.table.split("/")
    table = Table(layer=layer, name=name, description="", columns=(), key=(), partition_by=None)
    lakehouse = Lakehouse(arguments.lake_url)
    if not lakehouse.exists(table):
        raise SystemExit(f"there is no table {table} below {arguments.lake_url}")
    done = asdict(lakehouse.maintain(table))
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps(done | {"peak_memory_bytes": peak_kib * 1024}))


if __name__ == "__main__":
    main()
