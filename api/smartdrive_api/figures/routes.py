"""The routes of figures: what the lake knows of a vehicle that the caller owns or may see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from sqlalchemy import Connection

from smartdrive_api.database import autocommit
from smartdrive_api.figures import answers, exports, reading, tables
from smartdrive_api.figures.health import health_report
from smartdrive_api.figures.reading import Sight
from smartdrive_api.identity.caller import SIGNED_IN, Caller
from smartdrive_api.identity.routes import identity_of
from smartdrive_api.problems import FieldError, Problem, invalid, responses
from smartdrive_api.services import NeedsServices, Services
from smartdrive_api.vehicles import garage

router = APIRouter(tags=["figures"], dependencies=SIGNED_IN)

_MAX_DAYS: Final = 1_100  # three years: one row of a day is small, and a graph shows no more
_MAX_EXPORT_DAYS: Final = 366
_MAX_EXPORTED: Final = 20_000
_VEHICLE: Final = responses(401, 404, 409, 422, 503)

Id = Annotated[str, Path(description="of the registration")]
First = Annotated[date | None, Query(alias="from", description="first day, UTC", examples=["2025-05-01"])]
Last = Annotated[date | None, Query(alias="to", description="last day, UTC; today where none is named")]
Limit = Annotated[int, Query(ge=1, le=200, description="rows of a page")]
Cursor = Annotated[str | None, Query(max_length=200, description="of the page before")]


@dataclass(frozen=True, slots=True)
class _Looking:
    """Somebody who looks at a vehicle."""

    services: Services
    account_id: UUID
    registration_id: UUID

    @contextmanager
    def open(self) -> Iterator[tuple[Connection, Sight]]:
        """A connection, and what of the vehicle may be seen.

        Opened by the endpoint and not by a dependency: requests that keep a connection while they wait for a
        thread, and others that keep a thread while they wait for a connection, would wait for one another.
        """
        with autocommit(self.services.engine) as connection:
            yield connection, reading.sight(garage.seen(connection, self.account_id, self.registration_id))


async def _looking(id: Id, caller: Caller, services: NeedsServices) -> _Looking:  # noqa: A002 - the path's own word
    return _Looking(services, caller.account_id, identity_of(id))


Seen = Annotated[_Looking, Depends(_looking)]


@router.get("/v1/vehicles/{id}/status", responses=_VEHICLE)
def status(seen: Seen) -> answers.Status:
    """What there is to know at a glance: when the vehicle was seen, its battery, what is open, the last trip."""
    with seen.open() as (connection, sight):
        overview = reading.newest(connection, sight, tables.FLEET_OVERVIEW)
        last, _ = reading.page(connection, reading.trips(sight, None, None), tables.TRIPS, _TRIP_ORDER, 1, None)
        return answers.Status(
            overview=_of(answers.Overview, overview),
            last_trip=_of(answers.Trip, last[0] if last else None),
            published_at=reading.published_at(connection),
        )


@router.get("/v1/vehicles/{id}/trips", responses=_VEHICLE)
def trips(
    seen: Seen,
    first: First = None,
    last: Last = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> answers.Trips:
    """Trips that began in a span of days, the newest first, in pages."""
    with seen.open() as (connection, sight):
        found = reading.trips(sight, *_span(first, last))
        rows, further = reading.page(connection, found, tables.TRIPS, _TRIP_ORDER, limit, reading.after(cursor))
        return answers.Trips(trips=[answers.Trip.model_validate(row) for row in rows], next_cursor=further)


@router.get(
    "/v1/vehicles/{id}/trips/export",
    response_class=Response,
    responses={
        200: {"content": {kind: {} for kind in exports.MEDIA_TYPES.values()}, "description": "The file"},
        **_VEHICLE,
    },
)
def export_trips(
    seen: Seen,
    form: Annotated[Literal["csv", "geojson", "gpx"], Query(alias="format")] = "csv",
    first: First = None,
    last: Last = None,
) -> Response:
    """Trips of at most a year as a file, in order: CSV, GeoJSON or GPX.

    On a map a trip is a line from where it began to where it ended; both are rounded to 0.01°.
    """
    begin, end = _days(seen.services, first, last, _MAX_EXPORT_DAYS)
    began = tables.TRIPS.c.started_at
    # Read at once and bounded: a caller who reads slowly would keep a connection from everybody else.
    with seen.open() as (connection, sight):
        found = reading.trips(sight, *_span(begin, end)).order_by(began, tables.TRIPS.c.trip_id)
        rows = connection.execute(found.limit(_MAX_EXPORTED + 1)).all()
    if len(rows) > _MAX_EXPORTED:
        detail = f"These are more than {_MAX_EXPORTED:,} trips: ask for fewer days."
        raise invalid(FieldError(pointer="query: from", code="span", detail=detail))
    return Response(
        "".join(exports.exported(form, [answers.Trip.model_validate(row) for row in rows])),
        media_type=exports.MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="trips.{form}"'},
    )


@router.get("/v1/vehicles/{id}/battery", responses=_VEHICLE)
def battery(seen: Seen, first: First = None, last: Last = None) -> answers.Battery:
    """The battery: health and charge by day with their intervals, the trend, winter risk and drains."""
    with seen.open() as (connection, sight):
        begin, end = _days(seen.services, first, last, _MAX_DAYS, default=90)
        drained = tables.DRAIN_EPISODES
        drains = connection.execute(
            sight.of(drained, "opened_at")
            .where(drained.c.opened_at < _midnight(end, 1), drained.c.last_seen_at >= _midnight(begin))
            .order_by(drained.c.opened_at)
        )
        return answers.Battery(
            newest=_of(answers.BatteryDay, reading.newest(connection, sight, tables.BATTERY_HEALTH)),
            trend=_of(answers.BatteryTrend, reading.newest(connection, sight, tables.BATTERY_TREND)),
            winter_risk=_of(answers.WinterRisk, reading.newest(connection, sight, tables.WINTER_RISK)),
            drains=[answers.Drain.model_validate(row) for row in drains],
            days=[
                answers.BatteryDay.model_validate(row)
                for row in reading.days(connection, sight, tables.BATTERY_HEALTH, begin, end)
            ],
        )


@router.get("/v1/vehicles/{id}/alerts", responses=_VEHICLE)
def alerts(
    seen: Seen,
    state: Annotated[Literal["open", "resolved"] | None, Query(description="both where none is named")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> answers.Alerts:
    """Alerts, the newest first, in pages."""
    with seen.open() as (connection, sight):
        table = tables.ALERTS
        found = sight.of(table, "opened_at")
        if state is not None:
            found = found.where(table.c.state == state)
        rows, further = reading.page(
            connection, found, table, ("opened_at", "alert_id"), limit, reading.after(cursor)
        )
        return answers.Alerts(alerts=[answers.Alert.model_validate(row) for row in rows], next_cursor=further)


@router.get("/v1/vehicles/{id}/score", responses=_VEHICLE)
def score(seen: Seen, first: First = None, last: Last = None) -> answers.DrivingScore:
    """Driving style by week. It is a score of style, and predicts no crash."""
    with seen.open() as (connection, sight):
        begin, end = _days(seen.services, first, last, _MAX_DAYS, default=90)
        rows = reading.days(connection, sight, tables.DRIVER_SCORES, begin, end)
        return answers.DrivingScore(weeks=[answers.ScoreWeek.model_validate(row) for row in rows])


@router.get("/v1/vehicles/{id}/codes", responses=_VEHICLE)
def codes(
    seen: Seen,
    is_open: Annotated[bool | None, Query(alias="open", description="both where it is not said")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> answers.FoundCodes:
    """Trouble codes that were found, the newest first, in pages."""
    with seen.open() as (connection, sight):
        table = tables.DTC_EPISODES
        found = sight.of(table, "opened_at")
        if is_open is not None:
            found = found.where(table.c.is_open == is_open)
        rows, further = reading.page(
            connection, found, table, ("opened_at", "episode_id"), limit, reading.after(cursor)
        )
        return answers.FoundCodes(
            codes=[answers.FoundCode.model_validate(row) for row in rows], next_cursor=further
        )


@router.get("/v1/vehicles/{id}/days", responses=_VEHICLE)
def days(seen: Seen, first: First = None, last: Last = None) -> answers.Days:
    """What the vehicle did, by day: trips, distance, time, voltage, fuel."""
    with seen.open() as (connection, sight):
        begin, end = _days(seen.services, first, last, _MAX_DAYS, default=30)
        fuel = {row.local_date: row for row in reading.days(connection, sight, tables.FUEL_ECONOMY, begin, end)}
        found = []
        for row in reading.days(connection, sight, tables.VEHICLE_DAILY, begin, end):
            day = answers.Day.model_validate(row)
            if burnt := fuel.get(row.local_date):
                day = day.model_copy(update={name: getattr(burnt, name) for name in _BURNT})
            found.append(day)
        return answers.Days(days=found)


@router.get("/v1/vehicles/{id}/health-report", responses=_VEHICLE)
def report(seen: Seen) -> answers.HealthReport:
    """Whether to drive on: a verdict, and all that it rests on."""
    with seen.open() as (connection, sight):
        return health_report(connection, sight, seen.services.now())


@router.get("/v1/dtc/{code}", responses=responses(401, 404, 422, 503))
def dtc(
    code: Annotated[str, Path(pattern="^[PCBUpcbu][0-3][0-9A-Fa-f]{3}$", examples=["P0171"])],
    caller: Caller,
    services: NeedsServices,
    language: Annotated[Literal["en", "hu"], Query(description="of the answer")] = "en",
) -> answers.ExplainedCode:
    """What a trouble code means: title and whose it is, structure, severity, likely causes, what to do."""
    with autocommit(services.engine) as connection:
        explained = reading.code(connection, code.upper(), language)
    if explained is None:
        raise Problem(404, "not_published", "The lake has not published what it knows of trouble codes yet.")
    return answers.ExplainedCode.model_validate(explained)


_TRIP_ORDER: Final = ("started_at", "trip_id")
_BURNT: Final = ("fuel_l", "fuel_l_per_100km", "co2_kg", "cost", "currency")


def _of(model: type[Any], row: object) -> Any:
    return None if row is None else model.model_validate(row)


def _days(
    services: Services, first: date | None, last: date | None, most: int, default: int | None = None
) -> tuple[date, date]:
    """The days that were asked for.

    Raises:
        Problem: 422, where they are none or too many.
    """
    end = last or services.now().date()
    begin = first or date.fromordinal(max(1, end.toordinal() - (default or most) + 1))
    if not 0 <= (end - begin).days < most:
        detail = f"from is at most {most - 1} days before to, and not after it."
        raise invalid(FieldError(pointer="query: from", code="span", detail=detail))
    return begin, end


def _span(first: date | None, last: date | None) -> tuple[datetime | None, datetime | None]:
    return None if first is None else _midnight(first), None if last is None else _midnight(last, 1)


def _midnight(day: date, later: int = 0) -> datetime:
    if later and day == date.max:
        return datetime.max.replace(tzinfo=UTC)
    return datetime.combine(day + timedelta(days=later), time(), UTC)
