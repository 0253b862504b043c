"""With many vehicles and a year of days, no question reads a table from end to end: PostgreSQL's plans say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from smartdrive_api.database import autocommit
from smartdrive_api.figures import tables
from smartdrive_api.figures.tables import SCHEMA
from smartdrive_api.vehicles import garage
from smartdrive_api.vehicles.vin import vehicle_id
from sqlalchemy import event

from api.tests.calling import LAKE_SECRET, Api, Person
from benchmarks.api_figures import published

VIN = "1M8GDM9AXKP042788"
FIRST = date(2025, 1, 1)
VEHICLES = 40
DAYS = 365
_TRIALS = 15
_RATIO = 5.0  # measured: 2.3 to 2.9

ROUTES = (
    "status",
    "trips",
    "trips?from=2025-05-01&to=2025-06-01",
    "trips/export?from=2025-05-01&to=2025-06-01",
    "battery?from=2025-05-01&to=2025-06-01",
    "alerts",
    "alerts?state=open",
    "codes",
    "codes?open=true",
    "score?from=2025-05-01&to=2025-06-01",
    "days?from=2025-05-01&to=2025-06-01",
    "health-report",
)


@pytest.fixture(scope="module")
def owner(api: Api) -> tuple[Person, str]:
    mine = vehicle_id(VIN, LAKE_SECRET.encode())
    with api.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        published(connection, [mine, *(f"other-{number}" for number in range(1, VEHICLES))], FIRST, DAYS)
    person = api.person("plans@example.org")
    id_: str = api.post("/v1/vehicles", {"vin": VIN}, person).json()["id"]
    with api.engine.begin() as connection:
        garage.confirm(connection, UUID(id_), api.clock())
    return person, id_


@pytest.fixture
def asked(api: Api) -> Iterator[list[tuple[str, Any]]]:
    """The questions that reach the published tables meanwhile."""
    found: list[tuple[str, Any]] = []

    def note(_c: object, _k: object, statement: str, parameters: object, *_: object) -> None:
        if f"{SCHEMA}." in statement and not statement.startswith("EXPLAIN"):
            found.append((statement, parameters))

    event.listen(api.engine, "before_cursor_execute", note)
    yield found
    event.remove(api.engine, "before_cursor_execute", note)


def read_whole(api: Api, statement: str, parameters: Any) -> list[str]:
    with api.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
    return [line for line in plan if "Seq Scan" in line and tables.PUBLICATIONS.name not in line]


@pytest.mark.parametrize("route", ROUTES)
def test_every_question_is_answered_from_an_index(
    api: Api, owner: tuple[Person, str], asked: list[tuple[str, Any]], route: str
) -> None:
    person, id_ = owner
    answer = api.client.get(f"/v1/vehicles/{id_}/{route}", headers=person.headers)
    assert answer.status_code == 200, answer.text
    assert asked
    for statement, parameters in asked:
        assert read_whole(api, statement, parameters) == [], statement


def test_a_question_without_an_index_is_noticed(api: Api, owner: tuple[Person, str]) -> None:
    assert read_whole(api, "select * from serving.trips where distance_km = %(km)s", {"km": 1.0})


@pytest.fixture
def questions(api: Api) -> Iterator[list[tuple[str, Any]]]:
    """All questions that reach the database meanwhile."""
    found: list[tuple[str, Any]] = []

    def note(_c: object, _k: object, statement: str, parameters: object, *_: object) -> None:
        found.append((statement, parameters))

    event.listen(api.engine, "before_cursor_execute", note)
    yield found
    event.remove(api.engine, "before_cursor_execute", note)


def shortest_s(call: Callable[[], object]) -> float:
    """The shortest of a few trials: what a shared machine does beside them makes them longer only."""
    took = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)


@pytest.mark.parametrize(
    ("route", "most"), [("status", 6), ("trips", 3), ("battery", 7), ("codes", 3), ("days", 4)]
)
def test_a_request_costs_little_beside_its_questions(
    api: Api, owner: tuple[Person, str], questions: list[tuple[str, Any]], route: str, most: int
) -> None:
    """Its peer is the same questions, asked by themselves, and an answer of the same app that asks nothing."""
    person, id_ = owner
    path = f"/v1/vehicles/{id_}/{route}"

    def get(path: str) -> None:
        assert api.client.get(path, headers=person.headers).status_code == 200

    get(path)
    asked = list(questions)
    assert len(asked) <= most  # each is a way to the database and back
    whole, frame = shortest_s(lambda: get(path)), shortest_s(lambda: get("/healthz"))
    with autocommit(api.engine) as connection:
        bare = shortest_s(lambda: [connection.exec_driver_sql(*one).all() for one in asked])
    ratio = whole / (frame + bare)
    assert ratio < _RATIO, f"{1000 * whole:.1f} ms, of which {1000 * bare:.1f} questions, {1000 * frame:.1f} frame"
