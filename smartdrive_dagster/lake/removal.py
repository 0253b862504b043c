"""Removing files of the lake, on a disk or on S3, older versions in a bucket included."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_boto3_s3.service_resource import Bucket, ObjectVersion

_AT_ONCE: Final = 1000  # objects that S3 deletes in one request


def remove_folder(url: str) -> None:
    """Delete a folder whole; one that is not there is gone already.

    Args:
        url: a local path or ``s3://bucket/prefix``; S3 is reached as the usual ``AWS_…`` variables say.
    """
    if not url.startswith("s3://"):
        if Path(url).exists():
            shutil.rmtree(url)
        return
    bucket, prefix = _bucket(url)
    _delete(bucket, bucket.object_versions.filter(Prefix=prefix))


def files_below(url: str) -> set[str]:
    """Names of all files below a folder, relative to it."""
    if not url.startswith("s3://"):
        root = Path(url)
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    bucket, prefix = _bucket(url)
    return {found.key.removeprefix(prefix) for found in bucket.objects.filter(Prefix=prefix)}


def remove_files(url: str, names: Collection[str]) -> None:
    """Delete files below a folder, and every older version of any file below it.

    Args:
        url: of the folder.
        names: relative to it; one that is not there is gone already.
    """
    if url.startswith("s3://"):
        bucket, prefix = _bucket(url)
        chosen = set(names)
        versions = bucket.object_versions.filter(Prefix=prefix)
        _delete(
            bucket, (one for one in versions if not one.is_latest or one.object_key.removeprefix(prefix) in chosen)
        )
        return
    root = Path(url)
    for name in names:
        with suppress(FileNotFoundError):
            (root / name).unlink()
    for folder in sorted({(root / name).parent for name in names} - {root}, reverse=True):
        with suppress(OSError):  # it holds more
            folder.rmdir()


def _bucket(url: str) -> tuple[Bucket, str]:
    import boto3  # only here: a quarter of a second that a lake on disk need not pay
    from botocore.config import Config

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    config = Config(s3={"addressing_style": "path" if endpoint else "auto"})
    return boto3.resource("s3", endpoint_url=endpoint, config=config).Bucket(bucket), f"{prefix.strip('/')}/"


def _delete(bucket: Bucket, versions: Iterable[ObjectVersion]) -> None:
    for page in _pages(versions):
        listed = [{"Key": one.object_key, "VersionId": one.id} for one in page]
        answer = bucket.delete_objects(Delete={"Objects": listed, "Quiet": True})  # type: ignore[typeddict-item]
        if errors := answer.get("Errors"):
            raise PermissionError(f"{len(errors)} objects could not be deleted: {errors[0].get('Message')}")


def _pages(versions: Iterable[ObjectVersion]) -> Iterator[list[ObjectVersion]]:
    left = iter(versions)
    while page := list(islice(left, _AT_ONCE)):
        yield page
