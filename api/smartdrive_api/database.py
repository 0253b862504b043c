"""The way to PostgreSQL: one engine for a process, and whether its tables are what this code expects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from smartdrive_api.secret_values import Login, SecretUnavailableError, read_login, read_secret
from smartdrive_api.settings import Settings

HEAD: Final = "0005"  # the newest migration; kept here so that a request need not load Alembic
_TRUSTED_S: Final = 5.0  # a connection that was used so lately is not asked whether it still lives
_ASKED_S: Final = 10.0  # a login that does not open the database is not read anew more often


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """An engine on the configured database, or on the embedded one, which is brought up to date too."""
    if settings.database_url is not None:
        engine = external(settings)
        try:
            yield engine
        finally:
            engine.dispose()
        return
    from smartdrive_api.embedded import embedded_postgres
    from smartdrive_api.migrations import upgrade

    with embedded_postgres(settings.database_directory) as url:
        engine = connect(url)
        try:
            upgrade(engine)
            yield engine
        finally:
            engine.dispose()


def external(settings: Settings) -> Engine:
    """An engine on the configured database.

    Raises:
        SecretUnavailableError: none is configured, or its URL or password cannot be had.
    """
    if settings.database_url is None:
        raise SecretUnavailableError("no database is named: set SMARTDRIVE_API_DATABASE_URL")
    password = read_secret(settings.database_password) if settings.database_password else None
    login = partial(read_login, settings.database_login) if settings.database_login else None
    return connect(read_secret(settings.database_url), password, login)


def connect(url: str, password: str | None = None, login: Callable[[], Login] | None = None) -> Engine:
    """An engine whose errors never show the values of a statement.

    Args:
        url: `postgresql://user@host:port/name`; any driver that it names is replaced by psycopg.
        password: in place of one in the URL.
        login: reads user and password, in place of those in the URL; asked again when they open nothing.

    Raises:
        SecretUnavailableError: there is no login.
    """
    where = make_url(url).set(drivername="postgresql+psycopg")
    if password is not None:
        where = where.set(password=password)
    engine = create_engine(
        where,
        hide_parameters=True,
        pool_size=10,
        max_overflow=10,
        pool_timeout=10,
        pool_use_lifo=True,  # few connections that are in use, and not all in turn
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=10000 -c timezone=UTC"},
    )
    if login is not None:
        event.listen(engine, "do_connect", _LoginOfNow(login).connect)
    event.listen(engine, "checkin", _used)
    event.listen(engine, "checkout", partial(_asked_when_idle, engine.dialect))
    return engine


class _LoginOfNow:
    """A login that may be replaced at any time: whoever is refused reads it anew, before anybody hears of it."""

    def __init__(self, read: Callable[[], Login]) -> None:
        self._read = read
        self._login = read()
        self._asked_at = float("-inf")
        self._lock = Lock()

    def connect(self, dialect: Dialect, _: object, where: tuple[Any, ...], how: dict[str, Any]) -> DBAPIConnection:
        """Open a connection; SQLAlchemy calls it in place of its own way."""
        used = self._login
        try:
            return dialect.connect(*where, **how | {"user": used.username, "password": used.password})
        except dialect.loaded_dbapi.OperationalError:  # libpq does not say whether it was the password
            newer = self._newer_than(used)
            if newer is None:
                raise
        return dialect.connect(*where, **how | {"user": newer.username, "password": newer.password})

    def _newer_than(self, refused: Login) -> Login | None:
        with self._lock:
            if self._login == refused and time.monotonic() - self._asked_at >= _ASKED_S:
                self._asked_at = time.monotonic()
                try:
                    self._login = self._read()
                except SecretUnavailableError:
                    return None
            return None if self._login == refused else self._login


def autocommit(engine: Engine) -> Connection:
    """A connection for questions: without BEGIN and ROLLBACK, which are each as long a way as a question."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _used(_: object, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _asked_when_idle(
    dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _: object
) -> None:
    """Ask a connection that was idle whether it lives: before each request it would be every third question.

    Raises:
        InvalidatePoolError: it does not, nor do those that are as old; the pool makes others.
    """
    used_at = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < _TRUSTED_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def readiness(engine: Engine) -> str | None:
    """What keeps the database from serving; None where nothing does."""
    try:
        with engine.connect() as connection:
            known = connection.scalar(text("select to_regclass('alembic_version')"))
            version = connection.scalar(text("select version_num from alembic_version")) if known else None
    except SQLAlchemyError:
        return "the database does not answer"
    if version == HEAD:
        return None
    return f"the database is at migration {version or 'none'}, not {HEAD}: run `smartdrive-api migrate`"
