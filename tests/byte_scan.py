"""Whether anything below a folder or a bucket's prefix holds some names, however it is stored."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import boto3
import polars as pl
import zstandard

from smartdrive_dagster.domain.identity import vehicle_id
from tests.messages import SECRET, VIN


def spellings(vin: str = VIN) -> list[bytes]:
    """A VIN and its vehicle_id, as they are and in base64 wherever they begin."""
    names = [vin.encode(), vin.lower().encode(), vehicle_id(vin, SECRET).encode()]
    packed = [base64.b64encode(b"\0" * shift + name)[4:-4] for name in names for shift in range(3)]
    escaped = ["".join(f"\\u{ord(letter):04x}" for letter in vin).encode()]
    return [*names, *packed, *escaped]


def found(*places: str, vin: str = VIN) -> list[str]:
    """Files (and versions in a bucket) that hold one of the names."""
    names = spellings(vin)
    return [
        name
        for place in places
        for name, body in files(place)
        if any(spelling in text for text in (name.encode(), *texts(name, body)) for spelling in names)
    ]


def files(place: str) -> Iterator[tuple[str, bytes]]:
    if not place.startswith("s3://"):
        yield from ((str(path), path.read_bytes()) for path in Path(place).rglob("*") if path.is_file())
        return
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Versions", ()):
            answer = client.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
            yield one["Key"], answer["Body"].read()


def texts(name: str, body: bytes) -> Iterator[bytes]:
    """A file's bytes, and what they are when they are unpacked."""
    yield body
    if name.endswith(".gz"):
        with suppress(zlib.error):
            yield zlib.decompressobj(wbits=31).decompress(body)
    elif name.endswith(".zst"):
        with suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(body)
    elif name.endswith(".parquet"):
        rows = pl.read_parquet(io.BytesIO(body)).to_dicts()
        yield repr(rows).encode()
