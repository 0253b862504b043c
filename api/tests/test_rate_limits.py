"""Rate limits: shared by all instances, exact when many ask at once, and blind to what a client says of itself."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from fastapi.testclient import TestClient
from smartdrive_api.app import create_app
from smartdrive_api.database import connect
from smartdrive_api.identity.rate_limits import SIGN_IN_OF_ADDRESS, SIGN_IN_TO_ACCOUNT, Limit, household, take
from smartdrive_api.problems import Problem
from smartdrive_api.services import client_address
from sqlalchemy import Engine, text
from starlette.requests import Request

from api.tests.calling import Api

LIMIT = Limit("trial", 5, timedelta(seconds=10))
NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _fresh(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("delete from rate_limits"))


def passes(engine: Engine, now: datetime, subject: str = "x") -> int:
    """0 where it passes, else the seconds to wait."""
    try:
        take(engine, LIMIT, subject, now)
    except Problem as problem:
        return int(problem.headers["Retry-After"])
    return 0


def test_a_burst_passes_and_then_one_per_interval(engine: Engine) -> None:
    assert [passes(engine, NOW) for _ in range(7)] == [0, 0, 0, 0, 0, 10, 10]
    assert passes(engine, NOW, "another") == 0
    assert passes(engine, NOW + timedelta(seconds=9)) == 1
    assert [passes(engine, NOW + timedelta(seconds=10)) for _ in range(2)] == [0, 10]
    assert [passes(engine, NOW + timedelta(hours=1)) for _ in range(6)] == [0] * 5 + [10]


def test_of_many_at_once_over_two_instances_exactly_the_burst_passes(engine: Engine) -> None:
    instances = [engine, connect(engine.url.render_as_string(hide_password=False))]
    at_once, passed = threading.Barrier(20), []

    def ask(instance: Engine) -> None:
        at_once.wait()
        passed.append(passes(instance, NOW) == 0)

    threads = [threading.Thread(target=ask, args=(instances[n % 2],)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    instances[1].dispose()
    assert passed.count(True) == LIMIT.burst


def test_guessing_one_account_from_many_places_ends(api: Api) -> None:
    app = create_app(api.settings, api.engine, api.clock)
    answers = [
        TestClient(app, client=(f"203.0.113.{n}", 1)).post(
            "/v1/token", json={"email": "victim@example.org", "password": f"guess number {n}"}
        )
        for n in range(SIGN_IN_TO_ACCOUNT.burst + 1)
    ]
    assert [answer.status_code for answer in answers] == [401] * SIGN_IN_TO_ACCOUNT.burst + [429]
    assert answers[-1].headers["retry-after"] == "60"
    assert answers[-1].headers["content-type"] == "application/problem+json"


def test_guessing_many_accounts_from_one_place_ends_whatever_it_says_of_itself(api: Api) -> None:
    statuses = [
        api.client.post(
            "/v1/token",
            json={"email": f"victim{n}@example.org", "password": "Guess of mine"},
            headers={"x-forwarded-for": f"198.51.100.{n}"},
        ).status_code
        for n in range(SIGN_IN_OF_ADDRESS.burst + 1)
    ]
    assert statuses == [401] * SIGN_IN_OF_ADDRESS.burst + [429]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),  # no proxy of ours
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the left was written by the client
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),  # two proxies of ours
        ("10.0.0.1", ["rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("testclient", ["198.51.100.1"], "testclient"),
    ],
)
def test_who_calls_is_said_by_trusted_proxies_alone(peer: str, forwarded: list[str], expected: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert client_address(request, (ip_network("10.0.0.0/8"),)) == expected


def test_a_household_is_one_address_or_one_prefix() -> None:
    assert household("203.0.113.7") == household("::ffff:203.0.113.7") == "203.0.113.7"
    assert household("2001:db8:1:2:3:4:5:6") == household("2001:db8:1:2::9") == "2001:db8:1:2::"
    assert household("2001:db8:1:3::9") != household("2001:db8:1:2::9")
    assert household("rubbish") == "unknown"


def test_no_address_and_no_account_is_stored_in_clear(api: Api) -> None:
    api.sign_in("limited@example.org")
    with api.engine.connect() as connection:
        rows = connection.execute(text("select encode(subject, 'escape') from rate_limits")).all()
    assert len(rows) == 2
    assert "limited" not in str(rows)
    assert "127.0.0.1" not in str(rows)
