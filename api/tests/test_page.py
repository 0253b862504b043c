"""The owner's page, as a browser is answered and as Chromium shows it."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import uvicorn
from fastapi.testclient import TestClient
from smartdrive_api.figures import tables
from smartdrive_api.page.charts import battery_chart, trips_chart
from smartdrive_api.page.web_sessions import COOKIE
from sqlalchemy import text
from websockets.sync.client import connect

from api.tests.calling import PASSWORD, Api
from api.tests.test_figures import MINE, VIN, House, trip
from docs.take_screenshot import CHROMIUM, Page, free_port, page_socket, running

EMAIL = "page@example.org"
HERE = {"sec-fetch-site": "same-origin"}


class Browser:
    """A browser with its cookies, over HTTPS."""

    def __init__(self, api: Api) -> None:
        api.forget_limits()
        self.client = TestClient(
            api.app, base_url="https://testserver", follow_redirects=False, raise_server_exceptions=False
        )

    def sign_in(self, password: str = PASSWORD, email: str = EMAIL, **headers: str) -> Any:
        form = {"email": email, "password": password}
        return self.client.post("/sign-in", data=form, headers=HERE | headers)

    def get(self, path: str) -> Any:
        return self.client.get(path)


@pytest.fixture(scope="module")
def car(api: Api) -> str:
    """The id of a car with something to show, of the person who signs in."""
    house = House(api)
    person = api.person(EMAIL)
    mine = house.owned(person, VIN, also=True)
    name = "<b>Blue</b> & Co"
    api.client.patch(f"/v1/vehicles/{mine}", json={"name": name}, headers=person.headers)
    unconfirmed = api.post("/v1/vehicles", {"vin": "WVWZZZ1JZXW000009", "name": "new one"}, person)
    assert unconfirmed.status_code == 201
    now = api.clock()
    fill(house, now)
    return mine


def fill(house: House, now: datetime) -> None:
    """Half a year of figures up to now."""
    started = [now - timedelta(days=7 * week, hours=3) for week in range(26)]
    house.put(
        tables.TRIPS,
        *(
            trip(number, label="<i>to work</i>" if number == 0 else None)
            | {"event_date": at.date(), "started_at": at, "ended_at": at + timedelta(minutes=30)}
            for number, at in enumerate(started)
        ),
    )
    house.put(
        tables.BATTERY_HEALTH,
        *(
            {
                "vehicle_id": MINE,
                "event_date": at.date(),
                "status": "ok" if soh >= 80 else "warning",
                "confidence": "high",
                "soh_pct": soh,
                "soh_low_pct": soh - 6,
                "soh_high_pct": soh + 5,
            }
            for number, at in enumerate(started)
            for soh in (70.0 + number,)
        ),
    )
    house.put(
        tables.FLEET_OVERVIEW,
        {
            "vehicle_id": MINE,
            "local_date": now.date(),
            "last_seen_at": started[0],
            "distance_30d_km": 1234.5,
            "battery_status": "warning",
            "open_alerts": 1,
            "open_codes": 1,
        },
    )
    explained = {
        "severity": {
            "action": "Have it looked at.",
            "why": "Consumption suffers.",
            "level": "warning",
            "rule": "r",
        },
        "causes": ["a leak"],
        "actions": ["look for the leak"],
    }
    house.put(tables.DTC_CODES, {"code": "P0171", "language": "en", "explanation": json.dumps(explained)})
    house.put(
        tables.DTC_EPISODES,
        {
            "episode_id": "p",
            "vehicle_id": MINE,
            "event_date": now.date(),
            "dtc_code": "P0171",
            "title": "Mixture: too lean <x>",
            "severity": "warning",
            "status": "stored",
            "opened_at": started[0],
            "is_open": True,
        },
    )
    house.put(
        tables.ALERTS,
        {
            "alert_id": "p",
            "vehicle_id": MINE,
            "event_date": now.date(),
            "severity": "warning",
            "state": "open",
            "opened_at": started[0],
            "title": "Weak battery",
            "text": "Have it tested.",
        },
    )


@pytest.fixture
def browser(api: Api, car: str) -> Browser:
    made = Browser(api)
    answer = made.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return made


def test_the_cookie_is_for_this_host_alone_and_no_script(api: Api, car: str) -> None:
    (cookie,) = Browser(api).sign_in().headers.get_list("set-cookie")
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-session=sdr_")
    assert {one.lower() for one in attributes} == {"httponly", "path=/", "samesite=strict", "secure"}


def test_what_people_wrote_is_text_and_never_markup(browser: Browser, car: str) -> None:
    cars, page = browser.get("/").text, browser.get(f"/cars/{car}").text
    assert "&lt;b&gt;Blue&lt;/b&gt; &amp; Co" in cars
    assert "has not confirmed yet" in cars
    assert "&lt;i&gt;to work&lt;/i&gt;" in page
    assert "too lean &lt;x&gt;" in page
    for text_ in (cars, page):
        assert "<script" not in text_
        assert "<b>" not in text_
        assert " style=" not in text_


def test_every_page_has_one_strict_policy(browser: Browser, car: str) -> None:
    for path in ("/", f"/cars/{car}", "/cars/nothing"):
        (policy,) = browser.get(path).headers.get_list("content-security-policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert browser.get(path).headers["cache-control"] == "no-store"
    assert browser.get("/page.css").headers["content-type"].startswith("text/css")


def test_a_car_that_is_not_the_callers_is_not_there(browser: Browser, api: Api, car: str) -> None:
    other = api.person("other-page@example.org")
    theirs = api.post("/v1/vehicles", {"vin": "WVWZZZ1JZXW000008"}, other).json()["id"]
    answers = [browser.get(f"/cars/{id_}") for id_ in (theirs, UUID(int=7), "x", "%00")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


def test_a_car_that_is_not_confirmed_shows_nothing(browser: Browser, api: Api) -> None:
    with api.engine.connect() as connection:
        id_ = connection.scalar(text("select registration_id from vehicles where name = 'new one'"))
    answer = browser.get(f"/cars/{id_}")
    assert (answer.status_code, "has confirmed it" in answer.text) == (409, True)


def test_without_a_session_there_is_the_form_alone(api: Api, car: str) -> None:
    stranger = Browser(api)
    assert "Sign in" in stranger.get("/").text
    assert stranger.get(f"/cars/{car}").headers["location"] == "/"
    stranger.client.cookies.set(COOKIE, "sdr_" + "x" * 43)
    assert "Sign in" in stranger.get("/").text


@pytest.mark.parametrize(
    ("email", "password"),
    [(EMAIL, "wrong"), ("nobody@example.org", PASSWORD), ("no address", PASSWORD), ("", ""), (EMAIL, "x" * 9000)],
)
def test_a_wrong_sign_in_says_one_thing(api: Api, car: str, email: str, password: str) -> None:
    answer = Browser(api).sign_in(password, email)
    assert answer.status_code == 401
    assert "No account has this address and this password." in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"email", b"a=1&" * 50, b"email=%ff&password=%00"])
def test_a_form_that_is_none_is_a_wrong_sign_in(api: Api, car: str, body: bytes) -> None:
    assert Browser(api).client.post("/sign-in", content=body, headers=HERE).status_code == 401


def test_too_many_attempts_are_slowed_down(api: Api, car: str) -> None:
    browser = Browser(api)
    statuses = [browser.sign_in("wrong").status_code for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_a_form_from_elsewhere_does_nothing(
    browser: Browser, car: str, headers: dict[str, str], path: str
) -> None:
    form = {"email": EMAIL, "password": PASSWORD}
    answer = browser.client.post(path, data=form, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert browser.get(f"/cars/{car}").status_code == 200


def test_an_old_browser_names_its_origin(api: Api, car: str) -> None:
    form = {"email": EMAIL, "password": PASSWORD}
    headers = {"origin": "https://testserver"}
    assert Browser(api).client.post("/sign-in", data=form, headers=headers).status_code == 303


def test_signing_out_ends_the_session_for_everybody_who_has_the_cookie(
    api: Api, browser: Browser, car: str
) -> None:
    thief = Browser(api)
    thief.client.cookies.set(COOKIE, browser.client.cookies[COOKIE])
    assert thief.get(f"/cars/{car}").status_code == 200
    assert browser.client.post("/sign-out", headers=HERE).status_code == 303
    assert thief.get(f"/cars/{car}").status_code == 303
    assert COOKIE not in browser.client.cookies


def test_a_session_is_listed_and_ends_when_its_owner_or_time_ends_it(api: Api, car: str) -> None:
    tokens = api.sign_in(EMAIL).json()
    headers = {"authorization": f"Bearer {tokens['access_token']}"}

    def of_pages() -> set[str]:
        listed = api.client.get("/v1/sessions", headers=headers).json()["sessions"]
        return {one["session_id"] for one in listed if one["device"] == "web page"}

    before_it, browser = of_pages(), Browser(api)
    browser.sign_in()
    (session,) = of_pages() - before_it
    assert api.client.delete(f"/v1/sessions/{session}", headers=headers).status_code == 204
    assert browser.get(f"/cars/{car}").status_code == 303

    before = api.clock.now
    try:
        browser.sign_in()
        for _ in range(6):  # used every ten days, it lives on beyond the fourteen that idle ones have
            api.clock.move(days=10)
            assert browser.get(f"/cars/{car}").status_code == 200
        api.clock.move(days=15)
        assert browser.get(f"/cars/{car}").status_code == 303
    finally:
        api.clock.now = before


def test_charts_stay_within_their_frame_whatever_the_numbers() -> None:
    def day(number: int, soh: float | None, **more: Any) -> Any:
        from smartdrive_api.figures.answers import BatteryDay

        row = dict.fromkeys(BatteryDay.model_fields) | {"cranks": 1, "conclusive_cranks": 1, "failing_cranks": 0}
        return BatteryDay.model_validate(
            row | {"event_date": date(2025, 1, 1) + timedelta(number), "soh_pct": soh, "status": "ok"} | more
        )

    nothing = battery_chart([day(0, None)])
    assert (nothing.points, nothing.path, nothing.band) == ([], "", "")
    one = battery_chart([day(0, 95.0)])
    assert [point.x for point in one.points] == [344.0]
    low = battery_chart(
        [day(0, 3.0, soh_low_pct=-5.0, soh_high_pct=120.0), day(9, 99.0, soh_low_pct=9.0, soh_high_pct=99.0)]
    )
    for points in (low.path, low.band):
        for pair in points.split():
            x, y = map(float, pair.split(","))
            assert 56 <= x <= 632
            assert 12 <= y <= 212
    empty = trips_chart([])
    assert empty.bars == []


@pytest.fixture(scope="module")
def chromium_page(api: Api, car: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    """A tab of Chromium and the URL of a real server."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: apt-get install chromium")
        pytest.skip("no chromium on the PATH")
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(api.app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    folder = tmp_path_factory.mktemp("chromium")
    profile = folder / "profile"
    command = [program, *CHROMIUM, f"--user-data-dir={profile}", "about:blank"]
    with running(command, folder, os.environ), connect(page_socket(profile), max_size=None) as socket:
        page = Page(socket)
        page.call("Page.enable")
        yield page, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


LOADED = "document.readyState === 'complete'"


def look(page: Page, *, width: int, scheme: str) -> None:
    page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
    )
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def open_(page: Page, url: str, shows: str) -> None:
    page.call("Page.navigate", url=url)
    page.wait_until(f"{LOADED} && document.body.innerText.includes({json.dumps(shows)})")


def complaints(page: Page) -> list[str]:
    """What axe-core finds wrong, by the rules of WCAG 2.1 A and AA and good practice."""
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None
    assert spec.origin is not None
    page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8") + ";true")
    page.evaluate("axe.run().then(found => { window.found = found }); true")
    page.wait_until("window.found !== undefined")
    told = page.evaluate(
        "JSON.stringify(found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | ')))"
    )
    assert page.evaluate("found.passes.length") > 10
    page.evaluate("delete window.found; true")
    return list(json.loads(told))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_in_chromium_the_pages_work_are_accessible_and_fit(
    chromium_page: tuple[Page, str], api: Api, car: str, tmp_path: Path, width: int, scheme: str
) -> None:
    page, url = chromium_page
    api.forget_limits()
    page.call("Network.clearBrowserCookies")
    look(page, width=width, scheme=scheme)
    seen = []

    def judge(name: str) -> None:
        seen.append(name)
        assert complaints(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        picture = page.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        kept = tmp_path / f"{name}-{width}-{scheme}.png"  # for whoever wants to look
        kept.write_bytes(base64.b64decode(picture))

    open_(page, f"{url}/", "Sign in")
    judge("sign-in")
    page.evaluate(
        f"document.getElementById('email').value = {json.dumps(EMAIL)};"
        f"document.getElementById('password').value = {json.dumps(PASSWORD)};"
        "document.querySelector('main form').requestSubmit(); true"
    )
    page.wait_until(f"{LOADED} && document.body.innerText.includes('Your cars')")
    judge("cars")
    page.evaluate("document.querySelector('.cars a').click(); true")
    page.wait_until(f"{LOADED} && document.body.innerText.includes('Last trips')")
    assert page.evaluate("document.querySelectorAll('svg.chart').length") == 2
    assert page.evaluate("document.querySelectorAll('svg.chart circle').length") >= 26
    colours = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colours == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(16, 21, 28)"), "the style is applied"
    judge("car")
    page.evaluate("document.querySelector('header form').requestSubmit(); true")
    page.wait_until(f"{LOADED} && document.body.innerText.includes('Password')")
    assert seen == ["sign-in", "cars", "car"]
