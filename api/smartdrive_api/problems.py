"""Errors as problem details (RFC 9457), which quote nothing that the caller sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"

# What a status means where nobody said more.
_CODES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "The request cannot be understood."),
    401: ("unauthenticated", "An access token is needed."),
    404: ("not_found", "There is nothing here for you."),
    405: ("method_not_allowed", "This method does nothing here; Allow names those that do."),
    413: ("too_large", "The request is larger than the API takes."),
    415: ("unsupported_media_type", "The body has to be application/json."),
    500: ("internal_error", "The API failed. The request id leads to its log."),
    503: ("unavailable", "The API cannot answer at the moment. Try again later."),
}
# Pydantic's own messages are shown for these kinds of error alone: none of them quotes what was sent.
_SAFE_MESSAGES: Final = (
    "missing",
    "extra_forbidden",
    "string_",
    "uuid_",
    "int_",
    "bool_",
    "list_",
    "dict_",
    "model_",
)


class FieldError(BaseModel):
    """What is wrong with one part of a request."""

    pointer: Annotated[str, Field(description="JSON pointer into the body, or the place and name of a parameter")]
    code: Annotated[str, Field(description="kind of error")]
    detail: Annotated[str, Field(description="what is expected")]


class ProblemDetails(BaseModel):
    """A problem as RFC 9457 defines it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "code": "not_found",
                    "detail": "There is nothing here for you.",
                    "request_id": "4f3c1c52-8c0b-4a76-9d0a-6f4c5f0f3b1e",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: Annotated[str, Field(description="the status in words")]
    status: Annotated[int, Field(description="the HTTP status")]
    code: Annotated[str, Field(description="the kind of problem, for programs")]
    detail: Annotated[str, Field(description="the kind of problem, for people")]
    request_id: Annotated[str, Field(description="what X-Request-Id says too")]
    errors: Annotated[list[FieldError] | None, Field(description="what is wrong with which field")] = None


class Problem(Exception):  # noqa: N818 - it is called so
    """An answer that is not the one hoped for.

    Args:
        status: the HTTP status.
        code: the kind of problem; by default what the status alone says.
        detail: a sentence that quotes nothing of the request.
        headers: of the answer, for example Retry-After.
        errors: what is wrong with which field.
    """

    def __init__(
        self,
        status: int,
        code: str | None = None,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        known = _CODES.get(status, ("error", HTTPStatus(status).phrase))
        self.status, self.code, self.detail = status, code or known[0], detail or known[1]
        self.headers, self.errors = dict(headers or {}), list(errors)
        super().__init__(self.code)


def invalid(*errors: FieldError) -> Problem:
    """The answer to a request with fields that are not as they should be."""
    return Problem(422, "invalid_request", "Some fields are not as they should be.", errors=errors)


def not_found() -> Problem:
    """The one answer for what does not exist and for what is not the caller's."""
    return Problem(404)


def problem_body(problem: Problem, request_id: str) -> bytes:
    """The bytes of a problem's answer."""
    details = ProblemDetails(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        request_id=request_id,
        errors=problem.errors or None,
    )
    return details.model_dump_json(exclude_none=True).encode()


def respond(request: Request, problem: Problem) -> Response:
    """A problem as the answer to a request."""
    body = problem_body(problem, request.scope.get("request_id", ""))
    return Response(body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def on_problem(request: Request, error: Exception) -> Response:
    """Answer a problem that an endpoint raised."""
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class alone
    return respond(request, error)


def on_http_error(request: Request, error: Exception) -> Response:
    """Answer an error of the framework, such as an unknown path; its own words are not used."""
    if isinstance(error.__cause__, Problem):  # raised while the framework read the body
        return respond(request, error.__cause__)
    status = int(getattr(error, "status_code", 500))
    headers: Mapping[str, str] | None = getattr(error, "headers", None)
    return respond(request, Problem(status, headers=headers))


def on_invalid_request(request: Request, error: Exception) -> Response:
    """Answer a request that does not fit its schema, naming fields and never values."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    errors = [_field_error(one) for one in error.errors()]
    if any(one.code == "json_invalid" for one in errors):
        return respond(request, Problem(400, "invalid_json", "The body is not valid JSON."))
    return respond(request, invalid(*errors))


def _field_error(error: Mapping[str, Any]) -> FieldError:
    place, *path = [str(part) for part in error["loc"]] or ["body"]
    kind = str(error["type"])
    if kind == "extra_forbidden":  # the name of an unknown field is the caller's own
        path = path[:-1]
    pointer = "#" + "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path)
    detail = str(error["msg"]) if kind.startswith(_SAFE_MESSAGES) else "Not as it should be."
    if kind == "value_error":
        detail = str(error["ctx"]["error"])  # our own validators, which quote nothing
    return FieldError(
        pointer=pointer if place == "body" else f"{place}: {'.'.join(path)}", code=kind, detail=detail
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of an endpoint, for OpenAPI."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in statuses
    }


def declared(schema: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document in which every error is a problem, the framework's own 422 included.

    Whatever takes a body may be sent one that is broken or too large.
    """
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    own = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= own.pop("$defs", {}) | {"ProblemDetails": own}
    for path in schema["paths"].values():
        for operation in path.values():
            if "422" in operation.get("responses", {}):
                operation["responses"]["422"] = responses(422)[422]
            if "requestBody" in operation:
                for status in (400, 413):
                    operation["responses"].setdefault(str(status), responses(status)[status])
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return json.loads(json.dumps(schema))  # type: ignore[no-any-return]
