"""The road from the spool to landing, through a real broker: nothing lost, whoever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import jsonschema
import pytest
from smartdrive_edge.messages import event
from smartdrive_edge.publisher import Pace, Publisher
from smartdrive_edge.spool import Spool

from edge.tests.publisher.broker import Mosquitto, Peer, eventually
from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.lander import Lander, acks
from smartdrive_dagster.landing.lander_connection import LanderSettings, TlsFiles
from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.landing.store import LandingObject, LandingStore
from tests.landing.lander_processes import VIN

ROOT = Path(__file__).parents[2]
# Twelve kills in the suite; `SMARTDRIVE_KILLS=200` does more on demand.
KILLS = int(os.environ.get("SMARTDRIVE_KILLS", "12"))
QUICK = Pace(flush_period_s=0.3, resend_at_most_s=2.0, backoff_s=(0.05, 0.3), puback_timeout_s=5.0)


class RecordedStore(LandingStore):
    """A landing store whose writes can be made to fail, as a full disk or a bucket out of reach does."""

    failures = 0
    fails_after_writing = False

    def land(
        self, channel: str, envelopes: Sequence[Envelope], *, at: datetime, name: str | None = None
    ) -> LandingObject | None:
        if self.failures:
            self.failures -= 1
            if self.fails_after_writing:
                super().land(channel, envelopes, at=at, name=name)
            raise OSError("no space left on device")
        return super().land(channel, envelopes, at=at, name=name)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path, landers=("lander-1", "lander-2"))
    try:
        yield broker.start()
    finally:
        broker.kill()


def settings(broker: Mosquitto, name: str = "lander-1", **changes: object) -> LanderSettings:
    issued = broker.authority.issue_lander(name)
    tls = TlsFiles(broker.authority.certificate_path, issued.certificate, issued.key)
    given: dict[str, object] = {"max_age_s": 0.2, "backoff_s": (0.05, 0.3), **changes}
    return LanderSettings("127.0.0.1", name, broker.port, tls, **given)  # type: ignore[arg-type]


@contextmanager
def running(run: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def spool_at(path: Path, device_id: str = "edge-1") -> Spool:
    spool = Spool(path / f"{device_id}.db", device_id)
    spool.stamp(time.time_ns() // 1_000_000 - round(time.monotonic() * 1000))
    return spool


def fill(spool: Spool, count: int) -> None:
    for number in range(count):
        spool.append(event(VIN, "low_voltage", round(time.monotonic() * 1000), {"number": number}))


def landed(store: LandingStore) -> list[bytes]:
    listing = store.list()
    assert not listing.strays
    lines = [line for entry in listing.objects for line in read_lines(store, entry)]
    assert not [line.fault for line in lines if line.fault]
    return [line.payload or b"" for line in lines]


def identities(payloads: Sequence[bytes]) -> dict[tuple[str, int], set[str]]:
    """Digests by identity: more than one says that an identity was given to two contents."""
    found: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for payload in payloads:
        message = json.loads(payload)
        found[message["boot_id"], message["seq"]].add(sha256(payload).hexdigest())
    return found


def test_a_message_goes_from_the_spool_to_landing_and_only_then_leaves_the_spool(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    store, spool = LandingStore(str(tmp_path / "landing")), spool_at(tmp_path)
    fill(spool, 100)
    publisher = Publisher(spool, mosquitto.address("edge-1"), pace=QUICK)
    with running(publisher.run):
        time.sleep(1)
        assert spool.health().messages == 100
        with running(Lander(store, settings(mosquitto)).run):
            assert eventually(lambda: spool.health().messages == 0)
    found = identities(landed(store))
    assert sorted(seq for _, seq in found) == list(range(100))
    assert {len(digests) for digests in found.values()} == {1}
    assert {entry.channel for entry in store.list().objects} == {"events"}


def test_two_landers_share_the_messages_among_them(mosquitto: Mosquitto, tmp_path: Path) -> None:
    stores = [LandingStore(str(tmp_path / name)) for name in ("one", "two")]
    spool = spool_at(tmp_path)
    with (
        running(Lander(stores[0], settings(mosquitto, "lander-1")).run),
        running(Lander(stores[1], settings(mosquitto, "lander-2")).run),
    ):
        time.sleep(1)
        fill(spool, 60)
        with running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK).run):
            assert eventually(lambda: spool.health().messages == 0)
    shares = [len(identities(landed(store))) for store in stores]
    assert min(shares) > 10
    assert sum(shares) == 60


@pytest.mark.parametrize("fails_after_writing", [False, True])
def test_what_cannot_be_landed_is_not_acknowledged_and_lands_later_once(
    mosquitto: Mosquitto, tmp_path: Path, fails_after_writing: bool
) -> None:
    store, spool = RecordedStore(str(tmp_path / "landing")), spool_at(tmp_path)
    store.failures, store.fails_after_writing = 6, fails_after_writing
    with running(Lander(store, settings(mosquitto, backoff_s=(0.2, 0.4))).run):
        time.sleep(0.7)
        fill(spool, 20)
        patient = Pace(flush_period_s=30, backoff_s=(0.05, 0.3))
        with running(Publisher(spool, mosquitto.address("edge-1"), pace=patient).run):
            assert eventually(lambda: store.failures < 5)
            fill(spool, 20)
            assert spool.health().messages == 40
            assert eventually(lambda: spool.health().messages == 0)
    assert len(landed(store)) == 40


def test_a_sender_without_a_spool_loses_nothing_when_the_lander_goes_before_it_could_land(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    broken, whole = RecordedStore(str(tmp_path / "broken")), LandingStore(str(tmp_path / "landing"))
    broken.failures = 1000
    with running(Lander(broken, settings(mosquitto)).run):
        time.sleep(0.7)
        sender = Peer(mosquitto, "edge-1", "vehicle/edge-1/ack")
        assert sender.publish("vehicle/edge-1/telemetry", b"\xffno more copies of me")
        assert eventually(lambda: broken.failures < 999)
    assert landed(broken) == []
    with running(Lander(whole, settings(mosquitto)).run):
        assert eventually(lambda: landed(whole) == [b"\xffno more copies of me"])
        assert eventually(lambda: len(sender.received) == 1)
    sender.close()


def test_an_orderly_stop_lands_and_answers_what_was_received(mosquitto: Mosquitto, tmp_path: Path) -> None:
    store, spool = LandingStore(str(tmp_path / "landing")), spool_at(tmp_path)
    with running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK).run):
        with running(Lander(store, settings(mosquitto, max_age_s=60)).run):
            time.sleep(1)
            fill(spool, 30)
            time.sleep(1.5)
            assert landed(store) == []
        assert len(identities(landed(store))) == 30
        assert eventually(lambda: spool.health().messages == 0)


def test_a_batch_that_is_full_lands_at_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    store, spool = LandingStore(str(tmp_path / "landing")), spool_at(tmp_path)
    fill(spool, 30)
    with (
        running(Lander(store, settings(mosquitto, max_age_s=60, max_messages=10)).run),
        running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK).run),
    ):
        assert eventually(lambda: spool.health().messages == 0)


def test_landers_without_shared_subscriptions_work_too(mosquitto: Mosquitto, tmp_path: Path) -> None:
    store, spool = LandingStore(str(tmp_path / "landing")), spool_at(tmp_path)
    fill(spool, 5)
    with (
        running(Lander(store, settings(mosquitto, group=None)).run),
        running(Publisher(spool, mosquitto.address("edge-1"), pace=QUICK).run),
    ):
        assert eventually(lambda: spool.health().messages == 0)


@pytest.mark.parametrize("deletes_on_puback", [True, False])
def test_a_spool_that_deletes_on_puback_loses_what_a_killed_broker_forgets_and_ours_does_not(
    mosquitto: Mosquitto, tmp_path: Path, deletes_on_puback: bool
) -> None:
    store, spool = LandingStore(str(tmp_path / "landing")), spool_at(tmp_path)
    with running(Lander(store, settings(mosquitto)).run):
        time.sleep(1)
    fill(spool, 50)
    # Without a lander and with no replay window, a row goes with its PUBACK.
    pace = Pace(flush_period_s=0.3, resend_at_most_s=2.0, backoff_s=(0.05, 0.3), replay_window_ms=0)
    publisher = Publisher(spool, mosquitto.address("edge-1"), pace=pace, lander=not deletes_on_puback)
    with running(publisher.run):
        time.sleep(2.5)
        assert spool.health().messages == (0 if deletes_on_puback else 50)
        mosquitto.kill()
        mosquitto.start()
        with running(Lander(store, settings(mosquitto)).run):
            arrived = eventually(lambda: len(identities(landed(store))) == 50, 4 if deletes_on_puback else 15)
    assert arrived is not deletes_on_puback
    assert spool.health().drops == {}


class Trial:
    """A device, a lander and a broker, each of which can be killed and is started again at once."""

    def __init__(self, broker: Mosquitto, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.store = LandingStore(str(folder / "landing"))
        self.ledger, self.pause, self.empty = folder / "ledger", folder / "pause", folder / "empty"
        self._issued = {
            "device": broker.authority.issue_device("edge-1"),
            "lander": broker.authority.issue_lander("lander-1"),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str) -> None:
        given = {
            "port": str(self.broker.port),
            "authority": str(self.broker.authority.certificate_path),
            "certificate": str(self._issued[role].certificate),
            "key": str(self._issued[role].key),
            "device_id": "edge-1",
            "client_id": "lander-1",
            "spool": str(self.folder / "spool" / "spool.db"),
            "landing": str(self.folder / "landing"),
            **{name: str(getattr(self, name)) for name in ("ledger", "pause", "empty")},
        }
        command = [sys.executable, "-m", "tests.landing.lander_processes", role, json.dumps(given)]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'edge'}"}
        with (self.folder / f"{role}.log").open("ab") as log:
            self._processes[role] = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)

    def kill(self, role: str) -> None:
        if role == "broker":
            self.broker.kill()
            self.broker.start()
            return
        process = self._processes[role]
        assert process.poll() is None, (self.folder / f"{role}.log").read_text()
        process.kill()
        process.wait()
        self.start(role)

    def stop(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(20)


def test_killing_the_device_the_lander_and_the_broker_at_random_loses_nothing_and_reuses_no_identity(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    trial, chance = Trial(mosquitto, tmp_path), random.Random()
    trial.start("device")
    trial.start("lander")
    killed: Counter[str] = Counter()
    try:
        for number in range(KILLS):
            time.sleep(chance.uniform(0.3, 1.4))
            victim = ("device", "lander", "broker")[number % 3]
            trial.kill(victim)
            killed[victim] += 1
        assert eventually(trial.ledger.exists)
        trial.pause.touch()
        trial.empty.unlink(missing_ok=True)
        assert eventually(trial.empty.exists, 40), (tmp_path / "device.log").read_text()
    finally:
        trial.stop()
    found = identities(landed(trial.store))
    committed = {(boot, int(seq)) for boot, seq in map(str.split, trial.ledger.read_text().splitlines())}
    assert len(committed) > 20 * KILLS / 3
    assert committed - found.keys() == set()
    assert {identity for identity, digests in found.items() if len(digests) > 1} == set()
    print(f"{dict(killed)}: {len(committed)} committed, {len(landed(trial.store))} lines")  # noqa: T201


def test_no_answer_goes_to_a_topic_that_looks_like_a_vin() -> None:
    digest = "ab" * 32
    topics = [f"vehicle/{VIN}/telemetry", f"vehicle/{VIN.lower()}/telemetry", "vehicle/edge-1/events"]
    assert [topic for topic, _ in acks([(topic, digest) for topic in topics])] == ["vehicle/edge-1/ack"]


def test_answers_are_of_the_contract_and_hold_a_thousand_digests_at_most() -> None:
    schema = json.loads((ROOT / "contracts" / "ack.v1.schema.json").read_bytes())
    digests = [sha256(str(number).encode()).hexdigest() for number in range(2500)]
    answers = [json.loads(body) for _, body in acks([("vehicle/edge-1/events", one) for one in digests])]
    for answer in answers:
        jsonschema.validate(answer, schema)
    assert [len(answer["sha256"]) for answer in answers] == [1000, 1000, 500]
    assert [one for answer in answers for one in answer["sha256"]] == digests


def test_a_lander_connects_in_the_clear_only_where_that_is_said() -> None:
    with pytest.raises(ValueError, match="insecurely by saying so"):
        LanderSettings("127.0.0.1", "lander")
