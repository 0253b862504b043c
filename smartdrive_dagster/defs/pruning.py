"""Old runs of the orchestrator deleted, so that its own storage stays bounded.

A run that still shows something is kept, however old: the last materialization of a partition, the last attempt at
one that failed, the last observation of an asset, the last evaluation of a check. Their number follows the number
of partitions, not the number of runs.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import dagster as dg
import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.exc import OperationalError

_PAGE: Final = 500
_FINISHED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_T = TypeVar("_T")

# Dagster keeps a row per run and check for ever: no call of its own deletes or lists them.
_RUNS_OF_LATEST_CHECKS: Final = sa.text(
    "SELECT DISTINCT run_id FROM asset_check_executions WHERE id IN ("
    'SELECT MAX(id) FROM asset_check_executions GROUP BY asset_key, check_name, "partition" UNION ALL '
    "SELECT MAX(id) FROM asset_check_executions WHERE execution_status IN ('SUCCEEDED', 'FAILED') "
    'GROUP BY asset_key, check_name, "partition")'
)
_DELETE_CHECKS: Final = sa.text("DELETE FROM asset_check_executions WHERE run_id IN :runs").bindparams(
    sa.bindparam("runs", expanding=True)
)
_DELETE_EVENTS: Final = (
    sa.text("DELETE FROM asset_event_tags WHERE event_id IN (SELECT id FROM event_logs WHERE run_id = :run)"),
    sa.text("DELETE FROM event_logs WHERE run_id = :run"),
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning did: counts of runs.

    Attributes:
        deleted: with all their events, logs and files.
        shown: old, and kept since they show something that no later run does.
        left: old, and left for the next time, since the budget was used up.
        strays: event files that belonged to no run any more, deleted.
    """

    deleted: int
    shown: int
    left: int
    strays: int


class PruneConfig(dg.Config):
    """Which runs are old, and how long a pruning may take."""

    keep_days: int = Field(14, ge=1, description="Keep all runs that ended within so many days")
    budget_s: float = Field(3600.0, gt=0, description="Stop after so many seconds; the next night goes on")


@dg.op(description="Delete old runs that show nothing that a later run does not.")
def delete_old_runs(context: dg.OpExecutionContext, config: PruneConfig) -> None:
    """Prune the instance that this very run belongs to."""
    before = datetime.now(UTC) - timedelta(config.keep_days)
    done = prune(context.instance, before=before, budget_s=config.budget_s, say=context.log.info)
    context.log.info(
        f"{done.deleted} runs deleted that ended before {before:%Y-%m-%d %H:%M} UTC; {done.shown} as old are "
        f"kept, since they show the newest of something; {done.left} left for the next time; "
        f"{done.strays} stray files"
    )


@dg.job(executor_def=dg.in_process_executor, description="Deletes old runs, so that Dagster's storage is bounded.")
def prune_runs() -> None:
    """Prune runs."""
    delete_old_runs()


def prune(
    instance: dg.DagsterInstance,
    *,
    before: datetime,
    budget_s: float,
    say: Callable[[str], object] = lambda text: None,
) -> Pruned:
    """Delete the runs that ended before a moment and show nothing that later runs do not.

    A pruning that is killed leaves nothing that the next one does not delete.

    Args:
        instance: whose runs.
        before: runs that began or ended later are kept, as are all that have not ended.
        budget_s: stop after so many seconds.
        say: is told how far it is.
    """
    old = _old_runs(instance, before)
    shown = runs_that_show(instance) if old else set()
    doomed = [run_id for run_id in old if run_id not in shown]
    began, deleted = time.monotonic(), 0
    for page in _pages(doomed):
        if time.monotonic() - began >= budget_s:
            break
        _delete_checks(instance, page)
        for run_id in page:
            _delete(instance, run_id)
        deleted += len(page)
        say(f"{deleted} of {len(doomed)} runs deleted")
    return Pruned(deleted, len(old) - len(doomed), len(doomed) - deleted, _delete_strays(instance, before))


def runs_that_show(instance: dg.DagsterInstance) -> set[str]:
    """The runs behind what the UI shows as the newest of its kind, see the module's own text.

    Of materializations it loads one event a partition.
    """
    storage = instance.event_log_storage
    found: set[str] = set()
    for asset in storage.all_asset_keys():
        latest = storage.get_latest_storage_id_by_partition(asset, dg.DagsterEventType.ASSET_MATERIALIZATION)
        for page in _pages(sorted(latest.values())):
            chosen = dg.AssetRecordsFilter(asset, storage_ids=page)
            found |= {r.run_id for r in instance.fetch_materializations(chosen, limit=len(page)).records}
        found |= {record.run_id for record in instance.fetch_materializations(asset, limit=1).records}
        found |= {record.run_id for record in instance.fetch_observations(asset, limit=1).records}
        attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
        found |= {run_id for run_id, _ in attempts.values()}
    with _index(instance) as connection:
        found |= set(connection.execute(_RUNS_OF_LATEST_CHECKS).scalars())
    return found


def _old_runs(instance: dg.DagsterInstance, before: datetime) -> list[str]:
    """Finished runs that ended before a moment, oldest first."""
    old: list[str] = []
    chosen = dg.RunsFilter(statuses=_FINISHED, created_before=before)
    cursor: str | None = None
    while page := instance.get_run_records(chosen, limit=_PAGE, cursor=cursor, ascending=True):
        cursor = page[-1].dagster_run.run_id
        latest = before.timestamp()
        old += [record.dagster_run.run_id for record in page if (record.end_time or 0.0) < latest]
    return old


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run: what its steps printed, its row, its events, its file of events."""
    storage = instance.event_log_storage
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    try:
        instance.delete_run(run_id)
    except OperationalError:
        # It names each event of a materialization in one statement: SQLite takes 32,766 or 250,000 of them.
        for connection in (storage.run_connection(run_id), storage.index_connection()):  # type: ignore[attr-defined]
            with connection as opened:
                for statement in _DELETE_EVENTS:
                    opened.execute(statement, {"run": run_id})
        instance.delete_run(run_id)
    if (events := _events_file(instance, run_id)) is not None:
        _unlink(events)


def _delete_checks(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    with _index(instance) as connection:
        connection.execute(_DELETE_CHECKS, {"runs": list(run_ids)})


def _delete_strays(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete event files of runs that are gone: what a killed pruning left behind."""
    index = _events_file(instance, "index")
    if index is None:
        return 0
    strays = 0
    for path in sorted(index.parent.glob("*.db")):
        if _is_run_id(path.stem) and path.stat().st_mtime < before.timestamp() and not instance.has_run(path.stem):
            instance.event_log_storage.delete_events(path.stem)  # those mirrored in the index
            _unlink(path)
            strays += 1
    return strays


def _events_file(instance: dg.DagsterInstance, shard: str) -> Path | None:
    """Where SQLite keeps a run's events: deleting them leaves the file. None for a storage without such files."""
    storage: Any = instance.event_log_storage
    path = getattr(storage, "path_for_shard", None)
    return Path(path(shard)) if path else None


def _unlink(events: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            events.with_name(events.name + suffix).unlink()


def _index(instance: dg.DagsterInstance) -> Any:
    """A connection to the events that are kept across runs."""
    storage: Any = instance.event_log_storage
    return storage.index_connection()


def _is_run_id(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True


def _pages(entries: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (entries[start : start + _PAGE] for start in range(0, len(entries), _PAGE))
