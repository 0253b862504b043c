"""Each episode is told once over each channel."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartdrive_dagster.alerting.channels import Webhook
from smartdrive_dagster.alerting.outbox import NEWS, Outbox, next_attempt
from smartdrive_dagster.lake.lakehouse import Lakehouse
from tests.alerting.conftest import NOW, HttpSink, notice


@pytest.fixture
def outbox(root: str) -> Outbox:
    return Outbox(Lakehouse(f"{root}/state"))


def subjects(sink: HttpSink) -> list[str]:
    return [body["subject"] for body in sink.bodies]


def test_an_episode_is_told_once_over_each_channel(outbox: Outbox, http_sink: HttpSink) -> None:
    both = [Webhook(http_sink.url, name="one"), Webhook(http_sink.url, name="two")]
    assert outbox.deliver([notice()], both, now=NOW).sent == 2
    for minutes in (0, 1, 30, 600):
        assert outbox.deliver([notice()], both, now=NOW + timedelta(minutes=minutes)).sent == 0
    assert len(http_sink.bodies) == 2


def test_an_old_episode_is_not_told(outbox: Outbox, http_sink: HttpSink) -> None:
    old = notice(opened_at=NOW - NEWS - timedelta(seconds=1))
    assert outbox.deliver([old], [Webhook(http_sink.url)], now=NOW).sent == 0
    assert http_sink.bodies == []


def test_a_digest_is_one_message(tmp_path: Path, http_sink: HttpSink) -> None:
    outbox = Outbox(Lakehouse(str(tmp_path)))
    done = outbox.deliver([notice("a"), notice("b")], [Webhook(http_sink.url)], now=NOW, as_digest=True)
    assert done.sent == 2
    assert subjects(http_sink) == ["[warning] 2 alerts"]
    assert outbox.deliver([notice("a")], [Webhook(http_sink.url)], now=NOW).sent == 0


def test_what_was_not_taken_is_tried_again_with_growing_pauses(tmp_path: Path, http_sink: HttpSink) -> None:
    outbox, channel = Outbox(Lakehouse(str(tmp_path))), Webhook(http_sink.url)
    http_sink.status = 503
    tried = []
    for minute in range(20):
        done = outbox.deliver([notice()], [channel], now=NOW + timedelta(minutes=minute))
        tried += [minute] * done.failed
    assert tried == [0, 1, 3, 7, 15]
    http_sink.status = 200
    assert outbox.deliver([notice()], [channel], now=NOW + timedelta(minutes=31)).sent == 1
    assert outbox.states().select("attempt", "state").rows() == [(6, "sent")]


def test_one_channels_fault_does_not_keep_the_others(tmp_path: Path, http_sink: HttpSink) -> None:
    outbox = Outbox(Lakehouse(str(tmp_path)))
    broken = Webhook("http://127.0.0.1:1/", name="broken")
    done = outbox.deliver([notice()], [broken, Webhook(http_sink.url)], now=NOW)
    assert (done.sent, done.failed) == (1, 1)
    assert done.faults == {"broken": "HTTP: ConnectionError"}


def test_of_senders_at_once_one_gets_the_claim(tmp_path: Path, http_sink: HttpSink) -> None:
    notices = [notice(f"e{number}") for number in range(5)]

    def send() -> None:
        Outbox(Lakehouse(str(tmp_path))).deliver(notices, [Webhook(http_sink.url)], now=NOW)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(subjects(http_sink))) == len(http_sink.bodies) == 5


def test_a_claim_whose_sender_died_is_taken_up_after_a_while(tmp_path: Path, http_sink: HttpSink) -> None:
    outbox = Outbox(Lakehouse(str(tmp_path)))
    outbox._claim([notice()], "webhook", NOW)
    channel = Webhook(http_sink.url)
    assert outbox.deliver([notice()], [channel], now=NOW + timedelta(minutes=9)).sent == 0
    assert outbox.deliver([notice()], [channel], now=NOW + timedelta(minutes=11)).sent == 1


def test_what_a_backfill_brings_up_is_never_told_and_what_was_told_stays_so(
    tmp_path: Path, http_sink: HttpSink
) -> None:
    outbox, channel = Outbox(Lakehouse(str(tmp_path))), Webhook(http_sink.url)
    outbox.deliver([notice("told")], [channel], now=NOW)
    assert outbox.suppress(["told", "new"], now=NOW) == 1
    assert outbox.suppress(["told", "new"], now=NOW) == 0
    assert outbox.deliver([notice("told"), notice("new")], [channel], now=NOW).sent == 0


def test_a_told_episode_that_later_data_overturns_is_marked_once(tmp_path: Path, http_sink: HttpSink) -> None:
    outbox = Outbox(Lakehouse(str(tmp_path)))
    outbox.deliver([notice("stays"), notice("goes")], [Webhook(http_sink.url)], now=NOW)
    assert outbox.supersede(["stays"], now=NOW) == 1
    assert outbox.supersede(["stays"], now=NOW) == 0
    assert set(outbox.states().filter(state="superseded").get_column("episode_id")) == {"goes"}


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["claimed", "failed"]), st.integers(0, 10_000)), max_size=9
    )
)
def test_an_attempt_has_a_number_that_was_not_used_and_there_are_eight(
    steps: list[tuple[int, str, int]],
) -> None:
    timed = [(attempt, state, NOW + timedelta(minutes=minute)) for attempt, state, minute in steps]
    due = next_attempt(timed, NOW + timedelta(days=30))
    assert due is None or due not in {attempt for attempt, _, _ in steps}
    assert next_attempt([*timed, (99, "sent", NOW)], NOW + timedelta(days=30)) is None
