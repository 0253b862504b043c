"""Hourly air temperatures from a service that speaks Open-Meteo's forecast API, or from a file of its answers.

One GET a place: ``latitude``, ``longitude``, ``hourly=temperature_2m``, the past day and two days ahead, in UTC.
The answer has ``hourly.time`` (ISO 8601 without an offset, or Unix seconds) and ``hourly.temperature_2m`` in °C.
A place goes to the service and nowhere else: it appears in no error and no log, and the address neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec
import requests

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
ATTEMPTS: Final = 3
HOURS_A_FACT: Final = 384  # as many as weather.v1 allows
_TIMEOUT_S: Final = (5.0, 15.0)
_ASKED: Final = {"hourly": "temperature_2m", "timezone": "UTC", "past_days": "1", "forecast_days": "3"}
_CHUNK: Final = 65_536


class WeatherError(Exception):
    """The service gave no forecast, or a file holds none; the text names neither place nor address."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place, rounded to 0.1°."""

    latitude_deg: float = field(repr=False)
    longitude_deg: float = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one place.

    Attributes:
        place: of the answer, which may be the middle of the service's own grid cell; None where it names none.
        t_ms: UTC epoch milliseconds of each hour.
        temperature_c: one value an hour; None where the service has none.
    """

    place: Place | None
    t_ms: tuple[int, ...]
    temperature_c: tuple[float | None, ...]

    def facts(
        self, vehicle: Mapping[str, str], place: Place | None, issued_ms: int, source: str
    ) -> Iterator[dict[str, object]]:
        """The answer as weather.v1 facts of one vehicle, so many hours each as the contract allows."""
        for start in range(0, len(self.t_ms), HOURS_A_FACT):
            where = {"latitude": place.latitude_deg, "longitude": place.longitude_deg} if place else {}
            yield {
                "schema": "weather.v1",
                **vehicle,
                "issued_at": issued_ms,
                "source": source,
                **where,
                "t": self.t_ms[start : start + HOURS_A_FACT],
                "temperature_c": self.temperature_c[start : start + HOURS_A_FACT],
            }


class _Hourly(msgspec.Struct):
    time: list[str | int]
    temperature_2m: list[float | None]


class _Units(msgspec.Struct):
    temperature_2m: str = "°C"


class _Answer(msgspec.Struct):
    hourly: _Hourly
    hourly_units: _Units = msgspec.field(default_factory=_Units)
    latitude: float | None = None
    longitude: float | None = None
    utc_offset_seconds: float = 0


_DECODER: Final = msgspec.json.Decoder(_Answer | list[_Answer])


def parse_answers(body: bytes) -> list[Answer]:
    """Read an answer of one place, or of several.

    Raises:
        WeatherError: it has another shape or unit.
    """
    try:
        read = _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        where = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise WeatherError(
            f"no answer of Open-Meteo's shape (hourly.time, hourly.temperature_2m): {where}"
        ) from error
    return [_answer(one) for one in (read if isinstance(read, list) else [read])]


def ask(url: str, place: Place, *, sleep: Callable[[float], None] = time.sleep) -> Answer:
    """Ask the service for one place; what may pass is tried again, after 1 s and after 4 s.

    Raises:
        WeatherError: it does not answer, refuses, or says something else than a forecast.
    """
    where = {"latitude": f"{place.latitude_deg:.1f}", "longitude": f"{place.longitude_deg:.1f}"}
    fault = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(4.0 ** (attempt - 1))
        try:
            status, body = _get(url, {**where, **_ASKED})
        except (requests.RequestException, OSError) as error:
            fault = f"the weather service does not answer ({type(error).__name__})"
            continue
        if status == requests.codes.ok:
            answers = parse_answers(body)
            if len(answers) != 1 or not answers[0].t_ms:
                raise WeatherError("the weather service answered without a single hour, or of several places")
            return answers[0]
        fault = f"the weather service answered with status {status}"
        if status != requests.codes.too_many_requests and status < requests.codes.server_error:
            break
    raise WeatherError(fault)


def _get(url: str, parameters: dict[str, str]) -> tuple[int, bytes]:
    with requests.get(url, params=parameters, timeout=_TIMEOUT_S, stream=True, allow_redirects=False) as response:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise WeatherError(f"the weather service's answer is larger than {MAX_ANSWER_BYTES:,} bytes")
        return response.status_code, bytes(body)


def _answer(read: _Answer) -> Answer:
    if read.hourly_units.temperature_2m != "°C":
        raise WeatherError("temperatures are wanted in °C: ask without temperature_unit")
    times, degrees = read.hourly.time, read.hourly.temperature_2m
    if len(times) != len(degrees):
        raise WeatherError(f"{len(degrees)} temperatures for {len(times)} hours")
    has_place = read.latitude is not None and read.longitude is not None
    place = rounded(read.latitude or 0.0, read.longitude or 0.0) if has_place else None
    return Answer(place, tuple(_ms(one, read.utc_offset_seconds) for one in times), tuple(degrees))


def rounded(latitude_deg: float, longitude_deg: float) -> Place:
    """The place to 0.1°, about 11 km."""
    return Place(round(latitude_deg, 1), round(longitude_deg, 1))


def _ms(at: str | int, offset_s: float) -> int:
    """An hour in UTC epoch milliseconds; Unix seconds are UTC, texts are of the answer's offset."""
    if isinstance(at, int):
        return at * 1000
    try:
        read = datetime.fromisoformat(at)
    except ValueError as error:
        raise WeatherError("an hour is no ISO 8601 time") from error
    if read.tzinfo is not None:
        return round(read.timestamp() * 1000)
    return round((read.replace(tzinfo=UTC).timestamp() - offset_s) * 1000)
