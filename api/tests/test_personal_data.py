"""A person gets all that the database holds of them, nothing of anybody else, and no proof of who they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from smartdrive_api.models import Base
from smartdrive_api.vehicles import garage

from api.tests.calling import Api, Person

VIN = "1M8GDM9AXKP042788"
OTHER_VIN = "1HGCM82633A004352"
# Who was limited how far is kept under hashes of addresses, from which nobody's rows can be found.
OF_NOBODY = {"rate_limits"}


def data(api: Api, person: Person) -> dict[str, list[dict[str, Any]]]:
    answer = api.client.get("/v1/account/data", headers=person.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, list[dict[str, Any]]] = answer.json()
    return found


@pytest.fixture
def mira(api: Api) -> Person:
    return api.person(f"mira-{uuid4().hex[:8]}@example.org")


@pytest.fixture
def ben(api: Api) -> Person:
    return api.person(f"ben-{uuid4().hex[:8]}@example.org")


def test_every_table_that_can_hold_something_of_a_person_is_there(api: Api, mira: Person) -> None:
    # What lies in `serving` comes from the lake, which exports it, or is a request that names no account.
    own = {name for name in Base.metadata.tables if not name.startswith("serving.")}
    assert set(data(api, mira)) == own - OF_NOBODY


def test_the_rows_are_the_persons_own_and_whole(api: Api, mira: Person, ben: Person) -> None:
    ids = {person.email: api.post("/v1/vehicles", {"vin": VIN}, person).json()["id"] for person in (mira, ben)}
    unconfirmed = api.post("/v1/vehicles", {"vin": OTHER_VIN}, mira).json()["id"]
    with api.engine.begin() as connection:
        garage.confirm(connection, UUID(ids[mira.email]), api.clock())
    api.post(f"/v1/vehicles/{ids[mira.email]}/shares", {"email": ben.email}, mira)
    api.post("/v1/register", {"email": mira.email, "password": "three other words 2"})

    of_mira, of_ben = data(api, mira), data(api, ben)
    assert [row["email"] for row in of_mira["accounts"]] == [mira.email]
    assert [row["email"] for row in of_mira["registrations"]] == [mira.email]
    vehicles = {row["registration_id"]: row for row in of_mira["vehicles"]}
    assert {key: row["vin"] for key, row in vehicles.items()} == {ids[mira.email]: VIN, unconfirmed: OTHER_VIN}
    assert vehicles[ids[mira.email]]["vehicle_id"] is not None
    assert vehicles[unconfirmed]["vehicle_id"] is None  # whoever types in a VIN does not learn its pseudonym
    assert [row["registration_id"] for row in of_ben["vehicles"]] == [ids[ben.email]]
    assert of_mira["vehicle_shares"] == of_ben["vehicle_shares"] != []
    sessions = {row["session_id"] for row in of_mira["sessions"]}
    assert len(sessions) == 1
    assert {row["session_id"] for row in of_mira["refresh_tokens"]} == sessions
    assert not sessions & {row["session_id"] for row in of_ben["sessions"]}


def test_no_hash_of_a_password_or_token_is_told(api: Api, mira: Person) -> None:
    text = api.client.get("/v1/account/data", headers=mira.headers).text
    assert "hash" not in text
    assert "argon2" not in text
