from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smartdrive_edge.collector import samples
from smartdrive_edge.collector.samples import PRE_TRIGGER_S, ROW_S, THINNED_S, Recorder
from smartdrive_edge.messages import Kind, Message, Phase, Telemetry

VIN = "WVWZZZ1JZXW000001"
OTHER = "WVWZZZ1JZXW000002"
THIRD = "WVWZZZ1JZXW000003"


def telemetry(found: Iterable[Message]) -> list[Telemetry]:
    return [message for message in found if isinstance(message, Telemetry)]


def values(found: Iterable[Message], signal: str) -> list[tuple[int, float]]:
    """(milliseconds, value) of all samples that have one, in the order in which they are kept."""
    return [
        (t, value)
        for message in telemetry(found)
        for t, value in zip(message.t, message.signals.get(signal, [None] * len(message.t)), strict=True)
        if value is not None
    ]


def recorder(batch_s: float = 30.0) -> Recorder:
    made = Recorder(batch_s=batch_s)
    assert made.attribute(VIN) == []
    return made


def feed(it: Recorder, phase: Phase, times: Iterable[float], volts: float = 12.6) -> list[Message]:
    return [message for at in times for message in it.add(phase, at, {"ELM_VOLTAGE": volts})]


def every(step_s: float, begin_s: float, end_s: float) -> list[float]:
    return [begin_s + n * step_s for n in range(round((end_s - begin_s) / step_s))]


def test_a_start_is_one_message_with_the_seconds_before_it_at_full_rate() -> None:
    it = recorder()
    before = feed(it, "ready", every(0.02, 0.0, 20.0))
    started = it.enter("cranking")
    after = feed(it, "cranking", every(0.02, 20.0, 21.5), volts=9.5)
    done = [*before, *started, *after, *it.enter("running")]
    (start,) = [message for message in telemetry(done) if message.phase == "cranking"]
    times = [t / 1000 for t in start.t]
    assert PRE_TRIGGER_S - 0.021 <= 20.0 - times[0] <= PRE_TRIGGER_S + 0.021
    assert max(b - a for a, b in itertools.pairwise(times)) == pytest.approx(0.02, abs=0.0011)
    assert [v for _, v in values([start], "ELM_VOLTAGE")].count(9.5) == 75
    assert start.kind is Kind.CRANK


def test_what_is_older_than_the_seconds_before_a_start_is_thinned_to_one_a_second() -> None:
    it = recorder()
    done = [*feed(it, "ready", every(0.1, 0.0, 60.0)), *it.enter("sentinel")]
    kept = [t / 1000 for t, _ in values(done, "ELM_VOLTAGE")]
    assert 58 <= len(kept) <= 61
    assert min(b - a for a, b in itertools.pairwise(kept)) >= THINNED_S - 0.001


def test_engine_speed_is_never_thinned() -> None:
    it = recorder()
    done: list[Message] = []
    for n in range(600):
        done += it.add("ready", n / 10, {"RPM": float(n)} if n % 10 == 5 else {"ELM_VOLTAGE": 12.6})
    done += it.flush()
    assert [v for _, v in values(done, "RPM")] == [float(n) for n in range(5, 600, 10)]


def test_a_false_start_begins_a_new_ring() -> None:
    it = recorder()
    done = [*feed(it, "ready", every(0.1, 0.0, 5.0)), *it.enter("cranking")]
    done += feed(it, "cranking", every(0.1, 5.0, 10.0))
    done += [*it.enter("ready"), *feed(it, "ready", every(0.1, 10.0, 12.0)), *it.enter("cranking")]
    done += it.flush()
    first, second = [message for message in telemetry(done) if message.phase == "cranking"]
    assert (first.t[0], first.t[-1]) == (0, 9900)
    assert (second.t[0], second.t[-1]) == (10_000, 11_900)


def test_running_values_of_a_second_share_a_row_at_the_time_of_the_first() -> None:
    it = recorder()
    it.enter("running")
    done = it.add("running", 1.0, {"RPM": 800.0})
    done += it.add("running", 1.2, {"SPEED": 3.0, "MAF": 2.5})
    done += it.add("running", 1.99, {"COOLANT_TEMP": 80.0})
    done += it.add("running", 2.0, {"FUEL_LEVEL": 60.0})
    done += it.flush()
    (message,) = telemetry(done)
    assert message.t == [1000, 2000]
    assert {name: column[0] for name, column in message.signals.items() if column[0] is not None} == {
        "RPM": 800.0,
        "SPEED": 3.0,
        "MAF": 2.5,
        "COOLANT_TEMP": 80.0,
    }


def test_a_signal_that_comes_again_begins_a_row() -> None:
    it = recorder()
    it.enter("running")
    done = it.add("running", 1.0, {"RPM": 800.0, "SPEED": 1.0})
    done += it.add("running", 1.4, {"RPM": 900.0})
    done += it.flush()
    assert values(done, "RPM") == [(1000, 800.0), (1400, 900.0)]
    assert values(done, "SPEED") == [(1000, 1.0)]


def test_a_row_waits_no_longer_than_a_second_for_more() -> None:
    it = recorder(batch_s=0.5)
    it.enter("running")
    it.add("running", 1.0, {"RPM": 800.0})
    assert it.due(1.0 + ROW_S - 0.01) == []
    assert values(it.due(1.0 + ROW_S), "RPM") == [(1000, 800.0)]


def test_a_message_spans_no_more_than_its_seconds() -> None:
    it = recorder(batch_s=10.0)
    it.enter("post_drive")
    done = [*feed(it, "post_drive", every(0.7, 0.0, 60.0)), *it.flush()]
    assert len(done) >= 6
    assert all(message.t[-1] - message.t[0] <= 10_000 for message in telemetry(done))


def test_a_lone_reading_of_a_parked_car_does_not_wait_for_the_next() -> None:
    it = recorder()
    it.enter("sentinel")
    assert it.add("sentinel", 100.0, {"ELM_VOLTAGE": 12.5}) == []
    assert it.due(129.0) == []
    assert values(it.due(130.0), "ELM_VOLTAGE") == [(100_000, 12.5)]


def test_nothing_measured_is_nothing_kept_and_still_enters_the_phase() -> None:
    it = recorder()
    feed(it, "ready", [1.0])
    done = it.add("cranking", 1.1, {})
    done += it.flush()
    assert values(done, "ELM_VOLTAGE") == [(1000, 12.6)]
    assert [message.phase for message in telemetry(done)] == ["cranking"]


def test_rows_wait_until_a_vin_is_known_and_go_out_under_it_in_their_order() -> None:
    it = Recorder(batch_s=30.0)
    it.enter("running")
    assert [message for n in range(100) for message in it.add("running", float(n), {"RPM": float(n)})] == []
    done = [*it.attribute(VIN), *it.flush()]
    assert {message.vin for message in done} == {VIN}
    assert values(done, "RPM") == [(1000 * n, float(n)) for n in range(100)]


def test_another_vin_gets_nothing_of_what_the_first_ones_batch_held() -> None:
    it = recorder()
    it.enter("post_drive")
    feed(it, "post_drive", [1.0, 2.0])
    first = it.attribute(OTHER)
    feed(it, "post_drive", [3.0])
    second = it.flush()
    assert [(m.vin, m.t) for m in telemetry([*first, *second])] == [(VIN, [1000, 2000]), (OTHER, [3000])]


def test_the_rows_that_wait_are_bounded_and_the_oldest_lost_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_UNATTRIBUTED", 10)
    it = Recorder(batch_s=30.0)
    it.enter("cranking")
    feed(it, "cranking", every(0.1, 0.0, 0.4))
    it.enter("post_drive")
    feed(it, "post_drive", every(1.0, 10.0, 22.0))
    assert it.unattributed_drops == {Kind.CRANK: 4, Kind.SENTINEL: 2}
    done = [*it.attribute(VIN), *it.flush()]
    assert [t for t, _ in values(done, "ELM_VOLTAGE")] == [1000 * n for n in range(12, 22)]


steps = st.one_of(
    st.tuples(
        st.sampled_from(get_args(Phase)),
        st.floats(0.005, 8.0),
        st.sampled_from([("ELM_VOLTAGE",), ("ELM_VOLTAGE", "IGNITION"), ("RPM",), ("RPM", "SPEED"), ("MAF",)]),
    ),
    st.sampled_from([VIN, OTHER, THIRD, None]),
    st.just("due"),
    st.just("flush"),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=150), st.floats(1.0, 60.0))
def test_nothing_is_lost_or_doubled_but_what_is_thinned_and_each_row_is_the_vehicles_it_was_given_to(
    story: list[object], batch_s: float
) -> None:
    it, at, owner = Recorder(batch_s=batch_s), 0.0, None
    fed: dict[tuple[str, float], tuple[Phase, float]] = {}
    done: list[Message] = []
    for step in story:
        match step:
            case (str(phase), float(later), tuple(names)):
                at += later
                number = float(len(fed))
                # Every value is its own, so that each can be found again.
                given_values = {name: number + n / 10 for n, name in enumerate(names)}
                fed |= dict.fromkeys(given_values.items(), (phase, at))  # type: ignore[dict-item]
                new = it.add(phase, at, given_values)  # type: ignore[arg-type]
                assert {message.vin for message in new} <= {owner}
            case "due":
                new = it.due(at)
                assert {message.vin for message in new} <= {owner}
            case "flush":
                new = it.flush()
                assert {message.vin for message in new} <= {owner}
            case vin:
                new = it.attribute(vin)  # type: ignore[arg-type]
                # What the batch held was the former owner's; what waited, when there was none, is the new one's.
                assert {message.vin for message in new} <= {owner or vin, vin}
                owner = vin
        done += new
    done += [*it.attribute(VIN), *it.flush()]
    found = Counter[tuple[str, float]]()
    for message in telemetry(done):
        assert message.t == sorted(message.t)
        for name, column in message.signals.items():
            for t, value in zip(message.t, column, strict=True):
                if value is None:
                    continue
                found[name, value] += 1
                phase, when = fed[name, value]
                late_s = when - t / 1000
                assert -0.001 <= late_s < (ROW_S + 0.001 if phase == "running" else 0.001)
                assert message.phase == phase or (phase, message.phase) == ("ready", "cranking")
    assert set(found.values()) <= {1}
    missing = {key: fed[key] for key in fed.keys() - found.keys()}
    assert all(
        phase == "ready" and name in {"ELM_VOLTAGE", "IGNITION"} for (name, _), (phase, _) in missing.items()
    )
    kept = [fed[key][1] for key in found if key[0] == "ELM_VOLTAGE" and fed[key][0] == "ready"]
    for _, when in missing.values():
        assert any(when - THINNED_S < other < when for other in kept)
