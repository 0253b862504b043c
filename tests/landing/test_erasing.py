"""Lines erased from landing objects in place: everybody else's stay byte for byte, under their numbers."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import boto3
import pytest
import zstandard

from smartdrive_dagster.landing.backends import STAGED
from smartdrive_dagster.landing.erasing import erase_copies, erase_lines, named_strays
from smartdrive_dagster.landing.reader import ERASED, STUB, Line, read_lines
from smartdrive_dagster.landing.store import LandingObject, LandingStore
from tests.object_store import fresh_bucket

FOLDER = "telemetry/dt=2025-12-01/hr=08"
LINES = b'{"a": 1}\r\nsecret one\n\nno \xff utf-8\nthe secret two\nlast'


def names(line: bytes) -> bool:
    return b"secret" in line


def stored(store: LandingStore, name: str, body: bytes) -> LandingObject:
    store.put(f"{FOLDER}/{name}", body)
    (entry,) = store.list().objects
    return entry


def body_of(store: LandingStore, entry: LandingObject) -> bytes:
    return b"".join(store.read(entry.key))


def faults(lines: list[Line]) -> list[tuple[int, str | None]]:
    return [(line.line_no, line.fault) for line in lines]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_an_erased_line_becomes_a_stub_and_all_others_stay_byte_for_byte(root: str, suffix: str) -> None:
    store = LandingStore(root)
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    unpack = {"": bytes, ".gz": gzip.decompress, ".zst": zstandard.ZstdDecompressor().decompress}[suffix]
    entry = stored(store, f"one.jsonl{suffix}", pack(LINES))  # type: ignore[operator]
    searched = erase_lines(store, entry, names)
    assert searched.lines == 2
    assert unpack(body_of(store, entry)) == LINES.replace(b"secret one", STUB).replace(b"the secret two", STUB)  # type: ignore[operator]
    assert store.list().objects == (searched.entry,)
    assert [line.fault for line in read_lines(store, searched.entry)].count(ERASED) == 2
    assert erase_lines(store, searched.entry, names).lines == 0


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("fault", ["object_truncated", "object_corrupt"])
def test_an_object_that_breaks_off_goes_on_doing_so_without_what_follows_its_last_line(
    tmp_path: Path, suffix: str, fault: str
) -> None:
    store = LandingStore(str(tmp_path))
    pack = gzip.compress if suffix == ".gz" else zstandard.ZstdCompressor().compress
    rest = pack(b"more")[:6] if fault == "object_truncated" else b"nothing that is compressed"
    entry = stored(store, f"one.jsonl{suffix}", pack(LINES + b" secret that is cut off") + rest)
    before = read_lines(store, entry)
    assert before[0].fault == fault
    searched = erase_lines(store, entry, names)
    after = read_lines(store, searched.entry)
    assert faults(after) == [
        (line.line_no, ERASED if names(line.payload or b"") else line.fault) for line in before
    ]
    assert searched.lines == 3
    assert erase_lines(store, searched.entry, names).lines == 0


def test_an_object_without_the_name_is_not_written(tmp_path: Path) -> None:
    store = LandingStore(str(tmp_path))
    entry = stored(store, "one.jsonl.gz", gzip.compress(b"a\nb\n"))
    written = (tmp_path / entry.key).stat().st_ino
    assert erase_lines(store, entry, names).lines == 0
    assert (tmp_path / entry.key).stat().st_ino == written


def test_what_dead_writers_left_is_deleted_and_what_is_no_object_is_only_counted(tmp_path: Path) -> None:
    store = LandingStore(str(tmp_path))
    stored(store, "one.jsonl", b"a\n")
    left = tmp_path / FOLDER / f"{STAGED}x1"
    left.write_bytes(b"secret")
    assert erase_copies(store, names) == 0  # its writer may live
    os.utime(left, (0, 0))
    assert erase_copies(store, names) == 1
    (tmp_path / FOLDER / "notes.txt").write_bytes(b"a secret")
    (tmp_path / FOLDER / "other.txt").write_bytes(b"nothing")
    assert named_strays(store, store.list().strays, names) == 1


def test_older_versions_in_a_bucket_go_with_the_name_in_them(s3_endpoint: str) -> None:
    root = fresh_bucket(s3_endpoint)
    bucket = root.split("/")[2]
    client = boto3.client("s3")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = LandingStore(root)
    entry = stored(store, "one.jsonl", LINES)
    store.put(f"{FOLDER}/expired.jsonl", b"an expired secret")
    store.put(f"{FOLDER}/other.jsonl", b"somebody else's")
    for name in ("expired", "other"):
        client.delete_object(Bucket=bucket, Key=f"home/{FOLDER}/{name}.jsonl")
    assert erase_lines(store, entry, names).lines == 2
    assert erase_copies(store, names) == 1
    kept = client.list_object_versions(Bucket=bucket)["Versions"]
    bodies = [
        client.get_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])["Body"].read() for v in kept
    ]
    assert len(bodies) == 2
    assert not any(b"secret" in body for body in bodies)
