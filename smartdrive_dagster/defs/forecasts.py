"""Forecasts for the places where vehicles stand: asked of a service, or read from a file, and landed."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from smartdrive_dagster.domain.facts import decode_weather
from smartdrive_dagster.domain.identity import digest_text
from smartdrive_dagster.domain.messages import Rejection
from smartdrive_dagster.domain.winter_risk import last_places
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.open_meteo import Answer, Place, WeatherError, ask, rounded
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.landing.words import land_words, payload_of
from smartdrive_dagster.tables import battery

SOURCE: Final = "open-meteo"
GIVE_UP_AFTER: Final = 2
NEAR_DEG: Final = 0.15
"""The middle of a service's grid cell lies about so far from the place that was asked for."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a look at the weather brought: counts, no places.

    Attributes:
        vehicles: vehicles that were heard of lately and whose place is known.
        unplaced: vehicles that were heard of lately and whose place is not known.
        landed: places whose forecast was landed now.
        cached: places whose forecast was landed in this hour already; they were not asked again.
        failed: places that were asked for, or would have been, without an answer.
        fault: why, for the first of these.
    """

    vehicles: int
    unplaced: int
    landed: int
    cached: int
    failed: int
    fault: str | None

    def __str__(self) -> str:
        known = f"{self.vehicles} vehicles with a known place, {self.unplaced} without"
        if not self.vehicles:
            return f"nothing landed: {known}; a place is known once a start was recorded with a position"
        parts = f"{self.landed} forecasts landed, {self.cached} landed in this hour before, {self.failed} failed"
        return f"{parts}; {known}{f'. {self.fault}' if self.fault else ''}"


def fetch_forecasts(
    lakehouse: Lakehouse,
    store: LandingStore,
    url: str,
    secret: bytes,
    *,
    now: datetime,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Land a forecast for each place where a vehicle was last known to stand: one request a place and hour.

    Vehicles that stand near one another share the request. Where the service does not answer for two places in a
    row the others are not tried.

    Args:
        lakehouse: tells the places.
        store: takes the forecasts.
        url: of the service.
        secret: of the lake; keys the objects' names, which a place could be guessed from otherwise.
        now: the time.
        sleep: waits between attempts.
    """
    placed, unplaced = standing(lakehouse, now)
    names = {entry.key.rpartition("/")[2].partition(".")[0] for entry in store.list(on=now.date()).objects}
    landed = cached = failed = in_a_row = 0
    fault: str | None = None
    for place, vehicles in sorted(placed.items()):
        name = _name(secret, place, vehicles, now)
        if name in names:
            cached += 1
            continue
        if in_a_row >= GIVE_UP_AFTER:
            failed += 1
            continue
        try:
            payloads = _payloads(ask(url, place, sleep=sleep), place, vehicles, now)
        except WeatherError as error:
            failed, in_a_row, fault = failed + 1, in_a_row + 1, fault or str(error)
            continue
        in_a_row = 0
        landed += land_words(store, "weather", payloads, at=now, name=name) is not None
    count = sum(map(len, placed.values()))
    return Fetched(count, unplaced, landed, cached, failed, fault)


def import_answers(
    lakehouse: Lakehouse,
    store: LandingStore,
    answers: Sequence[Answer],
    *,
    now: datetime,
    issued_at: datetime,
    subject: dict[str, str] | None,
) -> int:
    """Land what a file says, for one vehicle or for all that stand near; how many vehicles' weather was landed.

    Raises:
        WeatherError: an answer is not of this kind, or is of no vehicle's place.
    """
    placed, _ = standing(lakehouse, now)
    issued_ms = round(issued_at.timestamp() * 1000)
    payloads: list[bytes] = []
    vehicles: set[str] = set()
    for answer in answers:
        if subject is not None:
            among = [(subject, answer.place)]
        else:
            near = [(place, who) for place, who in placed.items() if _is_near(place, answer.place)]
            among = [({"vehicle_id": vehicle}, place) for place, who in near for vehicle in who]
        for vehicle, place in among:
            vehicles.update(vehicle.values())
            payloads += _checked(answer.facts(vehicle, place, issued_ms, SOURCE))
    if not payloads:
        raise WeatherError("nothing landed: no vehicle was last seen near these places; say which with --vehicle")
    land_words(store, "weather", payloads, at=now)
    return len(vehicles)


def standing(lakehouse: Lakehouse, now: datetime) -> tuple[dict[Place, list[str]], int]:
    """The vehicles that were heard of lately, by the place where each was last known to be; how many have none."""
    places = last_places(
        lakehouse.scan(battery.BATTERY_HEALTH), lakehouse.scan(battery.PARKED_DAYS), today=now.date()
    ).collect()
    known = places.drop_nulls()
    found: dict[Place, list[str]] = {}
    for vehicle, latitude, longitude in known.sort("vehicle_id").iter_rows():
        found.setdefault(rounded(latitude, longitude), []).append(vehicle)
    return found, places.height - known.height


def _payloads(answer: Answer, place: Place, vehicles: Sequence[str], now: datetime) -> list[bytes]:
    issued_ms = round(now.timestamp() * 1000)
    return [
        payload
        for vehicle in vehicles
        for payload in _checked(answer.facts({"vehicle_id": vehicle}, place, issued_ms, SOURCE))
    ]


def _checked(facts: Iterable[Mapping[str, object]]) -> list[bytes]:
    """Facts as bytes, if the lake would take them.

    Raises:
        WeatherError: it would not.
    """
    payloads = [payload_of(fact) for fact in facts]
    for payload in payloads:
        if isinstance(outcome := decode_weather(payload), Rejection):
            raise WeatherError(f"what was said is no weather: {outcome.reason}, {outcome.detail}")
    return payloads


def _name(secret: bytes, place: Place, vehicles: Sequence[str], now: datetime) -> str:
    text = "\x1f".join((f"{place.latitude_deg:.1f} {place.longitude_deg:.1f}", f"{now:%Y-%m-%dT%H}", *vehicles))
    return digest_text(hmac.new(secret, f"weather\x1f{text}".encode(), hashlib.sha256).digest())


def _is_near(place: Place, other: Place | None) -> bool:
    if other is None:
        return False
    apart = (place.latitude_deg - other.latitude_deg, place.longitude_deg - other.longitude_deg)
    return max(map(abs, apart)) <= NEAR_DEG
