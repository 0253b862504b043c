"""Facts from outside: what the contract says is what is decoded, and any bytes give a value."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdrive_dagster.domain.facts import (
    Correction,
    Profile,
    Weather,
    decode_correction,
    decode_profile,
    decode_weather,
)
from smartdrive_dagster.domain.messages import MAX_PAYLOAD_BYTES, Rejection
from smartdrive_dagster.tables.facts import CORRECTION_KINDS, FUEL_TYPES
from tests.messages import VIN

EXAMPLES = Path(__file__).parents[2] / "contracts/examples"
DECODERS = {
    "correction.v1": (decode_correction, Correction),
    "profile.v1": (decode_profile, Profile),
    "weather.v1": (decode_weather, Weather),
}
SET_AT = 1_764_590_000_000


def examples(kind: str) -> list[tuple[str, Path]]:
    return [(name, path) for name in DECODERS for path in sorted((EXAMPLES / kind).glob(f"{name}.*.json"))]


def correction(**changes: object) -> bytes:
    message = {"schema": "correction.v1", "vin": VIN, "kind": "merge", "from": SET_AT, "to": SET_AT}
    return msgspec.json.encode(message | {"set_at": SET_AT} | changes)


@pytest.mark.parametrize(("schema", "path"), examples("valid"), ids=lambda value: getattr(value, "stem", None))
def test_a_valid_fact_of_the_contract_is_decoded(schema: str, path: Path):
    decode, kind = DECODERS[schema]
    assert isinstance(decode(path.read_bytes()), kind)


@pytest.mark.parametrize(("schema", "path"), examples("invalid"), ids=lambda value: getattr(value, "stem", None))
def test_a_fact_that_the_contract_refuses_is_rejected_for_the_reason_that_it_gives(schema: str, path: Path):
    wrapped = msgspec.json.decode(path.read_bytes())
    payload = wrapped.get("payload_text", "").encode() or msgspec.json.encode(wrapped["payload"])
    outcome = DECODERS[schema][0](payload)
    assert isinstance(outcome, Rejection)
    assert outcome.reason == wrapped["reason"]
    assert VIN not in outcome.detail


@pytest.mark.parametrize("decode", [decoder for decoder, _ in DECODERS.values()])
@settings(max_examples=100)
@given(payload=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_any_bytes_give_a_value(decode, payload: bytes):
    assert isinstance(decode(payload), Rejection)


@pytest.mark.parametrize("payload", [b"\xff{}", b"[" * 100_000, b'{"vin":1e400}', b" " * (MAX_PAYLOAD_BYTES + 1)])
def test_hostile_bytes_are_rejected(payload: bytes):
    assert {decode(payload).reason for decode, _ in DECODERS.values()} <= {
        "not_utf8",
        "not_json",
        "payload_too_large",
        "schema_violated",
    }


def test_the_same_content_is_the_same_fact_however_it_was_written():
    spaced = correction().replace(b":", b" : ")
    assert decode_correction(spaced) == decode_correction(correction())
    assert (
        decode_correction(correction(set_at=SET_AT + 1)).message_id != decode_correction(correction()).message_id
    )


def test_a_fact_belongs_to_the_pseudonym_that_its_author_gave_or_to_that_of_the_vin():
    by_vin = decode_correction(correction())
    by_name = decode_correction(correction(vin=None, vehicle_id="a" * 26))
    assert by_vin.subject.pseudonym(lambda vin: f"of {vin}") == f"of {VIN}"
    assert by_name.subject.pseudonym(lambda vin: f"of {vin}") == "a" * 26


def test_the_decoders_take_every_word_that_the_tables_accept():
    for fuel in FUEL_TYPES:
        profile = {"schema": "profile.v1", "vin": VIN, "set_at": SET_AT, "fuel_type": fuel}
        assert decode_profile(msgspec.json.encode(profile)).fuel_type == fuel
    forms = {"merge": {}, "split": {"from": None, "to": None, "at": SET_AT}, "label": {"label": "x"}}
    for kind in CORRECTION_KINDS:
        assert decode_correction(correction(kind=kind, **forms[kind])).kind == kind


def test_a_position_is_rounded_to_a_tenth_of_a_degree():
    message = msgspec.json.decode((EXAMPLES / "valid/weather.v1.forecast.json").read_bytes())
    weather = decode_weather(msgspec.json.encode(message | {"latitude": 47.4979, "longitude": 19.0402}))
    assert (weather.latitude_deg, weather.longitude_deg) == (47.5, 19.0)
