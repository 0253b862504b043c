"""The ignition comes first: whatever the collector waits for, a start is sampled at 10 Hz."""

from __future__ import annotations

import pytest
from smartdrive_edge.policy import (
    Action,
    Emit,
    Phase,
    Plan,
    ProbeEcu,
    Reading,
    ResumeUploading,
    Sample,
    State,
    StopPolling,
    step,
)

READY = Plan(voltage_every_s=0.1, rpm_every_s=1.0)
LISTENING = Plan(voltage_every_s=0.1)
CRANKING = Plan(voltage_every_s=0.1, rpm_every_nth=20)
RUNNING = Plan(voltage_every_s=5.0, rpm_every_s=1.0, speed_every_s=1.0, rotation_every_s=5.0)


def begun(phase: Phase, ignition: bool | None = False, *, uploading: bool = True) -> State:
    """A state after the first step of its process, at 0 s."""
    state = State(phase=phase, ignition=ignition, uploading=uploading, last_gasp_sent=not uploading)
    return step(state, Reading(voltage_v=12.5 if uploading else 11.4, ignition=ignition), 0.0)[0]


def follow(state: State, start: float, period: float, *readings: Reading) -> tuple[State, tuple[Action, ...]]:
    actions: tuple[Action, ...] = ()
    for k, reading in enumerate(readings):
        state, more = step(state, reading, start + k * period)
        actions += more
    return state, actions


def events(actions: tuple[Action, ...]) -> list[str]:
    return [action.event for action in actions if isinstance(action, Emit)]


@pytest.mark.parametrize("phase", [Phase.READY, Phase.POST_DRIVE, Phase.SENTINEL, Phase.SUSPENDED])
def test_ignition_on_at_rpm_0_is_followed_by_10_hz_within_the_same_poll(phase: Phase) -> None:
    state = begun(phase, uploading=phase is not Phase.SUSPENDED)
    assert state.phase is phase
    state, actions = step(state, Reading(rpm=0, ignition=True), 0.5)
    assert Sample(READY) in actions
    assert events(actions) == ["ignition_on"]
    assert state.phase is Phase.READY
    assert state.wake_at == pytest.approx(0.6)


def test_ignition_on_at_11_4_v_is_sampled_at_10_hz_first_and_uploads_nothing() -> None:
    state = begun(Phase.SUSPENDED, uploading=False)
    state, actions = step(state, Reading(voltage_v=11.4, ignition=True), 0.5)
    assert Sample(READY) in actions
    assert StopPolling() not in actions
    state, actions = follow(state, 0.6, 0.1, *[Reading(voltage_v=11.4, ignition=True)] * 500)
    assert state.phase is Phase.READY
    assert ResumeUploading() not in actions


@pytest.mark.parametrize("ignition", [True, False, None])
def test_a_crank_that_dips_to_9_v_never_cuts_off(ignition: bool | None) -> None:
    """Accessory lines are dropped while the starter turns; 3 s of it are far more than three readings."""
    state, _ = step(begun(Phase.SENTINEL), Reading(voltage_v=12.4, ignition=True), 1.0)
    state, _ = follow(state, 1.1, 0.1, *[Reading(voltage_v=12.4, rpm=0, ignition=True)] * 20)
    state, actions = follow(state, 3.1, 0.1, *[Reading(voltage_v=9.0, ignition=ignition)] * 30)
    assert state.phase is Phase.CRANKING
    state, more = follow(state, 6.1, 0.1, Reading(rpm=230), Reading(voltage_v=14.1, rpm=900, ignition=True))
    assert state.phase is Phase.RUNNING
    assert events(actions + more) == []
    assert Sample(CRANKING) in actions
    assert Sample(RUNNING) in more


@pytest.mark.parametrize(("dip_to_v", "is_crank"), [(11.81, False), (11.8, True), (9.0, True)])
def test_a_dip_of_0_8_v_under_the_2_s_median_is_a_crank(dip_to_v: float, is_crank: bool) -> None:
    state, _ = step(begun(Phase.SENTINEL), Reading(voltage_v=9.0, ignition=True), 1.0)
    state, _ = follow(state, 1.1, 0.1, *[Reading(voltage_v=12.6, ignition=True)] * 30)
    state, _ = step(state, Reading(voltage_v=dip_to_v, ignition=True), 4.1)
    assert (state.phase is Phase.CRANKING) is is_crank


def test_a_dip_that_no_rpm_confirms_within_5_s_is_ready_again() -> None:
    state = begun(Phase.READY, True)
    state, _ = step(state, Reading(voltage_v=11.0, ignition=True), 0.1)
    state, _ = follow(state, 0.2, 0.1, *[Reading(voltage_v=12.0, rpm=0, ignition=True)] * 49)
    assert state.phase is Phase.CRANKING
    state, actions = step(state, Reading(voltage_v=12.0, ignition=True), 5.1)
    assert state.phase is Phase.READY
    assert Sample(READY) in actions


def test_a_start_that_fails_is_ready_again_for_the_next() -> None:
    state = begun(Phase.READY, True)
    state, _ = follow(state, 0.1, 0.1, Reading(voltage_v=10.0), Reading(rpm=180), Reading(voltage_v=12.2, rpm=0))
    assert state.phase is Phase.READY
    assert step(state, Reading(voltage_v=9.8), 0.5)[0].phase is Phase.CRANKING


def test_a_start_that_the_rpm_confirmed_goes_on_for_30_s_and_not_longer() -> None:
    state, _ = follow(begun(Phase.READY, True), 0.1, 0.1, Reading(voltage_v=10.0), Reading(rpm=180))
    state, _ = follow(state, 1.0, 1.0, *[Reading(voltage_v=10.5, rpm=180, ignition=True)] * 29)
    assert state.phase is Phase.CRANKING
    assert step(state, Reading(voltage_v=10.5, rpm=180, ignition=True), 30.2)[0].phase is Phase.READY


@pytest.mark.parametrize(("rpm", "phase"), [(599.9, Phase.READY), (600.0, Phase.RUNNING)])
def test_an_engine_runs_from_600_rpm(rpm: float, phase: Phase) -> None:
    assert step(begun(Phase.READY, True), Reading(rpm=rpm, ignition=True), 0.5)[0].phase is phase


def driven(ignition: bool | None = True) -> State:
    """Running at 100 s."""
    state, _ = follow(begun(Phase.READY, ignition), 1.0, 1.0, *[Reading(14.1, 900, 50, ignition, True)] * 100)
    assert state.phase is Phase.RUNNING
    return state


def test_ignition_off_after_running_leaves_the_ecu_alone_and_reads_each_minute_for_half_an_hour() -> None:
    state, actions = step(driven(), Reading(voltage_v=13.0, ignition=False), 101.0)
    assert (state.phase, events(actions)) == (Phase.POST_DRIVE, ["ignition_off"])
    pulses = []
    while state.phase is Phase.POST_DRIVE:
        assert state.plan is not None
        assert not state.plan.asks_ecu
        pulses.append(state.wake_at)
        state, _ = step(state, Reading(voltage_v=12.8, ignition=False), state.wake_at)
    assert pulses == [101.0 + 60 * k for k in range(1, 31)]
    assert (state.phase, state.wake_at) == (Phase.SENTINEL, 101.0 + 1800 + 600)


def test_ready_without_a_start_ends_5_min_after_the_ignition_and_not_while_it_is_on() -> None:
    state, _ = follow(begun(Phase.READY, True), 0.5, 1.0, *[Reading(voltage_v=12.4, rpm=0, ignition=True)] * 900)
    assert state.phase is Phase.READY
    state, _ = follow(state, 900.5, 1.0, *[Reading(voltage_v=12.5, ignition=False)] * 300)
    assert state.phase is Phase.READY
    state, _ = follow(state, 1200.5, 1.0, *[Reading(voltage_v=12.5, ignition=False)] * 3)
    assert state.phase is Phase.SENTINEL


@pytest.mark.parametrize("voltage_v", [12.2, 12.8, 14.1])
def test_without_a_line_a_change_of_voltage_is_followed_by_one_probe_for_which_it_enters_ready(
    voltage_v: float,
) -> None:
    state, _ = follow(begun(Phase.SENTINEL), 600, 600, *[Reading(voltage_v=12.5)] * 3)
    assert state.phase is Phase.SENTINEL
    state, actions = step(state, Reading(voltage_v=voltage_v), state.wake_at)
    assert state.phase is Phase.READY
    assert actions.count(ProbeEcu()) == 1
    assert Sample(LISTENING) in actions
    now, seen = state.wake_at, 0
    while state.phase is Phase.READY:
        state, actions = step(state, Reading(voltage_v=voltage_v, ecu_answered=False if seen == 0 else None), now)
        assert ProbeEcu() not in actions
        assert state.plan is not None
        assert not state.plan.asks_ecu
        now, seen = now + 0.1, seen + 1
    assert state.phase is Phase.SENTINEL
    assert seen == pytest.approx(3000, abs=2)


def test_a_change_below_0_3_v_is_no_sign_of_the_ignition() -> None:
    state, actions = follow(begun(Phase.SENTINEL), 600, 600, *[Reading(voltage_v=v) for v in (12.5, 12.4, 12.21)])
    assert state.phase is Phase.SENTINEL
    assert ProbeEcu() not in actions


def test_without_a_line_a_start_out_of_sentinel_is_reported_as_missed() -> None:
    state, _ = step(begun(Phase.SENTINEL), Reading(voltage_v=14.1), 600)
    state, actions = step(state, Reading(rpm=850, ecu_answered=True), 600.3)
    assert state.phase is Phase.RUNNING
    detail = {"phase": "ready", "source": "ecu", "start": "missed"}
    assert Emit("ignition_on", detail) in actions


def test_without_a_line_a_key_turned_on_is_no_missed_start() -> None:
    state, _ = step(begun(Phase.SENTINEL), Reading(voltage_v=12.1), 600)
    state, actions = step(state, Reading(rpm=0, ecu_answered=True), 600.3)
    assert Emit("ignition_on", {"phase": "ready", "source": "ecu"}) in actions
    assert Sample(READY) in actions
    assert state.phase is Phase.READY


def test_without_a_line_a_drive_ends_when_the_ecu_is_silent_for_30_s() -> None:
    state, actions = follow(driven(None), 101.0, 1.0, *[Reading(voltage_v=12.9, ecu_answered=False)] * 29)
    assert (state.phase, events(actions)) == (Phase.RUNNING, [])
    state, actions = step(state, Reading(voltage_v=12.9, ecu_answered=False), 130.0)
    assert (state.phase, events(actions)) == (Phase.POST_DRIVE, ["ignition_off"])


def test_a_process_that_begins_without_a_line_probes_once() -> None:
    state, actions = step(State(), Reading(), 7.0)
    assert ProbeEcu() not in actions
    state, actions = follow(state, 7.1, 0.1, *[Reading(voltage_v=12.6)] * 50)
    assert actions.count(ProbeEcu()) == 1


def test_a_process_that_begins_with_the_ignition_on_samples_at_once() -> None:
    state, actions = step(State(), Reading(voltage_v=12.4, ignition=True), 7.0)
    assert (state.phase, events(actions)) == (Phase.READY, ["ignition_on"])
    assert Sample(READY) in actions
    assert ProbeEcu() not in actions


def test_a_restart_while_driving_tells_of_no_second_ignition() -> None:
    state = State(phase=Phase.READY, ignition=True)
    state, actions = follow(state, 7.0, 1.0, *[Reading(14.1, 2000, 60, True, True)] * 3)
    assert (state.phase, events(actions)) == (Phase.RUNNING, [])


def test_an_accessory_line_that_drops_just_before_the_starter_turns_is_no_ignition_off() -> None:
    state = begun(Phase.READY, True)
    state, actions = follow(state, 0.1, 0.5, Reading(ignition=False), Reading(voltage_v=10.0, ignition=False))
    assert (state.phase, events(actions)) == (Phase.CRANKING, [])


def test_in_suspended_without_a_line_only_13_v_is_probed() -> None:
    state, actions = follow(
        begun(Phase.SUSPENDED, None, uploading=False),
        600,
        600,
        *[Reading(voltage_v=v) for v in (12.6, 11.9, 12.9)],
    )
    assert state.phase is Phase.SUSPENDED
    state, actions = step(state, Reading(voltage_v=13.0), state.wake_at)
    assert ProbeEcu() in actions
    assert (state.phase, state.uploading) == (Phase.READY, True)


def test_a_drive_that_never_reaches_13_v_rests_in_suspended_again() -> None:
    state, _ = step(begun(Phase.SUSPENDED, uploading=False), Reading(voltage_v=11.9, ignition=True), 1.0)
    state, _ = step(state, Reading(voltage_v=12.4, rpm=900, ignition=True), 2.0)
    state, actions = step(state, Reading(voltage_v=12.4, ignition=False), 3.0)
    while state.phase is Phase.POST_DRIVE:
        state, actions = step(state, Reading(voltage_v=12.3, ignition=False), state.wake_at)
    assert state.phase is Phase.SUSPENDED
    assert events(actions) == []
