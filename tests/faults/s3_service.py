"""An S3 service on the loopback for campaigns, and the environment that leads clients to it or to its proxy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import boto3
import botocore.session
from botocore.config import Config

CLIENT_TIMEOUT_S: Final = 3.0
STALL_S: Final = 4.0
_ACCOUNT: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PATIENCE: Final = {
    "timeout": f"{CLIENT_TIMEOUT_S:g}s",
    "connect_timeout": f"{CLIENT_TIMEOUT_S:g}s",
    "backoff_config.init_backoff": "20ms",
    "backoff_config.max_backoff": "500ms",
}
"""Storage options of a lake whose clients give up on a request soon: a campaign has no minutes to wait."""


@contextmanager
def s3_service(folder: Path) -> Iterator[str]:
    """Serve S3 until the block ends; gives the URL. Clients are led to it, with short time limits."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(port)
            with environment({**_ACCOUNT, "AWS_ENDPOINT_URL": url}), _impatient_boto3():
                yield url
        finally:
            server.kill()
            server.wait()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def new_bucket(endpoint: str) -> str:
    """Make a bucket; gives the URL of a place in it."""
    bucket = f"b-{uuid.uuid4().hex[:20]}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/home"


@contextmanager
def _impatient_boto3() -> Iterator[None]:
    before = boto3.DEFAULT_SESSION
    session = botocore.session.get_session()
    session.set_default_client_config(Config(connect_timeout=CLIENT_TIMEOUT_S, read_timeout=CLIENT_TIMEOUT_S))
    boto3.setup_default_session(botocore_session=session)
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = before


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("moto_server did not open its port")
