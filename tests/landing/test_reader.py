import gzip
import hashlib
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
import zstandard

from smartdrive_dagster.landing import reader
from smartdrive_dagster.landing.envelope import Envelope, encode
from smartdrive_dagster.landing.reader import MAX_LINES, Line, read_lines, read_object
from smartdrive_dagster.landing.store import LandingObject, LandingStore, UnreadableError

LINES = [
    encode(Envelope("vehicle/edge-00001/telemetry", 1_764_577_800_000 + n, f"message {n}".encode())) + b"\n"
    for n in range(3)
]
PLAIN = b"".join(LINES)
PAYLOADS = [b"message 0", b"message 1", b"message 2"]
COMPRESS = {
    "": lambda raw: raw,
    ".gz": lambda raw: gzip.compress(raw, mtime=0),
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def put(store: LandingStore, body: bytes, suffix: str = "", name: str = "a") -> LandingObject:
    key = f"telemetry/dt=2025-12-01/hr=08/{name}.jsonl{suffix}"
    assert store.put(key, body)
    return LandingObject(key, "telemetry", date(2025, 12, 1), len(body))


def lines_of(store: LandingStore, entry: LandingObject, max_bytes: int) -> list[Line]:
    return [line for part in read_object(store, entry, max_bytes=max_bytes).parts() for line in part]


def summary(lines: list[Line]) -> list[tuple[int, str | None, bytes | None]]:
    return [(line.line_no, line.fault, line.payload) for line in lines]


@pytest.fixture
def disk(tmp_path: Path) -> LandingStore:
    return LandingStore(str(tmp_path / "landing"))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_lines_come_out_as_they_went_in(root, suffix):
    store = LandingStore(f"{root}/landing")
    lines = read_lines(store, put(store, COMPRESS[suffix](PLAIN), suffix))
    assert summary(lines) == [(n, None, payload) for n, payload in enumerate(PAYLOADS, start=1)]
    assert [line.received_at_ms for line in lines] == [1_764_577_800_000 + n for n in range(3)]
    assert {line.topic for line in lines} == {"vehicle/edge-00001/telemetry"}


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_several_compressed_parts_in_a_row_are_one_object(root, suffix):
    store = LandingStore(f"{root}/landing")
    body = b"".join(COMPRESS[suffix](part) for part in (LINES[0][:10], LINES[0][10:] + LINES[1], b"", LINES[2]))
    assert summary(read_lines(store, put(store, body, suffix))) == [
        (n, None, payload) for n, payload in enumerate(PAYLOADS, start=1)
    ]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_object_of_several_chunks_is_read_whole(root, suffix):
    store = LandingStore(f"{root}/landing")
    payloads = [os.urandom(50_000) for _ in range(60)]
    body = b"".join(encode(Envelope("t", 1, payload)) + b"\n" for payload in payloads)
    assert [line.payload for line in read_lines(store, put(store, COMPRESS[suffix](body), suffix))] == payloads


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_empty_object_has_no_lines(root, suffix):
    store = LandingStore(f"{root}/landing")
    assert read_lines(store, put(store, b"", suffix, "no-bytes")) == []
    assert read_lines(store, put(store, COMPRESS[suffix](b""), suffix, "nothing-compressed")) == []


def test_a_missing_line_feed_at_the_end_costs_no_line(disk):
    assert [line.payload for line in read_lines(disk, put(disk, PLAIN[:-1]))] == PAYLOADS


def test_carriage_returns_before_line_feeds_cost_no_line(disk):
    assert [line.payload for line in read_lines(disk, put(disk, PLAIN.replace(b"\n", b"\r\n")))] == PAYLOADS


def test_blank_lines_are_lines_and_no_envelopes(disk):
    body = b"\n" + LINES[0] + b"  \n\r\n" + LINES[1] + b"\n"
    assert summary(read_lines(disk, put(disk, body))) == [
        (1, "envelope_malformed", b""),
        (2, None, PAYLOADS[0]),
        (3, "envelope_malformed", b"  "),
        (4, "envelope_malformed", b"\r"),
        (5, None, PAYLOADS[1]),
        (6, "envelope_malformed", b""),
    ]


def test_a_malformed_line_is_kept_verbatim_and_costs_no_other(disk):
    bad = b'{"topic":"x","received_at":1,"payload_b64":"\xc3\xa9"}'
    lines = read_lines(disk, put(disk, LINES[0] + bad + b"\n" + LINES[1]))
    assert summary(lines) == [(1, None, PAYLOADS[0]), (2, "envelope_malformed", bad), (3, None, PAYLOADS[1])]


def test_a_line_of_129_kb_is_read_whole(disk):
    payload = b"x" * 129 * 1024
    lines = read_lines(disk, put(disk, encode(Envelope("t", 1, payload)) + b"\n" + LINES[0]))
    assert [line.payload for line in lines] == [payload, PAYLOADS[0]]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_an_object_cut_off_at_any_byte_keeps_only_whole_lines(disk, suffix):
    body = COMPRESS[suffix](PLAIN)
    for end in range(1, len(body)):
        lines = read_lines(disk, put(disk, body[:end], suffix, f"cut-{end}"))
        assert summary(lines[:1]) == [(0, "object_truncated", None)], end
        assert summary(lines[1:]) == [(n, None, PAYLOADS[n - 1]) for n in range(1, len(lines))], end


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_second_part_cut_off_at_any_byte_keeps_the_first(disk, suffix):
    first, second = COMPRESS[suffix](PLAIN), COMPRESS[suffix](LINES[0])
    for end in range(1, len(second)):
        lines = read_lines(disk, put(disk, first + second[:end], suffix, f"cut-{end}"))
        assert summary(lines[:1]) == [(0, "object_truncated", None)], end
        assert [line.payload for line in lines[1:4]] == PAYLOADS, end


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("flip", [0x01, 0xFF])
def test_a_damaged_byte_at_any_position_never_raises(disk, suffix, flip):
    body = COMPRESS[suffix](PLAIN)
    for position in range(len(body)):
        damaged = bytearray(body)
        damaged[position] ^= flip
        lines = read_lines(disk, put(disk, bytes(damaged), suffix, f"at-{position}"))
        assert [line.line_no for line in lines] == sorted(line.line_no for line in lines)
        assert all((line.payload is None) == (line.line_no == 0) for line in lines)
        assert {line.fault for line in lines} <= {
            None,
            "envelope_malformed",
            "object_corrupt",
            "object_truncated",
            "object_too_large",
        }


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_bytes_that_are_not_compressed_at_all_are_a_corrupt_object(root, suffix):
    store = LandingStore(f"{root}/landing")
    assert summary(read_lines(store, put(store, PLAIN, suffix))) == [(0, "object_corrupt", None)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_rubbish_after_the_compressed_part_keeps_its_lines(disk, suffix):
    lines = read_lines(disk, put(disk, COMPRESS[suffix](PLAIN) + b"rubbish and more of it", suffix))
    assert summary(lines[:1]) == [(0, "object_corrupt", None)]
    assert [line.payload for line in lines[1:]] == PAYLOADS


def damaged(suffix: str) -> dict[str, bytes]:
    """Bodies that read in several ways."""
    body = COMPRESS[suffix](PLAIN)
    return {
        "whole": body,
        "without the last end": COMPRESS[suffix](PLAIN[:-1]),
        "truncated": body + body[: len(body) // 2],
        "corrupt": body + b"rubbish and more of it",
        "blank lines": COMPRESS[suffix](b"\n" * 7),
        "empty": b"",
    }


@pytest.mark.parametrize("kind", damaged(""))
@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_large_object_is_read_twice_in_parts_and_says_the_same(disk, monkeypatch, suffix, kind):
    entry = put(disk, damaged(suffix)[kind], suffix)
    at_once = read_object(disk, entry)
    lines = [line for part in at_once.parts() for line in part]
    monkeypatch.setattr(reader, "PART_BYTES", 1)
    monkeypatch.setattr(reader, "PART_LINES", 2)
    in_parts = read_object(disk, entry)
    parts = list(in_parts.parts())
    assert [line for part in parts for line in part] == lines
    assert all(len(part) <= 2 for part in parts)
    assert in_parts.lines == at_once.lines == len(lines)
    assert in_parts.sha256 == at_once.sha256 == hashlib.sha256(damaged(suffix)[kind]).digest()


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_object_too_large_has_the_digest_of_all_its_bytes_too(disk, suffix):
    body = COMPRESS[suffix](PLAIN) + bytes(3 << 20)
    entry = put(disk, body, suffix)
    for max_bytes in (1, len(body) - 1):  # found while expanding, and known from the listing
        assert read_object(disk, entry, max_bytes=max_bytes).sha256 == hashlib.sha256(body).digest()


def test_an_object_that_changes_between_its_two_readings_is_left_for_another_run(disk, monkeypatch):
    monkeypatch.setattr(reader, "PART_BYTES", 1)
    entry = put(disk, PLAIN)
    reading = read_object(disk, entry)
    path = Path(disk.url) / entry.key
    path.write_bytes(PLAIN.replace(b"message 0", b"message 9"))
    with pytest.raises(UnreadableError, match="changed"):
        list(reading.parts())


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_line_too_large_to_keep_is_counted_and_hides_no_other(disk, monkeypatch, suffix):
    monkeypatch.setattr(reader, "MAX_KEPT_BYTES", 500)
    body = LINES[0] + b"x" * 500 + b"\n" + b"x" * 501 + b"\n" + LINES[1] + b"x" * 501
    assert summary(read_lines(disk, put(disk, COMPRESS[suffix](body), suffix))) == [
        (1, None, b"message 0"),
        (2, "envelope_malformed", b"x" * 500),
        (3, "line_too_large", None),
        (4, None, b"message 1"),
        (5, "line_too_large", None),
    ]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_the_bound_on_the_expanded_size_is_exact(disk, suffix):
    entry = put(disk, COMPRESS[suffix](PLAIN), suffix)
    assert len(lines_of(disk, entry, len(PLAIN))) == 3
    assert summary(lines_of(disk, entry, len(PLAIN) - 1)) == [(0, "object_too_large", None)]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_the_bound_on_lines_keeps_an_object_of_line_feeds_out_of_memory(disk, suffix):
    body = COMPRESS[suffix](b"\n" * (MAX_LINES + 1))
    assert summary(read_lines(disk, put(disk, body, suffix))) == [(0, "object_too_large", None)]


def test_as_many_lines_as_the_bound_are_read(disk, monkeypatch):
    monkeypatch.setattr(reader, "MAX_LINES", 3)
    assert len(read_lines(disk, put(disk, PLAIN, "", "three"))) == 3
    assert summary(read_lines(disk, put(disk, PLAIN + b"\n", "", "four"))) == [(0, "object_too_large", None)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_the_cost_of_many_empty_parts_grows_with_their_number_only(disk, suffix):
    entry = put(disk, COMPRESS[suffix](b"") * 300_000, suffix)
    before = time.process_time()
    assert read_lines(disk, entry) == []
    assert time.process_time() - before < 2.0


def gzip_bomb() -> bytes:
    """One member of 10 GB of zeros (its end is missing: nobody gets there)."""
    import zlib

    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 24)
    head = squeeze.compress(zeros) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(zeros) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return head + block * 640


def zstd_bomb() -> bytes:
    """One frame of 10 GB of zeros: a window of 128 KiB, then blocks that repeat one byte (RFC 8878, 3.1.1)."""
    block = (1 << 1 | (128 * 1024) << 3).to_bytes(3, "little") + b"\0"
    return zstandard.FRAME_HEADER + b"\x00\x38" + block * 81_920


_MEASURED = """
import resource, sys
from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.landing.store import LandingStore
store = LandingStore(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(entry,) = store.list().objects
faults = [line.fault for line in read_lines(store, entry)]
print(faults, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def read_apart(root: Path | str) -> tuple[str, int]:
    """Faults, and by how many MiB the peak of memory grew."""
    child = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(root)], capture_output=True, text=True, check=True, timeout=120
    )
    faults, _, grown = child.stdout.strip().rpartition(" ")
    return faults, int(grown)


@pytest.mark.parametrize(("suffix", "bomb"), [(".gz", gzip_bomb), (".zst", zstd_bomb)])
def test_a_bomb_of_ten_gigabytes_is_refused_within_bounded_memory(disk, suffix, bomb):
    body = bomb()
    assert len(body) < 16 << 20
    put(disk, body, suffix)
    faults, grown = read_apart(disk.url)
    assert faults == "['object_too_large']"
    assert grown < 192  # a zstd frame may ask for a window of 128 MiB


def test_a_zstd_frame_that_demands_a_huge_window_is_refused(disk):
    frame = zstandard.FRAME_HEADER + b"\x00" + bytes([20 << 3]) + b"\x01\x00\x00"  # a window of 1 GiB
    assert summary(read_lines(disk, put(disk, frame, ".zst"))) == [(0, "object_corrupt", None)]


def test_an_object_stored_larger_than_the_bound_is_hashed_in_chunks_and_not_expanded(disk, tmp_path):
    path = tmp_path / "landing/telemetry/dt=2025-12-01/hr=08/sparse.jsonl.gz"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(300 << 20)
    faults, grown = read_apart(disk.url)
    assert faults == "['object_too_large']"
    assert grown < 32


def test_an_object_that_went_away_after_the_listing_is_a_file_not_found(root):
    store = LandingStore(f"{root}/landing")
    entry = put(store, PLAIN)
    gone = LandingObject(entry.key.replace("/a.", "/b."), entry.channel, entry.landing_date, entry.size_bytes)
    with pytest.raises(FileNotFoundError):
        read_lines(store, gone)
