"""An S3 service on the loopback for campaigns, and the environment that leads clients to it or to its proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import boto3
import botocore.session
from botocore.config import Config

from tests.object_store import object_store

CLIENT_TIMEOUT_S: Final = 3.0
STALL_S: Final = 4.0
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
    with object_store(folder) as url, _impatient_boto3():
        yield url


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
