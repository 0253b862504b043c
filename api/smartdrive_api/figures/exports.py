"""Trips as files: CSV for spreadsheets, GeoJSON (RFC 7946) and GPX 1.1 for maps.

Where a trip began and ended is all that the lake keeps of its way outside Silver, to 0.01°: a straight line
between two places, and no track.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from smartdrive_api.figures.answers import Trip

MEDIA_TYPES: Final = {"csv": "text/csv", "geojson": "application/geo+json", "gpx": "application/gpx+xml"}
# A spreadsheet takes a text that begins so for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_XML_REFUSES: Final = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF])


def exported(form: str, trips: Iterable[Trip]) -> Iterator[str]:
    """The text of a file, in pieces.

    Args:
        form: a key of `MEDIA_TYPES`.
        trips: in the order in which they stand in the file.
    """
    makers: dict[str, Callable[[Iterable[Trip]], Iterator[str]]] = {"csv": _csv, "geojson": _geojson, "gpx": _gpx}
    return makers[form](trips)


def _csv(trips: Iterable[Trip]) -> Iterator[str]:
    names = list(Trip.model_fields)
    line = io.StringIO()
    writer = csv.writer(line)

    def written(values: Iterable[object]) -> str:
        writer.writerow(list(values))
        text = line.getvalue()
        line.seek(0)
        line.truncate()
        return text

    yield written(names)
    for trip in trips:
        yield written(_cell(value) for value in trip.model_dump().values())


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return _instant(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _geojson(trips: Iterable[Trip]) -> Iterator[str]:
    yield '{"type": "FeatureCollection", "features": ['
    for number, trip in enumerate(trips):
        feature = {
            "type": "Feature",
            "id": trip.trip_id,
            "geometry": _geometry(_places(trip)),
            "properties": json.loads(trip.model_dump_json()),
        }
        yield ("," if number else "") + json.dumps(feature, ensure_ascii=False)
    yield "]}"


def _geometry(places: list[tuple[float, float]]) -> dict[str, Any] | None:
    if not places:
        return None
    backwards = [[longitude, latitude] for latitude, longitude in places]
    if len(backwards) == 1:
        return {"type": "Point", "coordinates": backwards[0]}
    return {"type": "LineString", "coordinates": backwards}


def _gpx(trips: Iterable[Trip]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield '<gpx version="1.1" creator="SmartDrive" xmlns="http://www.topografix.com/GPX/1/1">\n'
    for trip in trips:
        if not (places := _places(trip)):
            continue  # a route without a point says nothing
        title = (trip.label or _instant(trip.started_at)).translate(_XML_REFUSES)
        yield f"<rte><name>{escape(title)}</name>"
        ends = (trip.started_at, trip.ended_at)
        for (latitude, longitude), at in zip(places, ends, strict=False):
            position = f"lat={quoteattr(str(latitude))} lon={quoteattr(str(longitude))}"
            yield f"<rtept {position}><time>{_instant(at)}</time></rtept>"
        yield "</rte>\n"
    yield "</gpx>\n"


def _places(trip: Trip) -> list[tuple[float, float]]:
    """Where it began and where it ended, as far as known."""
    start = (trip.start_latitude_deg, trip.start_longitude_deg)
    end = (trip.end_latitude_deg, trip.end_longitude_deg)
    return [(latitude, longitude) for latitude, longitude in (start, end) if None not in (latitude, longitude)]  # type: ignore[misc]


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
