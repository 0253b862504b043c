"""What a home's broker refuses, asked of Mosquitto and of the embedded one."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from smartdrive_edge.broker_connection import TlsFiles
from smartdrive_edge.certificates import Authority, Issued

from edge.tests.broker.home import Guest, Home, everything_before_now_is_through
from edge.tests.publisher.broker import eventually

CONNECT = bytes.fromhex("101200044d5154540402001e0006") + b"edge-1"


def answer(home: Home, files: TlsFiles) -> bytes:
    with home.secure(files) as secure:
        secure.sendall(CONNECT)
        return secure.recv(4)


def is_refused(
    home: Home, files: TlsFiles | None, *, alert: str, logged: str, newest: ssl.TLSVersion | None = None
) -> bool:
    """Whether the TLS handshake is refused for the right reason.

    In TLS 1.3 the refusal of a certificate shows at the first read, not before. Mosquitto says why in a TLS alert;
    asyncio hangs up without one, so there the broker's log must tell.
    """
    why = ""
    try:
        with home.secure(files, newest=newest) as secure:
            assert secure.recv(1) == b""
    except OSError as error:
        why = str(error)
    if home.kind == "mosquitto":
        return re.search(alert, why, re.IGNORECASE) is not None
    return eventually(
        lambda: re.search(f"refused a connection: .*{logged}", home.said(), re.IGNORECASE) is not None
    )


def test_a_device_of_our_authority_is_let_in_over_tls_1_3(home: Home) -> None:
    assert answer(home, home.files("edge-1")) == b"\x20\x02\x00\x00"


def test_tls_1_2_is_refused(home: Home) -> None:
    newest = ssl.TLSVersion.TLSv1_2
    assert is_refused(home, home.files("edge-1"), alert="protocol.version", logged="protocol", newest=newest)


def test_a_client_without_a_certificate_is_refused(home: Home) -> None:
    assert is_refused(home, None, alert="certificate.required", logged="did.not.return.a.certificate")


def test_an_expired_certificate_is_refused(home: Home) -> None:
    long_ago = Authority(home.certificates, now=datetime.now(UTC) - timedelta(days=3))
    expired = home.tls(long_ago.issue_device("edge-1", days=1))
    assert is_refused(home, expired, alert="expired", logged="expired")


def test_a_certificate_of_another_authority_is_refused(home: Home, tmp_path: Path) -> None:
    foreign = home.tls(Authority.create(tmp_path / "foreign").issue_device("edge-1"))
    assert is_refused(home, foreign, alert="unknown.ca|decrypt", logged="issuer|signature")


def test_the_brokers_own_certificate_is_no_clients(home: Home) -> None:
    server = Issued(home.certificates / "broker.crt", home.certificates / "broker.key", datetime.now(UTC))
    assert is_refused(home, home.tls(server), alert="alert", logged="purpose")


def test_a_revoked_certificate_is_refused_from_the_brokers_next_start_and_the_others_are_not(home: Home) -> None:
    for name in ("edge-1", "edge-2"):
        home.files(name)
    home.authority.revoke("edge-2")
    home.authority.revoke("edge-1")
    assert answer(home, home.files("edge-1"))[:1] == b"\x20"
    home.stop()
    home.start()
    for name in ("edge-1", "edge-2"):
        home.log.write_text("listening")
        assert is_refused(home, home.files(name), alert="revoked", logged="revoked")
    Guest(home, "edge-3").close()
    renewed = home.authority.issue_device("edge-1")
    assert answer(home, home.tls(renewed))[:1] == b"\x20"


@pytest.mark.parametrize(
    "topic",
    [
        "vehicle/edge-1/telemetry",
        "vehicle/edge-1/events",
        "vehicle/edge-2/ack",
        "vehicle/edge-2/other",
        "vehicle/lander/telemetry",
        "elsewhere",
    ],
)
def test_what_a_device_publishes_on_a_topic_that_is_not_its_own_reaches_nobody(home: Home, topic: str) -> None:
    lander = Guest(home, "lander", "vehicle/#")
    victim = Guest(home, "edge-1", "vehicle/edge-1/ack")
    thief = Guest(home, "edge-2", "vehicle/edge-2/ack")
    thief.publish("vehicle/edge-2/events", b"mine")
    assert eventually(lambda: b"mine" in lander.payloads())
    thief.publish(topic, b"forged")
    everything_before_now_is_through(home, reader=lander)
    assert b"forged" not in [*lander.payloads(), *victim.payloads(), *thief.payloads()]
    if home.kind == "embedded":  # MQTT 3.1.1 leaves a broker the choice; Mosquitto sends a PUBACK and drops it
        assert thief.lost.wait(5)
        assert "edge-2: refused a message" in home.said()
        assert not thief.pubacks - {1, 2}


@pytest.mark.parametrize("topic", ["vehicle/edge-1/ack", "vehicle/+/ack", "vehicle/#", "#", "vehicle/edge-1/#"])
def test_a_device_that_subscribes_others_topics_receives_nothing_of_theirs(home: Home, topic: str) -> None:
    lander = Guest(home, "lander", "vehicle/#")
    victim = Guest(home, "edge-1", "vehicle/edge-1/ack")
    thief = Guest(home, "edge-2", "vehicle/edge-2/ack")
    granted = thief.subscribe(topic)
    assert granted == (128 if home.kind == "embedded" else 1)  # Mosquitto 2.0 grants it and delivers nothing
    lander.publish("vehicle/edge-1/ack", b"for edge-1")
    victim.publish("vehicle/edge-1/events", b"of edge-1")
    lander.publish("vehicle/edge-2/ack", b"for edge-2")
    assert eventually(lambda: b"for edge-1" in victim.payloads())
    assert eventually(lambda: b"for edge-2" in thief.payloads())
    everything_before_now_is_through(home, reader=lander)
    assert set(thief.payloads()) == {b"for edge-2"}


def test_a_lander_reads_all_vehicles_writes_acks_and_nothing_else(home: Home) -> None:
    lander = Guest(home, "lander", "vehicle/#")
    other = Guest(home, "lander-2")  # a certificate is not enough: the broker was not told of this one
    other.subscribe("vehicle/+/events")
    device = Guest(home, "edge-1", "vehicle/edge-1/ack")
    device.publish("vehicle/edge-1/telemetry", b"t")
    device.publish("vehicle/edge-1/events", b"e")
    assert eventually(lambda: set(lander.payloads()) >= {b"t", b"e"})
    lander.publish("vehicle/edge-1/ack", b"a")
    assert eventually(lambda: device.payloads() == [b"a"])
    everything_before_now_is_through(home, reader=lander)
    assert b"a" not in lander.payloads()
    lander.publish("vehicle/edge-1/events", b"a lander sends none")
    lander.client.loop_stop()
    again = Guest(home, "lander", "vehicle/#")
    everything_before_now_is_through(home, reader=again)
    assert b"a lander sends none" not in [*lander.payloads(), *again.payloads()]
    assert other.payloads() == []


def test_nobody_takes_over_or_ends_anothers_session_by_its_client_id(home: Home) -> None:
    victim = Guest(home, "edge-1", "vehicle/edge-1/ack")
    lander = Guest(home, "lander", "vehicle/#")
    for clean in (True, False):
        thief = Guest(home, "edge-2", client_id="edge-1", clean=clean, connect=False)
        assert thief.answered.wait(10)
        if home.kind == "embedded":
            assert thief.code != 0
        thief.client.loop_stop()
    lander.publish("vehicle/edge-1/ack", b"still here")
    assert eventually(lambda: victim.payloads() == [b"still here"])
    assert not victim.lost.is_set()
    victim.close()
    Guest(home, "edge-2", client_id="edge-1", clean=True, connect=False).answered.wait(10)
    lander.publish("vehicle/edge-1/ack", b"while away")
    everything_before_now_is_through(home, reader=lander)
    back = Guest(home, "edge-1")
    assert back.has_session
    assert eventually(lambda: back.payloads() == [b"while away"])


def test_a_will_is_bound_to_the_certificate_like_any_message(home: Home) -> None:
    lander = Guest(home, "lander", "vehicle/#")
    Guest(home, "edge-3", will=("vehicle/edge-3/events", b"honest")).vanish()
    thief = Guest(home, "edge-2", will=("vehicle/edge-1/events", b"forged"), connect=False)
    assert thief.answered.wait(10)
    if thief.code == 0:
        thief.vanish()
    assert eventually(lambda: b"honest" in lander.payloads())
    everything_before_now_is_through(home, reader=lander)
    assert b"forged" not in lander.payloads()


def test_a_message_of_a_mebibyte_passes_and_a_larger_one_does_not(home: Home) -> None:
    lander = Guest(home, "lander", "vehicle/#")
    device = Guest(home, "edge-1")
    device.publish("vehicle/edge-1/events", b"x" * (1 << 20))
    assert eventually(lambda: any(len(payload) == 1 << 20 for payload in lander.payloads()))
    for extra in (1, 100_000):
        device = Guest(home, "edge-1")
        device.publish("vehicle/edge-1/events", b"y" * ((1 << 20) + extra))
    everything_before_now_is_through(home, reader=lander)
    assert not any(payload.startswith(b"y") for payload in lander.payloads())


def test_nothing_is_retained_for_those_who_subscribe_later(home: Home) -> None:
    device = Guest(home, "edge-1")
    device.publish("vehicle/edge-1/events", b"kept", retain=True)
    assert device.lost.wait(5)
    lander = Guest(home, "lander", "vehicle/#")
    everything_before_now_is_through(home, reader=lander)
    assert b"kept" not in lander.payloads()
