"""A real PostgreSQL for a session of tests, with a database of its own for each module that asks for one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from smartdrive_api import embedded
from smartdrive_api.database import connect
from smartdrive_api.embedded import embedded_postgres
from smartdrive_api.migrations import upgrade
from smartdrive_api.settings import Settings
from sqlalchemy import Engine, make_url, text

from api.tests.calling import LAKE_SECRET, Api


@pytest.fixture(scope="session", autouse=True)
def _nothing_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("AWS_", "SMARTDRIVE_")) and name != "SMARTDRIVE_SHARED_DATA":
                patch.delenv(name)
        yield


@contextmanager
def open_directory() -> Iterator[Path]:
    """A short path that an unprivileged user can enter: pytest's own are for root alone when root runs it."""
    with tempfile.TemporaryDirectory(prefix="sd-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # noqa: S103 - nothing secret lies directly in it
        yield Path(name)


@pytest.fixture(scope="session")
def fresh_data() -> Iterator[Path]:
    """The files of a server that nobody has used: copying them is cheaper than making them."""
    with open_directory() as directory:
        embedded._make(directory / "pg", embedded._account(), embedded.binaries())
        yield directory / "pg"


def copied(fresh: Path, directory: Path, owner: int | None = None) -> Path:
    """A copy of these files that belongs to the same user, or to another."""
    shutil.copytree(fresh, directory)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, fresh.stat().st_uid if owner is None else owner, -1)
    return directory


@pytest.fixture(scope="session")
def postgres(fresh_data: Path) -> Iterator[str]:
    """The URL of a server, shared by all tests of a process."""
    with open_directory() as directory, embedded_postgres(copied(fresh_data, directory / "pg")) as url:
        engine = connect(url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("alter system set fsync = off"))  # nothing here outlives the tests
            connection.execute(text("select pg_reload_conf()"))
        engine.dispose()
        yield url


@pytest.fixture(scope="session")
def empty_database(postgres: str) -> Callable[[], str]:
    """A maker of URLs of new databases without tables."""

    def made() -> str:
        name = f"t{uuid4().hex[:12]}"
        engine = connect(postgres)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"create database {name}"))
        engine.dispose()
        return make_url(postgres).set(database=name).render_as_string(hide_password=False)

    return made


@pytest.fixture(scope="module")
def engine(empty_database: Callable[[], str]) -> Iterator[Engine]:
    """A database with all tables, for one module of tests."""
    made = connect(empty_database())
    upgrade(made)
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a key ring of its own and passwords that cost little."""
    folder = tmp_path_factory.mktemp("api")
    return Settings(
        issuer="https://api.test",
        signing_keys=SecretStr(f"file:{folder}/keys.json"),
        certificate_authority=SecretStr(f"file:{folder}/authority.json"),
        lake_secret=SecretStr(LAKE_SECRET),
        landing_url=str(folder / "landing"),
        argon2_time_cost=1,
        argon2_memory_kib=8,
    )


@pytest.fixture(scope="module")
def api(settings: Settings, engine: Engine) -> Iterator[Api]:
    """The app on this module's database."""
    made = Api(settings, engine)
    with made.client:
        yield made


@pytest.fixture(autouse=True)
def _no_limits_from_other_tests(request: pytest.FixtureRequest) -> None:
    if "api" in request.fixturenames:
        request.getfixturevalue("api").forget_limits()
