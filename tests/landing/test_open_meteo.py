"""Answers of Open-Meteo's shape, from a service on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from smartdrive_dagster.landing.open_meteo import Place, WeatherError, ask, parse_answers

HERE = Place(47.5, 19.1)
HOUR_MS = 3_600_000
BEGIN = 1_764_547_200_000  # 2025-12-01


def answer(*degrees: float | None, **changes: Any) -> dict[str, Any]:
    hours = [f"2025-12-{1 + n // 24:02d}T{n % 24:02d}:00" for n in range(len(degrees))]
    return {
        "latitude": 47.4979,
        "longitude": 19.125,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "hourly_units": {"time": "iso8601", "temperature_2m": "°C"},
        "hourly": {"time": hours, "temperature_2m": list(degrees)},
    } | changes


class Service:
    """What was asked, and what is answered: the last of the answers again and again."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.answers: list[tuple[int, bytes]] = [(200, json.dumps(answer(-3.0, None)).encode())]
        self.url = ""


@contextmanager
def serving() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append(parse_qs(urlsplit(self.path).query))
            status, body = service.answers.pop(0) if len(service.answers) > 1 else service.answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}/v1/forecast?apikey=secret"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        yield made


def test_a_place_is_asked_for_in_utc_and_answered_hour_by_hour(service: Service) -> None:
    found = ask(service.url, HERE)
    assert (found.t_ms, found.temperature_c) == ((BEGIN, BEGIN + HOUR_MS), (-3.0, None))
    (asked,) = service.asked
    assert (asked["latitude"], asked["longitude"], asked["apikey"]) == (["47.5"], ["19.1"], ["secret"])
    assert (asked["hourly"], asked["timezone"], asked["past_days"]) == (["temperature_2m"], ["UTC"], ["1"])


def test_what_may_pass_is_tried_again_and_what_is_refused_is_not(service: Service) -> None:
    waits: list[float] = []
    service.answers = [(503, b""), (429, b""), *service.answers]
    assert ask(service.url, HERE, sleep=waits.append).temperature_c == (-3.0, None)
    assert waits == [1.0, 4.0]
    service.asked.clear()
    service.answers = [(400, b'{"error": true, "reason": "Latitude 47.5 is odd"}')]
    with pytest.raises(WeatherError, match="status 400") as refused:
        ask(service.url, HERE, sleep=waits.append)
    assert len(service.asked) == 1
    assert not any(part in str(refused.value) for part in ("47.5", "secret", "127.0.0.1"))


def test_a_service_that_is_not_there_is_told_of_without_its_address() -> None:
    with pytest.raises(WeatherError, match="does not answer") as gone:
        ask("http://127.0.0.1:9/v1?apikey=secret", HERE, sleep=lambda _: None)
    assert not any(part in str(gone.value) for part in ("47.5", "19.1", "secret", "127.0.0.1"))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "Expected `object`"),
        (json.dumps({"hourly": {"time": ["a"], "temperature_2m": [1.0]}}).encode(), "no ISO 8601 time"),
        (json.dumps(answer(1.0, hourly={"time": [], "temperature_2m": [1.0]})).encode(), "1 temperatures for 0"),
        (json.dumps(answer(1.0, hourly_units={"temperature_2m": "°F"})).encode(), "wanted in °C"),
        (json.dumps({"daily": {}}).encode(), "hourly"),
    ],
)
def test_another_shape_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(WeatherError, match=why):
        parse_answers(body)


def test_local_hours_and_unix_seconds_are_the_same_hours() -> None:
    local = answer(1.0, utc_offset_seconds=-3600, hourly={"time": ["2025-11-30T23:00"], "temperature_2m": [1]})
    unix = answer(1.0, hourly={"time": [BEGIN // 1000], "temperature_2m": [1]})
    (first, second) = parse_answers(json.dumps([local, unix]).encode())
    assert first == second
    assert first.t_ms == (BEGIN,)
    assert first.place == Place(47.5, 19.1)


def test_a_long_answer_becomes_facts_that_the_contract_allows() -> None:
    (long,) = parse_answers(json.dumps(answer(*[0.0] * 600)).encode())
    facts = list(long.facts({"vehicle_id": "a" * 26}, HERE, BEGIN, "a test"))
    assert [len(fact["t"]) for fact in facts] == [384, 216]  # type: ignore[arg-type]
