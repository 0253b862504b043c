"""What an owner deletes is gone here at once, and asked of the lake."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from smartdrive_api.vehicles import garage
from sqlalchemy import text

from api.tests.calling import PASSWORD, Api, Person

VIN = "1M8GDM9AXKP042788"


def owned(api: Api, person: Person, vin: str = VIN, **how: bool) -> str:
    made: str = api.post("/v1/vehicles", {"vin": vin}, person).json()["id"]
    with api.engine.begin() as connection:
        garage.confirm(connection, UUID(made), api.clock(), **how)
    return made


def erase(api: Api, person: Person, vehicle: str) -> Any:
    return api.client.delete(f"/v1/vehicles/{vehicle}/data", headers=person.headers)


def rows(api: Api, query: str) -> list[tuple[Any, ...]]:
    with api.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def mira(api: Api) -> Person:
    return api.person(f"mira-{uuid4().hex[:8]}@example.org")


@pytest.fixture(autouse=True)
def _nothing_is_left(api: Api) -> None:
    with api.engine.begin() as connection:
        connection.execute(text("delete from vehicles"))
        connection.execute(text("delete from serving.erasures"))


def test_a_vehicle_is_gone_at_once_and_asked_of_the_lake(api: Api, mira: Person) -> None:
    vehicle = owned(api, mira)
    api.post(f"/v1/vehicles/{vehicle}/shares", {"email": "ben@example.org"}, mira)
    answer = erase(api, mira, vehicle)
    assert answer.status_code == 202
    (erasure,) = answer.json()["erasures"]
    assert rows(api, "select erasure_id, vin from serving.erasures") == [(UUID(erasure), VIN)]
    assert rows(api, "select count(*) from vehicle_shares") == [(0,)]
    assert api.client.get(f"/v1/vehicles/{vehicle}", headers=mira.headers).status_code == 404
    state = api.client.get(f"/v1/erasures/{erasure}").json()
    assert (state["state"], state["receipt"]) == ("requested", None)


def test_what_the_lake_says_is_told_without_an_account(api: Api, mira: Person) -> None:
    (erasure,) = erase(api, mira, owned(api, mira)).json()["erasures"]
    with api.engine.begin() as connection:
        connection.execute(text("update serving.erasures set vin = null, tombstone = 't'"))
    assert api.client.get(f"/v1/erasures/{erasure}").json()["state"] == "under_way"
    with api.engine.begin() as connection:
        done = """update serving.erasures set finished_at = now(), receipt = '{"schema": "r"}'"""
        connection.execute(text(done))
    told = api.client.get(f"/v1/erasures/{erasure}").json()
    assert (told["state"], told["receipt"]) == ("finished", {"schema": "r"})
    assert "tombstone" not in told


def test_typing_in_a_vin_erases_nothing(api: Api, mira: Person) -> None:
    made = api.post("/v1/vehicles", {"vin": VIN}, mira).json()["id"]
    refused = erase(api, mira, made)
    assert (refused.status_code, refused.json()["code"]) == (409, "unconfirmed")
    assert rows(api, "select count(*) from serving.erasures") == [(0,)]


def test_what_another_owns_too_is_not_erased(api: Api, mira: Person) -> None:
    ben = api.person(f"ben-{uuid4().hex[:8]}@example.org")
    mine, _ = owned(api, mira), owned(api, ben, also=True)
    refused = erase(api, mira, mine)
    assert (refused.status_code, refused.json()["code"]) == (409, "owned_by_others_too")
    api.client.delete(f"/v1/vehicles/{mine}", headers=mira.headers)
    assert rows(api, "select count(*) from serving.erasures") == [(0,)]


def test_an_account_goes_with_its_sessions_and_its_vehicles_are_erased(api: Api, mira: Person) -> None:
    ben = api.person(f"ben-{uuid4().hex[:8]}@example.org")
    owned(api, mira)
    shared = "WVWZZZ1JZXW000001"
    owned(api, ben, shared)
    owned(api, mira, shared, also=True)
    api.post("/v1/vehicles", {"vin": "WVWZZZ1JZXW000009"}, mira)

    def delete(password: str) -> Any:
        return api.client.request("DELETE", "/v1/account", json={"password": password}, headers=mira.headers)

    assert delete("another phrase").json()["code"] == "wrong_password"
    answer = delete(PASSWORD)
    assert answer.status_code == 202
    assert len(answer.json()["erasures"]) == 1
    assert rows(api, "select vin from serving.erasures") == [(VIN,)]
    assert api.client.get("/v1/sessions", headers=mira.headers).status_code == 401
    assert api.post("/v1/refresh", {"refresh_token": mira.refresh}).status_code == 401
    assert api.sign_in(mira.email).status_code == 401
    assert rows(api, "select vin from vehicles") == [(shared,)], "the other owner keeps it"
    assert mira.email not in {email for (email,) in rows(api, "select email from accounts")}


def test_guesses_at_the_password_are_slowed_down(api: Api, mira: Person) -> None:
    statuses = [
        api.client.request("DELETE", "/v1/account", json={"password": "x"}, headers=mira.headers).status_code
        for _ in range(12)
    ]
    assert statuses[0] == 403
    assert statuses[-1] == 429


def test_the_lake_takes_vehicles_out_by_a_function(api: Api, mira: Person) -> None:
    owned(api, mira)
    (pseudonym,) = rows(api, "select vehicle_id from vehicles")[0]
    with api.engine.begin() as connection:
        connection.execute(
            text(
                "insert into serving.fleet_overview (vehicle_id, local_date, trips_30d, open_alerts,"
                " open_critical_alerts, open_codes, battery_status, distance_7d_km, distance_30d_km, last_seen_at)"
                " select v, '2025-01-01', 0, 0, 0, 0, 'ok', 0, 0, now() from unnest(array[:mine, 'other']) v"
            ),
            {"mine": pseudonym},
        )
        assert connection.scalar(text("select serving.forget_vehicles(array[:mine])"), {"mine": pseudonym}) == 1
    assert rows(api, "select vehicle_id from serving.fleet_overview") == [("other",)]
    assert rows(api, "select count(*) from vehicles") == [(0,)]


def test_every_published_table_is_forgotten(api: Api) -> None:
    """A table that a later migration adds has to be added to the function too."""
    (body,) = rows(api, "select prosrc from pg_proc where proname = 'forget_vehicles'")[0]
    tables = rows(
        api,
        "select table_name from information_schema.columns"
        " where table_schema = 'serving' and column_name = 'vehicle_id'",
    )
    assert len(tables) > 10
    for (name,) in tables:
        assert f" serving.{name} where" in body
