"""The campaign `deliveries`: copies in any order, on any day, with clocks askew, add nothing and lose nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from smartdrive_dagster.defs import ingestion as module
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.work import stale_gold_days
from smartdrive_dagster.domain import claims
from smartdrive_dagster.domain.decoding import LARGEST_SKEW_MS
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import gold, silver
from tests.comparison import contents, repeated, verdicts
from tests.faults.harness import Campaign, Result, Step
from tests.messages import SECRET, START, event, ms, telemetry

SAMPLES: Final = 20
LARGEST_SKEW: Final = timedelta(hours=48)
DAYS: Final = 3
CARS: Final = 4
MESSAGES_A_DRIVE: Final = 6
_QUICK: Final = 1  # trial
UNTIL: Final = (START + timedelta(days=30)).date()
COMPARED: Final = (
    silver.TELEMETRY,
    silver.EVENTS,
    silver.DTC_READINGS,
    gold.TRIPS,
    *(
        table
        for table, computation in computations().items()
        if table.layer == "marts" and not computation.counts_arrivals  # copies are what those count
    ),
)
NO_VOLTAGE: Final = {"marts.battery_trend"}
"""What stays empty, as this fleet tells of no voltage."""


@dataclass(frozen=True)
class Message:
    """What a car sends: the time of each sample (epoch ms) and the bytes."""

    channel: str
    t: tuple[int, ...]
    payload: bytes

    def ahead(self, received_at: datetime) -> int:
        """How many samples lie so far after the receipt that they are set aside."""
        return sum(t > ms(received_at) + LARGEST_SKEW_MS for t in self.t)


@dataclass(frozen=True)
class Copy:
    """One delivery."""

    message: Message
    received_at: datetime


def fleet(cars: int = CARS, days: int = DAYS) -> list[Message]:
    """Drives of some cars on some days: samples every 5 s, and an event and a scan at each end."""
    scan = {"stored": [{"code": "P0171", "title": None}], "pending": [{"code": "P0420"}], "permanent": []}
    made: list[Message] = []
    for drive, (car, day) in enumerate((car, day) for car in range(cars) for day in range(days)):
        who = {"vin": f"WVWZZZ1JZXW{car:06d}", "device_id": f"edge-{car}", "boot_id": f"boot-{day}"}
        began = START + timedelta(days=day, hours=car)
        for seq in range(MESSAGES_A_DRIVE):
            at = began + timedelta(seconds=100 * seq)
            t = tuple(ms(at) + 5000 * n for n in range(SAMPLES))
            signals = {"RPM": [900 + 10 * seq] * SAMPLES, "SPEED": [30 + drive + n % 5 for n in range(SAMPLES)]}
            made.append(Message("telemetry", t, telemetry(seq, t=list(t), signals=signals, **who)))
        made.append(Message("events", (ms(began),), event(100, at=began, **who)))
        made.append(Message("events", (ms(began),), event(101, at=began, type_="dtc_scan", detail=scan, **who)))
    return made


def punctual(message: Message) -> Copy:
    """The delivery of a clean run."""
    return Copy(message, datetime.fromtimestamp(message.t[-1] / 1000, UTC) + timedelta(seconds=3))


def deliveries(messages: list[Message], chance: random.Random) -> list[Copy]:
    """Every message one to three times more, with receipts up to 48 h early or late, in no order."""
    copies = [punctual(message) for message in messages]
    for message in messages:
        for _ in range(chance.randint(1, 3)):
            askew = timedelta(seconds=chance.uniform(-1, 1) * LARGEST_SKEW.total_seconds())
            copies.append(Copy(message, punctual(message).received_at + askew))
    chance.shuffle(copies)
    return copies


class Home:
    """A lake and its landing zone."""

    def __init__(self, folder: Path) -> None:
        self.lakehouse = Lakehouse(str(folder / "lake"))
        self.ingestion = Ingestion(self.lakehouse, LandingStore(str(folder / "landing")), SECRET)

    def land(self, copies: list[Copy]) -> set[date]:
        """One object for each channel and day of receipt; returns the days."""
        objects: dict[tuple[str, date], list[Copy]] = {}
        for copy in copies:
            objects.setdefault((copy.message.channel, copy.received_at.date()), []).append(copy)
        for (channel, _), group in objects.items():
            envelopes = [Envelope("vehicle/x/telemetry", ms(c.received_at), c.message.payload) for c in group]
            self.ingestion.store.land(channel, envelopes, at=group[0].received_at)
        return {day for _, day in objects}

    def ingest(self, days: Iterator[date] | list[date]) -> None:
        """All that is left of these days."""
        for day in days:
            for _ in self.ingestion.steps(day, Progress()):
                pass

    def gold(self) -> None:
        """All stale days, as the jobs compute them."""
        stale = stale_gold_days(self.lakehouse, until=UNTIL, floor=0)
        settings = Settings(lake_url=self.lakehouse.url)
        for computation in computations().values():
            list(recompute(self.lakehouse, computation, stale, settings, redo=False, until=UNTIL))


def deliver(folder: Path, copies: list[Copy], chance: random.Random, *, with_gold: bool = True) -> Home:
    """Land copies object by object, and ingest now and then in between, on any of the days."""
    home = Home(folder)
    days: set[date] = set()
    size = max(1, len(copies) // 6)
    for start in range(0, len(copies), size):
        days |= home.land(copies[start : start + size])
        home.ingest(chance.sample(sorted(days), k=min(2, len(days))))
        if chance.random() < 0.3 and with_gold:
            home.gold()
    home.ingest(chance.sample(sorted(days), k=len(days)))
    if with_gold:
        home.gold()
    return home


def compare(result: Result, home: Home, clean: dict[str, list[str]], copies: list[Copy]) -> None:
    """Hold a lake against the clean one, and its ledger against what was delivered."""
    for table, rows in contents(home.lakehouse, COMPARED).items():
        wanted, there = Counter(clean[table]), Counter(rows)
        lost, added = (wanted - there).total(), (there - wanted).total()
        result.lost += lost
        result.duplicated += added
        if lost or added:
            result.broken.append(f"{table}: {lost} rows are missing, {added} are too many")
    if twice := repeated(home.lakehouse, (*COMPARED, silver.QUARANTINE, silver.MESSAGES)):
        result.broken.append(f"keys appear more than once: {twice}")
    held = balances(home.lakehouse)
    if not held.close or held.lines != len(copies):
        result.broken.append(f"{held.lines} lines of {len(copies)}, or open balances: {held}")
    ahead = sum(copy.message.ahead(copy.received_at) for copy in copies)
    if held.samples_quarantined != ahead:
        result.broken.append(f"{held.samples_quarantined} samples are counted as ahead of {ahead}")


def askew(folder: Path, trials: int, step: Step) -> Result:
    """Each trial delivers the same fleet in another disorder."""
    result = Result("copied, shuffled and skewed deliveries")
    messages = fleet() if trials > _QUICK else fleet(cars=2, days=2)
    home = deliver(folder / "clean", [punctual(message) for message in messages], random.Random(0))
    clean = contents(home.lakehouse, COMPARED)
    if empty := sorted(table for table, rows in clean.items() if not rows and table not in NO_VOLTAGE):
        result.broken.append(f"in the clean run nothing would be compared in {', '.join(empty)}")
    counted: Counter[str] = Counter()
    for number in result.count(trials, step):
        chance = random.Random(number)
        copies = deliveries(messages, chance)
        home = deliver(folder / str(number), copies, chance)
        compare(result, home, clean, copies)
        counted.update(verdicts(home.lakehouse))
    result.notes += [f"{counted[verdict]:,} lines {verdict}" for verdict in sorted(counted)]
    return result


def without_deduplication(folder: Path, trials: int, step: Step) -> Result:
    """The control: nobody asks what Silver holds already. Its rows are doubled there; Gold need not see it."""
    result = Result("control: no deduplication", must_fail=True)
    messages = fleet()
    punctually = [punctual(message) for message in messages]
    home = deliver(folder / "clean", punctually, random.Random(0), with_gold=False)
    clean = contents(home.lakehouse, COMPARED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "settle", lambda batch, held: claims.settle(batch, held.clear()))
        for number in result.count(trials, step):
            chance = random.Random(number)
            copies = deliveries(messages, chance)
            compare(result, deliver(folder / str(number), copies, chance, with_gold=False), clean, copies)
    return result


CAMPAIGNS: Final = {
    "deliveries": Campaign(askew, trials=50, quick=1),
    "deliveries-control": Campaign(without_deduplication, trials=1, quick=1),
}
