"""The bounds of the embedded broker, by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smartdrive_edge.embedded_broker.access import Access
from smartdrive_edge.embedded_broker.limits import Limits
from smartdrive_edge.embedded_broker.outbox import Message, Outbox
from smartdrive_edge.embedded_broker.stream import PacketReader, PacketRefusedError

from edge.tests.broker.home import Guest, Home, everything_before_now_is_through
from edge.tests.publisher.broker import eventually


def connect_packet(name: str, *, level: int = 4, keep_alive: int = 30, flags: int = 2) -> bytes:
    body = b"\x00\x04MQTT" + bytes([level, flags]) + keep_alive.to_bytes(2) + len(name).to_bytes(2) + name.encode()
    return bytes([0x10, len(body)]) + body


def publish_packet(topic: str, payload: bytes, *, flags: int = 0) -> bytes:
    number = b"\x00\x09" if flags & 6 else b""
    body = len(topic).to_bytes(2) + topic.encode() + number + payload
    length, left = b"", len(body)
    while True:
        length += bytes([(left & 0x7F) | (0x80 if left > 0x7F else 0)])
        left >>= 7
        if not left:
            return bytes([0x30 | flags]) + length + body


def raw(home: Home, name: str, *, sent: bytes) -> ssl.SSLSocket:
    secure = home.secure(home.files(name))
    secure.settimeout(10)
    secure.sendall(sent)
    return secure


def is_hung_up(secure: ssl.SSLSocket) -> bool:
    try:
        while secure.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def limited(folder: Path, **limits: float) -> Home:
    return Home(folder, "embedded", limits=limits).start()


def test_mqtt_5_is_answered_with_a_version_that_is_not_supported(embedded: Home) -> None:
    with raw(embedded, "edge-1", sent=connect_packet("edge-1", level=5)) as secure:
        assert secure.recv(4) == b"\x20\x02\x00\x01"
        assert is_hung_up(secure)


def test_qos_2_ends_the_connection(embedded: Home) -> None:
    device = Guest(embedded, "edge-1")
    device.publish("vehicle/edge-1/events", b"x", qos=2)
    assert device.lost.wait(5)
    assert "QoS 2 is not supported" in embedded.said()


def test_a_client_that_falls_silent_is_gone_after_one_and_a_half_keep_alives(embedded: Home) -> None:
    with raw(embedded, "edge-1", sent=connect_packet("edge-1", keep_alive=1)) as secure:
        assert secure.recv(4) == b"\x20\x02\x00\x00"
        started = time.monotonic()
        assert is_hung_up(secure)
        assert 1.0 < time.monotonic() - started < 6


def test_a_stranger_who_says_nothing_is_gone_soon(tmp_path: Path) -> None:
    home = limited(tmp_path, admission_s=1.0)
    try:
        with socket.create_connection(("127.0.0.1", home.port), 10) as before_tls:
            assert before_tls.recv(1) == b""
        with raw(home, "edge-1", sent=b"") as before_connect:
            assert is_hung_up(before_connect)
        with raw(home, "edge-1", sent=connect_packet("edge-1")[:9]) as within_connect:
            assert is_hung_up(within_connect)
    finally:
        home.kill()


def test_many_strangers_take_no_more_than_their_places_and_those_who_are_known_are_served(tmp_path: Path) -> None:
    home = limited(tmp_path, strangers=4, admission_s=60)
    try:
        lander, device = Guest(home, "lander", "vehicle/#"), Guest(home, "edge-1")
        crowd = [socket.create_connection(("127.0.0.1", home.port), 10) for _ in range(20)]
        for connection in crowd[4:]:
            assert connection.recv(1) == b""
        device.publish("vehicle/edge-1/events", b"served")
        assert eventually(lambda: b"served" in lander.payloads())
        for connection in crowd:
            connection.close()
        assert eventually(lambda: _shakes_hands(home))
    finally:
        home.kill()


def _shakes_hands(home: Home) -> bool:
    try:
        with home.secure(home.files("edge-1")) as secure:
            secure.settimeout(10)
            secure.sendall(connect_packet("edge-1"))
            return secure.recv(1) == b"\x20"
    except OSError:
        return False


def test_no_more_clients_than_the_bound_are_served_at_a_time(tmp_path: Path) -> None:
    home = limited(tmp_path, connections=3)
    try:
        guests = [Guest(home, f"edge-{number}") for number in range(3)]
        late = Guest(home, "edge-9", connect=False)
        assert late.answered.wait(10)
        assert late.code is None
        guests[0].close()
        assert eventually(lambda: _shakes_hands(home))
    finally:
        home.kill()


def test_a_full_outbox_drops_what_is_new_and_the_broker_goes_on(tmp_path: Path) -> None:
    home = limited(tmp_path, queued_messages=50)
    try:
        Guest(home, "lander", "vehicle/#").close()
        device = Guest(home, "edge-1")
        for number in range(80):
            device.publish("vehicle/edge-1/events", b"%d" % number)
        assert eventually(lambda: len(device.pubacks) == 80)
        assert "lander: 1 messages dropped so far" in home.said()
        back = Guest(home, "lander")
        everything_before_now_is_through(home, reader=back)
        assert back.payloads()[:50] == [b"%d" % number for number in range(50)]
        assert b"60" not in back.payloads()
    finally:
        home.kill()


def test_a_client_that_reads_nothing_costs_bounded_memory(tmp_path: Path) -> None:
    home = limited(tmp_path, queued_bytes=4 << 20)
    try:
        subscribe = b"\x82\x0e\x00\x01\x00\x09vehicle/#\x01"
        deaf = raw(home, "lander", sent=connect_packet("lander", keep_alive=0, flags=0) + subscribe)
        assert deaf.recv(4) == b"\x20\x02\x00\x00"
        assert deaf.recv(5)[:1] == b"\x90"
        assert home.process is not None
        broker = psutil.Process(home.process.pid)
        before = broker.memory_info().rss
        device = Guest(home, "edge-1")
        for _ in range(400):
            device.publish("vehicle/edge-1/events", b"x" * 100_000)
        assert eventually(lambda: len(device.pubacks) == 400, 30)
        assert broker.memory_info().rss - before < 30 << 20  # 40 MB were sent to it
        deaf.close()
    finally:
        home.kill()


def test_a_client_that_takes_no_answers_is_not_read_any_further(embedded: Home) -> None:
    assert embedded.process is not None
    broker = psutil.Process(embedded.process.pid)
    before = broker.memory_info().rss
    with raw(embedded, "edge-1", sent=connect_packet("edge-1", keep_alive=0)) as asker:
        asker.settimeout(1)
        with contextlib.suppress(TimeoutError):
            for _ in range(1000):
                asker.sendall(b"\xc0\x00" * 32_768)  # PINGREQ: 64 MB would take the broker minutes

        def is_idle() -> bool:
            used = sum(broker.cpu_times()[:2])
            time.sleep(0.5)
            return sum(broker.cpu_times()[:2]) - used < 0.1

        assert eventually(is_idle, 60)
        assert broker.memory_info().rss - before < 30 << 20


@pytest.mark.parametrize("header", [b"\x30\x81\x80\x44", b"\x30\xff\xff\xff\x7f", b"\x82\x80\x80\x01"])
def test_a_packet_that_says_it_is_too_large_is_not_waited_for(embedded: Home, header: bytes) -> None:
    with raw(embedded, "edge-1", sent=connect_packet("edge-1")) as secure:
        assert secure.recv(4) == b"\x20\x02\x00\x00"
        secure.sendall(header)
        assert is_hung_up(secure)


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\xff\xff\xff\x7f",
        b"\x82\xff\xff\x03",
        b"\x82\x04\x00\x01\xff\xff",
        b"\x32\x02\x00",
        b"\x32\x06\x00\x40abcd",
        b"\x30\x05\x00\x03#/a",
        b"\xf0\x00",
        b"\x00\x00",
        b"\x10\x00",
        b"\x82\x02\x00\x01",
        b"\x40\x01\x00",
        b"\x30\x04\x00\x02\xff\xfe",
    ],
)
def test_a_malformed_packet_harms_nobody_else(embedded: Home, packet: bytes) -> None:
    lander = Guest(embedded, "lander", "vehicle/#")
    with raw(embedded, "edge-1", sent=connect_packet("edge-1")) as secure:
        assert secure.recv(4) == b"\x20\x02\x00\x00"
        secure.sendall(packet)
        everything_before_now_is_through(embedded, reader=lander)
    assert eventually(lambda: _shakes_hands(embedded)), embedded.said()


def test_any_bytes_from_a_device_harm_nobody_else(embedded: Home) -> None:
    lander = Guest(embedded, "lander", "vehicle/#")
    draw = random.Random(11)
    for number in range(60):
        name = f"edge-{number % 4}"
        rest = bytearray(publish_packet(f"vehicle/{name}/events", b"0123456789", flags=2) * 3)
        for _ in range(draw.randrange(1, 6)):
            rest[draw.randrange(len(rest))] = draw.randrange(256)
        first = bytearray(connect_packet(name))
        if number % 3 == 0:
            first[draw.randrange(len(first))] = draw.randrange(256)
        raw(embedded, name, sent=bytes(first + rest)).close()
    everything_before_now_is_through(embedded, reader=lander)
    assert all(topic.startswith("vehicle/edge-") for topic, _ in lander.received)
    assert "Traceback" not in embedded.said()


def test_a_session_ends_when_its_client_was_away_for_long(tmp_path: Path) -> None:
    home = limited(tmp_path, session_s=2)
    try:
        Guest(home, "lander", "vehicle/#").close()
        back = Guest(home, "lander")
        assert back.has_session
        back.close()
        time.sleep(5)  # 2 s, in whole seconds, looked at once a second
        assert not Guest(home, "lander").has_session
    finally:
        home.kill()


def test_a_client_that_leaves_at_once_leaves_nothing_behind(tmp_path: Path) -> None:
    home = limited(tmp_path, connections=3)
    try:
        for number in range(12):
            raw(home, f"edge-{number}", sent=connect_packet(f"edge-{number}")).close()
        assert eventually(lambda: _shakes_hands(home), 15)
        Guest(home, "edge-1").close()
    finally:
        home.kill()


def test_the_access_rules() -> None:
    access = Access(["lander"])
    for name in ("edge-1", "lander-2", "landers"):
        assert access.may_publish(name, f"vehicle/{name}/telemetry")
        assert not access.may_publish(name, f"vehicle/{name}/ack")
        assert not access.may_subscribe(name, "vehicle/#")
        assert not access.may_receive(name, "vehicle/other/ack")
    assert access.may_publish("lander", "vehicle/edge-1/ack")
    assert not access.may_publish("lander", "vehicle/a/b/ack")
    assert not access.may_receive("lander", "vehicle/edge-1/ack")
    for topic_filter in ("vehicle/+/telemetry", "vehicle/#", "vehicle/edge-1/+"):
        assert access.may_subscribe("lander", topic_filter)
    for topic_filter in ("#", "$SYS/#", "$share/landers/vehicle/#", "vehicle/+/ack"):
        assert not access.may_subscribe("lander", topic_filter)
    with pytest.raises(ValueError, match="begins with"):
        Access(["edge-1"])


@settings(max_examples=300)
@given(st.lists(st.one_of(st.integers(0, 12), st.sampled_from(["take", "ack", "reconnect"])), max_size=200))
def test_an_outbox_sends_all_it_took_in_order_and_never_passes_its_bounds(steps: list[int | str]) -> None:
    box = Outbox(messages=8, payload_bytes=60, in_flight=3)
    taken: list[int] = []
    open_numbers: dict[int, int] = {}
    sent: list[int] = []
    again: list[int] = []
    size = {}
    for at, step in enumerate(steps):
        if isinstance(step, int):
            if box.offer(Message(str(at), b"x" * step, 1)):
                taken.append(at)
                size[at] = step
        elif step == "take":
            parcel = box.take()
            if parcel is not None:
                assert parcel.number is not None
                mark = int(parcel.message.topic)
                if again:
                    assert parcel.again
                    assert mark == again.pop(0)
                    assert open_numbers[parcel.number] == mark
                else:
                    assert not parcel.again
                    assert parcel.number not in open_numbers
                    open_numbers[parcel.number] = mark
                    sent.append(mark)
        elif step == "ack" and open_numbers:
            number = next(iter(open_numbers))
            mark = open_numbers.pop(number)
            again = [one for one in again if one != mark]
            box.acknowledge(number)
            box.acknowledge(number)
        elif step == "reconnect":
            box.reconnected()
            again = list(open_numbers.values())
        held = [mark for mark in taken if mark not in sent] + list(open_numbers.values())
        assert len(open_numbers) <= 3
        assert len(held) == len(box) <= 8 + 3
        assert sum(size[mark] for mark in held) <= 60
    assert sent == taken[: len(sent)]


@settings(max_examples=200)
@given(st.binary(max_size=80), st.lists(st.integers(1, 20), max_size=30))
def test_a_packet_reader_never_gives_more_than_came_nor_reads_past_a_packet(
    stream: bytes, reads: list[int]
) -> None:
    async def run() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(stream)
        reader.feed_eof()
        packets = PacketReader(reader, _Silent(), Limits(packet_bytes=40, control_bytes=20))  # type: ignore[arg-type]
        given_out = b""
        try:
            for n in reads:
                given_out += await packets.read(n)
        except (PacketRefusedError, asyncio.IncompleteReadError):
            assert packets.ended.is_set()
        assert stream.startswith(given_out)

    asyncio.run(run())


class _Silent:
    async def drain(self) -> None:
        return None
