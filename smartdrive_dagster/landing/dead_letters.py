"""What an AWS IoT rule could not hand on, landed all the same: the consumer of the rules' dead-letter queue.

It runs as a Lambda function whose package is this one file: it imports nothing but the standard library and boto3,
which the runtime has. A message that lands twice, because Firehose had it after all, is a duplicate to Silver.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_TOPIC: Final = re.compile(r"vehicle/[^/]+/(?P<channel>telemetry|events)")
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Letter:
    """A dead letter: the queue's name for it, and the message as landing will hold it."""

    message_id: str
    channel: str
    received_at_ms: int
    line: str


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Land a batch of the queue.

    Args:
        event: records as SQS hands them to Lambda; each body is what an AWS IoT rule's error action writes.
        context: of the invocation; not used.

    Returns:
        The records that stay in the queue because they are no dead letters; they show as its age.
    """
    import boto3

    return land(
        event["Records"], boto3.client("s3", endpoint_url=_endpoint()), os.environ["SMARTDRIVE_LANDING_URL"]
    )


def land(records: Sequence[Mapping[str, Any]], s3: S3Client, landing_url: str) -> dict[str, Any]:
    """One object for each channel and hour of receipt; see `handler`.

    Raises:
        ClientError: S3 refuses; the whole batch stays in the queue.
    """
    letters: dict[tuple[str, str], list[_Letter]] = {}
    failed: list[dict[str, str]] = []
    for record in records:
        try:
            letter = _opened(record)
        except (ValueError, KeyError, TypeError) as error:
            # The topic may hold what no log shall: only the queue's own name for the letter is told.
            _log.error("letter %s cannot be landed: %s", record["messageId"], type(error).__name__)
            failed.append({"itemIdentifier": str(record["messageId"])})
            continue
        at = datetime.fromtimestamp(letter.received_at_ms / 1000, UTC)
        letters.setdefault((letter.channel, f"dt={at:%Y-%m-%d}/hr={at:%H}"), []).append(letter)
    bucket, _, prefix = landing_url.removeprefix("s3://").partition("/")
    for (channel, hour), group in letters.items():
        # The same letters have the same name: who lands them again writes the same object.
        name = hashlib.sha256("\n".join(sorted(letter.message_id for letter in group)).encode()).hexdigest()[:32]
        key = "/".join(part for part in (prefix.strip("/"), channel, hour, f"dlq-{name}.jsonl.gz") if part)
        ordered = sorted(group, key=lambda letter: (letter.received_at_ms, letter.message_id))
        body = gzip.compress("".join(f"{letter.line}\n" for letter in ordered).encode(), 6, mtime=0)
        _put(s3, bucket, key, body)
    return {"batchItemFailures": failed}


def _opened(record: Mapping[str, Any]) -> _Letter:
    told = json.loads(record["body"])
    topic, payload = told["topic"], told["base64OriginalPayload"]
    match = _TOPIC.fullmatch(topic)
    if match is None or not isinstance(payload, str):
        raise ValueError("neither telemetry nor an event")
    received_at_ms = int(record["attributes"]["SentTimestamp"])
    line = json.dumps({"topic": topic, "received_at": received_at_ms, "payload_b64": payload})
    return _Letter(record["messageId"], match["channel"], received_at_ms, line)


def _put(s3: S3Client, bucket: str, key: str, body: bytes) -> None:
    from botocore.exceptions import ClientError

    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"PreconditionFailed", "412"}:  # it is there already
            raise


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
