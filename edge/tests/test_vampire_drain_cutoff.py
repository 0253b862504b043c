"""The 11.5 V cut-off: a parked car keeps enough to start."""

from __future__ import annotations

import json

import pytest
from smartdrive_edge.policy import (
    Action,
    Emit,
    Persist,
    Phase,
    Reading,
    ResumeUploading,
    Sample,
    State,
    StopPolling,
    StopUploading,
    from_json,
    step,
    to_json,
)

LAST_GASPS = {"external_drain", "power_saving"}


def parked(ignition: bool | None = False) -> State:
    """A process that has just begun beside a parked car with a healthy battery."""
    stored = to_json(State(phase=Phase.SENTINEL, ignition=ignition))
    return step(from_json(stored), Reading(voltage_v=12.6, ignition=False), 0.0)[0]


def pulse(
    state: State, voltage_v: float | None, ignition: bool | None = False
) -> tuple[State, tuple[Action, ...]]:
    return step(state, Reading(voltage_v=voltage_v, ignition=ignition), state.wake_at)


def pulses(state: State, *voltages: float | None) -> tuple[State, tuple[Action, ...]]:
    actions: tuple[Action, ...] = ()
    for voltage in voltages:
        state, more = pulse(state, voltage)
        actions += more
    return state, actions


def events(actions: tuple[Action, ...]) -> list[str]:
    return [action.event for action in actions if isinstance(action, Emit)]


def keyed_on(voltage_v: float) -> State:
    """In `ready` with the ignition ON for 1 s, the engine off."""
    state, _ = step(parked(), Reading(voltage_v=12.6, ignition=True), 1.0)
    return step(state, Reading(voltage_v=voltage_v, rpm=0, ignition=True), 1.1)[0]


def test_three_readings_at_11_4_v_with_the_engine_off_stop_polling_with_exactly_one_notification() -> None:
    state, actions = pulses(parked(), 11.4, 11.4)
    assert events(actions) == []
    assert state.phase is Phase.SENTINEL
    state, last = pulse(state, 11.4)
    assert state.phase is Phase.SUSPENDED
    assert events(last) == ["external_drain"]
    assert [type(action) for action in last] == [Emit, StopPolling, StopUploading, Sample, Persist]
    state, more = pulses(state, *[11.3] * 20)
    assert events(more) == []
    assert {type(action) for action in more} == {Sample}
    assert state.plan is not None
    assert not state.plan.asks_ecu


def test_the_notification_says_at_which_voltage_and_in_which_phase() -> None:
    _, actions = pulses(parked(), 11.5, 11.45, 11.4)
    assert Emit("external_drain", {"phase": "sentinel", "voltage_v": 11.4}) in actions


def test_a_suspended_collector_resumes_at_13_v() -> None:
    state, _ = pulses(parked(), 11.4, 11.4, 11.4)
    state, actions = pulse(state, 13.0)
    assert events(actions) == ["resumed"]
    assert ResumeUploading() in actions
    assert state.phase is Phase.SENTINEL
    assert state.uploading


@pytest.mark.parametrize(("voltage_v", "is_resumed"), [(12.99, False), (13.0, True), (13.01, True)])
def test_uploading_resumes_at_13_v_and_not_below(voltage_v: float, is_resumed: bool) -> None:
    state, _ = pulses(parked(), 11.4, 11.4, 11.4)
    state, actions = pulse(state, voltage_v)
    assert (ResumeUploading() in actions) is is_resumed
    assert state.uploading is is_resumed
    assert (state.phase is Phase.SUSPENDED) is not is_resumed


@pytest.mark.parametrize(("voltage_v", "is_cut_off"), [(11.49, True), (11.5, True), (11.51, False)])
def test_the_cut_off_is_at_11_5_v_and_not_above(voltage_v: float, is_cut_off: bool) -> None:
    state, _ = pulses(parked(), voltage_v, voltage_v, voltage_v)
    assert (state.phase is Phase.SUSPENDED) is is_cut_off


def test_a_reading_above_11_5_v_begins_the_count_anew() -> None:
    state, _ = pulses(parked(), 11.4, 11.4, 11.51, 11.4, 11.4)
    assert state.phase is Phase.SENTINEL
    assert pulse(state, 11.4)[0].phase is Phase.SUSPENDED


def test_a_reading_that_failed_neither_counts_nor_begins_the_count_anew() -> None:
    state, _ = pulses(parked(), 11.4, None, 11.4, None, None)
    assert state.phase is Phase.SENTINEL
    assert pulse(state, 11.4)[0].phase is Phase.SUSPENDED


def test_an_engine_that_turns_is_never_cut_off() -> None:
    state = keyed_on(12.4)
    for k in range(200):
        state, actions = step(state, Reading(voltage_v=11.0, rpm=800, speed_kmh=0, ignition=True), 2.0 + k)
        assert not LAST_GASPS & set(events(actions))
    assert state.phase is Phase.RUNNING


def test_a_voltage_that_comes_without_an_rpm_does_not_stop_the_engine() -> None:
    state, _ = step(keyed_on(12.4), Reading(voltage_v=11.0, rpm=800, ignition=True), 2.0)
    for k in range(1, 30):
        state, _ = step(state, Reading(voltage_v=11.0, ignition=True), 2.0 + k)
        assert state.cut_off_since is None
    state, _ = step(state, Reading(voltage_v=11.0, rpm=0, ignition=True), 32.0)
    assert state.cut_off_since == 32.0


def test_without_a_line_nothing_is_spent_on_a_probe_at_11_5_v() -> None:
    state, _ = step(from_json(to_json(State(phase=Phase.SENTINEL))), Reading(voltage_v=11.5), 0.0)
    for _ in range(2):
        assert state.phase is Phase.SENTINEL
        state, actions = step(state, Reading(voltage_v=11.1), state.wake_at)
    assert events(actions) == ["external_drain"]
    assert state.phase is Phase.SUSPENDED


def test_a_second_cut_off_after_a_charge_is_notified_again() -> None:
    state, actions = pulses(parked(), 11.4, 11.4, 11.4, 13.0, 11.4, 11.4, 11.4)
    assert events(actions) == ["external_drain", "resumed", "external_drain"]
    assert state.phase is Phase.SUSPENDED


def test_a_restart_in_suspended_sends_no_second_last_gasp_and_uploads_nothing() -> None:
    state, _ = pulses(parked(), 11.4, 11.4, 11.4)
    state, first = step(from_json(to_json(state)), Reading(voltage_v=11.4, ignition=False), 5.0)
    assert [type(action) for action in first] == [StopPolling, StopUploading, Sample]
    _, actions = pulses(state, *[11.4] * 9)
    assert events(actions) == []


def test_the_key_left_on_at_11_4_v_is_cut_off_after_60_s_and_not_before() -> None:
    state, now = keyed_on(11.4), 1.1
    while now < 61.0:
        now += 0.1
        state, actions = step(state, Reading(voltage_v=11.4, rpm=0, ignition=True), now)
        assert state.phase is Phase.READY
    state, actions = step(state, Reading(voltage_v=11.4, rpm=0, ignition=True), 61.2)
    assert state.phase is Phase.SUSPENDED
    assert events(actions) == ["power_saving"]


def test_one_reading_above_11_5_v_begins_the_60_s_anew() -> None:
    state, now = keyed_on(11.4), 1.1
    for k in range(1000):
        now += 0.1
        state, _ = step(state, Reading(voltage_v=11.51 if k == 500 else 11.4, rpm=0, ignition=True), now)
    assert state.phase is Phase.READY


def test_the_key_left_on_ends_suspended_and_stays_so_across_a_restart() -> None:
    state, _ = pulses(parked(), 11.4, 11.4, 11.4)
    now = state.wake_at
    state, actions = step(state, Reading(ignition=True), now)
    assert state.phase is Phase.READY
    seen = actions
    for _ in range(700):
        now += 0.1
        state, actions = step(state, Reading(voltage_v=11.4, ignition=True), now)
        seen += actions
    assert state.phase is Phase.SUSPENDED
    assert events(seen) == ["ignition_on"]
    assert ResumeUploading() not in seen
    state = from_json(to_json(state))
    for k in range(50):
        state, actions = step(state, Reading(voltage_v=11.4, ignition=True), k * 600.0)
        assert state.phase is Phase.SUSPENDED
        assert events(actions) == []


def test_a_car_left_in_ready_with_the_key_off_is_cut_off_by_readings_5_s_apart() -> None:
    state, _ = step(State(), Reading(voltage_v=11.4, ignition=False), 0.0)
    for k in range(1, 100):
        state, _ = step(state, Reading(voltage_v=11.4, ignition=False), k / 10)
    assert state.phase is Phase.READY
    state, actions = step(state, Reading(voltage_v=11.4, ignition=False), 10.0)
    assert state.phase is Phase.SUSPENDED
    assert events(actions) == ["power_saving"]


@pytest.mark.parametrize(("voltage_v", "is_sent"), [(12.19, True), (12.2, True), (12.21, False)])
def test_two_sentinel_readings_at_12_2_v_send_low_voltage_once(voltage_v: float, is_sent: bool) -> None:
    state, actions = pulse(parked(), voltage_v)
    assert events(actions) == []
    _, actions = pulses(state, *[voltage_v] * 9)
    assert events(actions) == ["low_voltage"] * is_sent


def test_12_2_v_for_300_s_with_the_key_on_send_low_voltage() -> None:
    state = keyed_on(12.2)
    for k in range(299):
        state, actions = step(state, Reading(voltage_v=12.2, rpm=0, ignition=True), 2.1 + k)
        assert events(actions) == []
    _, actions = step(state, Reading(voltage_v=12.2, rpm=0, ignition=True), 301.1)
    assert events(actions) == ["low_voltage"]


def test_low_voltage_is_armed_again_at_13_v_and_not_below() -> None:
    _, actions = pulses(parked(), 12.1, 12.1, 12.9, 12.1, 12.1)
    assert events(actions) == ["low_voltage"]
    _, actions = pulses(parked(), 12.1, 12.1, 13.0, 12.1, 12.1)
    assert events(actions) == ["low_voltage", "low_voltage"]


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", '{"version": 2}', "\x00" * 40, '{"phase": "parked"', b"\xff"]
)
def test_a_damaged_state_begins_suspended_with_one_reading_at_once(text: str | bytes) -> None:
    state = from_json(text)
    assert (state.phase, state.uploading) == (Phase.SUSPENDED, False)
    state, actions = step(state, Reading(voltage_v=12.6, ignition=False), 100.0)
    assert events(actions) == []
    assert (state.phase, state.wake_at) == (Phase.SUSPENDED, 700.0)
    state, actions = pulse(state, 13.0)
    assert ResumeUploading() in actions
    assert state.phase is Phase.SENTINEL


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"phase": "flying"},
        {"uploading": 1},
        {"ignition": "on"},
        {"low_readings": -1},
        {"low_readings": True},
        {"last_gasp_sent": True},  # and uploading
    ],
)
def test_a_state_with_a_value_that_cannot_be_begins_suspended(change: dict[str, object]) -> None:
    stored = json.loads(to_json(State(phase=Phase.SENTINEL, ignition=False)))
    assert from_json(json.dumps(stored)).phase is Phase.SENTINEL
    state = from_json(json.dumps(stored | change))
    assert (state.phase, state.uploading) == (Phase.SUSPENDED, False)


def test_a_process_that_begins_in_a_cut_off_out_of_suspended_polls_and_uploads_nothing() -> None:
    state = State(phase=Phase.READY, ignition=True, uploading=False, last_gasp_sent=True)
    _, actions = step(from_json(to_json(state)), Reading(voltage_v=12.0, ignition=True), 0.0)
    assert StopUploading() in actions
    assert StopPolling() not in actions


def test_a_damaged_state_that_still_says_the_last_gasp_is_out_sends_no_second_one() -> None:
    state, _ = pulses(parked(), 11.4, 11.4, 11.4)
    for length in range(len('{"last_gasp_sent": true'), len(to_json(state))):
        state, _ = step(from_json(to_json(state)[:length]), Reading(voltage_v=11.4, ignition=False), 0.0)
        assert events(pulses(state, *[11.4] * 5)[1]) == []


def test_a_damaged_state_that_says_nothing_of_a_last_gasp_sends_one_after_three_readings() -> None:
    state, _ = step(from_json("{"), Reading(voltage_v=11.4, ignition=False), 0.0)
    _, actions = pulses(state, *[11.4] * 9)
    assert events(actions) == ["power_saving"]
