"""SIGKILL between and inside the commits of ingestion and Gold, on disk and on S3, and the control."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.tables import Table, silver
from tests.faults import failpoints, unguarded
from tests.faults.failpoints import Fuse
from tests.faults.gate import gate
from tests.faults.harness import Campaign, Result, Step
from tests.faults.killed_process import dies
from tests.faults.lake_work import UNTIL, Delivery, Home, delivery, work
from tests.faults.wholeness import State, count_damage
from tests.object_store import fresh_bucket, object_store

DELIVERIES_PER_LAKE: Final = 4
_LONGEST_INSIDE_S: Final = 0.03
_RECOVERS: Final = 0.4


class Clean:
    """A lake to which nothing happens: its state after each delivery."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="smartdrive-clean-")
        self._home = Home(self._folder.name)
        self.deliveries: list[Delivery] = []
        self._states: list[State] = []

    def after(self, count: int) -> State:
        """The state after so many deliveries."""
        self.first(count)
        while len(self._states) < count:
            work(self._home, self.deliveries[: len(self._states) + 1])
            self._states.append(State.of(self._home.lakehouse))
        return self._states[count - 1]

    def first(self, count: int) -> list[Delivery]:
        """The first deliveries."""
        while len(self.deliveries) < count:
            self.deliveries.append(delivery(len(self.deliveries)))
        return self.deliveries[:count]


@cache
def clean() -> Clean:
    """The clean lake of this process: every campaign delivers the same."""
    return Clean()


def kill_on_disk(folder: Path, trials: int, step: Step) -> Result:
    """Kill, on a file system."""
    result = Result("SIGKILL at failpoints, on disk")
    return _kill(result, folder, trials, step, lambda number: str(folder / f"home-{number}"))


def kill_on_s3(folder: Path, trials: int, step: Step) -> Result:
    """Kill, on the S3 API."""
    result = Result("SIGKILL at failpoints, on S3")
    with object_store(folder / "store") as endpoint, gate(endpoint, Fuse(folder).lets_through) as door:
        return _kill(result, folder, trials, step, lambda _: fresh_bucket(endpoint), door)


def _kill(
    result: Result, folder: Path, trials: int, step: Step, place: Callable[[int], str], endpoint: str = ""
) -> Result:
    """Kill at one failpoint after the other; after each kill another delivery comes, and sometimes a recovery."""
    folder.mkdir(parents=True, exist_ok=True)
    chance, fuse = random.Random(result.campaign), Fuse(folder)
    points = clean().after(1).failpoints_to(clean().after(2))
    chance.shuffle(points)
    home, sent = Home(place(0)), 0
    halfway = kills_at_data_files = 0
    for number in result.count(trials, step):
        if sent >= DELIVERIES_PER_LAKE:
            home, sent = Home(place(number)), 0
        name, passes = points[number % len(points)], chance.choice((0, 0, 1))
        table = next((table for table in readable_tables() if failpoints.data_files(table) == name), None)
        orphans = _orphans(home, table) if table else set()
        while True:
            sent += 1
            fuse.arm(name, passes=passes, delay_s=chance.uniform(0, _LONGEST_INSIDE_S))
            if dies(home, clean().first(sent), fuse, endpoint=endpoint):
                break
            passes = 0  # one commit was all that was left of this table
        if table:
            kills_at_data_files += 1
            noted = (fuse.fired() or {}).get("version")
            is_as_before = home.lakehouse.open(table).version == noted
            halfway += is_as_before and bool(_orphans(home, table) - orphans)
        if sent >= DELIVERIES_PER_LAKE or number == trials - 1 or chance.random() < _RECOVERS:
            began = time.monotonic()
            work(home, clean().first(sent))
            result.recovered_s.append(time.monotonic() - began)
            where = f"kill {number + 1}, {name}"
            count_damage(result, home.lakehouse, clean().after(sent), until=UNTIL, where=where)
    result.notes.append(
        f"{halfway} of {kills_at_data_files} kills between Parquet and log left files without a commit"
    )
    return result


def _orphans(home: Home, table: Table) -> set[str]:
    """A table's data files that its newest version does not name."""
    return _files(home, table) - _named(home, table)


def _named(home: Home, table: Table) -> set[str]:
    delta = home.lakehouse.open(table).delta
    return {uri.rpartition("/")[2] for uri in delta.file_uris()} if delta else set()


def _files(home: Home, table: Table) -> set[str]:
    uri = home.lakehouse.uri(table)
    if not uri.startswith("s3://"):
        return {path.name for path in Path(uri).rglob("*.parquet")}
    import boto3

    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", ())
    keys = [entry["Key"] for entry in listed]
    return {key.rpartition("/")[2] for key in keys if key.endswith(".parquet")}


def without_deduplication(folder: Path, trials: int, step: Step) -> Result:
    """The control: nobody asks what is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    result = Result("control: kills without deduplication", must_fail=True)
    fuse = Fuse(folder)
    for number in result.count(trials, step):
        home = Home(str(folder / f"home-{number}"))
        fuse.arm(failpoints.after(silver.TELEMETRY))
        for _ in range(2):  # the second does what the first left
            dies(home, clean().first(1), fuse, guard=unguarded.DEDUPLICATION)
        count_damage(result, home.lakehouse, clean().after(1), until=UNTIL, where=f"kill {number + 1}")
    return result


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "kills-disk": Campaign(kill_on_disk, trials=350, quick=2),
    "kills-s3": Campaign(kill_on_s3, trials=150, quick=0),
    "kills-control": Campaign(without_deduplication, trials=5, quick=1),
}
"""By name."""
