"""Vehicles: registering proves nothing, sharing shows and never gives, and a VIN stays with who typed it in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from smartdrive_api.app import create_app
from smartdrive_api.identity.registrations import RefusedError
from smartdrive_api.vehicles import garage
from smartdrive_api.vehicles.vin import check_digit, vehicle_id
from sqlalchemy import text

from api.tests.calling import LAKE_SECRET, Api, Person
from smartdrive_dagster.domain import identity

VALID = "1M8GDM9AXKP042788"  # the example of 49 CFR 565
_NUMBERS = count(1)


def new_vin() -> str:
    return f"WVWZZZ1JZXW{next(_NUMBERS):06d}"


@pytest.fixture(scope="module")
def people(api: Api) -> dict[str, Person]:
    return {name: api.person(f"{name}@example.org") for name in ("mira", "ben", "eve")}


@pytest.fixture
def mira(people: dict[str, Person]) -> Person:
    return people["mira"]


@pytest.fixture
def ben(people: dict[str, Person]) -> Person:
    return people["ben"]


@pytest.fixture
def eve(people: dict[str, Person]) -> Person:
    return people["eve"]


@pytest.fixture(autouse=True)
def _empty_garage(api: Api) -> Iterator[None]:
    yield
    with api.engine.begin() as connection:
        connection.execute(text("delete from vehicles"))


def register(api: Api, person: Person, vin: str, **more: Any) -> httpx.Response:
    return api.post("/v1/vehicles", {"vin": vin, **more}, person)


def confirm(api: Api, vehicle: dict[str, Any], **how: bool) -> None:
    with api.engine.begin() as connection:
        garage.confirm(connection, UUID(vehicle["id"]), api.clock(), **how)


def confirmed(api: Api, person: Person, vin: str | None = None, **how: bool) -> dict[str, Any]:
    vehicle: dict[str, Any] = register(api, person, vin or new_vin()).json()
    confirm(api, vehicle, **how)
    return vehicle


def get(api: Api, person: Person, path: str = "") -> httpx.Response:
    return api.client.get(f"/v1/vehicles{path}", headers=person.headers)


def listed(api: Api, person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(api, person).json()["vehicles"]
    return found


def test_a_vehicle_is_registered_and_waits_for_the_operator(api: Api, mira: Person) -> None:
    answer = register(api, mira, VALID.lower() + " ", name="the bus")
    assert answer.status_code == 201
    vehicle = answer.json()
    assert (vehicle["status"], vehicle["vin"], vehicle["name"]) == ("unconfirmed", VALID, "the bus")
    assert (vehicle["check_digit"], vehicle["warnings"], vehicle["vehicle_id"]) == ("valid", [], None)
    assert get(api, mira, f"/{vehicle['id']}").json() == vehicle
    confirm(api, vehicle)
    shown = get(api, mira, f"/{vehicle['id']}").json()
    assert (shown["status"], shown["data_from"]) == ("confirmed", None)
    assert shown["vehicle_id"] == identity.vehicle_id(VALID, LAKE_SECRET.encode())


def test_the_pseudonym_is_the_lakes(api: Api) -> None:
    for vin, secret in [(VALID, b"x" * 16), (new_vin(), b"\x00\xff" * 20)]:
        assert vehicle_id(vin, secret) == identity.vehicle_id(vin, secret)


@pytest.mark.parametrize(
    ("vin", "expected"),
    [
        (VALID, "valid"),
        ("11111111111111111", "valid"),
        ("1M8GDM9A0KP042788", "invalid"),
        ("LZZZZZ1Z1ZZ000001", "valid"),
        ("LZZZZZ1Z0ZZ000001", "invalid"),
        ("WVWZZZ1JZXW000001", "not_used"),
    ],
)
def test_a_check_digit_is_judged_where_the_law_prescribes_it(vin: str, expected: str) -> None:
    assert check_digit(vin) == expected


def test_a_wrong_check_digit_is_a_warning_and_no_refusal(api: Api, mira: Person) -> None:
    answer = register(api, mira, "1M8GDM9A0KP042788")
    assert (answer.status_code, answer.json()["check_digit"]) == (201, "invalid")
    assert [one["code"] for one in answer.json()["warnings"]] == ["check_digit"]
    assert register(api, mira, new_vin()).json()["warnings"] == []


@pytest.mark.parametrize(
    "vin",
    [
        "",
        "X",
        VALID + "1",
        VALID[:-1],
        VALID.replace("M", "O"),
        "é" * 17,
        "\x00" * 17,
        "\u0131" * 17,
        "' or 1=1; --a bc d",
    ],
)
def test_what_is_no_vin_is_refused_and_not_quoted(api: Api, mira: Person, vin: str) -> None:
    answer = register(api, mira, vin)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/vin")
    assert len(vin) < 16 or vin not in answer.text


def test_the_same_vehicle_twice_is_one_registration_also_at_once(api: Api, mira: Person) -> None:
    vin, answers = new_vin(), []
    threads = [threading.Thread(target=lambda: answers.append(register(api, mira, vin))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_several_vehicles_are_listed_in_the_order_of_their_registration(api: Api, mira: Person) -> None:
    vins = [new_vin() for _ in range(3)]
    for vin in vins:
        register(api, mira, vin)
        api.clock.move(seconds=1)
    assert [one["vin"] for one in listed(api, mira)] == vins


def test_somebody_elses_vin_gives_nothing_and_tells_nothing(api: Api, mira: Person, eve: Person) -> None:
    hers = confirmed(api, mira)
    vin = get(api, mira, f"/{hers['id']}").json()["vin"]
    taken, free = register(api, eve, vin), register(api, eve, new_vin())
    differing = {"id", "vin"}
    assert {k: v for k, v in taken.json().items() if k not in differing} == {
        k: v for k, v in free.json().items() if k not in differing
    }
    assert taken.status_code == free.status_code == 201
    assert taken.json()["vehicle_id"] is None, "the pseudonym would be a thread to pull at"
    assert get(api, eve, f"/{hers['id']}").status_code == 404


def test_whoever_registers_first_locks_nobody_out(api: Api, mira: Person, eve: Person) -> None:
    vin = new_vin()
    squatted = register(api, eve, vin).json()
    hers = confirmed(api, mira, vin)
    assert get(api, mira, f"/{hers['id']}").json()["status"] == "confirmed"
    assert get(api, eve, f"/{squatted['id']}").json()["status"] == "unconfirmed"


def test_a_second_owner_needs_the_operators_word_and_the_next_owner_sees_nothing_older(
    api: Api, mira: Person, ben: Person, eve: Person
) -> None:
    vin, began = new_vin(), api.clock()
    first = confirmed(api, mira, vin)
    second = register(api, ben, vin).json()
    with pytest.raises(RefusedError, match=r"--also .* or --instead"):
        confirm(api, second)
    api.clock.move(seconds=60)
    confirm(api, second, also=True)
    assert get(api, ben, f"/{second['id']}").json()["data_from"] is None
    third = confirmed(api, eve, vin, instead=True)
    assert get(api, mira, f"/{first['id']}").status_code == get(api, ben, f"/{second['id']}").status_code == 404
    shown = get(api, eve, f"/{third['id']}").json()["data_from"]
    assert shown.replace("Z", "+00:00") == api.clock().isoformat()
    assert api.client.delete(f"/v1/vehicles/{third['id']}", headers=eve.headers).status_code == 204
    api.clock.move(seconds=60)
    fourth = confirmed(api, mira, vin)
    assert get(api, mira, f"/{fourth['id']}").json()["data_from"].replace("Z", "+00:00") == api.clock().isoformat()
    api.clock.now = began


def test_what_is_released_forgets_the_vin_and_ends_its_shares(api: Api, mira: Person, ben: Person) -> None:
    hers, unproven = confirmed(api, mira), register(api, mira, new_vin()).json()
    api.post(f"/v1/vehicles/{hers['id']}/shares", {"email": ben.email}, mira)
    for vehicle in (hers, unproven):
        assert api.client.delete(f"/v1/vehicles/{vehicle['id']}", headers=mira.headers).status_code == 204
        assert api.client.delete(f"/v1/vehicles/{vehicle['id']}", headers=mira.headers).status_code == 404
    assert listed(api, mira) == listed(api, ben) == []
    with api.engine.connect() as connection:
        assert connection.execute(text("select vin, name from vehicles")).all() == [(None, None)]


def test_a_share_shows_the_vehicle_and_neither_vin_nor_pseudonym(api: Api, mira: Person, ben: Person) -> None:
    hers = confirmed(api, mira)
    path = f"/{hers['id']}"
    share = api.post(f"/v1/vehicles{path}/shares", {"email": ben.email.upper()}, mira)
    assert share.status_code == 201
    assert api.post(f"/v1/vehicles{path}/shares", {"email": ben.email}, mira).status_code == 200
    shown = get(api, ben, path).json()
    assert (shown["access"], shown["vin"], shown["vehicle_id"], shown["check_digit"]) == (
        "shared",
        None,
        None,
        None,
    )
    assert [one["id"] for one in listed(api, ben)] == [hers["id"]]
    assert [one["email"] for one in get(api, mira, path + "/shares").json()["shares"]] == [ben.email]
    gone = api.client.delete(f"/v1/vehicles{path}/shares/{share.json()['share_id']}", headers=mira.headers)
    assert gone.status_code == 204
    assert get(api, ben, path).status_code == 404


def test_a_viewer_changes_nothing_and_can_leave(api: Api, mira: Person, ben: Person) -> None:
    hers = confirmed(api, mira)
    path = f"/v1/vehicles/{hers['id']}"
    api.post(f"{path}/shares", {"email": ben.email}, mira)
    refused = [
        api.client.patch(path, json={"name": "mine"}, headers=ben.headers),
        api.client.get(f"{path}/shares", headers=ben.headers),
        api.post(f"{path}/shares", {"email": "more@example.org"}, ben),
        api.client.delete(f"{path}/shares/{hers['id']}", headers=ben.headers),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(403, "read_only")] * 4
    assert api.client.delete(path, headers=ben.headers).status_code == 204
    assert listed(api, ben) == []
    assert len(listed(api, mira)) == 1


def test_sharing_does_not_tell_who_has_an_account(api: Api, mira: Person, ben: Person) -> None:
    hers = confirmed(api, mira)
    answers = [
        api.post(f"/v1/vehicles/{hers['id']}/shares", {"email": email}, mira)
        for email in (ben.email, "nobody@example.org")
    ]
    assert {answer.status_code for answer in answers} == {201}
    assert {frozenset(answer.json()) for answer in answers} == {frozenset({"share_id", "email", "created_at"})}


def test_a_share_waits_for_an_account_that_is_made_later(api: Api, mira: Person) -> None:
    hers = confirmed(api, mira)
    api.post(f"/v1/vehicles/{hers['id']}/shares", {"email": "later@example.org"}, mira)
    assert [one["id"] for one in listed(api, api.person("later@example.org"))] == [hers["id"]]


def test_an_unproven_vehicle_cannot_be_pushed_on_others(api: Api, eve: Person, mira: Person) -> None:
    unproven = register(api, eve, new_vin(), name="read this").json()
    answer = api.post(f"/v1/vehicles/{unproven['id']}/shares", {"email": mira.email}, eve)
    assert (answer.status_code, answer.json()["code"]) == (409, "unconfirmed")
    assert listed(api, mira) == []


def test_one_is_not_shared_with_oneself_and_not_with_the_whole_world(api: Api, mira: Person) -> None:
    hers = confirmed(api, mira)
    path = f"/v1/vehicles/{hers['id']}/shares"
    assert api.post(path, {"email": mira.email}, mira).json()["code"] == "own_address"
    with api.engine.begin() as connection:
        connection.execute(
            text(
                "insert into vehicle_shares select gen_random_uuid(), registration_id, n || '@b.org', created_at "
                "from vehicles, generate_series(1, :most) as n"
            ),
            {"most": garage.MAX_SHARES},
        )
    assert api.post(path, {"email": "onemore@example.org"}, mira).json()["code"] == "too_many_shares"


def test_a_name_is_changed_and_taken_away(api: Api, mira: Person) -> None:
    hers = register(api, mira, new_vin()).json()
    path = f"/v1/vehicles/{hers['id']}"
    for name in ("Škoda 🚗", None):
        assert api.client.patch(path, json={"name": name}, headers=mira.headers).json()["name"] == name
    for bad in ("", " x", "a\nb", "x" * 61, "\x00", "\ud800", 7, {}):
        import json

        content = json.dumps({"name": bad})
        answer = api.client.patch(
            path, content=content, headers=mira.headers | {"content-type": "application/json"}
        )
        assert answer.status_code == 422


def test_an_account_has_a_bounded_number_of_vehicles(api: Api, mira: Person) -> None:
    last = register(api, mira, new_vin())
    with api.engine.begin() as connection:
        connection.execute(
            text(
                "insert into vehicles (registration_id, owner_id, vehicle_id, created_at) "
                "select gen_random_uuid(), owner_id, n, created_at from vehicles, generate_series(2, :most) as n"
            ),
            {"most": garage.MAX_VEHICLES},
        )
    assert register(api, mira, new_vin()).json()["code"] == "too_many_vehicles"
    assert register(api, mira, last.json()["vin"]).status_code == 200


def test_trying_vins_is_limited(api: Api, eve: Person) -> None:
    statuses = [register(api, eve, new_vin()).status_code for _ in range(21)]
    assert statuses == [201] * 20 + [429]


def test_without_the_lakes_secret_nothing_is_registered(api: Api, mira: Person) -> None:
    settings = api.settings.model_copy(update={"lake_secret": SecretStr("file:/nowhere/secret")})
    client = TestClient(create_app(settings, api.engine, api.clock))
    answer = client.post("/v1/vehicles", json={"vin": new_vin()}, headers=mira.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "no_lake")


def test_no_vin_is_in_logs_or_metrics(api: Api, mira: Person, caplog: pytest.LogCaptureFixture) -> None:
    vin = new_vin()
    with caplog.at_level(logging.DEBUG):
        vehicle = register(api, mira, vin).json()
        get(api, mira, f"/{vehicle['id']}")
        get(api, mira, f"/{vin}")
    ours = " ".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    metrics = api.client.get("/metrics").text
    for said in (ours, metrics):
        assert vin not in said
        assert vehicle["id"] not in said
    assert 'route="/v1/vehicles/{id}"' in metrics
