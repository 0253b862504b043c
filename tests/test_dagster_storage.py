"""Dagster's files with connections that are kept: the same content, few connections, none left open."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.conftest import ROOT

DAGSTERS_OWN = "telemetry: {enabled: false}\n"
_opened: list[str] = []


def _hear(event: str, given: tuple[object, ...]) -> None:
    if event == "sqlite3.connect":
        _opened.append(str(given[0]))


sys.addaudithook(_hear)


@pytest.fixture
def opened() -> list[str]:
    """Files to which a connection was opened since the test began."""
    _opened.clear()
    return _opened


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    yield tmp_path
    assert open_databases(tmp_path) == []


def open_databases(home: Path) -> list[Path]:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [path for path in map(Path.resolve, links) if path.is_relative_to(home) and path.suffix == ".db"]


def instance(home: Path, configuration: str = "") -> dg.DagsterInstance:
    (home / "dagster.yaml").write_text(configuration or (ROOT / "dagster.yaml").read_text())
    return dg.DagsterInstance.from_config(str(home))


def run(instance: dg.DagsterInstance) -> str:
    """A run of ten assets; its id."""
    assets = [dg.asset(name=f"table_{n}")(lambda: dg.MaterializeResult(metadata={"rows": 1})) for n in range(10)]
    return dg.materialize(assets, instance=instance).run_id


def events(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str | None, str]]:
    return [(log.step_key, log.user_message) for log in instance.all_logs(run_id)]


def test_a_run_opens_few_connections(home: Path, opened: list[str]) -> None:
    with instance(home) as kept:
        run(kept)
        opened.clear()
        run_id = run(kept)
        assert len(events(kept, run_id)) > 50
    assert len(opened) <= 20  # most of them make the run's file
    with instance(home, DAGSTERS_OWN) as own:
        opened.clear()
        run(own)
    assert len(opened) > 100  # or this test counts nothing


def test_dagster_s_own_storage_reads_what_was_written_and_the_other_way_round(home: Path) -> None:
    with instance(home) as kept:
        first = run(kept)
        said = events(kept, first)
    with instance(home, DAGSTERS_OWN) as own:
        assert events(own, first) == said
        assert own.get_latest_materialization_event(dg.AssetKey("table_3")) is not None
        second = run(own)
        said = events(own, second)
    with instance(home) as kept:
        assert events(kept, second) == said
        assert {one.run_id for one in kept.get_runs()} == {first, second}


def test_files_of_many_runs_are_not_all_kept_open(home: Path) -> None:
    with instance(home) as kept:
        ids = [run(kept) for _ in range(8)]
        for run_id in ids:
            assert events(kept, run_id)
        assert len({path.name for path in open_databases(home)}) <= 6


def test_what_an_error_interrupts_is_not_written(home: Path) -> None:
    with instance(home) as kept:
        run_id = run(kept)

        def fail() -> None:
            with kept.run_storage.connect() as connection:  # type: ignore[attr-defined]
                connection.exec_driver_sql("DELETE FROM runs")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert kept.has_run(run_id)
