from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smartdrive_edge.messages import (
    MAX_PAYLOAD_BYTES,
    Batch,
    Identity,
    Message,
    MessageError,
    Phase,
    Telemetry,
    check_device_id,
    encode,
    event,
)

CONTRACTS = Path(__file__).parents[3] / "contracts"
VIN = "WVWZZZ1JZXW000001"
IDENTITY = Identity("edge-1", "01JE0A7N5S3Q9V0W2K4M6P8R1T", 2**53 - 1)


def decoded(message: Message, offset_ms: int | None = 1_764_547_200_000) -> dict[str, object]:
    payload = encode(message, IDENTITY, offset_ms=offset_ms)
    body: dict[str, object] = json.loads(payload)
    schema = json.loads((CONTRACTS / f"{body['schema']}.schema.json").read_bytes())
    jsonschema.Draft202012Validator(schema).validate(body)
    return body


def test_samples_become_columns_with_null_for_what_was_not_measured() -> None:
    batch = Batch(VIN)
    batch.add("running", 0, {"RPM": 812.0, "SPEED": 0})
    batch.add("running", 1000, {"RPM": None, "ELM_VOLTAGE": 14.1})
    batch.add("running", 2000, {"RPM": float("nan"), "SPEED": float("inf"), "IGNITION": True})
    body = decoded(batch.flush()[0])
    assert body["t"] == [1_764_547_200_000, 1_764_547_201_000, 1_764_547_202_000]
    assert body["signals"] == {
        "RPM": [812.0, None, None],
        "SPEED": [0, None, None],
        "ELM_VOLTAGE": [None, 14.1, None],
        "IGNITION": [None, None, 1],
    }


def test_a_message_is_due_by_time_by_phase_and_by_size() -> None:
    batch = Batch(VIN, flush_after_ms=1000, max_bytes=800)
    assert batch.add("running", 0, {"RPM": 1}) == []
    assert [len(one.t) for one in batch.add("running", 1000, {"RPM": 1})] == [1]
    assert [one.phase for one in batch.add("sentinel", 1001, {"RPM": 1})] == ["running"]
    assert batch.due(2000) == []
    assert [one.phase for one in batch.due(2001)] == ["sentinel"]
    assert batch.due(9000) == []
    by_size = [one for number in range(99) for one in batch.add("running", 3000, {"RPM": number})]
    assert len(by_size) > 3
    assert batch.add("running", 3000, {}) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ready", "cranking", "running", "sentinel"]),
            st.dictionaries(
                st.from_regex(r"[A-Z][A-Z0-9_]{0,63}", fullmatch=True),
                st.none() | st.floats() | st.integers(-(2**53), 2**53) | st.booleans(),
                max_size=40,
            ),
        ),
        max_size=60,
    ),
    st.sampled_from([6000, 20_000, MAX_PAYLOAD_BYTES]),
    st.sampled_from([None, 0, 2**52]),
)
def test_whatever_is_measured_the_payload_is_of_the_contract_and_within_its_size(
    taken: list[tuple[Phase, dict[str, float | int | None]]], max_bytes: int, offset_ms: int | None
) -> None:
    batch = Batch(VIN, max_bytes=max_bytes)
    done: list[Telemetry] = []
    for number, (phase, values) in enumerate(taken):
        done += batch.add(phase, number, values)
    done += batch.flush()
    assert sum(len(one.t) for one in done) == sum(bool(values) for _, values in taken)
    for message in done:
        assert {len(column) for column in message.signals.values()} == {len(message.t)}
        assert len(encode(message, IDENTITY, offset_ms=offset_ms)) <= max_bytes
        decoded(message, offset_ms)


def test_an_event_is_of_the_contract_and_says_when_its_clock_was_not_synced() -> None:
    health = {"spool_age_s": 4.2, "achieved_hz": {"RPM": 1.0}, "restarts": 1, "drops": 0}
    assert "clock" not in decoded(event(VIN, "health", 5, health))
    assert decoded(event(VIN, "health", 5, health), None)["clock"] == "unsynced"


@pytest.mark.parametrize("device_id", ["", "a/b", "a+b", "#", "a" * 65, "ä", VIN, VIN.lower()])
def test_a_device_id_that_may_not_stand_in_a_topic_is_refused(device_id: str) -> None:
    with pytest.raises(MessageError):
        check_device_id(device_id)


def test_what_breaks_the_contract_is_refused_without_quoting_the_vin() -> None:
    with pytest.raises(MessageError, match="capital letters") as caught:
        Batch("wvwzzz1jzxw000001")
    assert "wvw" not in str(caught.value)
    with pytest.raises(MessageError, match="signal"):
        Batch(VIN).add("running", 0, {"rpm": 1})
    with pytest.raises(MessageError, match="not one of"):
        event(VIN, "nonsense", 0, {})  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="no JSON"):
        event(VIN, "health", 0, {"x": object()})
    with pytest.raises(MessageError, match="is over"):
        encode(event(VIN, "health", 0, {"x": "x" * MAX_PAYLOAD_BYTES}), IDENTITY, offset_ms=0)
    with pytest.raises(MessageError, match="does not fit"):
        Batch(VIN, max_bytes=800).add("running", 0, {f"S{number}": 1 for number in range(100)})
