"""The campaign `crowd`: a hundred thousand landing objects, and sensors that stay quick and small beside them."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.work import pending_days
from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.envelope import Envelope, encode
from smartdrive_dagster.landing.store import LandingStore, ulid
from smartdrive_dagster.tables import bronze, silver
from tests.comparison import repeated, versions
from tests.faults import lake_worker
from tests.faults.harness import Campaign, Result, Step
from tests.messages import SECRET, ms, telemetry

FULL: Final = 100_000
LONGEST_TICK_S: Final = 10.0  # of CPU: how long that takes by the clock depends on what else the machine does
PEAK_MIB: Final = 500
INGESTION_PEAK_MIB: Final = 700
CARS: Final = 50


def fill(home: Path, objects: int, now: datetime) -> None:
    """One message an object, over the last day and a half; written without the lander's syncs."""
    home.mkdir(parents=True)
    (home / "secret").write_bytes(SECRET)
    for number in range(objects):
        at = now - timedelta(hours=36) * (1 - number / objects)
        folder = home / "landing" / f"telemetry/dt={at:%Y-%m-%d}/hr={at:%H}"
        if number % 1000 == 0 or not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
        sent = at - timedelta(seconds=5)
        car = number % CARS
        payload = telemetry(number, at=sent, samples=2, device_id=f"edge-{car:05d}", vin=f"WVWZZZ1JZXW{car:06d}")
        line = encode(Envelope(f"vehicle/edge-{car:05d}/telemetry", ms(at), payload))
        (folder / f"{ulid(at)}.jsonl.gz").write_bytes(gzip.compress(line + b"\n", 1, mtime=0))


class _Ticks:
    """Evaluations of both sensors, and what is wrong with them."""

    def __init__(self, home: Path, result: Result) -> None:
        self._home = home
        self._result = result
        self._slowest_s = 0.0
        self._busiest_s = 0.0
        self._peak = 0

    def evaluate(self, when: str, *, landing: bool, gold: bool) -> None:
        """Evaluate both in a process of their own, and hold them against who should ask for runs."""
        answer = lake_worker.run("tick", self._home)
        if "died" in answer:
            self._result.broken.append(f"a tick {when} died: {answer}")
            return
        peak_mib = answer.pop("peak_mib")
        answer.pop("took_s")
        cpu_s = max(sensor["cpu_s"] for sensor in answer.values())
        self._slowest_s = max(self._slowest_s, *(sensor["seconds"] for sensor in answer.values()))
        self._busiest_s = max(self._busiest_s, cpu_s)
        self._peak = max(self._peak, peak_mib)
        if peak_mib > PEAK_MIB or cpu_s > LONGEST_TICK_S:
            self._result.broken.append(f"a tick {when} took {cpu_s:.1f} s of CPU and {peak_mib} MiB")
        for name, is_asking in (("landing", landing), ("gold", gold)):
            if bool(answer[name]["requests"]) is not is_asking:
                self._result.broken.append(f"{when} {name} asks for {answer[name]['requests']}")
        if answer["gold"]["requests"] != answer["gold with its cursor"]["requests"]:
            self._result.broken.append(f"{when} a deleted cursor changes what is asked for")

    @property
    def note(self) -> str:
        """The worst of them."""
        return f"ticks ≤ {self._busiest_s:.1f} s of CPU, {self._slowest_s:.1f} s by the clock, {self._peak} MiB"


def crowd(folder: Path, trials: int, step: Step) -> Result:
    """Ticks before, during and after ingestion, each with a cursor and without; then the jobs, twice."""
    result = Result("objects in the landing zone", trials=trials)
    step("landing")
    fill(folder, trials, datetime.now(UTC))
    lakehouse = Lakehouse(str(folder / "lake"))
    ticks = _Ticks(folder, result)

    step("first tick")
    ticks.evaluate("before", landing=True, gold=False)
    step("ingesting half of them")
    half = lake_worker.run("ingest", folder, "--objects", str(trials // 2))
    if trials >= FULL:  # a process more, which the quick form has no time for
        ticks.evaluate("during", landing=True, gold=True)
    step("ingesting the others")
    rest = lake_worker.run("ingest", folder)
    ticks.evaluate("after", landing=False, gold=True)
    for done in (half, rest):
        if "died" in done or done["peak_mib"] > INGESTION_PEAK_MIB:
            result.broken.append(f"ingestion: {done}")
            return result
    _audit(result, lakehouse, trials)

    step("Gold")
    before = versions(lakehouse, (bronze.MESSAGES, silver.TELEMETRY, silver.MESSAGES))
    done = lake_worker.run("process", folder)
    if done.get("failed") != 0 or done["again"] != 0:
        result.broken.append(f"processing: {done}")
    if versions(lakehouse, (bronze.MESSAGES, silver.TELEMETRY, silver.MESSAGES)) != before:
        result.broken.append("processing what is ingested changes it")
    ticks.evaluate("when all is fresh", landing=False, gold=False)
    took_s = half["took_s"] + rest["took_s"]
    result.notes += [
        ticks.note,
        f"ingestion {took_s:.0f} s and {max(half['peak_mib'], rest['peak_mib'])} MiB",
    ]
    return result


def _audit(result: Result, lakehouse: Lakehouse, objects: int) -> None:
    held = balances(lakehouse)
    result.lost = objects - held.verdicts.get("accepted", 0)
    result.duplicated = sum(repeated(lakehouse).values())
    if not held.close or held.objects != objects:
        result.broken.append(f"{held.objects} objects of {objects}, or open balances: {held}")
    if objects >= FULL:
        files = lakehouse.open(bronze.MESSAGES).files()
        result.notes.append(f"{files} files of bronze.messages")


def without_the_ledger(folder: Path, trials: int, step: Step) -> Result:
    """The control: the ledger has gone, and nothing else says which work is done."""
    result = Result("control: no ledger to ask", must_fail=True)
    now = datetime.now(UTC)
    days = {"since": (now - timedelta(days=3)).date(), "until": now.date()}
    for number in result.count(trials, step):
        home = folder / str(number)
        fill(home, 20, now)
        ingestion = Ingestion(Lakehouse(str(home / "lake")), LandingStore(str(home / "landing")), SECRET)
        for day in pending_days(ingestion.lakehouse, ingestion.store, **days):
            while ingestion.advance(day, Progress()):
                pass
        (home / "lake/silver/messages").rename(home / "ledger")
        if asked := pending_days(ingestion.lakehouse, ingestion.store, **days):
            result.broken.append(f"{len(asked)} days are asked for, and all is done")
    return result


CAMPAIGNS: Final = {
    "crowd": Campaign(crowd, trials=FULL, quick=200),
    "crowd-control": Campaign(without_the_ledger, trials=1, quick=1),
}
