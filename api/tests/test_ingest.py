"""Telemetry over HTTPS: durable before it is answered, once however often it is sent, for one's own vehicles."""

from __future__ import annotations

import gzip
import json
import logging
import os
import stat
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from smartdrive_api.identity.rate_limits import INGEST, take
from smartdrive_api.observing import MAX_BODY
from smartdrive_api.problems import Problem
from smartdrive_api.settings import Settings
from smartdrive_api.telemetry import batch
from smartdrive_api.telemetry.landing import Bucket, Directory, LandingUnavailableError, landing_object
from smartdrive_api.vehicles import garage

from api.tests.calling import LAKE_SECRET, Api
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.domain.messages import Rejection, Telemetry, decode_message
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.envelope import decode
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import silver
from tests.object_store import fresh_bucket, object_store

PATH = "/v1/telemetry/ingest"
VIN, OTHER_VIN, MS = "WVWZZZ1JZXW900001", "WVWZZZ1JZXW900002", 1764547200000
_SEQUENCE = count(1)
_VINS = count(1)


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings.model_copy(update={"landing_url": str(tmp_path_factory.mktemp("home") / "landing")})


class Driver:
    """Somebody with a confirmed vehicle."""

    def __init__(self, api: Api, name: str) -> None:
        self.api, self.person, self.vin = api, api.person(f"{name}@example.org"), new_vin()
        self.vehicle = self.register(self.vin)
        self.confirm(self.vehicle)
        answer = api.client.get("/v1/account", headers=self.person.headers).json()
        self.device_id: str = answer["device_id"]

    def register(self, vin: str) -> str:
        return str(self.api.post("/v1/vehicles", {"vin": vin}, self.person).json()["id"])

    def confirm(self, vehicle: str, **how: bool) -> None:
        with self.api.engine.begin() as connection:
            garage.confirm(connection, UUID(vehicle), self.api.clock(), **how)

    def message(self, **changes: Any) -> dict[str, Any]:
        at = int(self.api.clock().timestamp() * 1000)
        return {
            "schema": "telemetry.v1",
            "vin": self.vin,
            "device_id": self.device_id,
            "boot_id": "boot-1",
            "seq": next(_SEQUENCE),
            "phase": "running",
            "t": [at - 2000, at - 1000],
            "clock": "synced",
            "signals": {"RPM": [812.0, 845.5], "SPEED": [0, 3]},
        } | changes

    def send(self, *messages: Any, **headers: str) -> httpx.Response:
        return self.send_bytes(json.dumps(messages).encode(), **headers)

    def send_bytes(self, content: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api.client.post(
            PATH, content=content, headers={"content-type": "application/json"} | self.person.headers | named
        )


def new_vin() -> str:
    return f"WVWZZZ1JZXW{next(_VINS):06d}"


@pytest.fixture(scope="module")
def mira(api: Api) -> Driver:
    return Driver(api, "mira")


@pytest.fixture(scope="module")
def ben(api: Api) -> Driver:
    return Driver(api, "ben")


@pytest.fixture(autouse=True)
def _own_clock(api: Api) -> Iterator[None]:
    began = api.clock()
    yield
    api.clock.now = began


def landed(api: Api) -> list[Any]:
    return list(LandingStore(api.settings.landing_url).list().objects)


def errors(answer: httpx.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


# What the lake makes of it


def test_what_is_sent_arrives_in_the_lake_once_however_often_and_whenever_it_is_sent(
    api: Api, mira: Driver, tmp_path: Path
) -> None:
    landing = str(tmp_path / "landing")
    other = Api(api.settings.model_copy(update={"landing_url": landing}), api.engine)
    other.clock.now = datetime.fromisoformat("2025-12-01T08:59:50+00:00")
    driver = copy(mira)
    driver.api, driver.person = other, other.signed_in(mira.person.email)
    first, second = driver.message(), driver.message(signals={"RPM": [1.5, None], "Ünknown": [1, 2]})
    good = driver.send(first, second)
    assert (good.status_code, good.json()) == (202, {"messages": 2, "is_new": True})
    again = driver.send(first, second)
    assert (again.status_code, again.json()) == (200, {"messages": 2, "is_new": False})
    other.clock.move(seconds=20)  # over the hour
    assert driver.send(first, second).json() == {"messages": 2, "is_new": True}
    assert driver.send(driver.message(), first).status_code == 202, "in another batch"
    store = LandingStore(landing)
    listing = store.list()
    assert (len(listing.objects), listing.strays) == (3, ())
    lakehouse = Lakehouse(str(tmp_path / "lake"))
    ingestion = Ingestion(lakehouse, store, LAKE_SECRET.encode())
    for day in {entry.landing_date for entry in listing.objects}:
        while ingestion.advance(day, Progress()):
            pass
    rows = lakehouse.scan(silver.TELEMETRY).collect()
    assert sorted(rows["engine_speed_rpm"].to_list()) == [812.0, 812.0, 845.5, 845.5]
    assert set(rows["vehicle_id"]) == {vehicle_id(mira.vin, LAKE_SECRET.encode())}
    verdicts = Counter(lakehouse.scan(silver.MESSAGES).collect()["verdict"])
    assert verdicts == {"accepted": 2, "duplicate": 2, "quarantined": 2}


def test_messages_are_kept_as_they_were_written(api: Api, mira: Driver) -> None:
    before = set(landed(api))
    texts = [json.dumps(mira.message(note='ő "x" \u2028'), ensure_ascii=False, indent=1) for _ in range(2)]
    assert mira.send_bytes(f" [ {texts[0]} ,\n{texts[1]} ]\n".encode()).status_code == 202
    (found,) = set(landed(api)) - before
    stored = b"".join(LandingStore(api.settings.landing_url).read(found.key))
    envelopes = [decode(line) for line in gzip.decompress(stored).splitlines()]
    assert [one.payload.decode() for one in envelopes] == texts
    assert {one.topic for one in envelopes} == {f"vehicle/{mira.device_id}/telemetry"}
    assert {one.received_at_ms for one in envelopes} == {int(api.clock().timestamp() * 1000)}
    assert mira.vin not in found.key + envelopes[0].topic


def test_lines_and_compression_are_taken_too(api: Api, mira: Driver) -> None:
    lines = "\n".join(json.dumps(mira.message()) for _ in range(3)) + "\n"
    sent = {"content_type": "application/x-ndjson; charset=utf-8", "content_encoding": "GZIP"}
    answer = mira.send_bytes(gzip.compress(lines.encode()), **sent)
    assert (answer.status_code, answer.json()["messages"]) == (202, 3)
    large = [mira.message(note="x" * 1000) for _ in range(500)]
    assert MAX_BODY < len(json.dumps(large)) < batch.MAX_SENT
    assert mira.send(*large).status_code == 202


def test_of_the_same_batch_many_times_at_once_one_object_is_made(api: Api, mira: Driver) -> None:
    before, message, answers = len(landed(api)), mira.message(), []
    threads = [threading.Thread(target=lambda: answers.append(mira.send(message))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]
    assert len(landed(api)) == before + 1


# Whose it is


def test_one_message_for_a_vehicle_that_is_not_the_callers_refuses_the_whole_batch(
    api: Api, mira: Driver, ben: Driver
) -> None:
    before = landed(api)
    unproven, sold = new_vin(), new_vin()
    mira.register(unproven)
    gone = mira.register(sold)
    mira.confirm(gone)
    assert api.client.delete(f"/v1/vehicles/{gone}", headers=mira.person.headers).status_code == 204
    api.post(f"/v1/vehicles/{ben.vehicle}/shares", {"email": mira.person.email}, ben.person)
    vins = [ben.vin, unproven, sold, new_vin(), mira.vin.lower(), None, [mira.vin], {}]
    answer = mira.send(mira.message(), *(mira.message(vin=vin) for vin in vins), mira.message())
    assert errors(answer) == [(f"#/{index}/vin", "not_your_vehicle") for index in range(1, 9)]
    assert not any(vin in answer.text for vin in vins[:4] if isinstance(vin, str))
    assert landed(api) == before


def test_nobody_sends_under_the_name_of_anothers_device(api: Api, mira: Driver, ben: Driver) -> None:
    before = landed(api)
    names = [ben.device_id, "edge-00001", None, "", mira.device_id.upper()]
    answer = mira.send(*(mira.message(device_id=name) for name in names))
    assert errors(answer) == [(f"#/{index}/device_id", "not_your_device") for index in range(5)]
    assert ben.device_id not in answer.text
    assert landed(api) == before
    assert ben.device_id != mira.device_id
    assert UUID(mira.device_id.removeprefix("app-")).version == 4


def test_what_two_readers_could_read_differently_is_refused(api: Api, mira: Driver, ben: Driver) -> None:
    before = landed(api)
    text = json.dumps(mira.message())
    twice = text.replace('"vin"', f'"vin": "{ben.vin}", "vin"'), text[:-1] + f', "v\\u0069n": "{ben.vin}"}}'
    for message in twice:
        assert errors(mira.send_bytes(f"[{text},{message}]".encode())) == [("#/1", "unreadable")]
    assert landed(api) == before


def test_who_bought_a_car_writes_nothing_into_the_time_of_its_seller(api: Api, mira: Driver, ben: Driver) -> None:
    vin = new_vin()
    mira.confirm(mira.register(vin))
    api.clock.move(minutes=10)
    ben.confirm(ben.register(vin), instead=True)
    bought = int(api.clock().timestamp() * 1000)
    assert errors(mira.send(mira.message(vin=vin))) == [("#/0/vin", "not_your_vehicle")]
    times = [[bought], [bought + 5, bought - 1], [float(bought)], [True], "x", None]
    answer = ben.send(*(ben.message(vin=vin, t=t) for t in times))
    assert errors(answer) == [("#/1/t", "before_yours")] + [(f"#/{n}/t", "not_times") for n in range(2, 6)]
    assert ben.send(ben.message(vin=vin, t=[bought])).status_code == 202


def test_a_stranger_sends_nothing_not_even_a_body_to_be_read(api: Api) -> None:
    taken = []

    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            taken.append(1)
            yield b"x" * 1000

    answer = api.client.post(PATH, content=pieces())
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


# What is no batch


@pytest.mark.parametrize(
    ("content", "status", "what"),
    [
        (b"", 400, "invalid_json"),
        (b"{}", 400, "invalid_json"),
        (b"[{}", 400, "invalid_json"),
        (b"[{}]]", 400, "invalid_json"),
        (b"[{} {}]", 400, "invalid_json"),
        (b'[{"a": "\xff"}]', 400, "invalid_json"),
        (b"[ ]", 422, "#"),
        (b"[{},]", 422, "#/1"),
        (b"[", 422, "#/0"),
        (b"[1]", 422, "#/0"),
        (b'[{"a": NaN}]', 422, "#/0"),
        (b'[{}, {"a": 1, "a": 1}]', 422, "#/1"),
        (b"[{}, " + b"[" * 60_000, 422, "#/1"),
        (b'[{"a": ' + b"[" * 60_000, 422, "#/0"),
        (b'[{"a": ' + b"9" * 5_000 + b"}]", 422, "#/0"),
        (b'[{"a": "' + b"x" * batch.MAX_MESSAGE + b'"}]', 422, "#/0"),
        (b'[{"a": "' + "ő".encode() * (batch.MAX_MESSAGE // 2) + b'"}]', 422, "#/0"),
        (b"[" + b"{}," * batch.MAX_MESSAGES + b"{}]", 413, "too_many_messages"),
    ],
)
def test_what_is_no_batch_is_refused_and_its_place_named(content: bytes, status: int, what: str) -> None:
    with pytest.raises(Problem) as raised:
        batch.read(content, "application/json")
    problem = raised.value
    assert problem.status == status
    assert what in {problem.code, *(error.pointer for error in problem.errors)}
    if b"," not in content and content.startswith(b"[{") and status == 422:
        with pytest.raises(Problem):
            batch.read(content[1:-1] + b"\n", "application/x-ndjson")


def test_a_message_of_exactly_the_largest_size_is_one() -> None:
    frame = len('{"a": ""}')
    whole = b'{"a": "' + b"x" * (batch.MAX_MESSAGE - frame) + b'"}'
    assert len(batch.read(b"[%b, %b]" % (whole, whole), "application/json")) == 2
    assert len(batch.read(b"%b\n\n%b" % (whole, whole), "application/x-ndjson")) == 2


def test_a_bomb_is_refused_before_it_is_expanded(mira: Driver) -> None:
    bomb = gzip.compress(b" " * 30_000_000, 1)
    assert len(bomb) < batch.MAX_SENT
    tracemalloc.start()
    answer = mira.send_bytes(bomb, content_encoding="gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert peak < 8 * batch.MAX_EXPANDED


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"no gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"[{}]", mtime=0)[:-3], {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"[{}]", mtime=0) + b"more", {"content_encoding": "gzip"}, 400),
        (b"[{}]", {"content_encoding": "br"}, 415),
        (b"[{}]", {"content_encoding": "gzip, gzip"}, 415),
        (b"[{}]", {"content_type": "text/plain"}, 415),
        (b"[{}]", {"content_type": ""}, 415),
        (b" " * batch.MAX_SENT, {}, 400),
        (b" " * (batch.MAX_SENT + 1), {}, 413),
    ],
)
def test_what_cannot_be_opened_is_refused(
    mira: Driver, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = mira.send_bytes(content, **headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("accept-encoding") == (
        "gzip" if "br" in str(headers) or ", " in str(headers) else None
    )


_BASE = {"schema": "telemetry.v1", "vin": VIN, "device_id": "app-1", "boot_id": "b", "seq": 0, "phase": "running"}
_TEXT = json.dumps(_BASE | {"t": [MS, MS + 1], "clock": "synced", "signals": {"RPM": [1, None]}})
_PIECES = st.sampled_from(
    [
        *(f'"vin": "{OTHER_VIN}", ', f'"v\\u0069n": "{OTHER_VIN}", ', f'"VIN": "{OTHER_VIN}", ', f'"{OTHER_VIN}"'),
        *(
            f', "vin": "{OTHER_VIN}"',
            '"device_id": "app-2", ',
            "\\u0000",
            "\\ud800",
            "\ufeff",
            "\u2028",
            "\n",
            "\t",
            " ",
        ),
        *(
            "null",
            "NaN",
            "1e999",
            "-0",
            "1.0",
            "[",
            "]",
            "{",
            "}",
            '"',
            "\\",
            ",",
            ":",
            "/*",
            f"[{MS - 1}]",
            str(MS - 1),
        ),
    ]
)


@settings_of_hypothesis(max_examples=300, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(_TEXT)), st.integers(0, 9), _PIECES), max_size=3),
    media_type=st.sampled_from(["application/json", "application/x-ndjson"]),
)
def test_what_passes_is_the_callers_for_the_lake_too(edits: list[tuple[int, int, str]], media_type: str) -> None:
    text = _TEXT
    for at, length, piece in sorted(edits, reverse=True):
        text = text[:at] + piece + text[at + length :]
    sender = batch.Sender("app-1", {VIN: datetime.fromtimestamp(MS / 1000, UTC)})
    try:
        messages = batch.read((f"[{text}]" if media_type == "application/json" else text).encode(), media_type)
    except Problem:
        return
    if batch.objections(messages, sender):
        return
    for message in messages:
        found = decode_message(message.text.encode())
        if isinstance(found, Telemetry):
            assert (found.vin, found.device_id, min(found.t_ms) >= MS) == (VIN, "app-1", True)
        else:
            assert isinstance(found, Rejection)


# What may go wrong


def test_what_is_not_stored_is_not_said_to_be(api: Api, mira: Driver, caplog: pytest.LogCaptureFixture) -> None:
    blocked = api.settings.model_copy(update={"landing_url": f"{api.settings.landing_url}-file"})
    Path(blocked.landing_url).write_text("no directory")
    other = Api(blocked, api.engine)
    message = mira.message()
    answer = other.client.post(PATH, json=[message], headers=mira.person.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "no_landing")
    assert answer.headers["retry-after"] == "5"
    assert "landing zone cannot be written" in caplog.text
    assert mira.send(message).json()["is_new"], "and it can be sent again"


def test_too_many_batches_have_to_wait(api: Api, mira: Driver) -> None:
    account = api.services.access_tokens.read(mira.person.access).account_id
    for _ in range(INGEST.burst):
        take(api.engine, INGEST, str(account), api.clock())
    answer = mira.send(mira.message())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")


def test_no_vin_and_no_device_is_in_logs_or_metrics(
    api: Api, mira: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        mira.send(mira.message())
        mira.send(mira.message(vin=new_vin()))
    ours = " ".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    for said in (ours, api.client.get("/metrics").text):
        assert mira.vin not in said
        assert mira.device_id not in said


# Where it is written


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    where = Directory(tmp_path / "landing")
    assert where.put("telemetry/dt=2025-12-01/hr=08/a.jsonl.gz", b"one")
    assert not where.put("telemetry/dt=2025-12-01/hr=08/a.jsonl.gz", b"two")
    (found,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert (found.read_bytes(), stat.S_IMODE(found.stat().st_mode)) == (b"one", 0o644)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(LandingUnavailableError):
        Directory(blocked).put("telemetry/x", b"")


def test_the_files_folder_is_synced_before_it_is_said_to_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)), real(fd))[1])
    for _ in range(2):  # the second time too: nobody knows whether the first came so far
        Directory(tmp_path).put("telemetry/x", b"one")
        assert synced == [False, True]
        synced.clear()


def test_a_batch_has_one_name_within_an_hour_and_none_of_anothers() -> None:
    at = datetime.fromisoformat("2025-12-01T08:00:00+00:00")
    key, _ = landing_object("app-1", ["{}", "[]"], at)
    assert key.startswith("telemetry/dt=2025-12-01/hr=08/app-")
    assert landing_object("app-1", ["{}", "[]"], at + timedelta(minutes=59))[0] == key
    assert landing_object("app-1", ["{}", "[]"], at + timedelta(minutes=60))[0] != key
    assert landing_object("app-1", ["{}[]"], at)[0] != key


def test_on_s3_one_conditional_put_makes_it_and_another_changes_nothing(tmp_path: Path) -> None:
    with object_store(tmp_path) as endpoint:
        url = fresh_bucket(endpoint)
        where, (key, body) = Bucket(url), landing_object("app-1", ["{}"], datetime.fromisoformat("2025-12-01T08Z"))
        assert where.put(key, body)
        assert not where.put(key, b"other")
        (found,) = LandingStore(url).list().objects
        assert (found.key, b"".join(LandingStore(url).read(key))) == (key, body)
        with pytest.raises(LandingUnavailableError, match="NoSuchBucket"):
            Bucket("s3://nowhere-at-all/x").put(key, body)
        client = where._client
    client.meta.config.retries = {}
    with pytest.raises(LandingUnavailableError, match="does not answer"):
        where.put(key, body)
