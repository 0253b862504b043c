"""A PostgreSQL as on RDS: on the loopback, with passwords, an owner who is no superuser, and all logins."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from smartdrive_api import embedded
from smartdrive_api.database import connect
from smartdrive_api.migrations import upgrade

from api.tests.conftest import copied, open_directory

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = ("api", "publisher", "dagster")
_SUPERUSER: Final = "smartdrive"
_OWNER: Final = "postgres"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(what: Callable[[], Any], seconds: float, process: subprocess.Popen[bytes] | None = None) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        assert process is None or process.poll() is None
        time.sleep(0.2)
    pytest.fail("it did not happen in time")


@contextmanager
def as_on_rds(fresh_data: Path) -> Iterator[int]:
    """The port of a server whose files are a copy of `fresh_data`, with the API's tables and all logins."""
    with open_directory() as directory:
        data = copied(fresh_data, directory / "pg")
        hba = [f"host all {_SUPERUSER},{_OWNER} 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"]
        (data / "pg_hba.conf").write_text("\n".join([*hba, ""]))
        port = free_port()
        command = [embedded.binaries() / "postgres", "-D", data, "-c", "listen_addresses=127.0.0.1", "-p", port]
        command += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        server = embedded._popen([str(part) for part in command], embedded._account(), subprocess.DEVNULL)
        try:
            wait(lambda: _answers(port), 30, server)
            with psycopg.connect(_url(port, _SUPERUSER, "postgres"), autocommit=True) as connection:
                connection.execute(f"create role {_OWNER} login createdb createrole")
                connection.execute(f"create database smartdrive owner {_OWNER}")
            engine = connect(owners(port))
            upgrade(engine)
            engine.dispose()
            make_logins(port)
            yield port
        finally:
            server.send_signal(signal.SIGINT)  # whoever is still connected is not waited for
            server.wait(timeout=30)


def _answers(port: int) -> bool:
    try:
        psycopg.connect(_url(port, _SUPERUSER, "postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _url(port: int, user: str, database: str) -> str:
    return f"postgresql://{user}@127.0.0.1:{port}/{database}"


def owners(port: int, database: str = "smartdrive") -> str:
    """The owner's URL."""
    return _url(port, _OWNER, database)


def make_logins(port: int, passwords: bool = True) -> None:
    """Run roles.sql; `PROGRAM_a` gets the password `of PROGRAM`."""
    given = [part for program in PROGRAMS for part in ("-v", f"{program}_password=of {program}")]
    script = ROOT / "iac/database/roles.sql"
    command = [str(embedded.binaries() / "psql"), "--no-psqlrc", "-q", *(given if passwords else [])]
    done = subprocess.run([*command, "-f", str(script), owners(port)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


def as_login(
    port: int, login: str, statement: str, database: str = "smartdrive", password: str | None = None
) -> list[tuple[Any, ...]]:
    """What a statement answers to a login."""
    word = f"of {login[:-2]}" if password is None else password
    with psycopg.connect(host="127.0.0.1", port=port, user=login, password=word, dbname=database) as connection:
        answer = connection.execute(statement)
        return answer.fetchall() if answer.description else []
