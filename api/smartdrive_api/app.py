"""The app: routes, the layer around them, and how each kind of error is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from smartdrive_api import operations, problems
from smartdrive_api.certificates import routes as certificates
from smartdrive_api.documented import exemplified
from smartdrive_api.erasures import routes as erasures
from smartdrive_api.figures import routes as figures
from smartdrive_api.identity import account, well_known
from smartdrive_api.identity import routes as identity
from smartdrive_api.observing import Counting, Observing
from smartdrive_api.page import routes as page
from smartdrive_api.services import Services, utc_now
from smartdrive_api.settings import Settings
from smartdrive_api.telemetry import routes as telemetry
from smartdrive_api.telemetry.batch import MAX_SENT
from smartdrive_api.vehicles import routes as vehicles

VERSION: Final = "0.1.0"
_DESCRIPTION: Final = (
    "Accounts, vehicles and what the lake knows of them. Every error is a problem (RFC 9457). What is not the "
    "caller's is answered like what does not exist."
)


def create_app(
    settings: Settings, engine: Engine, now: Callable[[], datetime] = utc_now, *, counting: Sequence[Counting] = ()
) -> FastAPI:
    """An app on a database.

    Args:
        settings: read once by whoever starts the program.
        engine: a database with the tables of this version.
        now: the clock.
        counting: who count requests beside `/metrics`.
    """
    services = Services.of(settings, engine, now)
    app = _App(
        title="SmartDrive API",
        version=VERSION,
        description=_DESCRIPTION,
        docs_url=None,  # their pages load scripts from other people's servers
        redoc_url=None,
        openapi_url="/openapi.json",
        separate_input_output_schemas=False,
    )
    app.state.services = services
    mine = (operations, identity, account, well_known, vehicles, telemetry, figures, certificates, erasures, page)
    for part in mine:
        app.include_router(part.router)
    app.add_exception_handler(problems.Problem, problems.on_problem)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid_request)
    for away in (OperationalError, InterfaceError, PoolTimeoutError):
        app.add_exception_handler(away, _on_database_away)
    app.add_middleware(Observing, counting=(services.metrics, *counting), larger={telemetry.PATH: MAX_SENT})
    return app


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, in which errors are problems and answers have examples."""
        if not self.openapi_schema:
            self.openapi_schema = exemplified(problems.declared(super().openapi()))
        return self.openapi_schema


def _on_database_away(request: Request, error: Exception) -> Response:
    return problems.respond(request, problems.Problem(503, headers={"Retry-After": "5"}))
