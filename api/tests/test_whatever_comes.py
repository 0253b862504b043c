"""Whatever comes, nothing is a 5xx, every error is a problem, and nothing that was sent comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.tests.calling import Api, Person

MARK = "kZ7qWx3v"  # stands in every text that is made up
TEXTS = st.text(max_size=30).map(lambda text: MARK + text) | st.sampled_from(
    [
        "",
        "\x00",
        "\ud800",
        "sdr_" + "x" * 43,
        "mira@example.org",
        "1M8GDM9AXKP042788",
        "x" * 5000,
        "three words and 1",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("email", "password", "device", "refresh_token", "vin", "name", "current_password", "new_password")
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4) | VALUES
ROUTES = st.sampled_from(
    [
        *(("POST", f"/v1/{name}") for name in ("register", "token", "refresh", "logout", "vehicles")),
        *(("PATCH", "/v1/vehicles/x"), ("POST", "/v1/vehicles/x/shares"), ("GET", "/v1/sessions")),
        *(("PUT", "/v1/account/password"), ("POST", "/v1/telemetry/ingest")),
    ]
)
TYPES = st.sampled_from(
    [
        *("application/json", "application/json; charset=utf-16", "application/x-ndjson"),
        *("text/plain", "multipart/form-data", ""),
    ]
)


@pytest.fixture(scope="module")
def person(api: Api) -> Person:
    return api.person("fuzz@example.org")


@settings(max_examples=60, deadline=None)
@given(route=ROUTES, body=BODIES | st.binary(max_size=50), kind=TYPES, as_somebody=st.booleans())
def test_nothing_that_is_sent_breaks_the_api_or_comes_back(
    api: Api, person: Person, route: tuple[str, str], body: object, kind: str, as_somebody: bool
) -> None:
    api.forget_limits()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": kind} | (person.headers if as_somebody and route[1] != "/v1/logout" else {})
    answer = api.client.request(*route, content=content, headers=headers)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert MARK not in answer.text


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]),
    path=st.text(st.characters(codec="utf-8"), max_size=20),
    query=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_no_path_and_no_query_breaks_the_api(api: Api, method: str, path: str, query: str) -> None:
    from urllib.parse import quote

    where = f"/v1/vehicles/{quote(path, safe='/')}?{quote(query, safe='=&')}"
    answer = api.client.request(method, where)
    assert answer.status_code < 500
    assert method == "HEAD" or answer.json()["status"] == answer.status_code
