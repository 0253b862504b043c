"""What those who run the API ask it: is it alive, can it serve, what has it done."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from smartdrive_api.database import readiness
from smartdrive_api.problems import Problem, not_found, responses
from smartdrive_api.services import NeedsServices, may_read_metrics

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """That it is well."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok"] = "ok"


@router.get("/healthz")
def healthz() -> Health:
    """Whether the process answers. It asks nothing else: a database that is away is no reason to restart this."""
    return Health()


@router.get("/readyz", responses=responses(503))
def readyz(services: NeedsServices) -> Health:
    """Whether requests can be served: the database answers, and its tables are those of this version."""
    if reason := readiness(services.engine):
        raise Problem(503, "not_ready", f"Not ready: {reason}.", headers={"Retry-After": "5"})
    return Health()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}, **responses(404)},
)
def metrics(request: Request, services: NeedsServices) -> Response:
    """Counts and durations of requests, for the networks that are configured."""
    from prometheus_client import CONTENT_TYPE_LATEST

    if not may_read_metrics(request, services.settings):
        raise not_found()
    return Response(services.metrics.text(), media_type=CONTENT_TYPE_LATEST)
