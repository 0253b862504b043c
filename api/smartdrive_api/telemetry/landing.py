"""Landing objects, as the lake reads them: immutable, complete or invisible, on a disk or on S3.

The layout is the lake's: `telemetry/dt=YYYY-MM-DD/hr=HH/{opaque name}.jsonl.gz`, an envelope a line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_TAKEN: Final = {"PreconditionFailed", "412"}


class LandingUnavailableError(RuntimeError):
    """An object could not be written, or nobody knows; the message quotes nothing of it."""


class Landing(Protocol):
    """A place for landing objects."""

    def put(self, key: str, body: bytes) -> bool:
        """Write an object durably; False where the key was taken, and nothing is changed.

        Raises:
            LandingUnavailableError: it is not known to be there. Trying again does no harm.
        """
        ...


def landing_object(device_id: str, messages: Sequence[str], at: datetime) -> tuple[str, bytes]:
    """The key and the bytes of a batch. The same messages within one hour have the same key.

    Args:
        device_id: of the account; stands in the topic.
        messages: JSON texts, kept as they are.
        at: when they were received.
    """
    at = at.astimezone(UTC)
    # No JSON text holds a NUL; the messages name the device, so no other account's have this name.
    name = hashlib.sha256("\0".join(messages).encode()).hexdigest()[:32]
    envelope = {"topic": f"vehicle/{device_id}/telemetry", "received_at": int(at.timestamp() * 1000)}
    lines = (json.dumps(envelope | {"payload": text}, ensure_ascii=False) + "\n" for text in messages)
    body = gzip.compress("".join(lines).encode(), 6, mtime=0)
    return f"telemetry/dt={at:%Y-%m-%d}/hr={at:%H}/app-{name}.jsonl.gz", body


def landing_at(url: str) -> Landing:
    """The place that a setting names: a path, or `s3://bucket/prefix`."""
    return Bucket(url) if url.startswith("s3://") else Directory(Path(url).absolute())


class Directory:
    """Objects as files: written aside, synced, linked into place."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, body: bytes) -> bool:
        """Write a file; its folder is synced too, since a link alone does not survive a loss of power."""
        target = self._root / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, staged = tempfile.mkstemp(prefix=".staged-", dir=target.parent)
            is_new = False
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(staged, 0o644)  # the lake may run as another user
                with suppress(FileExistsError):
                    os.link(staged, target)
                    is_new = True
            finally:
                os.unlink(staged)
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # also of one that was there: who wrote it may have been killed before this
            finally:
                os.close(folder)
        except OSError as error:
            raise LandingUnavailableError(f"the landing zone cannot be written: {error.strerror}") from None
        return is_new


class Bucket:
    """Objects below a prefix of an S3 bucket, reached as the usual `AWS_…` variables say."""

    def __init__(self, url: str) -> None:
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def put(self, key: str, body: bytes) -> bool:
        """One PUT on the condition that there is no such key; one that is there has the same messages."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _TAKEN:
                raise LandingUnavailableError(f"S3 refuses: {code}") from None
            return False
        except BotoCoreError as error:
            raise LandingUnavailableError(f"S3 does not answer: {type(error).__name__}") from None
        return True

    @cached_property
    def _client(self) -> S3Client:
        import boto3
        from botocore.config import Config

        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
        # An endpoint of one's own seldom has a host name per bucket.
        addressing: Literal["path", "auto"] = "path" if endpoint else "auto"
        config = Config(
            s3={"addressing_style": addressing}, retries={"mode": "standard"}, connect_timeout=5, read_timeout=10
        )
        return boto3.client("s3", endpoint_url=endpoint, config=config)
