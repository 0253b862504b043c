"""A bucket whose answers get lost: what was stored counts as stored, and a read goes on where it broke off."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import pytest

from smartdrive_dagster.landing.store import LandingStore, UnreadableError
from tests.faults.s3_proxy import ANSWER_LOST, RESET, FaultyProxy

KEY = "telemetry/dt=2025-12-01/hr=08/a.jsonl"


@pytest.fixture
def proxy(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_endpoint, share=0).running() as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running


@pytest.fixture
def store(proxy: FaultyProxy, s3_endpoint: str) -> LandingStore:
    bucket = f"b-{uuid.uuid4().hex[:20]}"
    boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return LandingStore(f"s3://{bucket}/home")


def test_an_object_that_was_stored_while_the_answer_was_lost_counts_as_written(
    store: LandingStore, proxy: FaultyProxy
) -> None:
    proxy.script.append(ANSWER_LOST)
    assert store.put(KEY, b"ours\n") is True
    assert proxy.ambiguous == {"landing objects": 1}


def test_a_key_that_somebody_else_took_counts_as_taken_also_after_a_lost_answer(
    store: LandingStore, proxy: FaultyProxy
) -> None:
    assert store.put(KEY, b"theirs\n") is True
    assert store.put(KEY, b"theirs\n") is False
    proxy.script.append(ANSWER_LOST)
    assert store.put(KEY, b"ours\n") is False
    assert b"".join(store.read(KEY)) == b"theirs\n"


@pytest.mark.parametrize("body", [b"", b"x", b"0123456789" * 300_000], ids=["empty", "one byte", "3 MB"])
def test_a_read_goes_on_where_the_connection_broke(store: LandingStore, proxy: FaultyProxy, body: bytes) -> None:
    store.put(KEY, body)
    proxy.script.extend([ANSWER_LOST, ANSWER_LOST, None])
    assert b"".join(store.read(KEY)) == body


def test_an_object_that_cannot_be_read_to_its_end_is_unreadable(store: LandingStore, proxy: FaultyProxy) -> None:
    store.put(KEY, b"x" * 100)
    proxy.script.extend([RESET] * 100)
    with pytest.raises(UnreadableError):
        b"".join(store.read(KEY))
    proxy.script.clear()
    assert len(b"".join(store.read(KEY))) == 100
