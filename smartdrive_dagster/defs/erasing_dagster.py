"""An erased vehicle taken out of the orchestrator's own storage: its databases, what runs printed, its logs.

Nothing of a vehicle should be there, but an error's text may quote a value and a person may type one. What names a
vehicle is overwritten by as many letters, so that everything around it stays readable.
"""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Final

import dagster as dg
import sqlalchemy as sa

from smartdrive_dagster.domain.erasures import Erased

_FOLDERS: Final = ("history", "schedules", "storage", "logs")  # in a home that may hold other things too
_OVERWRITTEN: Final = "x"
_WAIT_S: Final = 60.0  # the daemon holds a database for milliseconds


def erase_orchestrator(instance: dg.DagsterInstance, erased: Erased) -> dict[str, int]:
    """Overwrite what names a vehicle in an instance's databases and in the files of its home.

    Returns:
        Counts: values of the databases and files that named one.
    """
    values = sum(overwrite_values(connect, erased) for connect in _databases(instance))
    home = Path(instance.root_directory) if not instance.is_ephemeral else None
    files = sum(overwrite_files(home / name, erased) for name in _FOLDERS) if home else 0
    return {"values_overwritten": values, "files_overwritten": files}


def overwrite_files(folder: Path, erased: Erased) -> int:
    """Overwrite what names a vehicle in the files below a folder, open ones too; returns how many did.

    A SQLite database keeps deleted values in its free pages; it is rewritten without them.
    """
    found = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or not path.stat().st_size:
            continue
        if path.suffix == ".db":
            found += _overwrite_database(path, erased)
        elif not path.name.endswith(("-wal", "-shm")):
            found += _overwrite_file(path, erased)
    return found


def _databases(instance: dg.DagsterInstance) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Connections to databases on a server; those in files are found as files."""
    events: Any = instance.event_log_storage
    storages: list[Any] = [instance.run_storage, instance.schedule_storage]
    ways = [storage.connect for storage in storages if hasattr(storage, "connect")]
    if hasattr(events, "index_connection"):
        ways.append(events.index_connection)
    for connect in ways:
        with connect() as connection:
            is_on_server = connection.dialect.name != "sqlite"
        if is_on_server:
            yield connect


def overwrite_values(connect: Callable[[], AbstractContextManager[Any]], erased: Erased) -> int:
    """Overwrite what names a vehicle in every text of a database; returns how many values did."""
    found = 0
    with connect() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        for table in tables.tables.values():
            for column in table.columns:
                if isinstance(column.type, sa.String):
                    values = connection.execute(sa.select(column).where(column.is_not(None))).scalars()
                    words = {word for value in values for word in erased.words_in(str(value).encode())}
                    for word in words:
                        text = word.decode()
                        said = sa.func.replace(column, text, _OVERWRITTEN * len(text))
                        chosen = sa.update(table).where(column.contains(text)).values({column.name: said})
                        found += connection.execute(chosen).rowcount
    return found


def _overwrite_database(path: Path, erased: Erased) -> int:
    with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
        connection.text_factory = bytes
        found = sum(
            _overwrite_column(connection, table.decode(), column[1].decode(), erased)
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for column in connection.execute(f'PRAGMA table_info("{table.decode()}")').fetchall()
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if found or erased.words_in(path.read_bytes()):
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return 1
    return 0


def _overwrite_column(connection: sqlite3.Connection, table: str, column: str, erased: Erased) -> int:
    name, within = f'"{column}"', f'"{table}"'
    rows = connection.execute(f"SELECT {name} FROM {within} WHERE typeof({name}) IN ('text', 'blob')")  # noqa: S608
    words = {word for (value,) in rows for word in erased.words_in(value)}
    for word in words:
        text = word.decode()
        connection.execute(
            f"UPDATE {within} SET {name} = replace({name}, ?, ?) WHERE instr({name}, ?)",  # noqa: S608
            (text, _OVERWRITTEN * len(text), text),
        )
    return len(words)


def _overwrite_file(path: Path, erased: Erased) -> int:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        words = erased.words_in(content[:])
        for word in words:
            at = content.find(word)
            while at >= 0:
                content[at : at + len(word)] = _OVERWRITTEN.encode() * len(word)
                at = content.find(word, at)
        return 1 if words else 0
