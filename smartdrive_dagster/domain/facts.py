"""Facts from outside: corrections of trips, profiles of vehicles and weather, from bytes to values or rejections.

They come in landing objects on channels of their own, one JSON object a line, and name their vehicle by its VIN or
by its pseudonym. A fact has no number at a sender: its content is its identity. As in `messages`, a rejection says
where the fault is and never quotes a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar
from zoneinfo import available_timezones

import msgspec

from smartdrive_dagster.domain.identity import holds_vin, is_vin
from smartdrive_dagster.domain.messages import (
    MAX_PAYLOAD_BYTES,
    FieldTwiceError,
    Rejection,
    content_digest,
    refuse_a_field_twice,
    validation_rejection,
)
from smartdrive_dagster.domain.trip_corrections import MAX_CORRECTION_DAYS

MAX_LABEL_CHARACTERS: Final = 64
MAX_HOURS: Final = 24 * 16
"""Of one word about the weather; and no forecast reaches further ahead."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_EARLIEST_MS: Final = 1_199_145_600_000  # 2008-01-01: event days begin there
_LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01: what is set then was set by a broken clock

_Instant = Annotated[int, msgspec.Meta(ge=_EARLIEST_MS, lt=_LATEST_MS)]
_Vehicle = Annotated[str, msgspec.Meta(pattern=r"^[a-z2-7]{26}\Z")]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_LABEL_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Name = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*\Z")
]
_Positive = Annotated[float, msgspec.Meta(gt=0)]
_Celsius = Annotated[float, msgspec.Meta(ge=-90, le=70)]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a fact is about: a VIN or a pseudonym, whichever its author gave."""

    vin: str | None
    vehicle_id: str | None

    def pseudonym(self, of_vin: Callable[[str], str]) -> str:
        """The vehicle's pseudonym, made from the VIN where that was given."""
        return self.vehicle_id if self.vehicle_id is not None else of_vin(self.vin or "")


@dataclass(frozen=True, slots=True)
class Correction:
    """One word of an owner about trips; of a split, `from_ms` and `to_ms` are its instant."""

    subject: Subject
    message_id: str
    content_digest: str
    kind: str
    from_ms: int
    to_ms: int
    label: str | None
    set_ms: int


@dataclass(frozen=True, slots=True)
class Profile:
    """One word of an owner about a vehicle; None says nothing."""

    subject: Subject
    message_id: str
    content_digest: str
    set_ms: int
    name: str | None
    fuel_type: str | None
    displacement_l: float | None
    battery_type: str | None
    battery_capacity_ah: float | None
    fuel_price_per_l: float | None
    currency: str | None
    time_zone: str | None


@dataclass(frozen=True, slots=True)
class Weather:
    """Hourly air temperatures around a vehicle, of the past or forecast.

    Attributes:
        issued_ms: when the source said so; the latest wins.
        t_ms: UTC epoch milliseconds of each hour.
        temperature_c: air temperature at 2 m; None where the source has none.
        latitude_deg: rounded to 0.1°, as is longitude_deg.
    """

    subject: Subject
    message_id: str
    content_digest: str
    issued_ms: int
    source: str
    latitude_deg: float | None
    longitude_deg: float | None
    t_ms: list[int]
    temperature_c: list[float | None]


class _Fact(msgspec.Struct, kw_only=True):
    schema: str
    vin: str | None = None
    vehicle_id: _Vehicle | None = None


class _CorrectionV1(_Fact):
    kind: Literal["merge", "split", "label"]
    set_at: _Instant
    from_: _Instant | None = msgspec.field(name="from", default=None)
    to: _Instant | None = None
    at: _Instant | None = None
    label: _Text | None = None


class _ProfileV1(_Fact):
    set_at: _Instant
    name: _Name | None = None
    fuel_type: Literal["petrol", "diesel", "e10", "e85", "lpg", "cng", "hybrid", "electric"] | None = None
    displacement_l: Annotated[float, msgspec.Meta(gt=0, le=20)] | None = None
    battery_type: Literal["flooded", "efb", "agm", "gel", "lifepo4"] | None = None
    battery_capacity_ah: Annotated[float, msgspec.Meta(gt=0, le=1000)] | None = None
    fuel_price_per_l: _Positive | None = None
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")] | None = None
    time_zone: _Name | None = None


class _WeatherV1(_Fact):
    issued_at: _Instant
    source: _Name
    t: Annotated[list[_Instant], msgspec.Meta(min_length=1, max_length=MAX_HOURS)]
    temperature_c: list[_Celsius | None]
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None


_Shape = TypeVar("_Shape", _CorrectionV1, _ProfileV1, _WeatherV1)
_CORRECTION = msgspec.json.Decoder(_CorrectionV1)
_PROFILE = msgspec.json.Decoder(_ProfileV1)
_WEATHER = msgspec.json.Decoder(_WeatherV1)


def decode_correction(payload: bytes) -> Correction | Rejection:
    """Decode a line of the channel `corrections`; any bytes at all give a value, nothing is raised."""
    message = _decoded(payload, _CORRECTION, "correction.v1")
    if isinstance(message, Rejection):
        return message
    interval = _interval(message)
    if isinstance(interval, Rejection):
        return interval
    if message.label is not None and holds_vin(message.label):
        return _violated("a text without a VIN - at `$.label`")
    from_ms, to_ms = interval
    content = (message.vin, message.vehicle_id, message.kind, from_ms, to_ms, message.label, message.set_at)
    identity = content_digest(message.schema, content)
    return Correction(
        subject=Subject(message.vin, message.vehicle_id),
        message_id=identity,
        content_digest=identity,
        kind=message.kind,
        from_ms=from_ms,
        to_ms=to_ms,
        label=message.label,
        set_ms=message.set_at,
    )


def decode_profile(payload: bytes) -> Profile | Rejection:
    """Decode a line of the channel `profiles`; any bytes at all give a value, nothing is raised."""
    message = _decoded(payload, _PROFILE, "profile.v1")
    if isinstance(message, Rejection):
        return message
    if message.time_zone is not None and message.time_zone not in available_timezones():
        return _violated("an IANA time zone - at `$.time_zone`")
    if message.name is not None and holds_vin(message.name):
        return _violated("a text without a VIN - at `$.name`")
    if message.fuel_price_per_l is not None and message.currency is None:
        return _violated("a currency beside the price - at `$.currency`")
    said = {name: getattr(message, name) for name in _ProfileV1.__struct_fields__}
    facts = {name: said[name] for name in said if name not in {"schema", "vin", "vehicle_id", "set_at"}}
    identity = content_digest(message.schema, tuple(said.values()))
    return Profile(
        subject=Subject(message.vin, message.vehicle_id),
        message_id=identity,
        content_digest=identity,
        set_ms=message.set_at,
        **facts,
    )


def decode_weather(payload: bytes) -> Weather | Rejection:
    """Decode a line of the channel `weather`; any bytes at all give a value, nothing is raised."""
    message = _decoded(payload, _WEATHER, "weather.v1")
    if isinstance(message, Rejection):
        return message
    if len(message.temperature_c) != len(message.t):
        return Rejection(
            "length_mismatch", f"{len(message.temperature_c)} temperatures for {len(message.t)} times"
        )
    if max(message.t) > message.issued_at + MAX_HOURS * _HOUR_MS:
        return _violated("hours at most 16 days after issued_at - at `$.t`")
    if holds_vin(message.source):
        return _violated("a text without a VIN - at `$.source`")
    said = tuple(getattr(message, name) for name in _WeatherV1.__struct_fields__)
    identity = content_digest(message.schema, said)
    return Weather(
        subject=Subject(message.vin, message.vehicle_id),
        message_id=identity,
        content_digest=identity,
        issued_ms=message.issued_at,
        source=message.source,
        latitude_deg=_rounded(message.latitude),
        longitude_deg=_rounded(message.longitude),
        t_ms=message.t,
        temperature_c=message.temperature_c,
    )


def _decoded(payload: bytes, decoder: msgspec.json.Decoder[_Shape], schema: str) -> _Shape | Rejection:
    """A fact of the one schema of its channel, about exactly one vehicle."""
    rejection: Rejection
    if len(payload) > MAX_PAYLOAD_BYTES:
        return Rejection("payload_too_large", f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are allowed")
    try:
        payload.decode()
        message = decoder.decode(payload)
        refuse_a_field_twice(payload)
    except UnicodeDecodeError as error:
        rejection = Rejection("not_utf8", f"byte {error.start}")
    except msgspec.ValidationError as error:
        rejection = validation_rejection(str(error))
    except (msgspec.DecodeError, ValueError) as error:
        rejection = Rejection("not_json", str(error))
    except FieldTwiceError:
        rejection = Rejection("schema_violated", "A field stands twice in one object")
    except RecursionError:
        rejection = Rejection("not_json", "nested too deeply")
    else:
        if message.schema != schema:
            return Rejection("schema_unknown", f"this channel knows {schema}")
        if (message.vin is None) == (message.vehicle_id is None):
            return _violated("either vin or vehicle_id - at `$`")
        if message.vin is not None and not is_vin(message.vin):
            return Rejection("vin_invalid", "$.vin")
        return message
    return rejection


def _interval(message: _CorrectionV1) -> tuple[int, int] | Rejection:
    """The interval of a correction, in the form that its kind takes."""
    given = {name for name in ("from_", "to", "at", "label") if getattr(message, name) is not None}
    wanted = {"split": {"at"}, "merge": {"from_", "to"}, "label": {"from_", "to", "label"}}[message.kind]
    if given != wanted:
        names = ", ".join(sorted(name.rstrip("_") for name in wanted))
        return _violated(f"a {message.kind} with {names} and nothing else - at `$`")
    first, last = (message.at, message.at) if message.at is not None else (message.from_, message.to)
    if first is None or last is None or last < first:
        return _violated("to not before from - at `$.to`")
    if last - first > MAX_CORRECTION_DAYS * _DAY_MS:
        return _violated("an interval of at most 24 hours - at `$.to`")
    return first, last


def _violated(wanted: str) -> Rejection:
    return Rejection("schema_violated", f"Expected {wanted}")


def _rounded(degrees: float | None) -> float | None:
    return None if degrees is None else round(degrees, 1)
