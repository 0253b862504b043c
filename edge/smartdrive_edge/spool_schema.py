"""The tables of the spool's file, version by version, and a connection to them that keeps what it commits."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PRIMARY_CODE: Final = 0xFF  # SQLite keeps the primary result code in the low byte
# A short journal: on a full disk all of it must fit into the reserve that `spool_file` keeps.
_JOURNAL_PAGES: Final = 64
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# One tuple of statements per version; a new version is one more tuple, and the old ones never change.
# `deliveries` is apart from `messages` because it changes with every send: a page of it holds a hundred rows, so
# that marking twenty as sent does not write twenty payloads anew to a memory card.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            boot_id TEXT NOT NULL, seq INTEGER NOT NULL,
            kind TEXT NOT NULL, keep_longest INTEGER NOT NULL,
            topic TEXT NOT NULL, created_ms INTEGER NOT NULL,
            machine_boot TEXT NOT NULL,
            waiting BLOB, payload BLOB, sha256 BLOB,
            UNIQUE (boot_id, seq),
            CHECK ((payload IS NULL) = (sha256 IS NULL) AND (payload IS NULL) != (waiting IS NULL)))""",
        "CREATE INDEX messages_by_worth ON messages (keep_longest, id)",
        "CREATE INDEX messages_by_digest ON messages (sha256) WHERE sha256 IS NOT NULL",
        "CREATE INDEX messages_waiting ON messages (id) WHERE waiting IS NOT NULL",
        """CREATE TABLE deliveries (
            message_id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
            urgent INTEGER NOT NULL, due_ms INTEGER, attempts INTEGER NOT NULL DEFAULT 0, puback_ms INTEGER)""",
        "CREATE INDEX deliveries_due ON deliveries (urgent, due_ms) WHERE due_ms IS NOT NULL",
        "CREATE INDEX deliveries_answered ON deliveries (puback_ms) WHERE puback_ms IS NOT NULL",
        "CREATE TABLE drops (kind TEXT PRIMARY KEY, count INTEGER NOT NULL)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file's content is broken, not that it could not be written."""
    return isinstance(error, sqlite3.DatabaseError) and primary_code(error) in _DAMAGED


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 where Python raised the error itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & _PRIMARY_CODE


def connect(path: Path) -> sqlite3.Connection:
    """Open the file in WAL mode with synchronous=FULL, check it, bring it to the newest version.

    Raises:
        sqlite3.DatabaseError: it is damaged, or of a version from the future (`is_damage` tells).
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_PAGES}")
        connection.execute("PRAGMA foreign_keys = ON")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise _damaged(f"the spool fails SQLite's check: {verdict}")
        migrate(connection, MIGRATIONS)
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...]) -> None:
    """Apply the migrations above the file's `user_version`, each whole or not at all.

    Raises:
        sqlite3.DatabaseError: the file is newer than this program.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise _damaged(f"the spool is of version {version}, this program knows {len(migrations)}")
    for number in range(version, len(migrations)):
        with transaction(connection):
            for statement in migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing; taken for writing from the start, so that it cannot fail halfway on a lock."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may already have rolled it back.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _damaged(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
