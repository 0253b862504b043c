"""Requests made from the OpenAPI document, fitting and unfitting, by Schemathesis: the API keeps to what it says.

The suite runs a few hundred; `make fuzz-api` runs more than ten thousand.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import text

from api.tests.calling import Api
from api.tests.test_who_may import BODIES, MAY, World

CASES = int(os.environ.get("SMARTDRIVE_FUZZ_CASES", "6"))  # of each operation, fitting and unfitting each
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDS_SESSIONS = {("post", "/v1/logout"), ("delete", "/v1/sessions"), ("delete", "/v1/sessions/{session_id}")}


@pytest.fixture(scope="module")
def world(api: Api) -> World:
    return World(api)


@pytest.fixture(scope="module")
def contract(api: Api) -> Any:
    return schemathesis.openapi.from_dict(api.app.openapi())


@pytest.fixture(scope="module")
def tried() -> Iterator[Counter[int]]:
    """How many requests got which status."""
    statuses: Counter[int] = Counter()
    yield statuses
    print(f"\n{statuses.total():,} requests:", dict(sorted(statuses.items())))  # noqa: T201


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        (*operation, mode)
        for operation in MAY
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE
        or ("{" in operation[1] and MAY[operation][3] == 401)
        or operation in BODIES  # in what else is sent nothing can be unfitting
    ],
)
def test_whatever_fits_or_does_not_is_answered_as_the_document_says(
    world: World, contract: Any, tried: Counter[int], method: str, path: str, mode: GenerationMode
) -> None:
    operation = contract[path][method.upper()]
    known = world.ids(world.people()["owner"])

    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        case=operation.as_strategy(generation_mode=mode),
        role=st.sampled_from(["owner", "shared", "other", "anonymous"]),
        is_known=st.booleans(),
    )
    def holds(case: Case, role: str, is_known: bool) -> None:
        people = world.people()
        world.api.forget_limits()
        if is_known and "{" in path:
            case.path_parameters = world.ids(people["owner"]) if method == "delete" else known
        request = case.as_transport_kwargs(base_url="http://testserver")
        request["headers"] = {
            name: value for name, value in request["headers"].items() if name.lower() != "authorization"
        } | people[role]
        request = {name: request[name] for name in ("method", "url", "headers", "json", "data") if name in request}
        if "data" in request:
            request["content"] = request.pop("data")
        answer = world.api.client.request(**request)
        tried[answer.status_code] += 1
        if (method, path) in ENDS_SESSIONS:
            world.forget()
            with world.api.engine.begin() as connection:
                connection.execute(text("delete from sessions"))
        case.validate_response(answer, checks=CHECKS)

    holds()
