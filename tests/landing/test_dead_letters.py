"""Dead letters on their way from a real queue into a real bucket, and to the lake's own reader."""

from __future__ import annotations

import base64
import json
import runpy
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from smartdrive_dagster.landing import dead_letters
from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.landing.store import LandingStore
from tests.object_store import fresh_bucket

ROOT = Path(__file__).parents[2]


def letter(topic: str, payload: bytes) -> str:
    """What the error action of a rule writes, as AWS documents it."""
    return json.dumps(
        {
            "ruleName": "smartdrive_dev_telemetry",
            "topic": topic,
            "cloudwatchTraceId": "7e146a2c-95b5-6caf-98b9-50e3969734c7",
            "clientId": "edge-00001",
            "base64OriginalPayload": base64.b64encode(payload).decode(),
            "failures": [{"failedAction": "FirehoseAction", "failedResource": "x", "errorMessage": "throttled"}],
        }
    )


def delivered(*bodies: str) -> dict[str, Any]:
    """A batch as Lambda is handed it: sent to a queue, taken out of it."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=f"dlq-{datetime.now(UTC):%H%M%S%f}")["QueueUrl"]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    taken = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
    return {
        "Records": [
            {
                "messageId": one["MessageId"],
                "body": one["Body"],
                "attributes": one["Attributes"],
                "eventSource": "aws:sqs",
            }
            for one in taken["Messages"]
        ]
    }


@pytest.fixture
def landing(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> LandingStore:
    url = fresh_bucket(s3_endpoint)
    monkeypatch.setenv("SMARTDRIVE_LANDING_URL", url)
    return LandingStore(url)


def test_the_lake_reads_what_a_rule_could_not_hand_on(landing: LandingStore) -> None:
    bodies = [
        letter("vehicle/edge-00001/telemetry", b'{"schema": "telemetry.v1"}'),
        letter("vehicle/edge-00001/telemetry", b"\xff\x00no text"),
        letter("vehicle/edge-00002/events", b'{"schema": "events.v1"}'),
    ]
    before_ms = int(datetime.now(UTC).timestamp() * 1000)
    assert dead_letters.handler(delivered(*bodies), None) == {"batchItemFailures": []}
    listing = landing.list()
    assert listing.strays == ()
    assert [entry.channel for entry in listing.objects] == ["events", "telemetry"]
    lines = {entry.channel: read_lines(landing, entry) for entry in listing.objects}
    assert {line.payload for line in lines["telemetry"]} == {b'{"schema": "telemetry.v1"}', b"\xff\x00no text"}
    assert {line.topic for line in lines["telemetry"]} == {"vehicle/edge-00001/telemetry"}
    assert [line.fault for line in (*lines["telemetry"], *lines["events"])] == [None] * 3
    assert all(before_ms - 1000 <= (line.received_at_ms or 0) <= before_ms + 60_000 for line in lines["telemetry"])


def test_a_batch_delivered_twice_lands_once(landing: LandingStore) -> None:
    event = delivered(letter("vehicle/edge-00001/events", b"{}"))
    for _ in range(2):
        assert dead_letters.handler(event, None) == {"batchItemFailures": []}
    assert len(landing.list().objects) == 1


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        "{}",
        letter("vehicle/edge-00001/ack", b"{}"),
        letter("vehicle/a/b/telemetry", b"{}"),
        json.dumps({"topic": "vehicle/edge-00001/events", "base64OriginalPayload": None}),
    ],
)
def test_what_is_no_dead_letter_stays_in_the_queue_and_holds_up_no_other(
    landing: LandingStore, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    event = delivered(body, letter("vehicle/edge-00001/events", b"{}"))
    (odd,) = [record for record in event["Records"] if record["body"] == body]
    assert dead_letters.handler(event, None) == {"batchItemFailures": [{"itemIdentifier": odd["messageId"]}]}
    assert len(landing.list().objects) == 1
    assert "edge-00001" not in caplog.text


def test_a_bucket_that_refuses_leaves_the_batch_in_the_queue(
    s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTDRIVE_LANDING_URL", "s3://there-is-no-such-bucket-here")
    event = delivered(letter("vehicle/edge-00001/events", b"{}"))
    with pytest.raises(boto3.client("s3").exceptions.NoSuchBucket):
        dead_letters.handler(event, None)


def test_the_package_is_one_file_that_runs_without_the_lake(tmp_path: Path) -> None:
    package = runpy.run_path(str(ROOT / "iac" / "package_consumer.py"))["package"]
    first, second = package(tmp_path / "a.zip"), package(tmp_path / "b" / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    assert zipfile.ZipFile(first).namelist() == ["dead_letters.py"]
    code = (
        f"import sys; sys.path.insert(0, {str(first)!r}); import dead_letters; dead_letters.handler;"
        "print(sorted({'smartdrive_dagster', 'polars', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"
