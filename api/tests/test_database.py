from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from smartdrive_api import embedded
from smartdrive_api.database import HEAD, autocommit, connect, database, readiness
from smartdrive_api.embedded import EmbeddedPostgresError, embedded_postgres
from smartdrive_api.migrations import config, downgrade, upgrade
from smartdrive_api.models import Base
from smartdrive_api.settings import Settings
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError

from api.tests.conftest import copied, open_directory

OWNER = """
import os, sys
from pathlib import Path
import psycopg
from smartdrive_api.embedded import embedded_postgres
if len(sys.argv) > 2:  # after the imports: this Python may lie where others cannot read
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
with embedded_postgres(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def directory(fresh_data: Path) -> Iterator[Path]:
    with open_directory() as made:
        yield copied(fresh_data, made / "pg")


def owner(directory: Path, *user: int) -> subprocess.Popen[str]:
    """A process that has a server in this directory, and holds it until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), *map(str, user)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def postmaster(directory: Path) -> int:
    return int((directory / "postmaster.pid").read_text().splitlines()[0])


def remembered(directory: Path) -> list[int]:
    with psycopg.connect(host=str(directory), user="smartdrive", dbname="postgres") as connection:
        return [row[0] for row in connection.execute("select n from kept order by n")]


def test_what_was_committed_outlives_every_way_of_stopping(directory: Path) -> None:
    with (
        embedded_postgres(directory),
        psycopg.connect(host=str(directory), user="smartdrive", dbname="postgres", autocommit=True) as connection,
    ):
        connection.execute("create table kept (n int)")
        connection.execute("insert into kept values (1)")
    assert not (directory / "postmaster.pid").exists()

    process = owner(directory)
    with psycopg.connect(host=str(directory), user="smartdrive", dbname="postgres", autocommit=True) as connection:
        connection.execute("insert into kept values (2)")
        os.kill(postmaster(directory), signal.SIGKILL)  # the server alone
    process.communicate("")
    assert process.returncode == 0

    process = owner(directory)
    assert remembered(directory) == [1, 2]
    process.kill()  # the owner alone: the server goes on
    process.wait()
    survivor = postmaster(directory)
    with embedded_postgres(directory):
        assert postmaster(directory) == survivor
        assert remembered(directory) == [1, 2]
    assert not (directory / "postmaster.pid").exists(), "whoever takes over stops it"


def test_a_second_process_joins_and_leaves_the_server_running(directory: Path) -> None:
    with embedded_postgres(directory):
        server = postmaster(directory)
        process = owner(directory)
        process.communicate("")
        assert (process.returncode, postmaster(directory)) == (0, server)
        with psycopg.connect(host=str(directory), user="smartdrive", dbname="postgres") as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_who_comes_while_the_owner_is_leaving_becomes_the_owner(directory: Path) -> None:
    started = threading.Event()

    def come() -> None:
        with embedded_postgres(directory):
            started.set()

    with directory.with_name("pg.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=come)
        thread.start()
        assert not started.wait(0.3)
    thread.join(timeout=60)
    assert started.is_set()
    assert not (directory / "postmaster.pid").exists()


def test_it_listens_on_no_network_and_lets_nobody_else_in(postgres: str) -> None:
    engine = connect(postgres)
    with engine.connect() as connection:
        assert connection.scalar(text("show listen_addresses")) == ""
        data = Path(connection.scalar(text("show data_directory")) or "")
    engine.dispose()
    assert data.stat().st_mode & 0o077 == 0
    assert (data / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 5432)) != 0 or os.environ.get("PGPORT")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_runs_as_a_normal_user_as_well_as_under_root(fresh_data: Path) -> None:
    with open_directory() as made:
        os.chown(made, 65534, 65534)
        copied(fresh_data, made / "pg", 65534)
        process = owner(made / "pg", 65534)
        assert (made / "pg").stat().st_uid == 65534
        process.communicate("")
        assert process.returncode == 0


def test_programs_that_only_root_can_reach_are_copied_once(tmp_path: Path) -> None:
    hidden, data = tmp_path / "root" / "install" / "bin", tmp_path / "data"
    hidden.mkdir(parents=True)
    (tmp_path / "root").chmod(0o700)
    (hidden / "postgres").write_text("a program")
    found = embedded._reachable(hidden, data)
    assert found == embedded._reachable(hidden, data) != hidden
    assert (found / "postgres").read_text() == "a program"
    assert found.parent.stat().st_mode & 0o005 == 0o005
    assert {path.name for path in tmp_path.iterdir()} == {"root", found.parent.name}


def test_a_path_too_long_for_a_socket_is_refused_with_advice(tmp_path: Path) -> None:
    with (
        pytest.raises(EmbeddedPostgresError, match="SMARTDRIVE_API_DATABASE_DIRECTORY"),
        embedded_postgres(tmp_path / ("x" * 100)),
    ):
        pass


def test_the_embedded_database_is_ready_without_a_url(directory: Path) -> None:
    with database(Settings(database_directory=directory)) as engine:
        assert readiness(engine) is None


def test_another_database_is_one_url_and_its_password_may_lie_elsewhere(postgres: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("not asked for on this socket")
    settings = Settings(database_url=SecretStr(postgres), database_password=SecretStr(f"file:{tmp_path}/password"))
    with database(settings) as engine:
        assert "not asked for" not in repr(engine.url)
        assert readiness(engine) == f"the database is at migration none, not {HEAD}: run `smartdrive-api migrate`"


def test_a_database_that_is_away_is_said_to_be() -> None:
    engine = connect("postgresql://u@127.0.0.1:9/x", "secret")
    assert readiness(engine) == "the database does not answer"
    engine.dispose()


def test_models_and_migrations_agree(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "include_schemas": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_a_model_without_a_migration_is_noticed(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("alter table accounts drop column created_at"))
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) != []
        connection.rollback()


def test_migrations_go_down_to_nothing_and_up_again(empty_database: Callable[[], str]) -> None:
    engine = connect(empty_database())

    def tables() -> list[str]:
        return sorted(inspect(engine).get_table_names())

    upgrade(engine)
    all_of_them = tables()
    for revision in [*(step.down_revision for step in ScriptDirectory.from_config(config()).walk_revisions())]:
        downgrade(engine, revision or "base")
    assert tables() == ["alembic_version"]
    upgrade(engine)
    assert tables() == all_of_them
    engine.dispose()


def test_who_had_an_account_before_gets_a_device_of_their_own(empty_database: Callable[[], str]) -> None:
    engine = connect(empty_database())
    upgrade(engine, "0002")
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into accounts select gen_random_uuid(), n || '@b.org', '', now() "
                "from generate_series(1, 3) as n"
            )
        )
    upgrade(engine)
    with engine.connect() as connection:
        devices = set(connection.scalars(text("select device_id from accounts")))
    engine.dispose()
    assert len(devices) == 3
    assert all(re.fullmatch(r"app-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", device) for device in devices)


def test_the_newest_migration_is_the_one_that_readiness_asks_for() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [HEAD]


def test_an_error_of_the_database_shows_no_value(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DBAPIError) as failure:
        connection.execute(text("select cast(:password as int)"), {"password": "correct-horse"})
    assert "[SQL parameters hidden" in str(failure.value)


@pytest.mark.parametrize("idle", [True, False])
def test_after_a_restart_of_the_database_one_question_fails_at_most(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, idle: bool
) -> None:
    monkeypatch.setattr("smartdrive_api.database._TRUSTED_S", 0.0 if idle else 60.0)
    own = connect(engine.url.render_as_string(hide_password=False))
    with own.connect() as first, own.connect() as second:
        pids = [one.scalar(text("select pg_backend_pid()")) for one in (first, second)]
    with engine.connect() as other:
        for pid in pids:
            other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    failed = 0
    for _ in range(3):
        try:
            with autocommit(own) as connection:
                assert connection.scalar(text("select 1")) == 1
        except OperationalError:
            failed += 1
    assert failed == (0 if idle else 1)
    own.dispose()


def test_waiting_is_bounded(engine: Engine) -> None:
    start = time.monotonic()
    with engine.connect() as connection:
        connection.execute(text("set statement_timeout = 100"))
        with pytest.raises(DBAPIError, match="statement timeout"):
            connection.execute(text("select pg_sleep(30)"))
    assert time.monotonic() - start < 20
