"""An S3 service on the loopback, for fixtures and for campaigns alike."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest.mock import patch

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
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = folder / "server.log"
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with log.open("wb") as output, patch.dict(os.environ, others | _WAYS, clear=True):
        command = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=dict(os.environ))
        try:
            _wait_for(port, server, log)
            os.environ["AWS_ENDPOINT_URL"] = url
            yield url
        finally:
            server.terminate()
            server.wait(timeout=20)


def fresh_bucket(endpoint: str) -> str:
    """The URL of a place in a bucket of its own."""
    import boto3

    bucket = f"b-{uuid.uuid4().hex[:20]}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/home"


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with socket.socket() as client:
            client.settimeout(1)
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"the S3 service did not open its port: {log.read_text()}")
