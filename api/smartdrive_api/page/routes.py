"""The pages: sign in, the caller's cars, one car."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy import Connection, Row

from smartdrive_api.figures import answers, reading, tables
from smartdrive_api.figures.health import health_report
from smartdrive_api.identity import sessions
from smartdrive_api.identity.routes import identity_of, sign_in
from smartdrive_api.page import web_sessions
from smartdrive_api.page.charts import battery_chart, trips_chart
from smartdrive_api.problems import Problem
from smartdrive_api.services import NeedsServices, Services
from smartdrive_api.vehicles import garage

router = APIRouter(include_in_schema=False)

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_CHART_DAYS: Final = 365
_CHART_TRIPS: Final = 40
_ABSENT: Final = "\N{EN DASH}"
_EXPLAINED: Final = 10  # open codes; a car with more has one cause
_VERDICTS: Final = {
    "ok": "All is well",
    "attention": "Needs attention",
    "stop": "Do not drive on",
    "unknown": "Too little is known",
}


@dataclass(frozen=True, slots=True)
class _Car:
    """One line of the list of cars."""

    id: str
    name: str
    is_owner: bool
    is_confirmed: bool
    overview: answers.Overview | None


@router.get("/")
def home(request: Request, services: NeedsServices) -> Response:
    """The caller's cars, or the form to sign in."""
    with services.engine.begin() as connection:
        holder = web_sessions.holder(connection, request, services.now(), services.settings)
        if holder is None:
            return _page("sign_in.html", signed_in=False, wrong=None)
        cars = [_car(connection, row) for row in garage.visible(connection, holder.account_id)]
    return _page("cars.html", cars=cars)


@router.get("/cars/{id}")
def car(id: str, request: Request, services: NeedsServices) -> Response:  # noqa: A002 - the path's own word
    """One car: verdict, battery, trips, alerts, codes."""
    now = services.now()
    with services.engine.begin() as connection:
        holder = web_sessions.holder(connection, request, now, services.settings)
        if holder is None:
            return Response(status_code=303, headers={"Location": "/"})
        try:
            vehicle = garage.seen(connection, holder.account_id, identity_of(id))
            return _page("car.html", name=_name(vehicle), **_shown(connection, vehicle, now))
        except Problem as problem:
            return _problem(problem)


@router.post("/sign-in")
async def enter(request: Request, services: NeedsServices) -> Response:
    """Begin a session of this browser."""
    from starlette.concurrency import run_in_threadpool

    if not web_sessions.is_from_here(request):
        return _problem(Problem(403, "other_origin", "This form belongs on this server's own page."))
    form = _form(await request.body())
    try:
        opened = await run_in_threadpool(_entered, services, request, form)
    except Problem as problem:
        wrong = problem.detail if problem.status < 500 else "The server cannot answer at the moment."  # noqa: PLR2004
        return _page("sign_in.html", status=problem.status, signed_in=False, wrong=wrong)
    response = Response(status_code=303, headers={"Location": "/"})
    web_sessions.keep(response, opened.token)
    return response


@router.post("/sign-out")
def leave(request: Request, services: NeedsServices) -> Response:
    """End the session of this browser."""
    if not web_sessions.is_from_here(request):
        return _problem(Problem(403, "other_origin", "This form belongs on this server's own page."))
    now = services.now()
    with services.engine.begin() as connection:
        if holder := web_sessions.holder(connection, request, now, services.settings):
            sessions.revoke(connection, holder.account_id, now, holder.session_id)
    response = Response(status_code=303, headers={"Location": "/"})
    web_sessions.forget(response)
    return response


@router.get("/page.css")
def style() -> Response:
    """How the pages look."""
    return Response(_style(), media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


def _entered(services: Services, request: Request, form: dict[str, str]) -> sessions.Refresh:
    from pydantic import TypeAdapter, ValidationError

    from smartdrive_api.bodies import Email

    try:
        email = TypeAdapter(Email).validate_python(form.get("email", ""), strict=True)
    except ValidationError:
        raise Problem(401, "wrong_credentials", "No account has this address and this password.") from None
    return sign_in(services, request, email, form.get("password", ""), "web page")


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=10, errors="strict")
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _car(connection: Connection, row: Row[Any]) -> _Car:
    overview = None
    if row.confirmed_at is not None:
        newest = reading.newest(connection, reading.sight(row), tables.FLEET_OVERVIEW)
        overview = None if newest is None else answers.Overview.model_validate(newest)
    return _Car(str(row.registration_id), _name(row), row.is_owner, row.confirmed_at is not None, overview)


def _shown(connection: Connection, vehicle: Row[Any], now: datetime) -> dict[str, Any]:
    sight = reading.sight(vehicle)
    report = health_report(connection, sight, now)
    until = report.battery.event_date if report.battery else now.date()
    days = reading.days(connection, sight, tables.BATTERY_HEALTH, until - timedelta(days=_CHART_DAYS), until)
    trips, _ = reading.page(
        connection,
        reading.trips(sight, None, None),
        tables.TRIPS,
        ("started_at", "trip_id"),
        _CHART_TRIPS,
        None,
    )
    return {
        "report": report,
        "verdict": _VERDICTS[report.verdict],
        "verdict_class": report.verdict,
        "battery": battery_chart([answers.BatteryDay.model_validate(row) for row in days]),
        "trips": trips_chart([answers.Trip.model_validate(row) for row in trips]),
        "codes": [
            {**code.model_dump(), "explained": reading.code(connection, code.dtc_code, "en")}
            for code in report.open_codes[:_EXPLAINED]
        ],
    }


def _name(vehicle: Row[Any]) -> str:
    return vehicle.name or (f"VIN {vehicle.vin}" if vehicle.is_owner and vehicle.vin else "A car without a name")


def _problem(problem: Problem) -> Response:
    heading = "Nothing here" if problem.status == 404 else "That did not work"  # noqa: PLR2004
    return _page("message.html", status=problem.status, heading=heading, text=problem.detail)


def _page(template: str, *, status: int = 200, signed_in: bool = True, **values: object) -> Response:
    text = _templates().get_template(template).render(signed_in=signed_in, **values)
    return Response(text, status, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("smartdrive_api.page"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {"figure": _figure, "instant": _instant}
    made.filters |= filters
    return made


@cache
def _style() -> bytes:
    return (resources.files("smartdrive_api.page") / "page.css").read_bytes()


def _figure(value: float | None, digits: int) -> str:
    return _ABSENT if value is None else f"{value:,.{digits}f}"


def _instant(at: datetime | None) -> str:
    return _ABSENT if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
