import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.landing.store import CHANNELS, LandingObject, LandingStore, ulid

AT = datetime(2025, 12, 1, 8, 30, tzinfo=UTC)
KEY = "telemetry/dt=2025-12-01/hr=08/one.jsonl"
LAYOUT = "{channel}/dt={day}/hr=08/{name}.jsonl.gz"


def envelope(payload: bytes = b"x") -> Envelope:
    return Envelope("vehicle/edge-00001/telemetry", 1_764_577_800_000, payload)


def stored(store: LandingStore, key: str) -> bytes:
    return b"".join(store.read(key))


@pytest.fixture
def store(root: str) -> LandingStore:
    return LandingStore(f"{root}/landing")


def test_what_was_landed_is_listed_and_read_back(store):
    landed = store.land("events", [envelope(b"\xff"), envelope(b"b")], at=AT, name="n-1")
    assert landed == LandingObject(
        "events/dt=2025-12-01/hr=08/n-1.jsonl.gz", "events", AT.date(), landed.size_bytes
    )
    assert store.list().objects == (landed,)
    assert [line.payload for line in read_lines(store, landed)] == [b"\xff", b"b"]


def test_an_empty_landing_zone_has_no_objects(store):
    for listing in (store.list(), store.list(on=AT.date()), store.list(since=AT.date())):
        assert listing.objects == ()
        assert listing.strays == ()


def test_an_object_without_lines_can_be_landed(store):
    landed = store.land("telemetry", [], at=AT)
    assert store.list().objects == (landed,)
    assert read_lines(store, landed) == []


def test_a_second_put_of_a_key_changes_nothing(store):
    assert store.put(KEY, b"first") is True
    assert store.put(KEY, b"second, and longer") is False
    assert stored(store, KEY) == b"first"


def test_landing_the_same_name_again_returns_none_and_keeps_the_first(store):
    first = store.land("telemetry", [envelope(b"first")], at=AT, name="same")
    assert store.land("telemetry", [envelope(b"second")], at=AT, name="same") is None
    assert [line.payload for line in read_lines(store, first)] == [b"first"]


def test_an_object_that_is_gone_is_a_file_not_found(store):
    with pytest.raises(FileNotFoundError):
        stored(store, KEY)


def test_a_day_is_the_utc_day_of_arrival(store):
    at = datetime(2025, 12, 2, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert store.land("telemetry", [], at=at, name="n").key == "telemetry/dt=2025-12-01/hr=23/n.jsonl.gz"


def test_a_listing_of_one_day_holds_that_day_of_every_channel(store):
    keys = {(c, d): f"{c}/dt=2025-12-0{d}/hr=08/a.jsonl" for c in CHANNELS for d in (1, 2, 3)}
    for key in keys.values():
        store.put(key, b"")
    assert {o.key for o in store.list().objects} == set(keys.values())
    assert {o.key for o in store.list(on=date(2025, 12, 2)).objects} == {keys[c, 2] for c in CHANNELS}
    since = {o.key for o in store.list(since=date(2025, 12, 2)).objects}
    assert since == {keys[c, d] for c in CHANNELS for d in (2, 3)}
    assert store.list(since=date(2025, 12, 4)).objects == ()


def test_a_listing_is_sorted_and_tells_sizes(store):
    for name in ("b", "c", "a"):
        store.put(LAYOUT.format(channel="telemetry", day="2025-12-01", name=name), name.encode() * 7)
    listed = store.list().objects
    assert [entry.key[-10] for entry in listed] == ["a", "b", "c"]
    assert {entry.size_bytes for entry in listed} == {7}


STRAYS = [
    "README.md",
    "telemetry/a.jsonl",
    "telemetry/dt=2025-12-01/a.jsonl",
    "telemetry/dt=2025-12-01/hr=24/a.jsonl",
    "telemetry/dt=2025-12-01/hr=8/a.jsonl",
    "telemetry/dt=2025-12-01/hr=08/a.parquet",
    "telemetry/dt=2025-12-01/hr=08/a.jsonl.bz2",
    "telemetry/dt=2025-12-01/hr=08/sub/a.jsonl",
    "telemetry/dt=2025-12-01/hr=08/it's.jsonl",
    "telemetry/dt=2025-12-01/hr=08/a b.jsonl",
    "telemetry/dt=2025-13-45/hr=08/a.jsonl",
    "telemetry/dt=2025-02-30/hr=08/a.jsonl",
    "telemetry/dt=0000-00-00/hr=08/a.jsonl",
    "unknown/dt=2025-12-01/hr=08/a.jsonl",
]


def test_whatever_does_not_fit_the_layout_is_a_stray(store, root):
    store.put(KEY, b"")
    for key in STRAYS:
        store.put(key, b"x")
    listing = store.list()
    assert [entry.key for entry in listing.objects] == [KEY]
    # A disk has folders: one that no object can lie in counts once, whatever it holds.
    wanted = STRAYS if root.startswith("s3") else [key.replace("sub/a.jsonl", "sub/") for key in STRAYS]
    assert set(listing.strays) == set(wanted)


def put_beside(folder: Path, kind: str) -> None:
    """Something in an hour's folder that has an object's name and is none."""
    path = folder / "b.jsonl"
    match kind:
        case "a folder":
            path.mkdir()
            (path / "c.jsonl").write_bytes(b"x")
        case "a pipe":
            os.mkfifo(path)
        case "a socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        case "a link to nothing":
            path.symlink_to(folder / "gone")
        case "a link to itself":
            path.symlink_to(path)
        case "a device":
            path.symlink_to("/dev/zero")
        case "the folder again":
            path.symlink_to(folder)
        case "what a dead writer staged":
            path = folder / ".staged-abc"
            path.write_bytes(b"x")
            os.utime(path, (0, 0))


@pytest.mark.parametrize(
    "kind",
    [
        "a folder",
        "a pipe",
        "a socket",
        "a link to nothing",
        "a link to itself",
        "a device",
        "the folder again",
        "what a dead writer staged",
    ],
)
def test_what_no_reader_can_read_is_one_stray_and_blocks_nobody(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    store = LandingStore(str(tmp_path))
    store.put(KEY, b"x")
    put_beside(Path(KEY).parent, kind)
    for listing in (store.list(), store.list(since=AT.date()), store.list(on=AT.date())):
        assert [entry.key for entry in listing.objects] == [KEY]
        assert len(listing.strays) == 1, listing.strays
        assert listing.unreadable == ()


def test_links_that_lead_in_circles_are_walked_once(tmp_path):
    store = LandingStore(str(tmp_path))
    store.put(KEY, b"x")
    day = (tmp_path / KEY).parents[1]
    for number in range(20):  # each of them holds all of them: 20 * 20 * 20 ways
        (day / f"loop-{number}").symlink_to(tmp_path)
        (day.parent / f"loop-{number}").symlink_to(tmp_path / "telemetry")
        (tmp_path / f"loop-{number}").symlink_to(day)
    listing = store.list()
    assert [entry.key for entry in listing.objects] == [KEY]
    assert len(listing.strays) == 60


def test_a_staged_file_of_a_writer_at_work_is_neither_object_nor_stray(tmp_path):
    store = LandingStore(str(tmp_path))
    store.put(KEY, b"x")
    (tmp_path / KEY).with_name(".staged-abc").write_bytes(b"x")
    assert store.list().strays == ()


def test_empty_folders_of_the_layout_are_no_strays_and_others_are(tmp_path):
    store = LandingStore(str(tmp_path / "landing"))
    assert store.list().strays == ()
    for name in ("telemetry/dt=2025-12-01/hr=08", "events/dt=2025-12-01", "weather", "x/dt=2025-12-01", "a.jsonl"):
        (tmp_path / "landing" / name).mkdir(parents=True)
    assert store.list().strays == ("a.jsonl/", "x/dt=2025-12-01/")


def test_a_folder_that_cannot_be_listed_is_told_and_hides_no_other():
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are closed to other users
        store = LandingStore(directory)
        store.put(KEY, b"x")
        for folder in (Path(directory), *(Path(directory) / KEY).parents[:3]):
            folder.chmod(0o755)
        (Path(directory) / "telemetry/dt=2025-12-01/hr=09").mkdir(mode=0)
        (Path(directory) / "events").mkdir(mode=0)
        with as_nobody():
            listings = (store.list(), store.list(since=AT.date()))
        for listing in listings:
            assert [entry.key for entry in listing.objects] == [KEY]
            assert listing.unreadable == (
                "events/ (Permission denied)",
                "telemetry/dt=2025-12-01/hr=09/ (Permission denied)",
            )


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything, where it is root who tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_listing_since_a_day_survives_days_that_do_not_exist(store):
    for key in STRAYS:
        store.put(key, b"x")
    assert store.list(since=date(2025, 12, 1)).objects == ()
    assert "telemetry/dt=2025-13-45/hr=08/a.jsonl" in store.list(since=date(2025, 12, 1)).strays


@pytest.mark.parametrize("name", ["a\nb", "#", "ä", "%41", "~", ".hidden", "tab\t", "a*b", "\x7f", "\udcff"])
def test_odd_file_names_on_disk_do_not_stop_a_listing(tmp_path, name):
    store = LandingStore(str(tmp_path))
    store.put(KEY, b"")
    (tmp_path / KEY).with_name(f"{name}.jsonl").write_bytes(b"x")
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "telemetry" / f"dt={name}").mkdir()
    for listing in (store.list(), store.list(since=AT.date()), store.list(on=AT.date())):
        assert KEY in [entry.key for entry in listing.objects]
        strays = "".join(listing.strays) + "".join(entry.key for entry in listing.objects)
        assert name.encode("utf-8", "backslashreplace").decode() in strays or name == "\udcff"
        strays.encode()


@pytest.mark.parametrize("key", ["telemetry//a.jsonl", "./a", "/a"])
@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_odd_keys_on_s3_do_not_stop_a_listing(root, key):
    import boto3

    store = LandingStore(f"{root}/landing")
    store.put(KEY, b"")
    boto3.client("s3").put_object(Bucket=root.split("/")[2], Key=f"home/landing/{key}", Body=b"x")
    assert [entry.key for entry in store.list().objects] == [KEY]


@pytest.mark.parametrize("name", ["a/b", "../a", "a\\b", "it's", "a b", "ä", "a\n", "/"])
def test_a_name_that_is_not_opaque_is_refused(tmp_path, name):
    store = LandingStore(str(tmp_path))
    with pytest.raises(ValueError, match="letters, digits"):
        store.land("telemetry", [envelope()], at=AT, name=name)
    assert store.list().objects == ()


def test_an_unknown_channel_is_refused(tmp_path):
    with pytest.raises(ValueError, match="channel 'unknown'"):
        LandingStore(str(tmp_path)).land("unknown", [envelope()], at=AT)


@pytest.mark.parametrize("url", ["gs://bucket/landing", "http://host/landing"])
def test_other_kinds_of_roots_are_refused(url):
    with pytest.raises(ValueError, match="only a local path or s3"):
        LandingStore(url)


def test_names_are_ordered_by_time_and_differ():
    names = [ulid(AT + timedelta(milliseconds=ms)) for ms in range(50)]
    assert names == sorted(names)
    assert len({ulid(AT) for _ in range(100)}) == 100
    assert {len(name) for name in names} == {26}


_WRITER = """
import sys
from smartdrive_dagster.landing.store import LandingStore
store = LandingStore(sys.argv[1])
body = b"x" * (64 << 20)
print("ready", flush=True)
for number in range(1000):
    store.put(f"telemetry/dt=2025-12-01/hr=08/{number:04}.jsonl", body)
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1, 0.15])
def test_a_writer_killed_halfway_leaves_no_partial_object(tmp_path, delay):
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"ready\n"
        day = tmp_path / "telemetry/dt=2025-12-01/hr=08"
        deadline = time.monotonic() + 30
        while not (day.exists() and any(day.iterdir())) and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(delay)
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    store = LandingStore(str(tmp_path))
    listing = store.list()
    assert {entry.size_bytes for entry in listing.objects} <= {64 << 20}
    assert listing.strays == ()
    on_disk = {path: path.stat().st_size for path in Path(tmp_path).rglob("*") if path.is_file()}
    assert on_disk, "the writer was killed before it had begun"
    assert store.put(f"telemetry/dt=2025-12-01/hr=08/{len(listing.objects):04}.jsonl", b"again") is True


def test_the_listing_tells_when_an_object_was_written(store):
    before = datetime.now(UTC)
    store.land("telemetry", [], at=AT)  # whatever the day that its key names
    (listed,) = store.list().objects
    assert abs(listed.landed_at - before) < timedelta(minutes=5)
