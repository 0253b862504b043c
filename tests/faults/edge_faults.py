"""What the road from the car to landing survives, counted: `make faults-edge`.

Each campaign ends with a balance: messages that were ever on the spool's disk = landed + counted as dropped. A
control runs the same trial with a spool that lets rows go at the broker's PUBACK; it has to lose.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from smartdrive_edge.simulator import FaultKind

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import silver
from tests.comparison import repeated
from tests.faults import harness
from tests.faults.edge_road import UNGUARDED, Road, TrialError, small_disk
from tests.faults.harness import Campaign, Step
from tests.messages import SECRET

AGAIN_WITHIN_S: Final = 10.0


@dataclass
class Result(harness.Result):
    """One campaign's count; `lost` is what neither landed nor was counted as dropped, `duplicated` Silver's.

    Attributes:
        messages: ever on the spool's disk.
        dropped: counted by the spool.
        reissued: identities that landed with two contents.
        again_s: from each fault's end to the next sample, s.
        landing_s: from each fault's end to the next landed object, s.
    """

    messages: int = 0
    dropped: int = 0
    reissued: int = 0
    again_s: list[float] = field(default_factory=list)
    landing_s: list[float] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or sent again with other data, and sampling went on soon."""
        return super().holds and not self.reissued and max(self.again_s, default=0.0) <= AGAIN_WITHIN_S

    def close(self, road: Road) -> Result:
        """Balance what was committed against what landed."""
        landed = road.landed()
        self.messages, self.dropped = road.committed(), road.dropped()
        self.lost = max(0, self.messages - len(landed) - self.dropped)
        self.reissued = sum(len(digests) > 1 for digests in landed.values())
        self.duplicated = twice_in_silver(road.landing, road.folder / "lake")
        return self


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
    result = Result("control: rows go at PUBACK", must_fail=True)
    with _running(folder, "edge-control", collector=UNGUARDED) as road:
        for _ in result.count(trials, step):
            road.kill("lander")
            time.sleep(3.0)
            road.broker.kill()
            road.broker.start()
            road.start_lander()
            road.until_landing()
    return result.close(road)


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "collector": Campaign(kill_collector, 200, 4),
    "broker": Campaign(kill_broker, 50, 2),
    "lander": Campaign(kill_lander, 50, 4),
    "offline": Campaign(offline_day, 1, 1),
    "disk": Campaign(full_disk, 5, 1),
    "unplug": Campaign(unplug, 50, 3),
    "control": Campaign(control, 3, 1),
}
"""By name."""


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


def table_of(title: str, results: Sequence[Result]) -> Table:
    table = Table(title=title)
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
            str(result.duplicated),
            f"{max(result.again_s):.1f} s" if result.again_s else "",
            f"{max(result.landing_s):.1f} s" if result.landing_s else "",
            result.verdict,
        )
    table.caption = (
        "Lost: neither landed nor counted as dropped. Again: longest time from a fault's end to the next sample; "
        f"landing: to the next object. Twice: rows of Silver. {harness.made_on()}"
    )
    return table


def _fill(descriptor: int) -> None:
    block = b"\0" * 65_536
    try:
        while os.write(descriptor, block):
            pass
    except OSError:  # full
        return


if __name__ == "__main__":
    sys.exit(
        harness.main(
            "The edge under faults",
            "Kill, starve and unplug the road from the car to landing; count what is lost. "
            "Example: python -m tests.faults.edge_faults --quick collector control",
            CAMPAIGNS,
            table_of,
        )
    )
