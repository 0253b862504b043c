"""The whole road from landing to Gold over an S3 service that fails, and whose answers get lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from tests.faults.harness import Campaign, Result, Step
from tests.faults.lake_road import batches_of, compare, ingest, once, recompute_trips, rows_of
from tests.faults.s3_proxy import FaultyProxy
from tests.faults.s3_service import PATIENCE, STALL_S, environment, s3_service
from tests.messages import START, event, land, telemetry
from tests.object_store import fresh_bucket

_OBJECTS: Final = 4
_BATCH: Final = 2
_MOST_TRIES: Final = 100
_T = TypeVar("_T")


class StuckError(RuntimeError):
    """A step does not succeed however often it is repeated."""


class _Repeating:
    """Does each step until it succeeds, as the lander and the sensors do; counts what was raised."""

    def __init__(self, most_tries: int) -> None:
        self.most_tries = most_tries
        self.raised: Counter[str] = Counter()
        self.failed_in_a_row = 0

    def __call__(self, step: Callable[[], _T]) -> _T:
        for number in range(self.most_tries):
            try:
                done = step()
            except Exception as error:  # whatever surfaces: a run would fail, and be run again
                self.raised[type(error).__name__] += 1
                self.failed_in_a_row = max(self.failed_in_a_row, number + 1)
            else:
                return done
        raise StuckError(f"{self.most_tries} tries in a row failed: {dict(self.raised)}")


def _road(url: str, again: Callable[[Callable[[], Any]], Any]) -> Lakehouse:
    """Land, ingest, recompute, each step until it succeeds."""
    store = again(lambda: LandingStore(f"{url}/landing"))
    lakehouse = Lakehouse(f"{url}/lake")
    lakehouse.storage_options |= PATIENCE if "://" in url else {}
    for number in range(_OBJECTS):
        again(lambda number=number: _land(store, number))
    ingest(lakehouse, store, [START.date()], again)
    while again(lambda: recompute_trips(lakehouse)):
        pass
    return lakehouse


def _land(store: LandingStore, number: int) -> None:
    """One object under a fixed name, as the lander names it before its first attempt. It may be there already."""
    at = START + timedelta(minutes=number)
    key = f"telemetry/dt={at:%Y-%m-%d}/hr={at:%H}/drive-{number}.jsonl.gz"
    if key not in {entry.key for entry in store.list(on=at.date()).objects}:
        land(
            store, telemetry(number, at=at, samples=30), event(100 + number, at=at), at=at, name=f"drive-{number}"
        )


def through_a_faulty_network(share: float) -> Callable[[Path, int, Step], Result]:
    """A campaign in which a share of all requests fails."""

    def campaign(folder: Path, trials: int, step: Step) -> Result:
        result = Result(f"S3, {share:.0%} of requests fail")
        _run(result, folder, trials, step, share)
        return result

    return campaign


def written_again_unseen(folder: Path, trials: int, step: Step) -> Result:
    """The control: a writer that takes every error for a write that did not happen, and writes the same again."""
    result = Result("control: an error means not written", must_fail=True)
    guarded = Lakehouse._try_write
    Lakehouse._try_write = _write_until_told  # type: ignore[method-assign]
    try:
        _run(result, folder, trials, step, 0.0, lose_commits=True)
    finally:
        Lakehouse._try_write = guarded  # type: ignore[method-assign]
    return result


def _write_until_told(self: Lakehouse, snapshot: Any, frame: Any, predicate: Any, marks: Any) -> Commit:
    properties = CommitProperties(app_transactions=[Transaction(*mark) for mark in marks.items()])
    for _ in range(_MOST_TRIES):
        with suppress(OSError, DeltaError):
            write_deltalake(
                self.uri(snapshot.table),
                frame,
                mode="append",
                storage_options=self.storage_options or None,
                commit_properties=properties,
            )
            return Commit(snapshot.table, self.open(snapshot.table).version, frame.height)
    raise RuntimeError(f"{_MOST_TRIES} writes failed")


def _run(
    result: Result, folder: Path, trials: int, step: Step, share: float, *, lose_commits: bool = False
) -> None:
    raised: Counter[str] = Counter()
    requests, worst = 0, 0
    faults: Counter[str] = Counter()
    unanswered: Counter[str] = Counter()
    with s3_service(folder) as endpoint, batches_of(_BATCH):
        expected = rows_of(_road(str(folder / "clean"), once))
        for number in result.count(trials, step):
            url = fresh_bucket(endpoint)
            proxy = FaultyProxy(endpoint, share=share, seed=number, stall_s=STALL_S)
            proxy.loses_first_commits = lose_commits
            again = _Repeating(_MOST_TRIES if share else 3)
            try:
                with proxy.running(), environment({"AWS_ENDPOINT_URL": proxy.url}):
                    _road(url, again)
            except StuckError as error:
                result.broken.append(str(error))
            requests += proxy.requests
            faults += proxy.faults
            unanswered += proxy.ambiguous
            raised += again.raised
            worst = max(worst, again.failed_in_a_row)
            compare(result, Lakehouse(f"{url}/lake"), expected)
            if (landed := len(LandingStore(f"{url}/landing").list().objects)) != _OBJECTS:
                result.broken.append(f"{landed} landing objects of {_OBJECTS}")
    result.notes.append(f"{faults.total():,} of {requests:,} requests failed")
    stored = ", ".join(f"{count} {what}" for what, count in sorted(unanswered.items())) or "nothing"
    result.notes.append(f"stored without an answer: {stored}")
    result.notes.append(f"{raised.total()} steps raised and were repeated, at most {worst} times in a row")


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "s3-10": Campaign(through_a_faulty_network(0.1), trials=10, quick=0),
    "s3-30": Campaign(through_a_faulty_network(0.3), trials=10, quick=1),
    "s3-control": Campaign(written_again_unseen, trials=3, quick=1),
}
