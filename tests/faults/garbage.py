"""What a hostile sender, or a hostile writer to the landing zone, may leave there; the same bytes every time."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from smartdrive_dagster.landing.envelope import Envelope, encode
from smartdrive_dagster.landing.reader import MAX_KEPT_BYTES, MAX_LINES
from tests.domain.test_messages import HOSTILE
from tests.landing.test_reader import gzip_bomb, zstd_bomb
from tests.messages import START, event, ms, telemetry

RECEIVED: Final = START + timedelta(hours=1)
HOUR: Final = f"telemetry/dt={START.date()}/hr=08"

_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e308", "5e-324", "-0", "9" * 400, "1.0", "1e0")
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_plain = st.one_of(
    st.builds(telemetry, st.integers(0, 99), samples=st.integers(1, 4)), st.builds(event, st.integers(0, 99))
)
_instants = st.integers(-1, 2**53) | st.integers(0, ms(datetime(2106, 2, 8, tzinfo=UTC)))


@st.composite
def _one_field_changed(draw: st.DrawFn) -> bytes:
    message = msgspec.json.decode(draw(_plain))
    message[draw(st.sampled_from(sorted(message)) | st.text(max_size=5))] = draw(_json)
    if draw(st.booleans()):
        message.pop(draw(st.sampled_from(sorted(message))))
    return msgspec.json.encode(message)


@st.composite
def _bytes_changed(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(_plain))
    start = draw(st.integers(0, len(body) - 1))
    body[start : start + draw(st.integers(0, 12))] = draw(st.binary(max_size=12))
    return bytes(body)


@st.composite
def _odd_number(draw: st.DrawFn) -> bytes:
    return draw(_plain).replace(b"1500.0", draw(st.sampled_from(_NUMBERS)).encode(), 1)


@st.composite
def _any_time(draw: st.DrawFn) -> bytes:
    times = draw(st.lists(_instants, min_size=1, max_size=5))
    return telemetry(draw(st.integers(0, 99)), t=times, signals={"RPM": [1.0] * len(times)})


@st.composite
def _odd_lists(draw: st.DrawFn) -> bytes:
    value = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=3)
    names = st.sampled_from(["RPM", "SPEED", "X_1", "rpm", ""])
    return telemetry(
        draw(st.integers(0, 99)), signals=draw(st.dictionaries(names, st.lists(value, max_size=5), max_size=4))
    )


_payloads = st.one_of(
    st.binary(max_size=300),
    _json.map(msgspec.json.encode),
    _one_field_changed(),
    _bytes_changed(),
    _odd_number(),
    _any_time(),
    _odd_lists(),
    st.builds(event, st.integers(0, 99), detail=st.dictionaries(st.text(max_size=8), _json, max_size=4)),
    st.integers(1, 10_000).map(lambda depth: b'{"schema":' * depth),
)


def generated(count: int) -> list[bytes]:
    """So many payloads, derived from nothing but this file and Hypothesis's version."""
    found: list[bytes] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_payloads)
    def collect(payload: bytes) -> None:
        found.append(payload)

    collect()
    while len(found) < count:  # Hypothesis may think that it has seen all there is
        found.append(b"\xff" + str(len(found)).encode())
    return found[:count]


def known() -> dict[str, tuple[bytes, str]]:
    """The fixed corpus of payloads, each with the reason for which it has to be set aside."""
    year_1970, year_2106 = (telemetry(n, samples=1, t=[t]) for n, t in ((1970, 0), (2106, 4_294_967_295_000)))
    return {
        **HOSTILE,
        "129 KB": (telemetry(x="a" * 129 * 1024), "payload_too_large"),
        "the year 1970": (year_1970, "clock_before_2008"),
        "the year 2106": (year_2106, "clock_ahead"),
        "an unsynced clock": (telemetry(7, clock="unsynced"), "clock_unsynced"),
    }


def good(number: int) -> bytes:
    """A message that nothing is wrong with, though it names signals and fields that nobody knows."""
    changes: dict[str, Any] = {}
    if number % 3 == 0:
        changes = {"signals": {"SPEED": [36] * 3, "BOOST_OF_TOMORROW": [0.5, None, 1.5]}, "x-unknown": {"a": [1]}}
    return telemetry(number, device_id="good", at=START + timedelta(seconds=number % 3000), **changes)


def lines(*payloads: bytes) -> bytes:
    """The payloads as a landing object's text."""
    return b"".join(encode(Envelope("vehicle/x/telemetry", ms(RECEIVED), p)) + b"\n" for p in payloads)


def objects(*, is_quick: bool) -> Iterator[tuple[str, bytes, int, set[str]]]:
    """Hostile objects: name, stored bytes, how many good messages are among their lines, and the reasons due."""
    ten = lines(*(good(1000 + n) for n in range(10)))
    zipped = gzip.compress(ten, mtime=0)
    framed = zstandard.ZstdCompressor().compress(ten)
    wide = {f"A{n}": [1] * 100 for n in range(400)}  # 40,000 values without a column in 90 KB
    spread = [ms(START) - n * 86_400_000 for n in range(40 if is_quick else 5600)]  # near the size limit
    yield "empty.jsonl", b"", 0, set()
    yield "empty-inside.jsonl.gz", gzip.compress(b"", mtime=0), 0, set()
    yield "no-envelope.jsonl", b"hello\n\n\xff\n" + lines(good(2000)), 1, {"envelope_malformed"}
    yield "no-gzip.jsonl.gz", b"\x1f\x8bno gzip", 0, {"object_corrupt"}
    yield "no-zstd.jsonl.zst", b"\x28\xb5\x2f\xfdno zstd", 0, {"object_corrupt"}
    yield "cut.jsonl.gz", zipped + gzip.compress(lines(good(3000)))[:-9], 10, {"object_truncated"}
    yield "cut.jsonl.zst", framed[: len(framed) // 2], 0, {"object_truncated"}
    yield "rubbish-behind.jsonl.gz", gzip.compress(lines(good(3001))) + b"rubbish", 1, {"object_corrupt"}
    yield "bomb.jsonl.gz", gzip_bomb(), 0, {"object_too_large"}
    yield "bomb.jsonl.zst", zstd_bomb(), 0, {"object_too_large"}
    yield "line-feeds.jsonl.gz", gzip.compress(b"\n" * (MAX_LINES + 1), 1), 0, {"object_too_large"}
    yield "blank.jsonl.gz", gzip.compress(b"\n" * (3_000 if is_quick else MAX_LINES), 1), 0, {"envelope_malformed"}
    yield (
        "long-lines.jsonl.gz",
        gzip.compress(b"x" * (MAX_KEPT_BYTES + 1) + b"\n" + b"y" * (2 << 20) + b"\n" + lines(good(3002)), 1),
        1,
        {"line_too_large", "envelope_malformed"},
    )
    yield (
        "wide.jsonl.gz",
        gzip.compress(
            lines(
                *(telemetry(n, device_id="wide", samples=100, signals=wide) for n in range(3 if is_quick else 300))
            ),
            1,
        ),
        3 if is_quick else 300,
        set(),
    )
    yield (
        "spread.jsonl",
        lines(telemetry(1, device_id="spread", t=spread, signals={"RPM": [900] * len(spread)})),
        1,
        set(),
    )


def sparse(landing: Path, size: int) -> None:
    """An object of nothing but a size."""
    with (landing / HOUR / "sparse.jsonl").open("wb") as file:
        file.truncate(size)


def strays(landing: Path) -> int:
    """Put what is no landing object beside the objects; returns how many things that is."""
    hour = landing / HOUR
    hour.mkdir(parents=True, exist_ok=True)
    (hour / "folder.jsonl").mkdir()
    (hour / "folder.jsonl" / "inside.jsonl").write_bytes(b"x")
    odd = ["with space.jsonl", "ünïcode.jsonl", "line\nfeed.jsonl", "%41.jsonl", "x.parquet", ".hidden", "#.jsonl"]
    for name in odd:
        (hour / name).write_bytes(b"x")
    (hour / os.fsdecode(b"no-utf8-\xff.jsonl")).write_bytes(b"x")
    (hour / "itself.jsonl").symlink_to("itself.jsonl")
    (hour / "nowhere.jsonl").symlink_to("gone")
    (hour / "upwards.jsonl").symlink_to(landing)
    (hour / "device.jsonl").symlink_to("/dev/zero")
    os.mkfifo(hour / "pipe.jsonl")
    here = Path.cwd()
    os.chdir(hour)  # a socket's path may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.jsonl")
    finally:
        os.chdir(here)
    (landing / "telemetry" / "again").symlink_to(landing / "telemetry")
    (landing / "README.md").write_bytes(b"x")
    return 1 + len(odd) + 1 + 4 + 2 + 2
