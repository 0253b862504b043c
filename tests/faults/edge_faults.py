"""What the road from the car to landing survives, counted: `make faults-edge`.

Each campaign ends with a balance: messages that were ever on the spool's disk = landed + counted as dropped. A
control runs the same trial with a spool that lets rows go at the broker's PUBACK; it has to lose.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from smartdrive_edge.simulator import FaultKind

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import silver
from tests.comparison import repeated
from tests.faults.edge_road import UNGUARDED, Road, TrialError, small_disk
from tests.messages import SECRET

AGAIN_WITHIN_S: Final = 10.0
Step = Callable[[str], None]


@dataclass
class Result:
    """One campaign's count.

    Attributes:
        campaign: its name.
        trials: how many faults.
        messages: ever on the spool's disk.
        lost: neither landed nor counted as dropped.
        dropped: counted by the spool.
        reissued: identities that landed with two contents.
        twice: rows that Silver holds twice.
        again_s: from each fault's end to the next sample, s.
        landing_s: from each fault's end to the next landed object, s.
        must_lose: whether it is the control.
    """

    campaign: str
    trials: int = 0
    messages: int = 0
    lost: int = 0
    dropped: int = 0
    reissued: int = 0
    twice: int = 0
    again_s: list[float] = field(default_factory=list)
    landing_s: list[float] = field(default_factory=list)
    must_lose: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the promise held, or the control failed as it has to."""
        if self.must_lose:
            return self.lost > 0
        is_whole = not (self.lost or self.reissued or self.twice)
        return is_whole and max(self.again_s, default=0.0) <= AGAIN_WITHIN_S

    @property
    def verdict(self) -> str:
        """For the table."""
        return ("loses, as it has to" if self.must_lose else "holds") if self.is_good else "FAILS"

    def count(self, trials: int, step: Step) -> Iterator[int]:
        """Number the trials, and say which is under way."""
        for number in range(trials):
            step(f"{number + 1} of {trials}")
            yield number
            self.trials += 1

    def close(self, road: Road) -> Result:
        """Balance what was committed against what landed."""
        landed = road.landed()
        self.messages, self.dropped = road.committed(), road.dropped()
        self.lost = max(0, self.messages - len(landed) - self.dropped)
        self.reissued = sum(len(digests) > 1 for digests in landed.values())
        self.twice = twice_in_silver(road.landing, road.folder / "lake")
        return self


Campaign = Callable[[Path, int, Step], Result]


@contextmanager
def _running(folder: Path, device_id: str, **settings: Any) -> Iterator[Road]:
    """A road on which messages already land; at the end its spool is emptied."""
    with Road(folder, device_id, **settings) as road:
        road.start_lander()
        road.start_collector()
        road.until_landing()
        yield road
        road.empty_the_spool()


def kill_collector(folder: Path, trials: int, step: Step) -> Result:
    result, chance = Result("SIGKILL of the collector"), random.Random(1)
    with _running(folder, "edge-collector") as road:
        for _ in result.count(trials, step):
            time.sleep(chance.uniform(0.0, 4.0))
            road.kill("collector")
            ended = road.simulator.clock.now()
            road.start_collector()
            result.again_s.append(road.until_sampling(ended))
    return result.close(road)


def kill_broker(folder: Path, trials: int, step: Step) -> Result:
    result, chance = Result("SIGKILL of the broker"), random.Random(2)
    with _running(folder, "edge-broker") as road:
        for number in result.count(trials, step):
            time.sleep(chance.uniform(0.2, 1.5))
            if number % 2:  # what the broker alone holds is lost with it
                road.kill("lander")
                time.sleep(1.0)
            road.broker.kill()
            time.sleep(chance.uniform(0.0, 1.0))
            ended = road.simulator.clock.now()
            road.broker.start()
            if number % 2:
                road.start_lander()
            result.again_s.append(road.until_sampling(ended))
            result.landing_s.append(road.until_landing())
    return result.close(road)


def kill_lander(folder: Path, trials: int, step: Step) -> Result:
    result, chance = Result("SIGKILL of the lander"), random.Random(3)
    with _running(folder, "edge-lander") as road:
        for _ in result.count(trials, step):
            time.sleep(chance.uniform(0.0, 1.0))
            road.kill("lander")
            ended = road.simulator.clock.now()
            road.start_lander()
            result.again_s.append(road.until_sampling(ended))
            result.landing_s.append(road.until_landing())
    return result.close(road)


def offline_day(folder: Path, trials: int, step: Step) -> Result:
    """The collector drives a simulated car of its own through 24 hours, without a network."""
    result = Result("24 simulated hours offline")
    with Road(folder, "edge-offline") as road:
        road.broker.kill()
        for number in result.count(trials, step):
            road.start_collector("--simulate", "day", "--speed", "200", "--seed", str(number))
            road.wait(lambda: not road.is_running("collector"), "the day did not end", 300)
        began = time.monotonic()
        road.broker.start()
        road.start_lander()
        road.empty_the_spool()
        result.landing_s.append(time.monotonic() - began)
        return result.close(road)


def full_disk(folder: Path, trials: int, step: Step) -> Result:
    result = Result("disk full")
    with (
        small_disk(folder / "disk") as disk,
        Road(folder, "edge-disk", state_dir=disk / "state") as road,
    ):
        road.start_collector()
        road.until_sampling(0.0)
        ballast = disk / "ballast"
        for _ in result.count(trials, step):
            with ballast.open("wb") as file:
                _fill(file.fileno())
            time.sleep(6.0)  # samples go on; the oldest of them are dropped, and counted
            result.again_s.append(road.until_sampling(road.simulator.clock.now()))
            ballast.unlink()
            result.again_s.append(road.until_sampling(road.simulator.clock.now()))
            time.sleep(2.0)
        road.start_lander()
        road.empty_the_spool()
        return result.close(road)


def unplug(folder: Path, trials: int, step: Step) -> Result:
    result, chance = Result("serial port unplugged"), random.Random(4)
    with _running(folder, "edge-unplugged") as road:
        for _ in result.count(trials, step):
            away_s = chance.uniform(0.05, 1.5)
            back = road.simulator.clock.now() + away_s
            road.simulator.fault(FaultKind.UNPLUG, for_s=away_s)
            result.again_s.append(road.until_sampling(back))
            time.sleep(chance.uniform(0.0, 1.0))
    return result.close(road)


def control(folder: Path, trials: int, step: Step) -> Result:
    result = Result("control: rows go at PUBACK", must_lose=True)
    with _running(folder, "edge-control", collector=UNGUARDED) as road:
        for _ in result.count(trials, step):
            road.kill("lander")
            time.sleep(3.0)
            road.broker.kill()
            road.broker.start()
            road.start_lander()
            road.until_landing()
    return result.close(road)


CAMPAIGNS: Final[dict[str, tuple[Campaign, int, int]]] = {
    "collector": (kill_collector, 200, 4),
    "broker": (kill_broker, 50, 2),
    "lander": (kill_lander, 50, 4),
    "offline": (offline_day, 1, 1),
    "disk": (full_disk, 5, 1),
    "unplug": (unplug, 50, 3),
    "control": (control, 3, 1),
}
"""By name: the campaign, its trials, and those of its quick form."""


def run(names: list[str], folder: Path, *, is_quick: bool, console: Console) -> Iterator[Result]:
    """Run campaigns one after the other, showing how far they are."""
    for name in names:
        campaign, trials, quick = CAMPAIGNS[name]
        with console.status(name) as status:
            began = time.monotonic()
            result = campaign(
                folder / name,
                quick if is_quick else trials,
                lambda text, name=name: status.update(f"{name}: {text}"),  # type: ignore[misc]
            )
        console.print(f"{result.campaign}: {result.trials} trials in {time.monotonic() - began:.0f} s")
        yield result


def twice_in_silver(landing: Path, lake: Path) -> int:
    """Ingest what landed; how many samples and events Silver holds twice.

    Raises:
        TrialError: a balance of the lake does not close, or it holds nothing.
    """
    store = LandingStore(str(landing))
    ingestion = Ingestion(Lakehouse(str(lake)), store, SECRET)
    for day in sorted({entry.landing_date for entry in store.list().objects}):
        while ingestion.advance(day, Progress()):
            pass
    if not balances(ingestion.lakehouse).close:
        raise TrialError("what landed and what Silver made of it do not balance")
    if ingestion.lakehouse.open(silver.TELEMETRY).count == 0:
        raise TrialError("nothing of it reached Silver: the check would be blind")
    return sum(repeated(ingestion.lakehouse).values())


def table_of(results: list[Result]) -> Table:
    table = Table(title="The edge under faults")
    for column in (
        "campaign",
        "trials",
        "messages",
        "lost",
        "dropped",
        "reissued",
        "twice",
        "again",
        "landing",
        "",
    ):
        table.add_column(column, justify="left" if column in {"campaign", ""} else "right")
    for result in results:
        table.add_row(
            result.campaign,
            str(result.trials),
            f"{result.messages:,}",
            f"{result.lost:,}",
            f"{result.dropped:,}",
            str(result.reissued),
            str(result.twice),
            f"{max(result.again_s):.1f} s" if result.again_s else "",
            f"{max(result.landing_s):.1f} s" if result.landing_s else "",
            "holds"
            if result.is_good and not result.must_lose
            else "loses, as it has to"
            if result.is_good
            else "FAILS",
        )
    table.caption = (
        "Lost: neither landed nor counted as dropped. Again: longest time from a fault's end to the next sample; "
        f"landing: to the next object. Twice: rows of Silver. {datetime.now(UTC):%Y-%m-%d}, "
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}."
    )
    return table


def _fill(descriptor: int) -> None:
    block = b"\0" * 65_536
    try:
        while os.write(descriptor, block):
            pass
    except OSError:  # full
        return


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Kill, starve and unplug the road from the car to landing; count what is lost.",
        epilog="Example: python -m tests.faults.edge_faults --quick collector control",
    )
    parser.add_argument("--quick", action="store_true", help="a few trials of each, in about two minutes")
    parser.add_argument("campaign", nargs="*", help=f"of {', '.join(CAMPAIGNS)}; by default all")
    given = parser.parse_args()
    unknown = set(given.campaign) - CAMPAIGNS.keys()
    if unknown:
        parser.error(f"no campaign {', '.join(sorted(unknown))}; there are {', '.join(CAMPAIGNS)}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="smartdrive-faults-") as directory:
        folder = Path(directory)
        names = given.campaign or list(CAMPAIGNS)
        results = list(run(names, folder, is_quick=given.quick, console=console))
    console.print(table_of(results))
    return 0 if all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
