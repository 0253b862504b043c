"""What the database holds is what the lake holds, whatever came between."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psycopg
import pytest
from smartdrive_api.database import connect
from smartdrive_api.figures import reading
from smartdrive_api.models import Base
from sqlalchemy import make_url

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.serving import due_tables, publish_sensor, served_tables
from smartdrive_dagster.domain.dtc_knowledge import CodeBook
from smartdrive_dagster.knowledge.explanations import explain, explained_codes
from smartdrive_dagster.knowledge.trouble_codes import load_book
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.processing import ProcessingError, process
from smartdrive_dagster.serving.database import ServingError, serving
from smartdrive_dagster.serving.publishing import due_days, miscounted, publish, publish_codes
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables.gold import TRIPS
from tests.conftest import ROOT, RowsOf

FIRST = date(2025, 6, 1)
VEHICLES = ("a" * 26, "b" * 26)


class World:
    """A lake with trips, and the database that they are published to."""

    def __init__(self, root: Path, rows_of: RowsOf, url: str) -> None:
        self.lakehouse = Lakehouse(str(root / "lake"))
        self.url = url
        self._rows_of = rows_of
        self._batch = 0

    def write(self, days: dict[int, int], **more: Any) -> None:
        """Replace days of June by so many trips each."""
        rows = [
            {
                "trip_id": f"{day:02}-{number}",
                "vehicle_id": VEHICLES[number % 2],
                "started_at": datetime(2025, 6, day, number % 24, tzinfo=UTC),
                "ended_at": datetime(2025, 6, day, number % 24, 30, tzinfo=UTC),
                "event_date": FIRST.replace(day=day),
                "distance_km": number + 0.1,
                "max_speed_kmh": None,
                **more,
            }
            for day, count in days.items()
            for number in range(count)
        ]
        frame = self._rows_of(TRIPS, *rows) if rows else self._rows_of(TRIPS, {}).clear()
        self._batch += 1
        self.lakehouse.replace_days(
            TRIPS, lambda _: frame, [FIRST.replace(day=day) for day in days], batch=self._batch
        )

    def publish(self, progress: Callable[[int, int], None] = lambda *_: None) -> int:
        with serving(self.url) as database:
            return publish(database, self.lakehouse, TRIPS, progress)

    def due(self) -> list[str]:
        with serving(self.url) as database:
            return due_days(database, self.lakehouse, TRIPS)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def agrees(self) -> bool:
        with serving(self.url) as database:
            columns = database.columns(TRIPS)
        mine = self.lakehouse.scan(TRIPS).select(columns).collect().sort("trip_id")
        found = self.sql("select " + ", ".join(columns) + " from serving.trips")  # noqa: S608 - our own columns
        theirs = pl.DataFrame(found, schema=mine.schema, orient="row").sort("trip_id")
        return mine.equals(theirs)


@pytest.fixture
def world(tmp_path: Path, rows_of: RowsOf, database: str) -> World:
    return World(tmp_path, rows_of, database)


def test_a_table_is_published_once_and_then_day_by_day_where_it_changes(world: World) -> None:
    assert (world.due(), world.publish()) == ([], 0)  # no lake yet
    world.write({1: 3, 2: 2, 3: 4})
    assert world.due() == ["2025-06-01", "2025-06-02", "2025-06-03"]
    assert world.publish() == 9
    assert world.agrees()
    assert (world.due(), world.publish()) == ([], 0)
    world.write({2: 5})
    assert world.publish() == 5
    assert world.agrees()
    world.write({1: 0, 3: 1})
    assert world.due() == ["2025-06-01", "2025-06-03"]
    assert world.publish() == 1
    assert world.agrees()


def test_a_trip_that_moves_to_another_day_is_there_once(world: World) -> None:
    world.write({1: 1, 2: 1})
    world.publish()
    moved = {"trip_id": "01-0"}
    world.write({1: 0, 2: 1}, **moved)
    world.publish()
    assert world.agrees()
    assert world.sql("select event_date from serving.trips where trip_id = '01-0'") == [(date(2025, 6, 2),)]


def test_a_publisher_that_dies_between_two_transactions_leaves_the_rest_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_dagster.serving.publishing._ROWS_AT_ONCE", 4)
    world.write({1: 3, 2: 3, 3: 3})

    def dies(done: int, left: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.publish(dies)
    assert world.due() == ["2025-06-01", "2025-06-02"], "the newest day first"
    told: list[tuple[int, int]] = []
    assert world.publish(lambda done, left: told.append((done, left))) == 6
    assert told == [(1, 1), (2, 0)]
    assert world.agrees()


def test_a_database_that_goes_away_in_the_middle_of_a_transaction_keeps_nothing_of_it(world: World) -> None:
    world.write({1: 3})
    world.sql(
        "create function serving.die() returns trigger language plpgsql as $$ begin"
        " perform pg_terminate_backend(pg_backend_pid()); return new; end $$"
    )
    world.sql("create trigger die before insert on serving.publications execute function serving.die()")
    with pytest.raises(ServingError, match="the database of the REST API failed"):
        world.publish()
    assert world.sql("select count(*) from serving.trips") == [(0,)]
    world.sql("drop trigger die on serving.publications")
    world.publish()
    assert world.agrees()


def test_two_publishers_at_once_do_no_harm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartdrive_dagster.serving.publishing._ROWS_AT_ONCE", 10)
    world.write(dict.fromkeys(range(1, 13), 6))
    written: list[int] = []
    threads = [threading.Thread(target=lambda: written.append(world.publish())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == 72, "each day by one of them"
    assert world.agrees()


def test_a_column_that_the_api_gains_is_filled_for_all_days(world: World) -> None:
    world.write({1: 2, 2: 2}, idle_s=60.0, stop_start_s=7.0)
    world.publish()
    world.sql("alter table serving.trips add column stop_start_s float8")
    assert world.due() == ["2025-06-01", "2025-06-02"]
    assert world.publish() == 4
    assert world.sql("select distinct stop_start_s from serving.trips") == [(7.0,)]


def test_rows_that_others_change_are_noticed_and_mended(world: World) -> None:
    world.write({1: 2, 2: 2, 3: 2})
    world.publish()
    with serving(world.url) as database:
        assert miscounted(database, TRIPS) == {}
    world.sql("delete from serving.trips where trip_id = '02-0'")
    world.sql("update serving.trips set event_date = '2030-01-01' where trip_id = '03-1'")
    with serving(world.url) as database:
        assert miscounted(database, TRIPS) == {
            "2025-06-02": (1, 2),
            "2025-06-03": (1, 2),
            "2030-01-01": (1, 0),
        }
    assert world.due() == ["2025-06-02", "2025-06-03", "2030-01-01"]
    world.publish()
    assert world.agrees()


def test_a_text_that_postgresql_cannot_hold_loses_one_character(world: World) -> None:
    world.write({1: 1}, label="a\0b")
    world.publish()
    assert world.sql("select label from serving.trips") == [("a\ufffdb",)]


def test_what_cannot_be_published_says_why(world: World, empty_database: Callable[[], str]) -> None:
    world.write({1: 1})
    with (
        pytest.raises(ServingError, match=r"no table serving\.trips.*smartdrive-api migrate"),
        serving(empty_database()) as database,
    ):
        publish(database, world.lakehouse, TRIPS)
    with (
        pytest.raises(ServingError, match="does not let us in"),
        serving("postgresql://smartdrive@127.0.0.1:1/nothing"),
    ):
        pass
    world.sql("alter table serving.trips add column colour text")
    with pytest.raises(ServingError, match=r"wants colour as text, and gold\.trips has no such column"):
        world.publish()
    world.sql("alter table serving.trips drop column colour, add column samples text")
    with pytest.raises(ServingError, match=r"wants samples as text, and gold\.trips has it as long"):
        world.publish()


def test_each_program_can_do_its_own_with_the_role_that_the_docs_give_it(world: World) -> None:
    page = (ROOT / "docs" / "how-to" / "show-owners-their-cars.md").read_text()
    (grants,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    for role in ("publisher", "api"):  # of the server, which other tests share
        if world.sql(f"select 1 from pg_roles where rolname = '{role}'"):  # noqa: S608
            grants = grants.replace(f"create role {role} login;", "")
    for statement in filter(str.strip, grants.split(";")):
        world.sql(statement)
    world.write({1: 2})
    owner = world.url
    url = make_url(owner)
    world.url = url.set(username="publisher").render_as_string(hide_password=False)
    assert world.publish() == 2
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        world.sql("select count(*) from accounts")
    world.url = url.set(username="api").render_as_string(hide_password=False)
    assert world.sql("select count(*) from serving.trips") == [(2,)]
    assert world.sql("delete from accounts") == []
    assert world.sql("select count(*) from alembic_version") == [(1,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        world.sql("delete from serving.trips")


def test_what_the_api_takes_for_granted_the_lake_requires() -> None:
    for table in served_tables():
        for column in Base.metadata.tables[f"serving.{table.name}"].columns:
            assert column.nullable or table.by_name[column.name].required, f"{table}.{column.name}"


@pytest.fixture(scope="module")
def book() -> CodeBook:
    return load_book()


@pytest.mark.parametrize("language", ["en", "hu"])
def test_every_code_there_can_be_is_answered_as_the_lake_answers_it(
    database: str, book: CodeBook, language: str
) -> None:
    def explanations() -> list[dict[str, Any]]:
        return [
            {"code": name, "language": language, "explanation": explain(code, language, book)}  # type: ignore[arg-type]
            for name, code in explained_codes(book)
        ]

    with serving(database) as connection:
        assert publish_codes(connection, "one", explanations) > 4_000
        assert publish_codes(connection, "one", explanations) == 0
    every = [f"{letter}{number:04X}" for letter in "PCBU" for number in range(0x4000)]
    engine = connect(database)
    with engine.connect() as connection:
        for code in [*every[::23], "P0A0B", "P24FF", "P06FE"]:
            assert reading.code(connection, code, language) == explain(code, language, book)  # type: ignore[arg-type]
    engine.dispose()


class TestThroughDagster:
    """The sensor asks, the run publishes, and every table has its count."""

    @pytest.fixture
    def settings(self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setenv("SMARTDRIVE_SERVING_URL", world.url)
        return Settings(lake_url=world.lakehouse.url, landing_url=str(tmp_path / "landing"), secret="s" * 16)

    def look(self, instance: dg.DagsterInstance, settings: Settings) -> object:
        with dg.build_sensor_context(instance, resources={"lake": LakeResource.of(settings)}) as context:
            (found,) = publish_sensor(context)
            return found

    def test_what_differs_is_asked_for_published_and_counted(self, world: World, settings: Settings) -> None:
        world.write({1: 3})
        job = definitions(settings).resolve_job_def("publish")
        with dg.DagsterInstance.ephemeral() as instance:
            assert isinstance(self.look(instance, settings), dg.RunRequest)
            run = job.execute_in_process(instance=instance)
            assert run.success
            assert {check.passed for check in run.get_asset_check_evaluations()} == {True}
            assert len(run.get_asset_materialization_events()) == len(served_tables()) + 1
            assert world.agrees()
            assert due_tables(settings) == []
            assert isinstance(self.look(instance, settings), dg.SkipReason)
            world.sql("delete from serving.trips where trip_id = '01-1'")
            failed = [
                check
                for check in job.execute_in_process(instance=instance).get_asset_check_evaluations()
                if not check.passed
            ]
            assert [check.asset_key.to_user_string() for check in failed] == ["serving/trips"]
            assert due_tables(settings) == ["gold.trips"]

    def test_processing_by_hand_publishes_too_and_says_where_it_cannot(
        self, world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.write({1: 3})
        steps: list[str] = []
        with dg.DagsterInstance.ephemeral() as instance:
            assert process(settings, instance, lambda step: steps.append(step.job)) == 1
            assert process(settings, instance) == 0
            assert steps == ["publish"]
            assert world.agrees()
            monkeypatch.setenv("SMARTDRIVE_SERVING_URL", "postgresql://smartdrive@127.0.0.1:1/nothing")
            with pytest.raises(ProcessingError, match="does not let us in"):
                process(Settings(lake_url=settings.lake_url, landing_url=settings.landing_url), instance)

    def test_without_a_database_nothing_is_asked_for(
        self, world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            monkeypatch.setenv("SMARTDRIVE_SERVING_URL", "postgresql://smartdrive@127.0.0.1:1/nothing")
            away = self.look(instance, settings)
            monkeypatch.delenv("SMARTDRIVE_SERVING_URL")
            none = self.look(instance, settings)
        assert isinstance(away, dg.SkipReason)
        assert "does not let us in" in str(away.skip_message)
        assert isinstance(none, dg.SkipReason)
        assert "SMARTDRIVE_SERVING_URL" in str(none.skip_message)
