"""A track of enviroCar as the lines of a long log: one reading per line, the position beside the first of a point.

enviroCar's server gives a track as a GeoJSON FeatureCollection. Each feature is a point in time: `geometry` holds
longitude and latitude, `properties` the `time` (ISO 8601, UTC) and `phenomenons`: by name a value and a unit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from smartdrive_dagster.landing.recorded.errors import FormatUndetectedError, LogUnreadableError

MAX_BYTES: Final = 128 * 1024 * 1024  # a day's track has one
_HEADER: Final = "time\tname\tvalue\tunit\tlatitude\tlongitude"
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*[\"}]")
_NO_PHENOMENON: Final = "(a point without phenomenons)"


def is_json(head: bytes) -> bool:
    """Whether a file that begins so is a JSON object and no table."""
    return _JSON.match(head) is not None


def track_lines(content: bytes, name: str) -> Iterator[str]:
    """The lines of a track, a header first. A feature that is none becomes a line of one cell.

    Args:
        content: of the whole file.
        name: of the file, for errors.

    Raises:
        LogUnreadableError: it is no complete JSON.
        FormatUndetectedError: it is JSON, but no track of enviroCar.
    """
    try:
        # Numbers stay as they are written: no digit is lost, and none can overflow.
        track = json.loads(content.decode("utf-8-sig"), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise LogUnreadableError(f"{name} is no complete JSON: export the track again") from error
    features = track.get("features") if isinstance(track, dict) else None
    if not isinstance(features, list) or not any(
        "phenomenons" in _map(_map(one), "properties") for one in features
    ):
        raise FormatUndetectedError(
            f"{name} is JSON but no track of enviroCar (a FeatureCollection whose features have phenomenons). "
            "Export the recording as CSV, or as an enviroCar track"
        )
    yield _HEADER
    for feature in features:
        yield from _feature_lines(feature)


def _feature_lines(feature: object) -> Iterator[str]:
    properties = _map(_map(feature), "properties")
    if not properties:
        yield "no feature with properties"
        return
    at, position = _text(properties.get("time")), _position(feature)
    phenomenons = _map(properties, "phenomenons") or {_NO_PHENOMENON: None}
    for name, phenomenon in phenomenons.items():
        value = _map(phenomenon)
        cells = (at, _text(name), _text(value.get("value")), _text(value.get("unit")), *position)
        yield "\t".join(cells)
        position = ("", "")


def _position(feature: object) -> tuple[str, str]:
    coordinates = _map(_map(feature), "geometry").get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) < 2:  # noqa: PLR2004 - longitude and latitude
        return "", ""
    return _text(coordinates[1]), _text(coordinates[0])


def _map(value: object, key: str | None = None) -> dict[str, Any]:
    inner = value.get(key) if key is not None and isinstance(value, dict) else value
    return inner if isinstance(inner, dict) else {}


def _text(value: object) -> str:
    if value is None:
        return ""
    return " ".join((value if isinstance(value, str) else json.dumps(value)).split())
