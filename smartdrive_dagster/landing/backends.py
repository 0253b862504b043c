"""Where landing objects lie: a directory or a bucket, with the same few verbs."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_CHUNK: Final = 1 << 20
_MAX_PARTS: Final = 5  # of one object, each ended by a broken connection
STAGED: Final = ".staged-"
_STAGED_FOR_S: Final = 3600.0  # a writer stages for milliseconds: an hour later it is dead, and its file a stray
_DEPTH: Final = 3  # channel, day and hour


class Found(NamedTuple):
    """What a listing shows: a key, its size in bytes and when it was written, as far as these are known."""

    key: str
    size_bytes: int | None
    written_at: datetime | None = None


class Copy(NamedTuple):
    """Bytes that no reader sees: an older version of a key, or what a writer left that died."""

    key: str
    version: str | None = None


class Backend(Protocol):
    """What a landing zone needs of the place where its objects lie. Keys are relative to the root."""

    def put(self, key: str, body: bytes) -> bool:
        """Write an object, complete or invisible; False where the key was taken."""
        ...

    def keys(self, prefix: str) -> Iterator[Found]:
        """What lies below a folder (or everything, for an empty prefix).

        A key that ends in a slash is a folder that holds nothing or that no object can lie in; one without a size
        is a folder that cannot be listed now.
        """
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders right below a folder."""
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """An object's bytes in chunks of about 1 MiB; FileNotFoundError where it is gone, else OSError."""
        ...

    def replace(self, key: str, body: bytes) -> None:
        """Write an object in the place of another, and leave no copy of that one."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object and every copy of it; one that is not there is gone already."""
        ...

    def copies(self) -> Iterator[Copy]:
        """All copies."""
        ...

    def read_copy(self, copy: Copy) -> Iterator[bytes]:
        """A copy's bytes."""
        ...

    def delete_copy(self, copy: Copy) -> None:
        """Delete a copy."""
        ...


class Directory:
    """Objects as files below a directory, which the first of them makes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, body: bytes) -> bool:
        """Write aside, sync, link into place, sync the folder: a link alone does not survive a loss of power."""
        target = self._root / key
        staged = _stage(target, body)
        try:
            os.link(staged, target)
        except FileExistsError:
            return False
        finally:
            os.unlink(staged)
        _sync(target.parent)
        return True

    def replace(self, key: str, body: bytes) -> None:
        """Write aside, sync, rename into place, sync the folder."""
        target = self._root / key
        os.replace(_stage(target, body), target)
        _sync(target.parent)

    def delete(self, key: str) -> None:
        """Unlink a file."""
        with suppress(FileNotFoundError):
            os.unlink(self._root / key)
            _sync((self._root / key).parent)

    def copies(self) -> Iterator[Copy]:
        """Files that writers staged which are dead by now."""
        for path in self._root.glob(f"**/{STAGED}*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STAGED_FOR_S:
                    yield Copy(str(path.relative_to(self._root)))

    def read_copy(self, copy: Copy) -> Iterator[bytes]:
        """Read a file."""
        return self.read(copy.key)

    def delete_copy(self, copy: Copy) -> None:
        """Unlink a file."""
        self.delete(copy.key)

    def keys(self, prefix: str) -> Iterator[Found]:
        """Walk the folders, each once whatever links lead to it; a name that is no UTF-8 is shown with escapes."""
        return self._walk(prefix, set())

    def _walk(self, folder: str, seen: set[tuple[int, int]]) -> Iterator[Found]:
        path = self._root / folder
        inner: list[tuple[bool, str]] = []
        is_empty = True
        try:
            status = path.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in seen:
                yield Found(f"{_shown(folder)}/ (a second name)", 0)
                return
            seen.add(identity)
            with os.scandir(path) as found:
                for entry in found:
                    is_empty = False
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if _is_folder(entry):
                        inner.append((entry.is_symlink(), key))
                    else:
                        yield from _file(entry, key)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            yield Found(f"{_shown(folder)}/ ({error.strerror})", None)
            return
        if is_empty:
            yield Found(f"{_shown(folder)}/", 0)
        for _, key in sorted(inner):  # links last: where a folder has two names, its own is the one that counts
            if key.count("/") < _DEPTH:
                yield from self._walk(key, seen)
            else:
                yield Found(f"{_shown(key)}/", 0)

    def folders(self, prefix: str) -> Iterator[str]:
        """List the directories right below a directory."""
        folder = self._root / prefix
        if folder.is_dir():
            with os.scandir(folder) as found:
                yield from sorted(entry.name for entry in found if _is_folder(entry))

    def read(self, key: str) -> Iterator[bytes]:
        """Read a file chunk by chunk; what has become a pipe since it was listed would make a reader wait."""
        with open(os.open(self._root / key, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("it is no file")
            while chunk := file.read(_CHUNK):
                yield chunk


def _stage(target: Path, body: bytes) -> str:
    """Write a file aside, to be put into place by its folder's caller."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, staged = tempfile.mkstemp(prefix=STAGED, dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(staged, 0o644)
    except BaseException:
        os.unlink(staged)
        raise
    return staged


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in circles
        return False


def _file(entry: os.DirEntry[str], key: str) -> Iterator[Found]:
    """A directory's entry that is no folder; what nobody can read as a file gets a name that no object has."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        if entry.is_symlink():
            yield Found(f"{_shown(key)} (leads nowhere)", 0)
        return  # or its retention ended this moment
    except OSError as error:
        yield Found(f"{_shown(key)} ({error.strerror})", 0)
        return
    if not stat.S_ISREG(status.st_mode):
        yield Found(f"{_shown(key)} (no file)", 0)
    elif not entry.name.startswith(STAGED) or time.time() - status.st_mtime > _STAGED_FOR_S:
        yield Found(_shown(key), status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _shown(key: str) -> str:
    return os.fsencode(key).decode("utf-8", "backslashreplace")


class Bucket:
    """Objects below a prefix of an S3 bucket, reached as the usual ``AWS_…`` variables say."""

    def __init__(self, url: str) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client = _client()

    def put(self, key: str, body: bytes) -> bool:
        """One PUT on the condition that there is no such key; True also where only its answer was lost."""
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"PreconditionFailed", "412"}:
                raise
            # The client tries again where an answer is lost, and then may meet what it stored itself.
            was_repeated = error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
            return was_repeated and b"".join(self.read(key)) == body
        return True

    def replace(self, key: str, body: bytes) -> None:
        """One PUT, then no older version of the key."""
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body)
        for copy in self._copies(key):
            if copy.key == key:
                self.delete_copy(copy)

    def delete(self, key: str) -> None:
        """Delete every version of a key, and the mark that it was deleted."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        for copy in self._copies(key):
            if copy.key == key:
                self.delete_copy(copy)

    def copies(self) -> Iterator[Copy]:
        """List versions that are not the newest, page by page, and marks of what was deleted."""
        return self._copies("")

    def read_copy(self, copy: Copy) -> Iterator[bytes]:
        """Stream a version."""
        if copy.version is None:
            return
        place = self._prefix + copy.key
        answer = self._client.get_object(Bucket=self._bucket, Key=place, VersionId=copy.version)
        yield from answer["Body"].iter_chunks(_CHUNK)

    def delete_copy(self, copy: Copy) -> None:
        """Delete a version for good."""
        place = self._prefix + copy.key
        self._client.delete_object(Bucket=self._bucket, Key=place, VersionId=copy.version or "null")

    def _copies(self, prefix: str) -> Iterator[Copy]:
        pages = self._client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
            for entry in page.get("Versions", ()):
                if not entry["IsLatest"]:
                    yield Copy(entry["Key"].removeprefix(self._prefix), entry["VersionId"])

    def keys(self, prefix: str) -> Iterator[Found]:
        """List page by page."""
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._below(prefix)):
            for entry in page.get("Contents", ()):
                yield Found(entry["Key"].removeprefix(self._prefix), entry["Size"], entry["LastModified"])

    def folders(self, prefix: str) -> Iterator[str]:
        """List common prefixes page by page."""
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._below(prefix), Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                yield entry["Prefix"].rstrip("/").rsplit("/", 1)[-1]

    def read(self, key: str) -> Iterator[bytes]:
        """Stream one GET; where it breaks off, another for the rest."""
        from botocore.exceptions import BotoCoreError, ClientError

        position = 0
        for part in range(_MAX_PARTS):
            try:
                for chunk in self._rest(key, position):
                    position += len(chunk)
                    yield chunk
                return
            except self._client.exceptions.NoSuchKey as error:
                raise FileNotFoundError(f"landing object {key} is gone") from error
            except (BotoCoreError, ClientError) as error:
                if part == _MAX_PARTS - 1:
                    raise OSError(str(error)) from error

    def _rest(self, key: str, position: int) -> Iterator[bytes]:
        place = self._prefix + key
        answer = (
            self._client.get_object(Bucket=self._bucket, Key=place, Range=f"bytes={position}-")
            if position  # an empty object has no byte 0 to ask for
            else self._client.get_object(Bucket=self._bucket, Key=place)
        )
        yield from answer["Body"].iter_chunks(_CHUNK)

    def _below(self, prefix: str) -> str:
        return f"{self._prefix}{prefix}/" if prefix else self._prefix


def _client() -> S3Client:
    import boto3
    from botocore.config import Config

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    # An endpoint of one's own seldom has a host name per bucket.
    addressing: Literal["path", "auto"] = "path" if endpoint else "auto"
    config = Config(s3={"addressing_style": addressing}, retries={"mode": "standard"})
    return boto3.client("s3", endpoint_url=endpoint, config=config)
