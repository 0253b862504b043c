from __future__ import annotations

import contextlib
import multiprocessing
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smartdrive_edge.adapter import requests
from smartdrive_edge.adapter.answers import Answer, Failure, NoAnswer, Outcome
from smartdrive_edge.adapter.decode import decode_values
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.adapter.requests import RefusedRequestError, Request, current
from smartdrive_edge.adapter.transport import AdapterGoneError, Transport

if TYPE_CHECKING:
    from edge.tests.adapter.conftest import Peer

RPM = current(0x0C)
ANSWER = b"7E804410C1AF8\r\r>"
SLACK_S = 0.3


def lines(outcome: Outcome) -> tuple[str, ...]:
    assert isinstance(outcome, Answer), outcome
    return outcome.lines


def reason(outcome: Outcome) -> Failure:
    assert isinstance(outcome, NoAnswer), outcome
    return outcome.reason


def in_step(transport: Transport, peer: Peer) -> None:
    """After this, the peer hears nothing but what the test asks."""
    lines(transport.query(requests.VOLTAGE))
    peer.lines.clear()


def test_a_request_goes_out_with_one_carriage_return_and_comes_back_without_prompt(
    transport: Transport, peer: Peer
) -> None:
    in_step(transport, peer)
    peer.received = b""
    peer.on("010C", [ANSWER])
    assert lines(transport.query(RPM)) == ("7E804410C1AF8",)
    assert peer.received == b"010C\r"


def test_what_is_refused_never_reaches_the_port(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    forged = Request("0100")
    object.__setattr__(forged, "text", "04")
    peer.received = b""
    with pytest.raises(RefusedRequestError):
        transport.query(forged)
    lines(transport.query(requests.VOLTAGE))
    assert peer.received == b"ATRV\r"


@pytest.mark.parametrize(
    "said",
    [
        b"010C\r7E804410C1AF8\r\r>",  # echo on
        b"01 0C\r\n7E8 04 41 0C 1A F8 \r\n\r\n>",  # echo, line feeds and spaces on
        b"\x007E8\x0004410C1AF8\r\r>",
        b"SEARCHING...\r7E804410C1AF8\r\r>",
        b"SEARCHING...7E804410C1AF8\r\r>",
        b"BUS INIT: OK\r7E804410C1AF8\r\r>",
        b"BUS INIT: ...OK\r7E804410C1AF8\r\r>",
        b"7e804410c1af8\r\r>",
        b"\r\r>7E804410C1AF8\r\r>",  # a prompt too many, before
        b"7E804410C1AF8\r\r>\r>",  # and behind
    ],
)
def test_echo_spaces_progress_words_and_stray_prompts_are_no_part_of_an_answer(
    transport: Transport, peer: Peer, said: bytes
) -> None:
    in_step(transport, peer)
    peer.on("010C", [said])
    assert lines(transport.query(RPM)) == ("7E804410C1AF8",)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"?", Failure.NOT_UNDERSTOOD),
        (b"NO DATA", Failure.NO_DATA),
        (b"nodata", Failure.NO_DATA),
        (b"SEARCHING...\rUNABLE TO CONNECT", Failure.UNABLE_TO_CONNECT),
        (b"unabletoconnect", Failure.UNABLE_TO_CONNECT),
        (b"BUS INIT: ...ERROR", Failure.BUS_ERROR),
        (b"BUS INIT...ERROR", Failure.BUS_ERROR),
        (b"BUS BUSY", Failure.BUS_ERROR),
        (b"BUS ERROR", Failure.BUS_ERROR),
        (b"FB ERROR", Failure.BUS_ERROR),
        (b"CAN ERROR", Failure.CAN_ERROR),
        (b"7E804410C1AF8 <DATA ERROR", Failure.DATA_ERROR),
        (b"7E804410C1AF8\r<RX ERROR", Failure.DATA_ERROR),
        (b"7E804410C1AF8\rBUFFER FULL", Failure.BUFFER_FULL),
        (b"STOPPED", Failure.STOPPED),
        (b"LV RESET", Failure.ADAPTER_RESET),
        (b"\r\rELM327 v1.5", Failure.ADAPTER_RESET),
        (b"ERR94", Failure.ADAPTER_FAULT),
        (b"7E80441\xff0C1AF8", Failure.GARBAGE),
        (b"7E804410C1AFX", Failure.GARBAGE),
    ],
)
def test_what_is_no_answer_has_a_reason(transport: Transport, peer: Peer, said: bytes, expected: Failure) -> None:
    in_step(transport, peer)
    peer.on("010C", [said + b"\r\r>"], [ANSWER])
    assert reason(transport.query(RPM)) is expected
    assert lines(transport.query(RPM)) == ("7E804410C1AF8",)


@pytest.mark.parametrize(
    "script",
    [
        [],
        [b"7E804410C1AF8\r\r"],
        [b"7", 0.05] * 100,
        [b"\r>", 0.05] * 100,
        [b"NO DATA\r", 0.01] * 500,
        [b"SEARCHING...", 9.0],
    ],
    ids=["silence", "no prompt", "trickle", "empty prompts", "chatter", "search"],
)
@pytest.mark.parametrize("timeout_s", [0.2, 0.7])
def test_a_query_ends_at_its_deadline_whatever_trickles_in(
    transport: Transport, peer: Peer, script: list[bytes | float], timeout_s: float
) -> None:
    in_step(transport, peer)
    peer.on("010C", script)
    for request in (RPM, requests.VOLTAGE, RPM):  # the later ones have to get into step first
        began = time.monotonic()
        outcome = transport.query(request, timeout_s)
        assert time.monotonic() - began < timeout_s + SLACK_S
        assert isinstance(outcome, NoAnswer) or request == requests.VOLTAGE


def test_an_adapter_that_babbles_is_cut_short(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("010C", [b"7E804410C1AF8\r" * 50, 0.002] * 100)
    began = time.monotonic()
    assert reason(transport.query(RPM, 5.0)) is Failure.GARBAGE
    assert time.monotonic() - began < 2.5


def test_a_late_answer_is_not_given_to_the_next_request(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("010C", [0.4, b"7E804410C1AF8\r\r>"])
    peer.on("010D", [b"7E803410D32\r\r>"])
    assert reason(transport.query(RPM, 0.2)) is Failure.TIMEOUT
    assert lines(transport.query(current(0x0D), 2.0)) == ("7E803410D32",)


def test_a_late_answer_to_the_same_request_is_not_taken_for_the_new_one(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("ATRV", [0.4, b"12.6V\r\r>"], [b"9.1V\r\r>"])
    assert reason(transport.query(requests.VOLTAGE, 0.2)) is Failure.TIMEOUT
    assert lines(transport.query(requests.VOLTAGE, 2.0)) == ("9.1V",)


def test_a_stray_prompt_does_not_put_a_late_answer_in_the_next_ones_place(
    transport: Transport, peer: Peer
) -> None:
    in_step(transport, peer)
    peer.on("010C", [0.25, b"\r>", 0.3, b"7E804410C1AF8\r\r>"])
    peer.on("010D", [b"7E803410D32\r\r>"])
    assert reason(transport.query(RPM, 0.2)) is Failure.TIMEOUT
    assert lines(transport.query(current(0x0D), 2.0)) == ("7E803410D32",)


def test_a_lost_prompt_costs_one_query(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("010C", [b"7E804410C1AF8\r\r"], [ANSWER])
    assert reason(transport.query(RPM, 0.2)) is Failure.TIMEOUT
    assert lines(transport.query(RPM, 2.0)) == ("7E804410C1AF8",)


def test_a_late_prompt_is_no_answer(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("ATZ", [b"\r\rELM327 v1.5\r\r>", 0.1, b"\r\r>"])
    peer.on("010C", [0.2, ANSWER])
    assert lines(transport.query(requests.RESET)) == ("ELM327 v1.5",)
    assert lines(transport.query(RPM)) == ("7E804410C1AF8",)


def test_two_answers_at_once_are_none(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("010C", [b"7E804410C0000\r\r>7E804410C1AF8\r\r>"], [ANSWER])
    assert reason(transport.query(RPM)) is Failure.GARBAGE
    assert lines(transport.query(RPM)) == ("7E804410C1AF8",)


def test_what_was_said_unasked_is_thrown_away(
    transport: Transport, peer: Peer, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    in_step(transport, peer)
    peer.say(b"7E804410C0000\r\r>")
    peer.on("010C", [ANSWER])
    eventually(lambda: transport._port.in_waiting > 10)
    assert lines(transport.query(RPM)) == ("7E804410C1AF8",)


def test_an_adapter_that_restarted_between_two_requests_is_noticed(
    transport: Transport, peer: Peer, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    in_step(transport, peer)
    peer.say(b"\r\rELM327 v1.5\r\r>")
    peer.on("010C", [ANSWER])
    eventually(lambda: transport._port.in_waiting > 10)
    assert reason(transport.query(RPM)) is Failure.ADAPTER_RESET
    assert peer.lines == []
    assert lines(transport.query(RPM)) == ("7E804410C1AF8",)


def test_the_interrupted_rest_of_a_request_is_thrown_away(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("010C", [b"STOPPED\r\r>", 0.02, b"?\r\r>"])
    peer.on("010D", [b"7E803410D32\r\r>"])
    assert reason(transport.query(RPM)) is Failure.STOPPED
    assert lines(transport.query(current(0x0D))) == ("7E803410D32",)


def test_while_the_adapter_is_out_of_step_nothing_of_a_request_is_sent(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.on("010C", [b"7", 0.03] * 40)
    assert reason(transport.query(RPM, 0.2)) is Failure.TIMEOUT
    assert reason(transport.query(current(0x0D), 0.2)) is Failure.OUT_OF_SYNC
    assert "010D" not in peer.lines


def test_an_unplugged_adapter_is_gone_and_stays_gone(transport: Transport, peer: Peer) -> None:
    in_step(transport, peer)
    peer.unplug()
    for _ in range(2):
        with pytest.raises(AdapterGoneError, match="gone"):
            transport.query(RPM, 0.5)
    transport.close()


def test_a_port_that_is_not_there_says_so() -> None:
    with pytest.raises(AdapterGoneError, match="/dev/not-there"):
        Transport("/dev/not-there")


def test_a_port_belongs_to_one_transport_until_it_is_closed(peer: Peer) -> None:
    first = Transport(peer.port)
    with pytest.raises(AdapterGoneError, match="free"):
        Transport(peer.port)
    first.close()
    first.close()
    with Transport(peer.port) as second:
        lines(second.query(requests.VOLTAGE))


NOISE = st.lists(
    st.one_of(
        st.sampled_from(
            [b">", b"\r", b"7E804410C0000\r\r>", b"12.9V\r\r>", b"ELM327 v1.5\r\r>", b"?\r", b"STOPPED\r>"]
        ),
        st.binary(max_size=6),
        st.floats(0.0, 0.05),
    ),
    max_size=5,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(noise=NOISE)
def test_whatever_an_adapter_says_a_query_ends_in_time_and_no_answer_is_anothers(
    peer: Peer, noise: list[bytes | float]
) -> None:
    with Transport(peer.port) as transport:
        in_step(transport, peer)
        peer.on("010C", noise)
        peer.on("010D", [b"7E803410D32\r\r>"])
        transport.query(RPM, 0.2)
        for timeout_s in (0.2, 3.0, 3.0, 3.0):
            began = time.monotonic()
            outcome = transport.query(current(0x0D), timeout_s)
            assert time.monotonic() - began < timeout_s + SLACK_S
            if isinstance(outcome, Answer):
                assert decode_values(outcome.lines, [0x0D], Dialect(), 0)["SPEED"] in {50.0, None}
        assert lines(outcome) == ("7E803410D32",)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (RPM, b"7E803410D32"),
        (RPM, b"12.3V"),
        (RPM, b"OK"),
        (current(0x0C, 0x0D), b"7E8024300"),
        (requests.PENDING_CODES, b"7E8024300"),
        (requests.VOLTAGE, b"7E804410C1AF8"),
        (requests.VOLTAGE, b"OK"),
        (requests.IGNITION, b"12.3V"),
        (requests.HEADERS_ON, b"ON"),
    ],
)
def test_the_answer_to_another_request_is_garbage(
    transport: Transport, peer: Peer, request_: Request, said: bytes
) -> None:
    in_step(transport, peer)
    peer.on(request_.text, [said + b"\r\r>"])
    assert reason(transport.query(request_)) is Failure.GARBAGE


def test_an_adapter_that_babbles_without_end_does_not_hold_a_query_beyond_its_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        babbler = multiprocessing.get_context("fork").Process(target=_babble, args=(server,), daemon=True)
        babbler.start()
        try:
            with Transport(f"socket://127.0.0.1:{server.getsockname()[1]}") as transport:
                assert isinstance(transport.query(requests.VOLTAGE, 2.0), Answer)
                time.sleep(1.0)
                began = time.monotonic()
                outcome = transport.query(requests.VOLTAGE, 1.0)
                assert time.monotonic() - began < 3.0
                assert isinstance(outcome, NoAnswer)
        finally:
            babbler.kill()
            babbler.join()


def _babble(server: socket.socket) -> None:
    """Answers two requests properly, then never stops."""
    peer, _ = server.accept()
    peer.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while request := peer.recv(64):
            peer.sendall({b"ATRV\r": b"12.6V\r\r>", b"ATI\r": b"ELM327 v1.5\r\r>"}.get(request, b"?\r\r>"))
    peer.settimeout(None)
    with contextlib.suppress(OSError):
        while True:
            peer.sendall(b"7E8037F0112" * 300)
