"""Dagster's SQLite storage with connections that are kept.

Dagster makes an engine and a connection for each transaction, and whoever closes a file last copies its log back
into it: most of what a run's events cost. The files are the same: either storage reads what the other wrote.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any, Final, Self

import sqlalchemy as sa
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

_KEPT: Final = 6  # files: runs, schedules, the index of events, and the events of a few runs


class _Files:
    """Engines of the files that were used last, each with its open connections."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()

    @contextmanager
    def transaction(self, url: str) -> Iterator[sa.Connection]:
        """A transaction on a file, committed unless the block raises."""
        with self._lock:
            engine = self._engines.pop(url, None) or _engine(url)
            self._engines[url] = engine
            over = [self._engines.popitem(last=False)[1] for _ in range(len(self._engines) - _KEPT)]
        for one in over:
            one.dispose()
        with engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all that is not in use."""
        with self._lock:
            engines, self._engines = self._engines, OrderedDict()
        for engine in engines.values():
            engine.dispose()


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, _record: object) -> None:
        # With a write-ahead log, a loss of power takes the last transactions and leaves the file whole. What is
        # left to do is asked of the lake's tables, never of these files.
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine


class KeptSqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite files below a folder; `storage` in `dagster.yaml` names it."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        files = self._files = _Files()
        runs: Any = self._run_storage
        schedules: Any = self._schedule_storage
        events: Any = self._event_log_storage
        made, disposed = events._connect, events.dispose

        @contextmanager
        def connect(shard: str) -> Iterator[sa.Connection]:
            if shard not in events._initialized_dbs:
                with made(shard):
                    pass  # it has tables now
            with events._db_lock, files.transaction(events.conn_string_for_shard(shard)) as connection:
                yield connection

        def dispose() -> (
            None
        ):  # of the three it alone has something to dispose of, and an instance always asks it to
            disposed()
            files.close()

        runs.connect = partial(files.transaction, runs._conn_string)
        schedules.connect = partial(files.transaction, schedules._conn_string)
        events._connect, events.dispose = connect, dispose

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData, config_value: dict[str, str]
    ) -> Self:
        """As `dagster.yaml` configures it: `base_dir`, the folder."""
        return cls.from_local(inst_data=inst_data, **config_value)
