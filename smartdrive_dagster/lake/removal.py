"""Removing a folder of the lake with all that lies in it, on a disk or on S3."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def remove_folder(url: str) -> None:
    """Delete a folder whole; one that is not there is gone already.

    Args:
        url: a local path or ``s3://bucket/prefix``; S3 is reached as the usual ``AWS_…`` variables say.
    """
    if not url.startswith("s3://"):
        if Path(url).exists():
            shutil.rmtree(url)
        return
    import boto3  # only here: a quarter of a second that a lake on disk need not pay
    from botocore.config import Config

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    config = Config(s3={"addressing_style": "path" if endpoint else "auto"})
    found = boto3.resource("s3", endpoint_url=endpoint, config=config).Bucket(bucket)
    found.objects.filter(Prefix=f"{prefix.strip('/')}/").delete()
