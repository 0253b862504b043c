"""The campaign `crowd`: a hundred thousand landing objects, and sensors that stay quick and small beside them."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from smartdrive_dagster.lake.audit import balances
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.envelope import Envelope, encode
from smartdrive_dagster.landing.store import ulid
from smartdrive_dagster.tables import bronze
from tests.comparison import repeated, versions
from tests.faults import lake_worker
from tests.faults.harness import Campaign, Result, Step
from tests.messages import SECRET, ms, telemetry

FULL: Final = 100_000
LONGEST_TICK_S: Final = 10.0
PEAK_MIB: Final = 500
INGESTION_PEAK_MIB: Final = 700
CARS: Final = 50


def fill(home: Path, objects: int, now: datetime) -> None:
    """One message an object, over a day and a half; written without the lander's syncs, to take minutes."""
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

    def __init__(self, home: Path, result: Result, *, is_full: bool) -> None:
        self._home = home
        self._result = result
        self._is_full = is_full
        self._slowest = 0.0
        self._peak = 0

    def evaluate(self, when: str, *options: str) -> dict[str, Any]:
        """Evaluate both in a process of their own."""
        answer = lake_worker.run("tick", self._home, *options)
        if "died" in answer:
            self._result.broken.append(f"a tick {when} died: {answer}")
            return {"landing_sensor": {"requests": None}, "gold_sensor": {"requests": None}}
        seconds = max(answer[name]["seconds"] for name in ("landing_sensor", "gold_sensor"))
        self._slowest = max(self._slowest, seconds)
        self._peak = max(self._peak, answer["peak_mib"])
        if answer["peak_mib"] > PEAK_MIB or (self._is_full and seconds > LONGEST_TICK_S):
            self._result.broken.append(f"a tick {when} took {seconds} s and {answer['peak_mib']} MiB")
        return answer

    def expect(self, when: str, answer: dict[str, Any], sensor: str, *, is_asking: bool) -> None:
        """Whether a sensor asks for runs."""
        if bool(answer[sensor]["requests"]) is not is_asking:
            self._result.broken.append(f"{when} {sensor} asks for {answer[sensor]['requests']}")

    @property
    def note(self) -> str:
        """The worst of them."""
        return f"ticks ≤ {self._slowest:.1f} s and {self._peak} MiB"


def crowd(folder: Path, trials: int, step: Step) -> Result:
    """Ticks before, during and after ingestion; then a deleted cursor."""
    result = Result("objects in the landing zone", trials=trials)
    step("landing")
    fill(folder, trials, datetime.now(UTC))
    lakehouse = Lakehouse(str(folder / "lake"))
    ticks = _Ticks(folder, result, is_full=trials >= FULL)

    step("first tick")
    ticks.expect("before", ticks.evaluate("before"), "landing_sensor", is_asking=True)
    step("ingesting half of them")
    half = lake_worker.run("ingest", folder, "--objects", str(trials // 2))
    ticks.expect("during", ticks.evaluate("during"), "landing_sensor", is_asking=True)
    step("ingesting the others")
    rest = lake_worker.run("ingest", folder)
    after = ticks.evaluate("after")
    ticks.expect("after", after, "landing_sensor", is_asking=False)
    ticks.expect("after", after, "gold_sensor", is_asking=True)
    for done in (half, rest):
        if "died" in done or done["peak_mib"] > INGESTION_PEAK_MIB:
            result.broken.append(f"ingestion: {done}")
            return result
    _audit(result, lakehouse, trials)

    step("Gold")
    first = lake_worker.run("process", folder)
    fresh = ticks.evaluate("when all is fresh")
    ticks.expect("when all is fresh", fresh, "gold_sensor", is_asking=False)
    before = versions(lakehouse)
    if (
        ticks.evaluate("without a cursor")["gold_sensor"]["requests"]
        != (
            ticks.evaluate("with a cursor", "--cursor", str(fresh["gold_sensor"].get("cursor") or 0))[
                "gold_sensor"
            ]["requests"]
        )
    ):
        result.broken.append("a deleted cursor changes what the sensor asks for")
    second = lake_worker.run("process", folder)
    if first.get("failed") != 0 or second.get("runs") != 0 or versions(lakehouse) != before:
        result.broken.append(f"processing again changes the lake: {first}, then {second}")
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


def without_the_state(folder: Path, trials: int, step: Step) -> Result:
    """The control: the ledger has gone, and the sensor has nothing but its cursor to know that work is done."""
    result = Result("control: no ledger to ask", must_fail=True)
    for number in result.count(trials, step):
        home = folder / str(number)
        fill(home, 20, datetime.now(UTC))
        lake_worker.run("ingest", home)
        ticks = _Ticks(home, result, is_full=False)
        os.rename(home / "lake/silver/messages", home / "ledger")
        ticks.expect("after", ticks.evaluate("after"), "landing_sensor", is_asking=False)
    return result


CAMPAIGNS: Final = {
    "crowd": Campaign(crowd, trials=FULL, quick=1_000),
    "crowd-control": Campaign(without_the_state, trials=1, quick=1),
}
