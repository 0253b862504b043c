"""Work on a lake in a process of its own, whose peak of memory is known and whose data segment can be limited.

Usage: python -m tests.faults.lake_worker COMMAND LAKE LANDING SECRET_FILE [--limit MIB] [--objects N]
Prints one line of JSON: what was done, seconds, and peak_mib.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

MIB: Final = 1024 * 1024
FIRST: Final = date(2008, 1, 1)
LAST: Final = date(2100, 1, 1)


def run(command: str, lake: Path, *options: str, timeout_s: float = 3600) -> dict[str, Any]:
    """Run a command over ``lake/{lake,landing,secret}``; where it dies the answer has `died` and its words."""
    places = [str(lake / name) for name in ("lake", "landing", "secret")]
    child = subprocess.run(
        [sys.executable, "-m", __name__, command, *places, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if child.returncode:
        return {"died": child.returncode, "words": child.stderr[-500:]}
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return answer


def peak_mib() -> int:
    """Most memory that this process ever had resident (proc(5): VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def ingest(settings: Any, given: argparse.Namespace) -> dict[str, Any]:
    """Every arrival day that has work left, or until so many objects are in Bronze."""
    from smartdrive_dagster.defs.ingestion import Progress
    from smartdrive_dagster.defs.resources import LakeResource
    from smartdrive_dagster.defs.work import pending_days

    lake = LakeResource.of(settings)
    progress = Progress()
    for day in pending_days(lake.lakehouse(), lake.landing(), since=FIRST, until=LAST):
        if given.objects and progress.objects >= given.objects:
            break
        for _ in lake.ingestion().steps(day, progress):
            if given.objects and progress.objects >= given.objects:
                break
    return {
        "objects": progress.objects,
        "lines": progress.lines,
        "unreadable": sorted(progress.unreadable),
        "missing": progress.missing,
    }


def ingest_without_bounds(settings: Any, given: argparse.Namespace) -> dict[str, Any]:
    """The negative control: an object may expand to whatever it likes, and is read at once."""
    from smartdrive_dagster.landing import reader

    reader.read_object.__kwdefaults__["max_bytes"] = sys.maxsize  # type: ignore[index]
    for bound in ("MAX_LINES", "MAX_KEPT_BYTES", "PART_BYTES", "PART_LINES"):
        setattr(reader, bound, sys.maxsize)
    return ingest(settings, given)


def process(settings: Any, given: argparse.Namespace) -> dict[str, Any]:
    """The real jobs, as `smartdrive process` runs them; then again, when nothing should be left."""
    import dagster as dg

    from smartdrive_dagster.processing import process as process_now

    with dg.DagsterInstance.ephemeral() as instance:
        runs = process_now(settings, instance)
        again = process_now(settings, instance)
        failed = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    return {"runs": runs, "again": again, "failed": failed}


def tick(settings: Any, given: argparse.Namespace) -> dict[str, Any]:
    """Evaluate each sensor once, and that of Gold again with the cursor that it has left.

    Loading the definitions is no part of the times.
    """
    import dagster as dg

    from smartdrive_dagster.definitions import definitions
    from smartdrive_dagster.defs.resources import LakeResource
    from smartdrive_dagster.defs.triggers import gold_sensor, landing_sensor

    repository = definitions(settings).get_repository_def()

    def evaluate(sensor: dg.SensorDefinition, cursor: str | None) -> dict[str, Any]:
        context = dg.build_sensor_context(
            instance=instance,
            repository_def=repository,
            resources={"lake": LakeResource.of(settings)},
            cursor=cursor,
        )
        began, worked = time.monotonic(), time.process_time()
        result = sensor.evaluate_tick(context)
        return {
            "seconds": time.monotonic() - began,
            "cpu_s": time.process_time() - worked,
            "requests": [[request.partition_key, dict(request.tags)] for request in result.run_requests or ()],
            "cursor": result.cursor,
        }

    with dg.DagsterInstance.ephemeral() as instance:
        landing, gold = evaluate(landing_sensor, None), evaluate(gold_sensor, None)
        return {"landing": landing, "gold": gold, "gold with its cursor": evaluate(gold_sensor, gold["cursor"])}


COMMANDS: Final[dict[str, Callable[[Any, argparse.Namespace], dict[str, Any]]]] = {
    command.__name__: command for command in (ingest, ingest_without_bounds, process, tick)
}


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    for name in ("lake", "landing", "secret"):
        parser.add_argument(name)
    parser.add_argument("--limit", type=int, default=0, help="of the data segment, MiB")
    parser.add_argument("--objects", type=int, default=0)
    given = parser.parse_args()
    if given.limit:
        resource.setrlimit(resource.RLIMIT_DATA, (given.limit * MIB, given.limit * MIB))
    from smartdrive_dagster.settings import Settings

    settings = Settings(lake_url=given.lake, landing_url=given.landing, secret_file=Path(given.secret))
    began = time.monotonic()
    answer = COMMANDS[given.command](settings, given)
    print(json.dumps({**answer, "took_s": round(time.monotonic() - began, 1), "peak_mib": peak_mib()}))  # noqa: T201


if __name__ == "__main__":
    main()
