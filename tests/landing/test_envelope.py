import base64
import contextlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartdrive_dagster.landing.envelope import Envelope, EnvelopeError, decode, encode

LINE = {"topic": "vehicle/edge-00001/telemetry", "received_at": 1_764_547_203_250}


def line(**fields: object) -> bytes:
    return msgspec.json.encode(LINE | fields)


@given(payload=st.binary(), topic=st.text(), received_at=st.integers(0, 4_102_444_799_999))
@example(payload=b"", topic="", received_at=0)
@example(payload=b"\xff\xfe\n\r\x00", topic="vehicle/\x00\n", received_at=4_102_444_799_999)
@example(payload="é\u2028\U0001f697".encode(), topic="vehicle/é", received_at=1)
def test_any_payload_survives_the_way_through_a_line(payload, topic, received_at):
    envelope = Envelope(topic, received_at, payload)
    encoded = encode(envelope)
    assert b"\n" not in encoded
    assert decode(encoded) == envelope


@given(st.binary() | st.text().map(str.encode))
def test_any_line_is_an_envelope_or_an_envelope_error(raw):
    with contextlib.suppress(EnvelopeError):
        decode(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "topic": st.text() | _JSON,
            "received_at": st.integers() | _JSON,
            "payload": st.text() | _JSON,
            "payload_b64": st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()) | _JSON,
        },
    )
)
def test_any_values_in_the_fields_are_an_envelope_or_an_envelope_error(fields):
    with contextlib.suppress(EnvelopeError):
        decode(msgspec.json.encode(fields))


@pytest.mark.parametrize(
    ("raw", "payload"),
    [
        (line(payload="text"), b"text"),
        (line(payload=""), b""),
        (line(payload_b64=""), b""),
        (line(payload_b64="/wA="), b"\xff\x00"),
        (line(payload="x", qos=1), b"x"),
        (b"  " + line(payload="x") + b"\r", b"x"),
    ],
    ids=["text", "empty text", "empty base64", "base64", "unknown field", "white space around"],
)
def test_a_payload_comes_as_text_or_as_base64(raw, payload):
    assert decode(raw).payload == payload


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"x":' * 100_000,
        b"\xef\xbb\xbf" + line(payload="x"),
        b"\xff" + line(payload="x"),
        line(payload="x")[:-1],
        line(payload="x") * 2,
        line(),
        line(payload="x", payload_b64="eA=="),
        line(payload="x", payload_b64=None),
        line(payload=None),
        line(payload={"schema": "telemetry.v1"}),
        line(payload_b64="eA"),
        line(payload_b64="eA==\n"),
        line(payload_b64="e3-_"),
        line(payload_b64="é"),
        line(payload="x", topic=None),
        line(payload="x", received_at=-1),
        line(payload="x", received_at=4_102_444_800_000),
        line(payload="x", received_at=1.5),
        line(payload="x", received_at=True),
        line(payload="x", received_at=10**400),
        line(payload="x").replace(b"1764547203250", b"1" + b"0" * 5000),
        line(payload="x").replace(b"1764547203250", b"1e400"),
        line(payload="x").replace(b'"x"', b'"\\ud800"'),
        line(payload="x").replace(b'"x"', b'"\\udc00"'),
        line(payload="x").replace(b"edge", b"\\udc00"),
        line(payload="x").replace(b"edge", b"\xff"),
    ],
    ids=lambda raw: repr(raw[:40] + b".." + raw[-30:] if len(raw) > 70 else raw),
)
def test_what_is_no_envelope_is_refused(raw):
    with pytest.raises(EnvelopeError):
        decode(raw)


@pytest.mark.parametrize("received_at", [0, 4_102_444_799_999])
def test_receipts_from_1970_to_2099_are_accepted(received_at):
    assert decode(line(payload="x", received_at=received_at)).received_at_ms == received_at


@pytest.mark.parametrize(
    "raw",
    [
        line(payload="x", received_at="WVWZZZ1JZXW000001"),
        line(payload=["WVWZZZ1JZXW000001"]),
        line(payload_b64="WVWZZZ1JZXW000001é"),
        b'{"WVWZZZ1JZXW000001":',
    ],
)
def test_an_error_never_quotes_the_line(raw):
    with pytest.raises(EnvelopeError) as caught:
        decode(raw)
    assert "WVWZZZ1JZXW000001" not in str(caught.value)
