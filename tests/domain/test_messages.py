import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartdrive_dagster.domain.messages import (
    MAX_DEPTH,
    MAX_PAYLOAD_BYTES,
    MAX_SAMPLES,
    Dtc,
    Event,
    Rejection,
    Telemetry,
    decode_message,
)
from smartdrive_dagster.landing.envelope import Envelope, EnvelopeError, decode
from smartdrive_dagster.tables.silver import REASONS
from tests.messages import OTHER_VIN, VIN, event, telemetry

EXAMPLES = Path(__file__).parents[2] / "contracts/examples"
# These are judged against the time of receipt, sample by sample: see test_decoding.py.
CLOCK = ("clock_unsynced", "clock_before_2008", "clock_ahead")


def examples(kind: str, *schemas: str) -> list[Path]:
    return [path for path in sorted((EXAMPLES / kind).glob("*.json")) if path.name.startswith(schemas)]


def invalid(path: Path) -> tuple[bytes, str]:
    wrapped = msgspec.json.decode(path.read_bytes())
    if "payload_text" in wrapped:
        return wrapped["payload_text"].encode(), wrapped["reason"]
    return msgspec.json.encode(wrapped["payload"]), wrapped["reason"]


def reason(payload: bytes) -> str | None:
    outcome = decode_message(payload)
    return outcome.reason if isinstance(outcome, Rejection) else None


def with_text(payload: bytes, old: str, new: str) -> bytes:
    text = payload.decode()
    assert old in text
    return text.replace(old, new, 1).encode("utf-8", "surrogatepass")


def v0(**changes: object) -> bytes:
    message = {"vin": VIN, "timestamp": "2025-12-01T08:00:00Z", "rpm": 812.5, "voltage": 14.1, "pids": []}
    return msgspec.json.encode(message | changes)


def pid(code: object, value: object) -> dict[str, object]:
    return {"pid_code": code, "value": value, "timestamp": "2025-12-01T08:00:00Z"}


@pytest.mark.parametrize("path", examples("valid", "telemetry"), ids=lambda path: path.stem)
def test_valid_telemetry_of_the_contract_is_decoded(path):
    assert isinstance(decode_message(path.read_bytes()), Telemetry)


@pytest.mark.parametrize("path", examples("valid", "events"), ids=lambda path: path.stem)
def test_valid_events_of_the_contract_are_decoded(path):
    assert isinstance(decode_message(path.read_bytes()), Event)


@pytest.mark.parametrize("path", examples("invalid", "telemetry", "events"), ids=lambda path: path.stem)
def test_what_the_contract_refuses_is_rejected_for_the_reason_that_it_gives(path):
    payload, wanted = invalid(path)
    assert reason(payload) == (None if wanted in CLOCK else wanted)


@pytest.mark.parametrize("path", examples("valid", "envelope"), ids=lambda path: path.stem)
def test_valid_envelopes_of_the_contract_are_read(path):
    assert isinstance(decode(path.read_bytes()), Envelope)


@pytest.mark.parametrize("path", examples("invalid", "envelope"), ids=lambda path: path.stem)
def test_what_the_contract_refuses_as_an_envelope_is_none(path):
    line, wanted = invalid(path)
    assert wanted == "envelope_malformed"
    with pytest.raises(EnvelopeError):
        decode(line)


def test_the_contract_has_examples_of_every_reason_that_a_decoder_can_give():
    given_reasons = {invalid(path)[1] for path in examples("invalid", "telemetry", "events")}
    by_nature = {"payload_too_large", "not_utf8"}
    of_objects = {"envelope_malformed", "line_too_large", "object_too_large", "object_truncated", "object_corrupt"}
    assert given_reasons == set(REASONS) - by_nature - of_objects - {"channel_unsupported", "conflict"}


HOSTILE = {
    "nothing": (b"", "not_json"),
    "white space": (b" \n", "not_json"),
    "null": (b"null", "not_json"),
    "a number": (b"7", "not_json"),
    "a text": (b'"telemetry.v1"', "not_json"),
    "a list": (b"[" + telemetry() + b"]", "not_json"),
    "two objects": (telemetry() + telemetry(), "not_json"),
    "an empty object": (b"{}", "schema_violated"),
    "a byte order mark": (b"\xef\xbb\xbf" + telemetry(), "not_json"),
    "UTF-16": (telemetry().decode().encode("utf-16"), "not_utf8"),
    "a byte that is no UTF-8": (with_text(telemetry(), "running", "r").replace(b'"r"', b'"\xff"'), "not_utf8"),
    "an encoded surrogate": (with_text(telemetry(), "running", "\ud800"), "not_utf8"),
    "an escaped high surrogate": (with_text(telemetry(), "edge", "\\ud800"), "not_json"),
    "an escaped low surrogate": (with_text(telemetry(), "edge", "\\udc00"), "not_json"),
    "a surrogate in a detail": (with_text(event(), "{}", '{"a":"\\udc00"}'), "not_json"),
    "NaN": (with_text(telemetry(), "1500.0", "NaN"), "not_json"),
    "Infinity": (with_text(telemetry(), "1500.0", "Infinity"), "not_json"),
    "minus Infinity": (with_text(telemetry(), "1500.0", "-Infinity"), "not_json"),
    "1e400": (with_text(telemetry(), "1500.0", "1e400"), "not_json"),
    "-1e400": (with_text(telemetry(), "1500.0", "-1e400"), "not_json"),
    "a number of 400 digits": (with_text(telemetry(), "1500.0", "9" * 400), "not_json"),
    "a number of 5,000 digits": (with_text(telemetry(), "1500.0", "9" * 5000), "not_json"),
    "NaN in a detail": (with_text(event(), "{}", '{"a":NaN}'), "not_json"),
    "1e400 in a detail": (with_text(event(), "{}", '{"a":[1e400]}'), "not_json"),
    "400 digits in a detail": (with_text(event(), "{}", '{"a":[-' + "9" * 400 + "]}"), "not_json"),
    "5,000 digits in a detail": (with_text(event(), "{}", '{"a":' + "9" * 5000 + "}"), "not_json"),
    "400 digits in a health report": (
        event(type_="health", detail={"spool_age_s": 0, "achieved_hz": {}, "restarts": 0, "drops": 0}).replace(
            b'"spool_age_s":0', b'"spool_age_s":' + b"9" * 400
        ),
        "not_json",
    ),
    "the VIN twice": (with_text(telemetry(), '"vin"', f'"vin":"{OTHER_VIN}","vin"'), "schema_violated"),
    "the same VIN twice": (with_text(telemetry(), '"vin"', f'"vin":"{VIN}","vin"'), "schema_violated"),
    "the VIN twice, once in escapes": (
        with_text(telemetry(), '"vin"', f'"\\u0076in":"{OTHER_VIN}","vin"'),
        "schema_violated",
    ),
    "the schema twice": (with_text(telemetry(), '"vin"', '"schema":"telemetry.v1","vin"'), "schema_violated"),
    "a signal twice": (with_text(telemetry(), '"RPM"', '"RPM":[1,2,3],"RPM"'), "schema_violated"),
    "an unknown field twice": (with_text(telemetry(), '"vin"', '"x":1,"x":2,"vin"'), "schema_violated"),
    "a field of an unknown object twice": (
        with_text(telemetry(), '"vin"', '"x":[{"a":1,"a":2}],"vin"'),
        "schema_violated",
    ),
    "a field of a detail twice": (with_text(event(), "{}", '{"a":1,"a":1}'), "schema_violated"),
    "a field of v0 twice": (with_text(v0(), '"rpm"', '"rpm":1,"rpm"'), "schema_violated"),
    "a list 100,000 deep": (b"[" * 100_000, "not_json"),
    "an object 10,000 deep": (b'{"schema":' * 10_000, "not_json"),
    "depth in an unknown field": (with_text(telemetry(), '"vin"', '"x":' + "[" * 90_000 + ',"vin"'), "not_json"),
    "depth in a detail": (with_text(event(), "{}", '{"a":' + "[" * 200 + "]" * 200 + "}"), "not_json"),
    "t of 2**80": (telemetry(samples=1, t=[0]).replace(b'"t":[0]', b'"t":[%d]' % 2**80), "schema_violated"),
    "t of 2**53": (telemetry(samples=1, t=[2**53]), "schema_violated"),
    "t of 400 digits": (telemetry(samples=1, t=[0]).replace(b"[0]", b"[" + b"9" * 400 + b"]"), "schema_violated"),
    "t below zero": (telemetry(samples=1, t=[-1]), "schema_violated"),
    "t as a fraction": (telemetry(samples=1, t=[0.5]), "schema_violated"),
    "t as null": (telemetry(samples=1, t=[None]), "schema_violated"),
    "t as one number": (telemetry(t=7), "schema_violated"),
    "t of an event below zero": (event(t=-1), "schema_violated"),
    "t of an event of 2**80": (event(t=0).replace(b'"t":0', b'"t":%d' % 2**80), "schema_violated"),
    "no samples": (telemetry(samples=0), "schema_violated"),
    "too many samples": (
        telemetry(t=[0] * (MAX_SAMPLES + 1), signals={"RPM": [0] * (MAX_SAMPLES + 1)}),
        "schema_violated",
    ),
    "no signals": (telemetry(signals={}), "schema_violated"),
    "true for a number": (telemetry(samples=1, signals={"IGNITION": [True]}), "schema_violated"),
    "a text for a number": (telemetry(samples=1, signals={"RPM": ["812"]}), "schema_violated"),
    "null for a list": (telemetry(signals={"RPM": None}), "schema_violated"),
    "a list too short": (telemetry(signals={"RPM": [1, 2]}), "length_mismatch"),
    "a list too long": (telemetry(signals={"RPM": [1, 2, 3], "SPEED": [1, 2, 3, 4]}), "length_mismatch"),
    "an empty list": (telemetry(signals={"RPM": []}), "length_mismatch"),
    "a signal name of 65 characters": (telemetry(signals={"A" * 65: [1, 2, 3]}), "schema_violated"),
    "a signal name of 50,000 characters": (telemetry(signals={"A" * 50_000: [1, 2, 3]}), "schema_violated"),
    "a signal name with a line feed": (telemetry(signals={"RPM\n": [1, 2, 3]}), "schema_violated"),
    "an empty signal name": (telemetry(signals={"": [1, 2, 3]}), "schema_violated"),
    "a device with a line feed": (telemetry(device_id="edge-00001\n"), "schema_violated"),
    "a device of 65 characters": (telemetry(device_id="a" * 65), "schema_violated"),
    "a device with a NUL": (telemetry(device_id="a\0"), "schema_violated"),
    "seq below zero": (telemetry(-1), "schema_violated"),
    "seq of 2**53": (telemetry(2**53), "schema_violated"),
    "seq as a float": (with_text(telemetry(1), '"seq":1', '"seq":1.0'), "schema_violated"),
    "seq as true": (telemetry(True), "schema_violated"),
    "another phase": (telemetry(phase="out of range"), "schema_violated"),
    "null for the schema": (telemetry(schema=None), "schema_unknown"),
    "a number for the schema": (telemetry(schema=1), "schema_unknown"),
    "an object for the schema": (telemetry(schema={"a": 1}), "schema_unknown"),
    "a VIN with a line feed": (telemetry(vin=VIN + "\n"), "vin_invalid"),
    "a VIN in Arabic digits": (telemetry(vin=VIN[:-1] + "\u0661"), "vin_invalid"),
    "an empty VIN": (event(vin=""), "vin_invalid"),
    "null for the VIN": (event(vin=None), "schema_violated"),
    "a scan of 257 codes": (
        event(type_="dtc_scan", detail={"stored": [{"code": "P0171"}] * 257, "pending": [], "permanent": []}),
        "schema_violated",
    ),
    "a code with a line feed": (
        event(type_="dtc_scan", detail={"stored": [{"code": "P0171\n"}], "pending": [], "permanent": []}),
        "schema_violated",
    ),
    "a v0 time with a line feed": (v0(timestamp="2025-12-01T08:00:00\n"), "schema_violated"),
    "a v0 time of week and day": (v0(timestamp="2025-W49-1T08:00:00"), "schema_violated"),
    "a v0 time at 24:00": (v0(timestamp="2025-12-01T24:00:00Z"), "schema_violated"),
    "a v0 year 0": (v0(timestamp="0000-12-01T08:00:00Z"), "schema_violated"),
    "a v0 name in lower case": (v0(pids=[pid("rpm", 1)]), "schema_violated"),
    "a v0 message of 257 PIDs": (v0(pids=[pid("RPM", 1)] * 257), "schema_violated"),
    "a v0 value of true": (v0(pids=[pid("RPM", True)]), "schema_violated"),
}


@pytest.mark.parametrize(("payload", "wanted"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_payload_is_rejected_with_its_reason(payload, wanted):
    assert reason(payload) == wanted


def test_a_payload_may_be_as_large_as_the_contract_says_and_no_larger():
    padding = MAX_PAYLOAD_BYTES - len(telemetry(x=""))
    assert reason(telemetry(x="a" * padding)) is None
    assert reason(telemetry(x="a" * (padding + 1))) == "payload_too_large"
    assert reason(b"\xff" * 129 * 1024) == "payload_too_large"


def test_the_largest_numbers_of_the_contract_are_accepted():
    assert reason(telemetry(2**53 - 1, samples=1, t=[2**53 - 1])) is None
    assert reason(event(2**53 - 1, t=0)) is None


def test_a_detail_may_be_as_deep_as_the_bound_wherever_it_is_decoded():
    def nested(depth: int) -> bytes:
        return with_text(event(), "{}", '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}")

    def called_from(depth: int, payload: bytes) -> str | None:
        return reason(payload) if depth == 0 else called_from(depth - 1, payload)

    for depth in (0, 500):
        assert called_from(depth, nested(MAX_DEPTH + 1)) is None
        assert called_from(depth, nested(MAX_DEPTH + 2)) == "not_json"


def test_five_thousand_unknown_signals_are_kept():
    signals = {f"S{number}": [number] for number in range(5000)}
    assert decode_message(telemetry(samples=1, signals=signals)).signals == signals


def test_telemetry_says_what_was_sent():
    decoded = decode_message(telemetry(7, samples=2, signals={"RPM": [812.5, None]}, clock="unsynced"))
    assert (decoded.vin, decoded.device_id, decoded.phase) == (VIN, "edge-00001", "running")
    assert decoded.is_synced is False
    assert decoded.t_ms[1] - decoded.t_ms[0] == 1000
    assert decoded.signals == {"RPM": [812.5, None]}


def test_a_scan_lists_its_codes_by_service():
    detail = {"stored": [{"code": "P0171", "title": "lean"}], "pending": [{"code": "U0100"}], "permanent": None}
    decoded = decode_message(event(type_="dtc_scan", detail=detail))
    assert decoded.dtcs == (Dtc("P0171", "stored", "lean"), Dtc("U0100", "pending", None))


def test_a_detail_is_kept_as_json():
    decoded = decode_message(event(type_="low_voltage", detail={"voltage_v": 11.4, "a": [1, None, "é"]}))
    assert json.loads(decoded.detail) == {"voltage_v": 11.4, "a": [1, None, "é"]}
    assert decoded.dtcs == ()


def test_a_v0_message_is_one_sample_whose_identity_is_its_content():
    decoded = decode_message(v0(speed=None, pids=[pid("BATTERY_VOLTAGE", 12.0), pid("COOLANT_TEMP", 88)]))
    assert decoded.t_ms == [1_764_576_000_000]
    assert decoded.signals == {"RPM": [812.5], "ELM_VOLTAGE": [14.1], "COOLANT_TEMP": [88.0]}
    assert decoded.message_id == decoded.content_digest
    assert decoded.device_id is decoded.phase is None


@pytest.mark.parametrize(
    "same",
    ["2025-12-01T08:00:00", "2025-12-01 08:00:00Z", "2025-12-01T09:30:00.000+01:30", "2025-12-01T08:00:00.0001"],
)
def test_a_v0_time_without_an_offset_is_utc(same):
    assert decode_message(v0(timestamp=same)).message_id == decode_message(v0()).message_id


def reordered(payload: bytes) -> bytes:
    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {name: turned(part) for name, part in reversed(value.items())}
        return [turned(part) for part in value] if isinstance(value, list) else value

    return json.dumps(turned(json.loads(payload)), indent=2, ensure_ascii=True).encode()


THOUSAND = telemetry(signals={"RPM": [1000] * 3})
DETAIL = {"é": 1, "b": {"y": [1, 2.5], "x": None}}
SAME = {
    "key order and white space of telemetry": (telemetry(), reordered(telemetry())),
    "key order and white space of an event": (event(detail=DETAIL), reordered(event(detail=DETAIL))),
    "key order and white space of v0": (v0(speed=3), reordered(v0(speed=3))),
    "1 and 1.0 in telemetry": (telemetry(signals={"RPM": [1] * 3}), telemetry(signals={"RPM": [1.0] * 3})),
    "1 and 1.0 in an event": (event(detail={"a": [1]}), event(detail={"a": [1.0]})),
    "1 and 1.0 in v0": (v0(rpm=812, pids=[pid("MAF", 2)]), v0(rpm=812.0, pids=[pid("MAF", 2.0)])),
    "1000 and 1e3": (THOUSAND, THOUSAND.replace(b"[1000,", b"[1e3,")),
    "an unknown top-level field": (telemetry(), telemetry(firmware="1.2")),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=list(SAME))
def test_the_same_content_in_another_spelling_has_the_same_digest(one, other):
    first, second = decode_message(one), decode_message(other)
    assert one != other
    assert not isinstance(first, Rejection)
    assert (first.message_id, first.content_digest) == (second.message_id, second.content_digest)


OTHER = {
    "a value": (telemetry(), telemetry(signals={"RPM": [1500.5, 1500, 1500], "SPEED": [36] * 3})),
    "null for 0": (telemetry(signals={"RPM": [0] * 3}), telemetry(signals={"RPM": [None, 0, 0]})),
    "a signal's name": (telemetry(signals={"RPM": [1] * 3}), telemetry(signals={"MAF": [1] * 3})),
    "a time": (telemetry(samples=1, t=[5]), telemetry(samples=1, t=[6])),
    "the phase": (telemetry(), telemetry(phase="cranking")),
    "the vehicle": (telemetry(), telemetry(vin=OTHER_VIN)),
    "the clock": (telemetry(), telemetry(clock="unsynced")),
    "an event's type": (event(), event(type_="ignition_off")),
    "an event's time": (event(t=1), event(t=2)),
    "an event's vehicle": (event(), event(vin=OTHER_VIN)),
    "an event's detail": (event(detail={"a": 1}), event(detail={"a": 1.5})),
    "true and 1": (event(detail={"a": 1}), event(detail={"a": True})),
    "neighbours beyond 2**53": (event(detail={"a": 2**53}), event(detail={"a": 2**53 + 1})),
}


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=list(OTHER))
def test_other_content_under_the_same_identity_has_another_digest(one, other):
    first, second = decode_message(one), decode_message(other)
    assert first.message_id == second.message_id
    assert first.content_digest != second.content_digest


@pytest.mark.parametrize(
    "changes", [{"device_id": "edge-2"}, {"boot_id": "b2"}, {"seq": 2}, {"device_id": "edge-00001boot-1"}]
)
def test_device_boot_and_number_are_the_identity(changes):
    assert decode_message(telemetry(**changes)).message_id != decode_message(telemetry()).message_id


SECRETS = st.sampled_from(
    [VIN, "4.2195", "somewhere", "P0171X", f"{VIN} - at `$.vin`", "out of range", f"a\n{VIN}"]
)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | SECRETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SECRETS | st.just("RPM"), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ("vin", "device_id", "boot_id", "seq", "phase", "t", "clock", "signals", "type", "detail")
_FIELDS_V0 = ("timestamp", "rpm", "voltage", "speed", "pids")
_SCANS = st.fixed_dictionaries(dict.fromkeys(("stored", "pending", "permanent"), _VALUE))


@given(
    base=st.sampled_from([telemetry(), event(), event(type_="dtc_scan"), event(type_="health"), v0()]),
    changes=st.dictionaries(st.sampled_from(_FIELDS + _FIELDS_V0 + ("schema",)), _VALUE | _SCANS, max_size=3),
)
@example(base=telemetry(), changes={"phase": VIN})
@example(base=telemetry(), changes={"phase": "out of range"})
@example(base=event(), changes={"type": f"{VIN} - at `$.vin`"})
@example(base=event(type_="dtc_scan"), changes={"detail": {"stored": [{"code": VIN}]}})
def test_any_values_give_a_message_or_a_rejection_that_quotes_none_of_them(base, changes):
    outcome = decode_message(msgspec.json.encode(msgspec.json.decode(base) | changes))
    if isinstance(outcome, Rejection):
        assert outcome.reason in REASONS
        for secret in (VIN, "4.2195", "somewhere", "P0171X"):
            assert secret not in outcome.detail
        if "out of range" in outcome.detail:
            assert outcome.reason == "not_json"
        if changes.get("phase") == "out of range":
            assert "out of range" not in outcome.detail


@given(st.binary() | st.text().map(str.encode) | _VALUE.map(msgspec.json.encode))
def test_any_bytes_at_all_give_a_value(payload):
    assert isinstance(decode_message(payload), Telemetry | Event | Rejection)


@given(
    position=st.integers(0, 10_000),
    damage=st.binary(max_size=3),
    base=st.sampled_from([telemetry(), event(), v0()]),
)
def test_a_damaged_message_gives_a_value(position, damage, base):
    position %= len(base)
    outcome = decode_message(base[:position] + damage + base[position + 1 :])
    assert isinstance(outcome, Telemetry | Event | Rejection)
    if isinstance(outcome, Rejection):
        assert outcome.reason in REASONS
        assert VIN not in outcome.detail
