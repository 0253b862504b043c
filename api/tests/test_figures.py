"""What the lake published, shown to whom it belongs: in pages, files and one report."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from smartdrive_api.figures import tables
from smartdrive_api.vehicles import garage
from smartdrive_api.vehicles.vin import vehicle_id
from sqlalchemy import Table, insert, text

from api.tests.calling import LAKE_SECRET, Api, Person

VIN = "1M8GDM9AXKP042788"
OTHER_VIN = "WVWZZZ1JZXW000001"
MINE = vehicle_id(VIN, LAKE_SECRET.encode())
THEIRS = vehicle_id(OTHER_VIN, LAKE_SECRET.encode())
FIRST = datetime(2025, 5, 1, 8, tzinfo=UTC)


def required(table: Table) -> dict[str, Any]:
    """Something for each column that is never null."""
    fillers = {"BIGINT": 0, "DOUBLE": 0.0, "BOOLEAN": False, "DATE": FIRST.date(), "DATETIME": FIRST, "TEXT": "x"}
    return {
        c.name: fillers[c.type.__visit_name__.upper().replace("BIG_INTEGER", "BIGINT")]
        for c in table.c
        if not c.nullable
    }


class House:
    """A person with a confirmed vehicle, and the published rows of two."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.person = api.person("mira@example.org")
        self.id = self.owned(self.person, VIN)

    def owned(self, person: Person, vin: str, **how: bool) -> str:
        """A confirmed registration."""
        made: str = self.api.post("/v1/vehicles", {"vin": vin}, person).json()["id"]
        with self.api.engine.begin() as connection:
            garage.confirm(connection, UUID(made), self.api.clock(), **how)
        return made

    def put(self, table: Table, *rows: dict[str, Any]) -> None:
        filled = [required(table) | row for row in rows]
        with self.api.engine.begin() as connection:
            connection.execute(insert(table), filled)

    def get(self, path: str, person: Person | None = None, status: int = 200, **query: object) -> Any:
        answer = self.ask(path, person, **query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def ask(self, path: str, person: Person | None = None, **query: object) -> Any:
        where = path if path.startswith("/") else f"/v1/vehicles/{self.id}/{path}"
        params = {name.rstrip("_"): value for name, value in query.items()}
        return self.api.client.get(where, params=params, headers=(person or self.person).headers)


def trip(number: int, vehicle: str = MINE, **more: Any) -> dict[str, Any]:
    began = FIRST + timedelta(days=number)
    return {
        "trip_id": f"{vehicle[:2]}{number:03}",
        "vehicle_id": vehicle,
        "event_date": began.date(),
        "started_at": began,
        "ended_at": began + timedelta(minutes=20),
        "duration_s": 1200.0,
        "distance_km": 10.0 + number,
        "label": None,
        "start_latitude_deg": 47.5,
        "start_longitude_deg": 19.04,
        "end_latitude_deg": 47.53,
        "end_longitude_deg": 19.11,
    } | more


@pytest.fixture(scope="module")
def house(api: Api) -> House:
    made = House(api)
    made.put(tables.TRIPS, *(trip(number) for number in range(30)), trip(3, THEIRS, label="not yours"))
    made.put(
        tables.TRIP_FUEL,
        {
            "trip_id": f"{MINE[:2]}029",
            "vehicle_id": MINE,
            "event_date": date(2025, 5, 30),
            "method": "maf",
            "fuel_l": 1.5,
        },
    )
    health = {"status": "ok", "cranks": 2, "conclusive_cranks": 2, "failing_cranks": 0, "confidence": "high"}
    made.put(
        tables.BATTERY_HEALTH,
        *(
            {"vehicle_id": vehicle, "event_date": date(2025, 5, day), "soh_pct": 90.0 - day, **health}
            for day in (1, 2, 30)
            for vehicle in (MINE, THEIRS)
        ),
    )
    made.put(
        tables.FLEET_OVERVIEW,
        *(
            {"vehicle_id": MINE, "local_date": date(2025, 5, day), "trips_30d": day, "last_seen_at": FIRST}
            for day in (29, 30)
        ),
    )
    made.put(tables.VEHICLE_DAILY, {"vehicle_id": MINE, "local_date": date(2025, 5, 30), "trips": 1})
    made.put(
        tables.FUEL_ECONOMY,
        {"vehicle_id": MINE, "local_date": date(2025, 5, 30), "trips": 1, "fuel_l": 1.5, "currency": "EUR"},
    )
    made.put(
        tables.DRIVER_SCORES,
        {"vehicle_id": MINE, "week_start_date": date(2025, 5, 19), "score": 88.0, "status": "scored"},
        {"vehicle_id": MINE, "week_start_date": date(2025, 5, 26), "score": None, "status": "too_short"},
    )
    made.put(
        tables.DTC_EPISODES,
        *(
            {
                "episode_id": f"e{number}",
                "vehicle_id": MINE,
                "event_date": FIRST.date(),
                "dtc_code": code,
                "system": "powertrain",
                "origin": "generic",
                "title": f"title of {code}",
                "title_tier": "own",
                "severity": severity,
                "severity_rule": "powertrain",
                "opened_at": FIRST + timedelta(hours=number),
                "is_open": is_open,
                "status": "stored",
            }
            for number, (code, severity, is_open) in enumerate(
                [("P0171", "warning", True), ("P0524", "critical", False)]
            )
        ),
    )
    made.put(
        tables.ALERTS,
        *(
            {
                "alert_id": f"a{number}",
                "vehicle_id": MINE,
                "event_date": FIRST.date(),
                "kind": "battery",
                "severity": "warning",
                "state": state,
                "opened_at": FIRST,
                "title": f"alert {number}",
                "text": "Look.",
            }
            for number, state in enumerate(["open", "resolved", "resolved"])
        ),
    )
    made.put(
        tables.DRAIN_EPISODES,
        {
            "drain_episode_id": "d",
            "vehicle_id": MINE,
            "event_date": FIRST.date(),
            "opened_at": FIRST,
            "last_seen_at": FIRST + timedelta(days=3),
            "is_open": False,
        },
    )
    return made


def test_trips_come_in_pages_the_newest_first_and_each_once(house: House) -> None:
    found: list[str] = []
    query: dict[str, object] = {"limit": 7}
    for _ in range(10):
        page = house.get("trips", **query)
        found += [one["trip_id"] for one in page["trips"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == [f"{MINE[:2]}{number:03}" for number in reversed(range(30))]


def test_a_page_goes_on_where_it_ended_whatever_was_published_meanwhile(house: House) -> None:
    page = house.get("trips", limit=2)
    house.put(tables.TRIPS, trip(40))
    after = house.get("trips", limit=1, cursor=page["next_cursor"])
    assert after["trips"][0]["trip_id"] == f"{MINE[:2]}027"
    with house.api.engine.begin() as connection:
        connection.execute(text("delete from serving.trips where label is null and distance_km = 50"))


def test_trips_of_a_span_and_their_fuel(house: House) -> None:
    found = house.get("trips", from_="2025-05-29", to="2025-05-30")["trips"]
    assert [one["started_at"][:10] for one in found] == ["2025-05-30", "2025-05-29"]
    assert (found[0]["fuel_l"], found[0]["fuel_method"]) == (1.5, "maf")
    assert found[1]["fuel_l"] is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "WzEsMl0=", "WyIyMDI1LTA1LTAxIiwgImEiXQ==", "bnVsbA==", "\u2603", "W1tbW1s=" * 20]
)
def test_what_is_no_cursor_is_refused(house: House, cursor: str) -> None:
    assert house.get("trips", cursor=cursor, status=422)["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"from_": "2025-06-02", "to": "2025-06-01"}, "battery"),
        ({"from_": "2000-01-01", "to": "2025-06-01"}, "days"),
        ({"from_": "2023-06-02", "to": "2025-06-01"}, "trips/export"),
        ({"limit": 0}, "trips"),
        ({"limit": 201}, "alerts"),
        ({"from_": "yesterday"}, "score"),
        ({"format": "kml"}, "trips/export"),
    ],
)
def test_what_cannot_be_meant_is_refused(house: House, query: dict[str, object], path: str) -> None:
    house.get(path, status=422, **query)


@pytest.mark.parametrize("edge", [{"to": "9999-12-31"}, {"from_": "0001-01-01", "to": "0001-01-02"}])
@pytest.mark.parametrize("path", ["trips", "battery", "days", "score", "trips/export"])
def test_the_ends_of_the_calendar_break_nothing(house: House, path: str, edge: dict[str, object]) -> None:
    assert house.ask(path, **edge).status_code == 200


def test_more_trips_than_a_file_holds_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartdrive_api.figures.routes._MAX_EXPORTED", 5)
    assert house.get("trips/export", status=422, to="2025-05-30")["errors"][0]["code"] == "span"
    assert len(house.ask("trips/export", from_="2025-05-01", to="2025-05-05").text.splitlines()) == 6


def test_many_who_ask_at_once_do_not_wait_for_one_another(house: House) -> None:
    """More than there are threads, and threads than there are connections."""
    with ThreadPoolExecutor(80) as many:
        answers = [*many.map(lambda _: house.ask("battery", to="2025-05-30").status_code, range(160))]
    assert set(answers) == {200}


def test_as_csv_a_label_is_a_text_and_no_formula(house: House) -> None:
    house.put(tables.TRIPS, trip(-10, label="=cmd|' /c calc'!A0"))
    answer = house.ask("trips/export", from_="2025-04-01", to="2025-05-03", format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = [*csv.DictReader(io.StringIO(answer.text))]
    assert [row["distance_km"] for row in rows] == ["0.0", "10.0", "11.0", "12.0"]
    assert rows[0]["label"] == "'=cmd|' /c calc'!A0"
    assert rows[1]["started_at"] == "2025-05-01T08:00:00Z"


def test_as_geojson_a_trip_is_a_line_with_longitude_first(house: House) -> None:
    house.put(
        tables.TRIPS, trip(-20, start_latitude_deg=None), trip(-21, start_latitude_deg=None, end_latitude_deg=None)
    )
    answer = house.ask("trips/export", from_="2025-04-01", to="2025-05-01", format="geojson")
    assert answer.headers["content-type"] == "application/geo+json"
    places, place, line = ([f["geometry"] for f in answer.json()["features"]][i] for i in (0, 1, -1))
    assert places is None
    assert place == {"type": "Point", "coordinates": [19.11, 47.53]}
    assert line == {"type": "LineString", "coordinates": [[19.04, 47.5], [19.11, 47.53]]}
    assert answer.json()["type"] == "FeatureCollection"


def test_as_gpx_a_trip_is_a_route_and_any_label_is_well_formed(house: House) -> None:
    house.put(tables.TRIPS, trip(-30, label='<&"\x01 ok'))
    answer = house.ask("trips/export", from_="2025-04-01", to="2025-04-01", format="gpx")
    root = ET.fromstring(answer.content)  # noqa: S314 - our own
    ns = {"g": "http://www.topografix.com/GPX/1/1"}
    assert [one.text for one in root.findall("g:rte/g:name", ns)] == ['<&" ok']
    assert [one.attrib for one in root.findall("g:rte/g:rtept", ns)] == [
        {"lat": "47.5", "lon": "19.04"},
        {"lat": "47.53", "lon": "19.11"},
    ]


def test_status_battery_score_days(house: House) -> None:
    status = house.get("status")
    assert status["overview"]["trips_30d"] == 30
    assert status["last_trip"]["trip_id"] == f"{MINE[:2]}029"
    battery = house.get("battery", from_="2025-05-01", to="2025-05-02")
    assert [day["soh_pct"] for day in battery["days"]] == [89.0, 88.0]
    assert battery["newest"]["soh_pct"] == 60.0
    assert len(battery["drains"]) == 1
    assert house.get("battery", from_="2025-05-10", to="2025-05-12")["drains"] == []
    weeks = house.get("score", from_="2025-05-01", to="2025-06-01")["weeks"]
    assert [(week["score"], week["status"]) for week in weeks] == [(88.0, "scored"), (None, "too_short")]
    (day,) = house.get("days", from_="2025-05-01", to="2025-06-01")["days"]
    assert (day["trips"], day["fuel_l"], day["currency"]) == (1, 1.5, "EUR")


def test_alerts_and_codes_by_their_state(house: House) -> None:
    assert [one["alert_id"] for one in house.get("alerts", state="open")["alerts"]] == ["a0"]
    first = house.get("alerts", state="resolved", limit=1)
    then = house.get("alerts", state="resolved", limit=1, cursor=first["next_cursor"])
    assert [one["alert_id"] for one in first["alerts"] + then["alerts"]] == ["a2", "a1"], "the same instant"
    assert then["next_cursor"] is None
    assert [one["dtc_code"] for one in house.get("codes", open="true")["codes"]] == ["P0171"]
    assert [one["dtc_code"] for one in house.get("codes")["codes"]] == ["P0524", "P0171"]


def test_the_health_report_says_what_it_rests_on(house: House) -> None:
    house.api.clock.now = datetime(2025, 6, 1, tzinfo=UTC)
    person = house.api.person("health@example.org")  # of that time: tokens have one too
    id_ = house.owned(person, VIN, also=True)
    report = house.get(f"/v1/vehicles/{id_}/health-report", person)
    assert report["verdict"] == "attention"
    assert report["reasons"] == ["P0171: title of P0171", "alert 0"]
    assert report["driving"]["score"] == 88.0
    with house.api.engine.begin() as connection:
        connection.execute(text("update serving.dtc_episodes set is_open = true"))
    report = house.get(f"/v1/vehicles/{id_}/health-report", person)
    assert (report["verdict"], report["reasons"][0]) == ("stop", "P0524: title of P0524")


def test_what_is_known_of_nothing_is_unknown(house: House) -> None:
    person = house.api.person("new@example.org")
    id_ = house.owned(person, "WVWZZZ1JZXW000009")
    assert house.get(f"/v1/vehicles/{id_}/health-report", person)["verdict"] == "unknown"
    assert house.get(f"/v1/vehicles/{id_}/status", person)["overview"] is None
    assert house.get(f"/v1/vehicles/{id_}/trips", person) == {"trips": [], "next_cursor": None}


FIGURES = ("status", "trips", "trips/export", "battery", "alerts", "score", "codes", "days", "health-report")


@pytest.mark.parametrize("path", FIGURES)
def test_an_unconfirmed_vehicle_shows_nothing(house: House, path: str) -> None:
    person = house.api.person(f"{path.replace('/', '-')}@example.org")
    made = house.api.post("/v1/vehicles", {"vin": VIN}, person).json()["id"]
    assert house.get(f"/v1/vehicles/{made}/{path}", person, status=409)["code"] == "unconfirmed"


def test_who_bought_the_car_sees_nothing_of_before(house: House) -> None:
    """Rows of the day of the sale and before are the seller's; so are those that began before."""
    house.api.clock.now = datetime(2025, 5, 20, 12, tzinfo=UTC)
    buyer = house.api.person("buyer@example.org")
    id_ = house.owned(buyer, VIN, instead=True)
    at = f"/v1/vehicles/{id_}/"
    trips = house.get(f"{at}trips", buyer, limit=200)["trips"]
    assert min(one["started_at"] for one in trips) == "2025-05-21T08:00:00Z"
    assert len(trips) == 10
    exported = house.ask(f"{at}trips/export", buyer, from_="2025-01-01", to="2025-12-01").text
    assert len(exported.splitlines()) == 11
    battery = house.get(f"{at}battery", buyer, from_="2025-05-01", to="2025-06-30")
    assert [day["event_date"] for day in battery["days"]] == ["2025-05-30"]
    assert battery["drains"] == []
    assert house.get(f"{at}alerts", buyer)["alerts"] == []
    assert house.get(f"{at}codes", buyer)["codes"] == []
    weeks = house.get(f"{at}score", buyer, from_="2025-05-01", to="2025-06-30")["weeks"]
    assert [week["week_start_date"] for week in weeks] == ["2025-05-26"]
    house.api.forget_limits()
    tokens = house.api.sign_in(house.person.email).json()
    seller = Person(house.person.email, tokens["access_token"], tokens["refresh_token"])
    assert house.get("trips", seller, status=404)


def test_a_code_is_explained_in_either_language_and_case(house: House) -> None:
    explained = {
        "code": "P0171",
        "title": {"text": "too lean", "language": "en", "tier": "own"},
        "structure": {
            "code": "P0171",
            "system": "powertrain",
            "origin": "generic",
            "subsystem": None,
            "fault": "71",
            "text": "fault number 71",
        },
        "severity": {"level": "warning", "rule": "powertrain", "why": "w", "action": "a"},
        "causes": ["c"],
        "actions": [],
    }
    person = house.api.person("explain@example.org")
    assert house.get("/v1/dtc/P0171", person, status=404)["code"] == "not_published"
    house.put(tables.DTC_CODES, {"code": "P0171", "language": "hu", "explanation": json.dumps(explained)})
    assert house.get("/v1/dtc/p0171", person, language="hu") == explained
    assert house.get("/v1/dtc/P01711", person, status=422)["errors"][0]["code"] == "string_pattern_mismatch"
    assert house.get("/v1/dtc/P0171", person, status=422, language="de")
