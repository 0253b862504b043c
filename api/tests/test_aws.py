"""The Lambda handler, with events as AWS documents them for its balancer and both kinds of API Gateway."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from smartdrive_api import aws
from smartdrive_api.secret_values import SecretUnavailableError
from sqlalchemy import text

from api.tests.calling import PASSWORD, Api

CALLER = "198.51.100.7"
TARGET = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/api/6d0ecf831eec9f09"


def alb(method: str, path: str, headers: dict[str, str], body: str) -> dict[str, Any]:
    """As a target group without multi-value headers sends it; the client wrote an X-Forwarded-For of its own."""
    return {
        "requestContext": {"elb": {"targetGroupArn": TARGET}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": {},
        "headers": {
            "accept": "*/*",
            "host": "api.example.org",
            "x-amzn-trace-id": "Root=1-5c536348-3d683b8b04734faae651f476",
            "x-forwarded-for": f"6.6.6.6, {CALLER}",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **headers,
        },
        "body": body,
        "isBase64Encoded": False,
    }


def alb_multi(method: str, path: str, headers: dict[str, str], body: str) -> dict[str, Any]:
    """As a target group with multi-value headers sends it, with a body that is base64."""
    event = alb(method, path, headers, base64.b64encode(body.encode()).decode())
    event["multiValueHeaders"] = {name: [value] for name, value in event.pop("headers").items()}
    event["multiValueQueryStringParameters"] = event.pop("queryStringParameters")
    return event | {"isBase64Encoded": True}


def gateway_v1(method: str, path: str, headers: dict[str, str], body: str) -> dict[str, Any]:
    """As a REST API sends it, and an HTTP API with payload format 1.0."""
    every = {
        "Host": "abc.execute-api.eu-central-1.amazonaws.com",
        "X-Forwarded-For": f"6.6.6.6, {CALLER}",
        **headers,
    }
    return {
        "version": "1.0",
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": every,
        "multiValueHeaders": {name: [value] for name, value in every.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "httpMethod": method,
            "identity": {"sourceIp": CALLER, "userAgent": "x"},
            "path": path,
            "protocol": "HTTP/1.1",
            "requestId": "id=",
            "resourcePath": "/{proxy+}",
            "stage": "$default",
        },
        "pathParameters": None,
        "stageVariables": None,
        "body": body or None,
        "isBase64Encoded": False,
    }


def gateway_v2(method: str, path: str, headers: dict[str, str], body: str) -> dict[str, Any]:
    """As an HTTP API with payload format 2.0 sends it."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.execute-api.eu-central-1.amazonaws.com", "x-forwarded-for": "6.6.6.6", **headers},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "domainName": "abc.execute-api.eu-central-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": CALLER, "userAgent": "x"},
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1748764800000,
        },
        **({"body": body} if body else {}),
        "isBase64Encoded": False,
    }


EVENTS = [alb, alb_multi, gateway_v1, gateway_v2]


@pytest.fixture(autouse=True)
def _configured(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SMARTDRIVE_API_DATABASE_URL", api.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("SMARTDRIVE_API_SIGNING_KEYS", api.settings.signing_keys.get_secret_value())
    monkeypatch.setenv("SMARTDRIVE_API_ARGON2_MEMORY_KIB", "8")
    monkeypatch.setenv("SMARTDRIVE_API_ARGON2_TIME_COST", "1")
    monkeypatch.setenv("SMARTDRIVE_API_ISSUER", api.settings.issuer)
    aws._mangum.cache_clear()
    yield
    aws._mangum.cache_clear()


def call(
    shape: Any, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    content = "" if body is None else json.dumps(body)
    event = shape(method, path, ({"content-type": "application/json"} if content else {}) | headers, content)
    answer = aws.handler(event, None)  # type: ignore[arg-type]  # Mangum hands the context on, and we do not look
    many = answer.get("multiValueHeaders") or {}
    found = answer.get("headers") or {name: values[0] for name, values in many.items()}
    text = base64.b64decode(answer["body"]).decode() if answer["isBase64Encoded"] else answer["body"]
    return answer["statusCode"], found, json.loads(text) if text else None


@pytest.mark.parametrize("shape", EVENTS)
def test_one_signs_in_looks_and_signs_out(api: Api, shape: Any) -> None:
    email = f"{shape.__name__}@example.org"
    api.confirm(api.register(email))
    status, _, tokens = call(shape, "POST", "/v1/token", {"email": email, "password": PASSWORD})
    assert status == 200
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    status, headers, body = call(shape, "GET", "/v1/sessions", **bearer)
    assert (status, len(body["sessions"])) == (200, 1)
    assert "x-request-id" in headers
    assert call(shape, "POST", "/v1/logout", **bearer)[0] == 204
    status, headers, body = call(shape, "GET", "/v1/sessions", **bearer)
    assert (status, body["code"], headers["content-type"]) == (401, "invalid_token", "application/problem+json")


@pytest.mark.parametrize("shape", EVENTS)
def test_who_calls_is_what_aws_saw_and_not_what_the_client_wrote(api: Api, shape: Any) -> None:
    from smartdrive_api.identity.rate_limits import SIGN_IN_OF_ADDRESS, take

    for _ in range(SIGN_IN_OF_ADDRESS.burst):
        take(api.engine, SIGN_IN_OF_ADDRESS, CALLER, api.services.now())
    with api.engine.connect() as connection:
        assert connection.scalar(text("select count(*) from rate_limits")) == 1
    body = {"email": "victim@example.org", "password": PASSWORD}
    assert call(shape, "POST", "/v1/token", body)[0] == 429
    assert call(shape, "GET", "/metrics")[0] == 404


def test_each_answer_is_a_line_for_cloudwatch_that_names_the_route_and_nobody(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    name = "7d7f6f0e-5a44-4b7e-9a70-1f6c5a0f9c11"
    call(alb, "GET", f"/v1/vehicles/{name}")
    call(alb, "GET", "/readyz")
    call(alb, "HACK", f"/{name}")
    said = capsys.readouterr().out
    lines = [json.loads(line) for line in said.splitlines()]
    assert name not in said
    assert CALLER not in said
    assert [line["operation"] for line in lines] == ["GET /v1/vehicles/{id}", "GET /readyz", "other unmatched"]
    for line in lines:
        (metric,) = line["_aws"]["CloudWatchMetrics"]
        assert metric["Namespace"] == "SmartDrive"
        assert metric["Dimensions"] == [["service"], ["service", "operation"]]
        units = {one["Name"]: one["Unit"] for one in metric["Metrics"]}
        assert units == {aws.REQUESTS: "Count", aws.SUCCESSES: "Count", aws.SECONDS: "Seconds"}
        assert (line["service"], line[aws.REQUESTS], line[aws.SUCCESSES]) == ("smartdrive-api", [1.0], [1.0])
        assert 0 < line[aws.SECONDS][0] < 60


def test_what_fails_is_counted_as_no_success(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    aws.CloudWatchMetrics().count({"method": "GET"}, 503, 0.25)
    line = json.loads(capsys.readouterr().out)
    assert (line[aws.REQUESTS], line[aws.SUCCESSES], line[aws.SECONDS]) == ([1.0], [0.0], [0.25])


def test_a_batch_comes_through_a_balancer_as_it_was_compressed(api: Api) -> None:
    email = "sender@example.org"
    api.confirm(api.register(email))
    bearer = {"authorization": f"Bearer {api.signed_in(email).access}"}
    event = alb("POST", "/v1/telemetry/ingest", bearer | {"content-type": "application/json"}, "")
    event["headers"]["content-encoding"] = "gzip"
    event |= {"body": base64.b64encode(gzip.compress(b"[{}]")).decode(), "isBase64Encoded": True}
    answer = aws.handler(event, None)  # type: ignore[arg-type]
    assert json.loads(base64.b64decode(answer["body"]))["errors"][0]["pointer"] == "#/0/schema"


def test_a_function_makes_its_app_while_it_starts() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    for name, status in (("SOMETHING_ELSE", 0), ("AWS_LAMBDA_FUNCTION_NAME", 1)):
        command = [sys.executable, "-c", "import smartdrive_api.aws"]
        done = subprocess.run(
            command, env=environment | {name: "api"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == status
        assert ("set SMARTDRIVE_API_DATABASE_URL" in done.stderr) is (status == 1)


def test_a_function_needs_a_database_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMARTDRIVE_API_DATABASE_URL")
    with pytest.raises(SecretUnavailableError, match="SMARTDRIVE_API_DATABASE_URL"):
        call(alb, "GET", "/healthz")
