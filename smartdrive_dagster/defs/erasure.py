"""The erasure of vehicles: every store of the lake in turn, and a receipt that says what was removed.

Who is to be erased is asked of the tombstones beside the lake: so no request, run configuration or log names a
vehicle, and an erasure that was killed goes on when it is run again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from smartdrive_dagster.defs.backfill import possible_days, recomputations
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.erasing import (
    ErasureError,
    Scene,
    delete_rows,
    erase_bronze,
    erase_landing,
    erase_silver,
)
from smartdrive_dagster.defs.erasing_dagster import erase_orchestrator, overwrite_files
from smartdrive_dagster.defs.partitions import FIRST_DAY
from smartdrive_dagster.defs.serving import api_database
from smartdrive_dagster.domain.erasures import Erased
from smartdrive_dagster.domain.identity import seal, tombstone, vehicle_id
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.lake.purging import fence, purge
from smartdrive_dagster.lake.removal import files_below, remove_files, remove_folder
from smartdrive_dagster.lake.retractions import Counts, Retractions
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import ALL, Days, alerts
from smartdrive_dagster.tables.outbox import NOTIFICATIONS

RECEIPT: Final = "erasure-receipt.v1"
_LOGS: Final = Path(".smartdrive/up/logs")
_OUT_OF_REACH: Final = (
    "back-ups and snapshots of the disk, the bucket, the state directory and Dagster's database",
    "blocks of deleted files on the disk, until they are written over",
    "what was written out of the lake: by smartdrive sql, export-person, notebooks and other programs",
    "messages that were sent: alerts by mail, chat, webhook or SNS",
    "the collector's spool and its log on the device, and whatever the broker still queues",
    "logs of the object store and of other programs that read the lake",
    "the write-ahead log of the REST API's database, until it is written over, and the logs of the API's proxy",
)


@dataclass(frozen=True)
class Erasure:
    """One erasure: of all vehicles that have a tombstone.

    Attributes:
        scene: lake, landing zone and vehicles.
        settings: the owner's.
        instance: the orchestrator's.
    """

    scene: Scene
    settings: Settings
    instance: dg.DagsterInstance


@dataclass(frozen=True, slots=True)
class Store:
    """One place that may hold something of a vehicle.

    Attributes:
        name: for logs and the receipt.
        erase: removes all that `Erasure.scene.erased` is about, and returns what it removed, by part of the store.
            It may be killed and done again, and it names nobody.
        step: what is recorded when it is done, so that whoever has read too early does not write any more.
    """

    name: str
    erase: Callable[[Erasure], Mapping[str, Mapping[str, int]]]
    step: str | None = None


def erase_everywhere(
    settings: Settings,
    instance: dg.DagsterInstance,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    say: Callable[[str], object] = lambda text: None,
) -> str | None:
    """Finish all erasures that were requested; returns where the receipt lies, None if there was nothing to do.

    Raises:
        ErasureError: something cannot be erased now. It may be run again.
    """
    retractions = Retractions(Lakehouse(settings.state_url))
    take_requests(settings, retractions, at=now())
    pending = retractions.pending()
    if not pending:
        return None
    secret = settings.lake_secret()
    scene = Scene(
        Lakehouse(settings.lake_url),
        LandingStore(settings.landing_url),
        Erased(secret, retractions.vehicles()),
        retractions.keys(),
    )
    erasure = Erasure(scene, settings, instance)
    counts = _added(*pending.values())
    for store in STORES:
        say(f"{store.name}: begun")
        done = store.erase(erasure)
        counts = _added(counts, done)
        say(f"{store.name}: {json.dumps(done)}")
        if store.step is not None:
            retractions.mark(pending, store.step, at=now(), counts=counts)
    at = now()
    receipt = signed(_receipt(sorted(pending), counts, at), secret)
    name = f"receipts/erasure-{at:%Y%m%dT%H%M%S%fZ}.json"
    LandingStore(settings.state_url).put(name, json.dumps(receipt, indent=2).encode() + b"\n")
    if settings.serving_url is not None:
        with api_database(settings) as database:
            database.finished(pending, json.dumps(receipt))
    retractions.mark(pending, "done", at=at)
    return f"{settings.state_url.rstrip('/')}/{name}"


def take_requests(settings: Settings, retractions: Retractions, *, at: datetime) -> int:
    """Make tombstones of what owners asked the REST API for; how many requests these were.

    Raises:
        ServingError: its database is configured and does not answer.
    """
    if settings.serving_url is None:
        return 0
    secret = settings.lake_secret()
    with api_database(settings) as database:
        requests = database.erasure_requests()
        for erasure_id, vin in requests:
            stone = tombstone(vehicle_id(vin, secret), secret)
            retractions.mark({stone}, "requested", at=at)
            database.took(erasure_id, stone)
    return len(requests)


def signed(receipt: Mapping[str, Any], secret: bytes) -> dict[str, Any]:
    """A receipt with its signature by the lake's secret."""
    return {**receipt, "signature": {"algorithm": "HMAC-SHA256", "value": seal(_canonical(receipt), secret)}}


def is_genuine(receipt: Mapping[str, Any], secret: bytes) -> bool:
    """Whether a receipt is as this lake signed it."""
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    return bool(receipt.get("signature") == signed(unsigned, secret)["signature"])


def _receipt(tombstones: list[str], counts: Counts, at: datetime) -> dict[str, Any]:
    """What was removed where. A tombstone tells whom it is about to nobody who has not the VIN and the secret."""
    landing = counts.get("landing", {})
    notes = {
        "strays_that_name_it": "files under the landing root that are no landing objects and name the vehicle",
        "objects_too_large_to_search": "landing objects that expand to more than is ever read",
    }
    left = [f"{landing[name]} {text}" for name, text in notes.items() if landing.get(name)]
    if unknown := counts.get("beside", {}).get("unknown_folders"):
        left.append(f"{unknown} folders in the lake that are none of its tables")
    return {
        "schema": RECEIPT,
        "finished_at": at.isoformat(),
        "tombstones": tombstones,
        "removed": {name: dict(sorted(found.items())) for name, found in sorted(counts.items())},
        "left": left,
        "out_of_reach": list(_OUT_OF_REACH),
    }


def _canonical(receipt: Mapping[str, Any]) -> bytes:
    return json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()


def _added(*several: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Counts of several rounds: sums, and of versions the newest."""
    found: dict[str, dict[str, int]] = {}
    for counts in several:
        for store, parts in counts.items():
            before = found.get(store, {})
            total = Counter(before) + Counter(parts)
            whole = {name: total[name] for name in {*before, *parts}}
            if "version" in whole:
                whole["version"] = max(before.get("version", -1), parts.get("version", -1))
            found[store] = whole
    return found


def _erase_outbox(erasure: Erasure) -> dict[str, dict[str, int]]:
    """What was told of a vehicle's alerts; before these go, since they say which they are."""
    state = Lakehouse(erasure.settings.state_url)
    scene = erasure.scene
    rows = scene.lakehouse.scan(alerts.ALERTS).select("alert_id", "vehicle_id").collect()
    vehicles = scene.erased.among(rows.get_column("vehicle_id"))
    ids = rows.filter(pl.col("vehicle_id").is_in(vehicles)).get_column("alert_id").to_list()

    def predicate(snapshot: Snapshot) -> str | None:
        held = snapshot.rows().filter(pl.col("episode_id").is_in(ids)).select(pl.col("episode_id").unique())
        return " OR ".join(f"episode_id = '{one}'" for one in held.head(200).collect().to_series()) or None

    deleted = 0
    while state.exists(NOTIFICATIONS) and (rows_gone := state.delete(NOTIFICATIONS, predicate).rows):
        deleted += rows_gone
    done = purge(state, NOTIFICATIONS)
    return {str(NOTIFICATIONS): {"rows": deleted, "files": done.files}}


def _erase_gold(erasure: Erasure) -> dict[str, dict[str, int]]:
    """Gold and the marts: a vehicle's rows, and days whose rows count what arrived, whoever sent it."""
    scene, until = erasure.scene, datetime.now(UTC).date()
    known = recomputations(erasure.settings, until=until)
    counts: dict[str, dict[str, int]] = {}
    for name, entry in known.items():
        if not scene.lakehouse.exists(entry.table):
            continue
        fence(scene.lakehouse, entry.table)
        counts[name] = {"rows": delete_rows(scene.lakehouse, entry.table, scene.erased)}
    for name, found in counts.items():
        entry = known[name]
        if entry.computation.counts_arrivals:
            days = possible_days(scene.lakehouse, entry, Days(date.fromisoformat(FIRST_DAY), until))
            found["rows_computed_anew"] = sum(commit.rows for commit in entry.redo(scene.lakehouse, days))
    return {name: scene.purge(known[name].table, **found) for name, found in counts.items()}


def _erase_beside(erasure: Erasure) -> dict[str, dict[str, int]]:
    """Shadows of tables, lakes that a rebuild left beside this one, older versions of files in a bucket."""
    lakehouse = erasure.scene.lakehouse
    shadows = 0
    for root in lakehouse.roots():
        shadows += len(files_below(f"{root}/shadow"))
        remove_folder(f"{root}/shadow")
    unknown = 0
    others = list(_other_lakes(lakehouse.url))
    for other in others:
        remove_folder(str(other))
    if "://" in lakehouse.url:
        for root in lakehouse.roots():
            remove_files(root, ())
    else:
        ours = {Path(lakehouse.uri(table)) for table in (*ALL, *computations())}
        unknown = len({path for path in Path(lakehouse.url).glob("*/*") if path.is_dir()} - ours)
    return {"beside": {"shadow_files": shadows, "other_lakes": len(others), "unknown_folders": unknown}}


def _other_lakes(url: str) -> Iterator[Path]:
    """What `smartdrive rebuild` makes beside a lake on a disk: an unfinished one, and the one before."""
    if "://" in url:
        return
    lake = Path(url)
    for path in lake.parent.glob(f"{lake.name}.*"):
        rest = path.name.removeprefix(f"{lake.name}.")
        if path.is_dir() and (rest == "rebuilding" or rest.startswith("before-")):
            yield path


def _erase_orchestrator(erasure: Erasure) -> dict[str, dict[str, int]]:
    erased = erasure.scene.erased
    found = erase_orchestrator(erasure.instance, erased)
    logs = overwrite_files(_LOGS, erased) if _LOGS.is_dir() else 0
    return {"orchestrator": {**found, "log_files_overwritten": logs}}


def _erase_serving(erasure: Erasure) -> dict[str, dict[str, int]]:
    """The REST API's database: registrations and what was published."""
    if erasure.settings.serving_url is None:
        return {}
    with api_database(erasure.settings) as database:
        gone = database.forget(erasure.scene.erased.among(database.vehicles()))
    return {"api_database": {"registrations": gone}}


STORES: Final = (
    Store("landing", lambda erasure: erase_landing(erasure.scene)),
    Store("bronze", lambda erasure: erase_bronze(erasure.scene), step="bronze"),
    Store("silver", lambda erasure: erase_silver(erasure.scene), step="silver"),
    Store("outbox", _erase_outbox),
    Store("gold and marts", _erase_gold),
    Store("beside the lake", _erase_beside),
    Store("database of the REST API", _erase_serving),
    Store("orchestrator", _erase_orchestrator),
)
"""Every place, in the order in which it is visited: what rows are made of goes before the rows.

Another store, a database for example, is one more entry: its function asks `erasure.scene.erased.has(vehicle_id)`
or `.names(vin)` of what it holds, deletes what that is true of, and returns counts.
"""

__all__ = ["STORES", "Erasure", "ErasureError", "Store", "erase_everywhere", "is_genuine", "signed"]
