import json
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from smartdrive_dagster.landing.envelope import EnvelopeError, decode
from smartdrive_dagster.tables.facts import BATTERY_TYPES, CORRECTION_KINDS, FUEL_TYPES
from smartdrive_dagster.tables.signals import COLUMN_OF_SIGNAL
from smartdrive_dagster.tables.silver import EVENT_TYPES, PHASES, REASONS

CONTRACTS = Path(__file__).parents[2] / "contracts"
SCHEMAS = {
    path.name.removesuffix(".schema.json"): msgspec.json.decode(path.read_bytes())
    for path in sorted(CONTRACTS.glob("*.schema.json"))
}
VALID = sorted((CONTRACTS / "examples/valid").glob("*.json"))
INVALID = sorted((CONTRACTS / "examples/invalid").glob("*.json"))


def schema_of(example: Path) -> str:
    return next(name for name in SCHEMAS if example.name.startswith(f"{name}."))


def is_valid(example: Path, message: object) -> bool:
    return Draft202012Validator(SCHEMAS[schema_of(example)]).is_valid(message)


def is_json_object(text: str) -> bool:
    """A JSON object of finite numbers, with no field twice."""
    twice = []
    try:
        msgspec.json.decode(text.encode(), type=dict)  # so strict that NaN, infinities and 1e400 fail too
    except msgspec.MsgspecError:
        return False
    json.loads(text, object_pairs_hook=lambda fields: twice.append(len(dict(fields)) < len(fields)))
    return not any(twice)


def line_of(wrapped: dict) -> bytes:
    return (
        wrapped["payload_text"].encode() if "payload_text" in wrapped else msgspec.json.encode(wrapped["payload"])
    )


def test_the_eight_contracts_are_there():
    facts = {"correction.v1", "profile.v1", "weather.v1"}
    assert set(SCHEMAS) == {"ack.v1", "envelope", "events.v1", "telemetry.v0", "telemetry.v1"} | facts


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_valid_schema_with_a_name_and_a_description(name):
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:smartdrive:contract:{name}"
    assert schema["title"] == name
    assert schema["description"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_has_several_examples_of_both_kinds(name):
    for kind in (VALID, INVALID):
        assert sum(schema_of(example) == name for example in kind) >= 3


@pytest.mark.parametrize("example", VALID, ids=lambda path: path.stem)
def test_a_valid_example_passes_its_schema(example):
    message = msgspec.json.decode(example.read_bytes())
    Draft202012Validator(SCHEMAS[schema_of(example)]).validate(message)


@pytest.mark.parametrize("example", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_fails_where_its_file_says(example):
    wrapped = msgspec.json.decode(example.read_bytes())
    assert set(wrapped) in ({"reason", "breaks_schema", "payload"}, {"reason", "breaks_schema", "payload_text"})
    assert wrapped["reason"] in REASONS
    if "payload_text" in wrapped:
        assert not wrapped["breaks_schema"]
        assert not is_json_object(wrapped["payload_text"])
    else:
        assert is_valid(example, wrapped["payload"]) is not wrapped["breaks_schema"]


def test_lists_of_valid_telemetry_examples_are_as_long_as_their_times():
    messages = [msgspec.json.decode(path.read_bytes()) for path in VALID if path.name.startswith("telemetry.v1.")]
    assert messages
    assert all(len(values) == len(message["t"]) for message in messages for values in message["signals"].values())


def test_the_landing_reader_takes_every_valid_envelope():
    for example in (path for path in VALID if path.name.startswith("envelope.")):
        assert decode(msgspec.json.encode(msgspec.json.decode(example.read_bytes()))).topic


@pytest.mark.parametrize(
    "example", [path for path in INVALID if path.name.startswith("envelope.")], ids=lambda path: path.stem
)
def test_the_landing_reader_refuses_every_invalid_envelope(example):
    with pytest.raises(EnvelopeError):
        decode(line_of(msgspec.json.decode(example.read_bytes())))


def test_the_schemas_and_the_tables_name_the_same_phases_and_event_types():
    assert tuple(SCHEMAS["telemetry.v1"]["properties"]["phase"]["enum"]) == PHASES
    assert tuple(SCHEMAS["events.v1"]["properties"]["type"]["enum"]) == EVENT_TYPES


def test_the_schemas_and_the_tables_name_the_same_corrections_fuels_and_batteries():
    profile = SCHEMAS["profile.v1"]["properties"]
    assert tuple(SCHEMAS["correction.v1"]["properties"]["kind"]["enum"]) == CORRECTION_KINDS
    assert tuple(profile["fuel_type"]["enum"]) == (*FUEL_TYPES, None)
    assert tuple(profile["battery_type"]["enum"]) == (*BATTERY_TYPES, None)


def test_every_signal_with_a_column_fits_the_name_pattern():
    names = Draft202012Validator(SCHEMAS["telemetry.v1"]["properties"]["signals"]["propertyNames"])
    assert all(names.is_valid(signal) for signal in COLUMN_OF_SIGNAL)


@pytest.mark.parametrize("vin", ["WVWZZZ1JZXW000001", "JMZZZZNAZXH000003"])
@pytest.mark.parametrize(
    "broken", [str.lower, lambda vin: vin[:-1], lambda vin: f"{vin}0", lambda vin: f"{vin}\n"]
)
def test_every_schema_with_a_vin_refuses_a_broken_one(vin, broken):
    for name in ("telemetry.v0", "telemetry.v1", "events.v1", "correction.v1", "profile.v1", "weather.v1"):
        schema = {**SCHEMAS[name]["properties"]["vin"], "$defs": SCHEMAS[name].get("$defs", {})}
        assert Draft202012Validator(schema).is_valid(vin)
        assert not Draft202012Validator(schema).is_valid(broken(vin))
