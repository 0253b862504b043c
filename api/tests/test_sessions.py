"""Sessions: one use of a refresh token, the end of a family, expiry, and nobody else's sessions."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from smartdrive_api.upkeep import tidy
from sqlalchemy import text

from api.tests.calling import Api, Person

NEVER = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def mira(api: Api) -> Person:
    return api.person(f"mira-{uuid4().hex}@example.org")


def refresh(api: Api, token: str) -> Any:
    return api.post("/v1/refresh", {"refresh_token": token})


def listed(api: Api, person: Person) -> list[dict[str, Any]]:
    answer = api.client.get("/v1/sessions", headers=person.headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["sessions"]
    return found


def test_a_refresh_token_is_good_once_and_its_answer_holds_the_next(api: Api, mira: Person) -> None:
    first = refresh(api, mira.refresh)
    assert first.status_code == 200
    second = refresh(api, first.json()["refresh_token"])
    assert second.status_code == 200
    assert len({mira.refresh, first.json()["refresh_token"], second.json()["refresh_token"]}) == 3
    assert listed(api, Person("", second.json()["access_token"], ""))[0]["is_current"]


def test_using_a_token_again_ends_its_family_with_all_that_it_gave(api: Api, mira: Person) -> None:
    other = Person("", api.sign_in(mira.email).json()["access_token"], "")
    following = refresh(api, mira.refresh).json()
    assert refresh(api, mira.refresh).json()["code"] == "invalid_refresh_token"
    assert refresh(api, following["refresh_token"]).status_code == 401
    for access in (mira.access, following["access_token"]):
        assert api.client.get("/v1/sessions", headers={"authorization": f"Bearer {access}"}).status_code == 401
    assert len(listed(api, other)) == 1, "the other session of the same account lives on"


def test_of_fifty_uses_at_once_one_succeeds_and_then_the_family_is_dead(api: Api, mira: Person) -> None:
    at_once, answers = threading.Barrier(50), []

    def use() -> None:
        at_once.wait()
        answers.append(refresh(api, mira.refresh))

    threads = [threading.Thread(target=use) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert refresh(api, winner["refresh_token"]).status_code == 401
    assert api.client.get("/v1/sessions", headers=mira.headers).status_code == 401


@pytest.mark.parametrize(
    "token", ["", "sdr_", "x" * 47, "sdr_" + "a" * 43, "sdr_" + "é" * 43, "sdr_" + "a" * 43 + "\n"]
)
def test_a_token_that_was_never_given_is_refused(api: Api, token: str) -> None:
    assert refresh(api, token).status_code == 401


def test_a_session_slides_with_its_use_up_to_its_absolute_end(api: Api, mira: Person) -> None:
    began, token = api.clock(), mira.refresh
    idle = timedelta(seconds=api.settings.session_idle_s)
    ends = began + timedelta(seconds=api.settings.session_absolute_s)
    try:
        while True:
            api.clock.now += idle - timedelta(seconds=1)
            answer = refresh(api, token)
            if answer.status_code != 200:
                break
            token = answer.json()["refresh_token"]
            expires = datetime.fromisoformat(answer.json()["refresh_expires_at"])
            assert expires == min(api.clock() + idle, ends)
        assert api.clock() >= ends
    finally:
        api.clock.now = began


def test_a_session_that_was_not_refreshed_in_time_has_ended(api: Api, mira: Person) -> None:
    began = api.clock()
    try:
        api.clock.move(seconds=api.settings.session_idle_s)
        assert refresh(api, mira.refresh).status_code == 401
        fresh = Person("", api.sign_in(mira.email).json()["access_token"], "")
        assert [one["is_current"] for one in listed(api, fresh)] == [True]
    finally:
        api.clock.now = began


def test_an_access_token_ends_after_a_quarter_of_an_hour_and_the_leeway(api: Api, mira: Person) -> None:
    began = api.clock()
    try:
        api.clock.move(seconds=929)
        assert len(listed(api, mira)) == 1
        api.clock.move(seconds=1)
        assert api.client.get("/v1/sessions", headers=mira.headers).status_code == 401
    finally:
        api.clock.now = began


def test_sessions_are_listed_with_their_devices_and_ended_one_by_one(api: Api, mira: Person) -> None:
    phone = api.sign_in(mira.email, device="phone").json()
    sessions = {one["device"]: one for one in listed(api, mira)}
    assert set(sessions) == {"phone", None}
    assert (sessions["phone"]["is_current"], sessions[None]["is_current"]) == (False, True)
    path = f"/v1/sessions/{sessions['phone']['session_id']}"
    assert api.client.delete(path, headers=mira.headers).status_code == 204
    assert api.client.delete(path, headers=mira.headers).status_code == 404
    assert refresh(api, phone["refresh_token"]).status_code == 401
    assert len(listed(api, mira)) == 1


def test_all_sessions_are_ended_at_once(api: Api, mira: Person) -> None:
    other = api.sign_in(mira.email).json()
    assert api.client.delete("/v1/sessions", headers=mira.headers).status_code == 204
    for access in (mira.access, other["access_token"]):
        assert api.client.get("/v1/sessions", headers={"authorization": f"Bearer {access}"}).status_code == 401
    assert refresh(api, other["refresh_token"]).status_code == 401


def test_sessions_of_others_are_neither_seen_nor_ended(api: Api, mira: Person) -> None:
    eve = api.person(f"eve-{uuid4().hex}@example.org")
    hers = listed(api, mira)[0]["session_id"]
    assert hers not in {one["session_id"] for one in listed(api, eve)}
    foreign = api.client.delete(f"/v1/sessions/{hers}", headers=eve.headers)
    for unknown in (NEVER, "x", hers.upper(), f"{{{hers}}}", "%00", "'"):
        answer = api.client.delete(f"/v1/sessions/{unknown}", headers=eve.headers)
        assert _but_id(answer.json()) == _but_id(foreign.json())
        assert answer.status_code == foreign.status_code == 404
    api.client.delete("/v1/sessions", headers=eve.headers)
    assert len(listed(api, mira)) == 1


def _but_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "request_id"}


def test_the_database_knows_no_token(api: Api, mira: Person) -> None:
    with api.engine.connect() as connection:
        rows = connection.execute(
            text("select encode(token_hash, 'escape'), session_id from refresh_tokens")
        ).all()
    assert rows
    assert mira.refresh.removeprefix("sdr_") not in str(rows)


def test_what_has_ended_is_forgotten(api: Api, mira: Person) -> None:
    began = api.clock()
    try:
        api.register("late@example.org")
        assert tidy(api.engine, api.clock()) == {"sessions": 0, "registrations": 0, "rate limits": 0}
        api.clock.move(seconds=api.settings.session_absolute_s)
        gone = tidy(api.engine, api.clock())
        assert gone["sessions"] > 0
        assert gone["registrations"] == 1
        assert gone["rate limits"] > 0
        with api.engine.connect() as connection:
            assert (
                connection.scalar(
                    text("select count(*) from refresh_tokens where token_hash = sha256(:t)"),
                    {"t": mira.refresh.encode()},
                )
                == 0
            )
    finally:
        api.clock.now = began
