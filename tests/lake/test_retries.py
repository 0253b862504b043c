"""How writers wait for one another, and which faults of an object store they outlast."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.retries import LONGEST_WAIT_S, MAX_FAULTS, Faults, attempts, past_faults
from smartdrive_dagster.tables import bronze
from tests.conftest import RowsOf


def test_the_first_attempt_waits_for_nobody_and_the_bound_doubles_up_to_its_end() -> None:
    waits: list[float] = []
    assert list(attempts(12, draw=lambda: 1.0, sleep=waits.append)) == list(range(12))
    assert len(waits) == 11
    assert all(later == min(2 * earlier, LONGEST_WAIT_S) for earlier, later in pairwise(waits))
    assert waits[-1] == LONGEST_WAIT_S


def test_the_wait_is_anything_up_to_its_bound() -> None:
    waits: list[float] = []
    draws = iter([0.0, 0.5])
    assert list(attempts(3, draw=lambda: next(draws), sleep=waits.append)) == [0, 1, 2]
    assert waits == [0.0, 0.02]


class _Faulty:
    """Fails as told, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartdrive_dagster.lake.retries.FIRST_WAIT_S", 0.0)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("error", [OSError("Generic S3 error"), DeltaError("error interacting with object store")])
def test_a_passing_fault_of_an_object_store_is_outlasted(error: Exception) -> None:
    work = _Faulty(error, error)
    assert past_faults(work, is_remote=True) == "done"
    assert work.calls == 3


@pytest.mark.usefixtures("_no_waiting")
def test_a_fault_that_stays_is_raised_in_the_end() -> None:
    work = _Faulty(*[OSError("Generic S3 error")] * MAX_FAULTS)
    with pytest.raises(OSError, match="Generic S3 error"):
        past_faults(work, is_remote=True)
    assert work.calls == MAX_FAULTS


@pytest.mark.parametrize(
    ("error", "is_remote"),
    [
        (OSError("disk full"), False),
        (CommitFailedError("lost"), True),
        (FileNotFoundError("gone"), True),
        (ValueError("ours"), True),
    ],
    ids=["of a disk", "a lost race", "a missing file", "one of our own"],
)
def test_what_does_not_pass_is_raised_at_once(error: Exception, is_remote: bool) -> None:
    work = _Faulty(error)
    with pytest.raises(type(error)):
        past_faults(work, is_remote=is_remote)
    assert work.calls == 1


@pytest.mark.usefixtures("_no_waiting")
def test_a_write_whose_answer_was_lost_is_looked_for_before_it_is_done_again(
    tmp_path: Path, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    monkeypatch.setattr(lakehouse, "_is_remote", True)
    wanted = rows_of(bronze.OBJECTS, {"object_key": "a"})
    lakehouse.append_once(bronze.OBJECTS, lambda _: wanted.clear())
    write = lakehouse._try_write

    def lose_the_answer(*arguments: object) -> None:
        monkeypatch.undo()
        write(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(lakehouse, "_is_remote", True)
        raise OSError("Generic S3 error: connection reset")

    monkeypatch.setattr(lakehouse, "_try_write", lose_the_answer)
    lakehouse.append_once(
        bronze.OBJECTS, lambda s: wanted.lazy().join(s.rows(), on="object_key", how="anti").collect()
    )
    assert lakehouse.scan(bronze.OBJECTS).select(pl.len()).collect().item() == 1


def test_an_object_store_that_stays_away_is_not_waited_for_ten_times_over() -> None:
    clock = iter([0.0, 29.0, 31.0])
    faults = Faults(is_remote=True, now=lambda: next(clock))
    assert [faults.allow(OSError("Generic S3 error")) for _ in range(3)] == [True, True, False]
