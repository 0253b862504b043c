"""Every route and method, taken from OpenAPI, for everybody who may call it. A route without a row here fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
import pytest
from fastapi import FastAPI
from smartdrive_api.app import create_app
from smartdrive_api.identity.access_tokens import Access, AccessTokens
from smartdrive_api.settings import Settings
from smartdrive_api.vehicles import garage
from sqlalchemy import text

from api.tests.calling import PASSWORD, Api, Person

ROLES: Final = ("owner", "shared", "other", "anonymous", "expired")
EVERYBODY: Final = (200, 200, 200, 200, 200)

# What each role gets; the vehicle, share and session in the path are the owner's.
MAY: Final = {
    ("get", "/healthz"): EVERYBODY,
    ("get", "/readyz"): EVERYBODY,
    ("get", "/metrics"): EVERYBODY,  # who call from a network that it is for
    ("get", "/.well-known/jwks.json"): EVERYBODY,
    ("post", "/v1/register"): (202, 202, 202, 202, 202),
    ("post", "/v1/token"): EVERYBODY,
    ("post", "/v1/refresh"): (401, 401, 401, 401, 401),  # what counts is the token in the body, here a wrong one
    ("post", "/v1/logout"): (204, 204, 204, 401, 401),
    ("get", "/v1/account"): (200, 200, 200, 401, 401),
    ("get", "/v1/account/data"): (200, 200, 200, 401, 401),
    ("put", "/v1/account/password"): (204, 204, 204, 401, 401),
    ("get", "/v1/sessions"): (200, 200, 200, 401, 401),
    ("delete", "/v1/sessions"): (204, 204, 204, 401, 401),
    ("delete", "/v1/sessions/{session_id}"): (204, 404, 404, 401, 401),
    ("post", "/v1/vehicles"): (200, 201, 201, 401, 401),  # the owner registered this VIN before
    ("get", "/v1/vehicles"): (200, 200, 200, 401, 401),
    ("get", "/v1/vehicles/{id}"): (200, 200, 404, 401, 401),
    ("patch", "/v1/vehicles/{id}"): (200, 403, 404, 401, 401),
    ("delete", "/v1/vehicles/{id}"): (204, 204, 404, 401, 401),  # a viewer leaves
    ("get", "/v1/vehicles/{id}/shares"): (200, 403, 404, 401, 401),
    ("post", "/v1/vehicles/{id}/shares"): (201, 403, 404, 401, 401),
    ("delete", "/v1/vehicles/{id}/shares/{share_id}"): (204, 403, 404, 401, 401),
    **{
        ("get", f"/v1/vehicles/{{id}}/{figures}"): (200, 200, 404, 401, 401)
        for figures in (
            *("status", "trips", "trips/export", "battery", "alerts", "score", "codes", "days", "health-report"),
        )
    },
    ("delete", "/v1/vehicles/{id}/data"): (202, 403, 404, 401, 401),
    ("delete", "/v1/account"): (403, 403, 403, 401, 401),  # the password is a wrong one
    ("get", "/v1/erasures/{erasure_id}"): (404, 404, 404, 404, 404),  # nobody has asked for this one
    ("get", "/v1/vehicles/{id}/certificate"): (200, 403, 404, 401, 401),
    ("get", "/.well-known/certificate-authority.pem"): EVERYBODY,
    ("get", "/v1/dtc/{code}"): (404, 404, 404, 401, 401),  # the lake has published nothing here
    ("post", "/v1/telemetry/ingest"): (202, 422, 422, 401, 401),  # who sees a vehicle does not send for it
}
VIN: Final = "1M8GDM9AXKP042788"
DEVICE: Final = "app-of-the-owner"
BODIES: Final[dict[tuple[str, str], Any]] = {
    ("put", "/v1/account/password"): {"current_password": PASSWORD, "new_password": PASSWORD},
    ("post", "/v1/telemetry/ingest"): [{"schema": "telemetry.v1", "vin": VIN, "device_id": DEVICE, "t": []}],
    ("post", "/v1/register"): {"email": "new@example.org", "password": PASSWORD},
    ("post", "/v1/token"): {"email": "owner@example.org", "password": PASSWORD},
    ("post", "/v1/refresh"): {"refresh_token": "sdr_" + "x" * 43},
    ("post", "/v1/vehicles"): {"vin": VIN},
    ("patch", "/v1/vehicles/{id}"): {"name": "another"},
    ("delete", "/v1/account"): {"password": "another phrase"},
    ("post", "/v1/vehicles/{id}/shares"): {"email": "friend@example.org"},
}


def operations(app: FastAPI) -> set[tuple[str, str]]:
    return {(method, path) for path, item in app.openapi()["paths"].items() for method in item}


def without_a_row(app: FastAPI) -> set[tuple[str, str]]:
    return operations(app) - set(MAY)


class World:
    """An owner with a confirmed vehicle that is shared with one of two others; sessions are new for each trial."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.emails = {role: f"{role}@example.org" for role in ("owner", "shared", "other")}
        for email in self.emails.values():
            api.person(email)
        with api.engine.begin() as connection:
            owner = {"device": DEVICE, "email": self.emails["owner"]}
            connection.execute(text("update accounts set device_id = :device where email = :email"), owner)
        self._known: dict[str, dict[str, str]] = {}

    def people(self) -> dict[str, dict[str, str]]:
        """Who call, with their headers; new sessions where a trial may have ended the old ones."""
        if not self._known:
            self._known = self._signed_in()
        return self._known

    def forget(self) -> None:
        self._known = {}

    def _signed_in(self) -> dict[str, dict[str, str]]:
        people = {}
        for role, email in self.emails.items():
            self.api.forget_limits()
            tokens = self.api.sign_in(email).json()
            people[role] = Person(email, tokens["access_token"], tokens["refresh_token"]).headers
        token = people["owner"]["authorization"].removeprefix("Bearer ")
        self.claims = jwt.decode(token, options={"verify_signature": False})
        services = self.api.services
        earlier = AccessTokens(services.settings, services.keys, lambda: self.api.clock() - timedelta(hours=1))
        stale = earlier.issue(Access(UUID(self.claims["sub"]), UUID(self.claims["sid"])))
        return people | {"anonymous": {}, "expired": {"authorization": f"Bearer {stale}"}}

    def ids(self, owner: dict[str, str]) -> dict[str, str]:
        self.api.forget_limits()
        client = self.api.client
        vehicle = client.post("/v1/vehicles", json={"vin": VIN}, headers=owner).json()["id"]
        if client.get(f"/v1/vehicles/{vehicle}", headers=owner).json()["status"] == "unconfirmed":
            with self.api.engine.begin() as connection:
                garage.confirm(connection, UUID(vehicle), self.api.clock())
        share = client.post(
            f"/v1/vehicles/{vehicle}/shares", json={"email": self.emails["shared"]}, headers=owner
        ).json()["share_id"]
        ids = {"id": vehicle, "share_id": share, "session_id": self.claims["sid"]}
        return ids | {"code": "P0171", "erasure_id": str(uuid4())}


@pytest.fixture(scope="module")
def world(api: Api) -> World:
    return World(api)


def test_every_route_has_a_row_and_every_row_a_route(api: Api) -> None:
    assert operations(api.app) == set(MAY)


def test_a_route_without_a_row_is_noticed(api: Api, settings: Settings) -> None:
    app = create_app(settings, api.engine)
    app.get("/v1/new")(lambda: None)
    assert without_a_row(app) == {("get", "/v1/new")}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), MAY)
def test_everybody_gets_what_is_theirs(world: World, method: str, path: str, role: str) -> None:
    people = world.people()
    ids = world.ids(people["owner"])
    answer = world.api.client.request(
        method, path.format(**ids), json=BODIES.get((method, path)), headers=people[role]
    )
    if "session" in path or "logout" in path:
        world.forget()
    assert answer.status_code == MAY[method, path][ROLES.index(role)], answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), [key for key in MAY if "id}" in key[1]])
def test_a_foreign_id_and_an_unknown_one_are_one_answer(world: World, method: str, path: str) -> None:
    people = world.people()
    ids = world.ids(people["owner"])

    def answered(names: dict[str, str]) -> tuple[int, dict[str, Any], set[str]]:
        answer = world.api.client.request(
            method, path.format(**names), json=BODIES.get((method, path)), headers=people["other"]
        )
        body = answer.json()
        assert body.pop("request_id")
        return answer.status_code, body, set(answer.headers)

    foreign = answered(ids)
    assert foreign[0] == 404
    assert answered({name: str(uuid4()) for name in ids}) == foreign
    assert answered(dict.fromkeys(ids, "no-id")) == foreign


def test_openapi_says_which_routes_want_a_token(api: Api) -> None:
    for path, item in api.app.openapi()["paths"].items():
        for method, operation in item.items():
            wants = MAY[method, path][ROLES.index("anonymous")] == 401 and path != "/v1/refresh"
            assert (operation.get("security") == [{"accessToken": []}]) is wants, (method, path)


def test_every_answer_that_can_come_is_declared(api: Api) -> None:
    document = api.app.openapi()["paths"]
    for (method, path), statuses in MAY.items():
        declared = {int(status) for status in document[path][method]["responses"]}
        assert set(statuses) <= declared, (method, path)
