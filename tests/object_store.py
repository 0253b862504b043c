"""An S3 service on the loopback, for fixtures and for campaigns alike."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest.mock import patch

from tests.aws_server import running

_WAYS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not'a'secret",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """The URL of a fresh service, with the AWS_ variables that lead there; its log is in `folder`."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (
        patch.dict(os.environ, others | _WAYS, clear=True),
        running("tests.aws_server", folder, os.environ) as url,
    ):
        os.environ["AWS_ENDPOINT_URL"] = url
        yield url


def fresh_bucket(endpoint: str) -> str:
    """The URL of a place in a bucket of its own."""
    import boto3

    bucket = f"b-{uuid.uuid4().hex[:20]}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/home"
