"""Fixtures that several packages' tests share: rows of a table's schema, and an S3 endpoint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings

from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.tables import Column, Table
from tests.object_store import fresh_bucket, object_store
from tests.shared import made_once

ROOT = Path(__file__).parents[1]
VENV = Path(sys.executable).parents[1]
LINKED = ("Makefile", "containers", "contracts", "docker-compose.yml", "docs", "edge", "notebooks")

RowsOf = Callable[..., pl.DataFrame]

settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

_FILLERS = {
    "string": "x",
    "integer": 0,
    "long": 0,
    "double": 0.0,
    "boolean": False,
    "binary": b"",
    "date": date(2025, 1, 1),
    "timestamp": datetime(2025, 1, 1, tzinfo=UTC),
}


@pytest.fixture(scope="session")
def rows_of() -> RowsOf:
    """A maker of frames: `rows_of(table, {...}, {...})` fills in what is required and not given."""

    def value(column: Column, row: Mapping[str, object]) -> object:
        if column.name in row or not column.required:
            return row.get(column.name)
        return column.accepted[0] if column.accepted else _FILLERS[column.dtype]

    def rows(table: Table, *given: Mapping[str, object]) -> pl.DataFrame:
        unknown = {name for row in given for name in row} - set(table.by_name)
        assert not unknown, f"{table} has no column {unknown}"
        return pl.DataFrame(
            [{column.name: value(column, row) for column in table.columns} for row in given],
            schema=polars_schema(table),
        )

    return rows


@pytest.fixture(scope="session", autouse=True)
def _no_cloud_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("AWS_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 service on the loopback, with the AWS_ variables that lead there."""
    with object_store(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("SMARTDRIVE_") and name != "SMARTDRIVE_SHARED_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("SMARTDRIVE_STATE_URL", str(tmp_path / "state"))  # its default lies where the tests run


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh place for a lake and its landing zone: a directory, then a bucket."""
    if request.param == "disk":
        return str(tmp_path)
    return fresh_bucket(request.getfixturevalue("s3_endpoint"))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The directory of recorded drives, which the repository does not hold."""
    named = os.environ.get("SMARTDRIVE_SHARED_DATA")
    directory = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not (directory / "truth.json").is_file():
        if os.environ.get("CI"):
            pytest.fail(f"no recorded drives in {directory}: set SMARTDRIVE_SHARED_DATA")
        pytest.skip(f"no recorded drives in {directory}; SMARTDRIVE_SHARED_DATA names another place")
    return directory


def _small_clone(home: Path) -> None:
    (home / ".venv").symlink_to(VENV)
    shutil.copytree(ROOT / "dbt_like_models", home / "dbt_like_models")
    for name in LINKED:
        (home / name).symlink_to(ROOT / name)
    names = [name for name in os.environ if not name.startswith(("SMARTDRIVE_", "DAGSTER_"))]
    environment = {name: os.environ[name] for name in names} | {"DAGSTER_DISABLE_TELEMETRY": "1"}
    command = [".venv/bin/smartdrive", "demo", "--cars", "2", "--days", "2"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert "both balances close" in done.stdout, f"{done.stdout}\n{done.stderr}"


@pytest.fixture
def clone(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """What a clone looks like after `make demo`, with a smaller fleet; a copy of the test's own."""
    made = made_once(tmp_path_factory, "clone", _small_clone)
    return Path(shutil.copytree(made, tmp_path / "clone", symlinks=True))
