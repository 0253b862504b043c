"""Tables as they were: by an instant, by a version, and as far back as the log and its files reach."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

import smartdrive_dagster
from smartdrive_dagster.lake import time_travel
from smartdrive_dagster.lake.duck import connect
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.query import QueryError, ask
from smartdrive_dagster.lake.time_travel import TooLongAgoError, commits, committed_at
from smartdrive_dagster.tables import gold, silver

COUNT = "select count(*) as n, max(message_id) as newest from silver.events"


def add(lakehouse: Lakehouse, rows_of, *names: str) -> datetime:
    """Append events in one commit; return an instant after it and before the next."""
    rows = rows_of(silver.EVENTS, *({"message_id": name} for name in names))
    lakehouse.append_once(silver.EVENTS, lambda _: rows)
    time.sleep(0.01)
    after = datetime.now(UTC)
    time.sleep(0.01)
    return after


def asked(lakehouse: Lakehouse, as_of: datetime | str | None, sql: str = COUNT) -> tuple[object, ...]:
    text = as_of.isoformat() if isinstance(as_of, datetime) else as_of
    return ask(lakehouse, sql, time_zone="UTC", as_of=text).row(0)


def forget(lakehouse: Lakehouse, before: int) -> None:
    """Leave of the log what cleaning it would: a checkpoint and the commits after it."""
    delta = lakehouse.open(silver.EVENTS).delta
    assert delta is not None
    delta.create_checkpoint()
    for version in range(before):
        (Path(lakehouse.uri(silver.EVENTS)) / "_delta_log" / f"{version:020}.json").unlink()


def test_each_table_is_seen_as_it_was_at_an_instant(root: str, rows_of) -> None:
    lakehouse = Lakehouse(f"{root}/lake")
    before = datetime.now(UTC) - timedelta(minutes=1)
    first = add(lakehouse, rows_of, "a")
    second = add(lakehouse, rows_of, "b", "c")
    replaced = rows_of(silver.EVENTS, {"message_id": "z"})
    lakehouse.replace(silver.EVENTS, lambda _: replaced, predicate="event_date IS NOT NULL")
    expected = {first: (1, "a"), second: (3, "c"), None: (1, "z"), datetime.now(UTC): (1, "z"), before: (0, None)}
    for moment, rows in expected.items():
        tables = [silver.EVENTS, gold.TRIPS]
        with connect(lakehouse, time_zone="UTC", tables=tables, as_of=moment) as connection:
            assert connection.sql(COUNT).fetchall() == [rows]
            assert connection.sql("select count(*) from gold.trips").fetchall() == [(0,)]
    held = lakehouse.open(silver.EVENTS, as_of=second).rows().select("message_id").collect()
    assert sorted(held.get_column("message_id")) == ["a", "b", "c"]


def test_a_version_names_the_instant_of_its_commit(tmp_path: Path, rows_of) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    add(lakehouse, rows_of, "a")
    add(lakehouse, rows_of, "b")
    assert asked(lakehouse, "silver.events@1") == (1, "a")


def test_an_instant_without_an_offset_is_meant_in_the_owner_s_zone(tmp_path: Path, rows_of) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    instant = add(lakehouse, rows_of, "a")
    naive = instant.replace(tzinfo=None).isoformat()
    assert ask(lakehouse, COUNT, time_zone="UTC", as_of=naive).item(0, "n") == 1
    assert ask(lakehouse, COUNT, time_zone="Asia/Tokyo", as_of=naive).item(0, "n") == 0  # nine hours before


def test_python_sees_the_same(tmp_path: Path, rows_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTDRIVE_LAKE_URL", str(tmp_path))
    lakehouse = Lakehouse(str(tmp_path))
    instant = add(lakehouse, rows_of, "a")
    add(lakehouse, rows_of, "b")
    with smartdrive_dagster.connect(as_of=instant) as connection:
        assert pl.DataFrame(connection.sql(COUNT)).row(0) == (1, "a")


@pytest.mark.parametrize(
    "text", ["yesterday", "gold.trip@1", "silver.events@x", "silver.events@99", "gold.trips@1"]
)
def test_what_names_no_instant_and_no_version_is_refused(text: str, tmp_path: Path, rows_of) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    add(lakehouse, rows_of, "a")
    with pytest.raises(QueryError, match=r"instant|version"):
        asked(lakehouse, text)


def test_a_version_that_the_log_has_forgotten_is_an_error_and_never_an_empty_table(
    tmp_path: Path, rows_of
) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    first = add(lakehouse, rows_of, "a")
    for name in "bcd":
        add(lakehouse, rows_of, name)
    forget(lakehouse, before=3)
    told = r"silver.events as of .* is no longer known: its log reaches back to"
    with pytest.raises(QueryError, match=told):
        asked(lakehouse, first)
    with pytest.raises(TooLongAgoError, match=told):
        lakehouse.open(silver.EVENTS, as_of=first)
    tables = [silver.EVENTS, gold.TRIPS]
    with connect(lakehouse, time_zone="UTC", tables=tables, as_of=first) as connection:
        for condition in ("true", "message_id = 'a'", "message_id is null", "event_date > date '2030-01-01'"):
            for selected in ("*", "count(*)", "1"):
                with pytest.raises(duckdb.Error, match=told):
                    connection.execute(f"select {selected} from silver.events where {condition}").fetchall()  # noqa: S608
        assert connection.sql("select count(*) from gold.trips").fetchall() == [(0,)]  # other tables answer


def test_a_version_whose_files_maintenance_has_deleted_is_explained(root: str, rows_of) -> None:
    lakehouse = Lakehouse(f"{root}/lake")  # both object stores have words of their own for a missing file
    first = add(lakehouse, rows_of, "a")
    lakehouse.replace(silver.EVENTS, lambda _: rows_of(silver.EVENTS), predicate="event_date IS NOT NULL")
    delta = lakehouse.open(silver.EVENTS).delta
    assert delta is not None
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(QueryError, match="time travel is sure for 7 days"):
        asked(lakehouse, first)


def test_the_log_is_read_in_growing_pieces_and_each_commit_once(
    tmp_path: Path, rows_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_travel, "_FIRST_LOOK", 2)
    lakehouse = Lakehouse(str(tmp_path))
    for number in range(12):
        rows = rows_of(gold.TRIPS, {"trip_id": str(number)})
        lakehouse.append_once(gold.TRIPS, lambda _, rows=rows: rows)
    delta = lakehouse.open(gold.TRIPS).delta
    assert delta is not None
    found = list(commits(delta))
    assert [commit["version"] for commit in found] == list(range(12, -1, -1))
    assert committed_at(found[0]) >= committed_at(found[-1])
