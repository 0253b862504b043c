from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.adapter.requests import VOLTAGE, Request
from smartdrive_edge.adapter.signals import BY_PID
from smartdrive_edge.collector.schedule import RPM, Schedule
from smartdrive_edge.policy import THRESHOLDS, Plan

PIDS = frozenset({0x04, 0x05, 0x0C, 0x0D, 0x0F, 0x10, 0x11, 0x2F, 0x42})
CAR = Car(Dialect("6"), 0, PIDS, None)
READY = Plan(voltage_every_s=0.1, rpm_every_s=1.0)
READY_KEY_OFF = Plan(voltage_every_s=0.1)
CRANKING = Plan(voltage_every_s=0.1, rpm_every_nth=20)
RUNNING = Plan(voltage_every_s=5.0, rpm_every_s=1.0, speed_every_s=1.0, rotation_every_s=5.0)

Asked = list[tuple[float, Request]]


def schedule(plan: Plan, *, car: Car | None = CAR, now: float = 100.0) -> Schedule:
    made = Schedule()
    made.meet(car)
    made.follow(plan, now)
    return made


def ask(it: Schedule, duration_s: float, *, takes_s: float = 0.03, now: float = 100.0) -> Asked:
    """What is asked of an adapter that takes so long for everything."""
    asked: Asked = []
    until = now + duration_s
    while now < until:
        request = it.next_request(now)
        if request is None:
            wait_s = it.wait_s(now)
            assert wait_s > 0, "nothing is due, and nothing to wait for"
            now += wait_s
            continue
        asked.append((now, request))
        names = [BY_PID[pid].name for pid in request.pids] or ["ELM_VOLTAGE"]
        it.record(request, now, now + takes_s, names)
        now += takes_s
    return asked


def times(asked: Asked, wanted: Callable[[Request], bool]) -> list[float]:
    return [at for at, request in asked if wanted(request)]


@pytest.mark.parametrize(("takes_s", "at_least_hz"), [(0.008, 95), (0.015, 60), (0.03, 30)])
@pytest.mark.parametrize("plan", [READY, READY_KEY_OFF, CRANKING])
def test_before_and_in_a_start_the_voltage_runs_as_fast_as_the_adapter_answers(
    plan: Plan, takes_s: float, at_least_hz: float
) -> None:
    asked = ask(schedule(plan), 10.0, takes_s=takes_s)
    assert len(times(asked, lambda request: request == VOLTAGE)) >= at_least_hz * 10


def test_an_adapter_quicker_than_any_that_is_known_is_not_asked_without_pause() -> None:
    voltage = times(ask(schedule(READY_KEY_OFF), 2.0, takes_s=0.0005), lambda request: request == VOLTAGE)
    assert min(b - a for a, b in pairwise(voltage)) >= 0.008 - 1e-9


def test_in_ready_rpm_comes_once_a_second() -> None:
    rpm = times(ask(schedule(READY), 20.0), lambda request: request == RPM)
    assert len(rpm) == 20
    assert all(1.0 - 1e-9 <= b - a <= 1.07 for a, b in pairwise(rpm))


def test_in_a_start_rpm_is_every_twentieth_request() -> None:
    asked = ask(schedule(CRANKING), 5.0)
    places = [place for place, (_, request) in enumerate(asked) if request == RPM]
    assert places == list(range(19, len(asked), 20))


@pytest.mark.parametrize("plan", [READY, CRANKING, RUNNING, READY_KEY_OFF])
def test_without_a_known_car_only_the_adapter_is_asked(plan: Plan) -> None:
    asked = ask(schedule(plan, car=None), 10.0)
    assert {request for _, request in asked} == {VOLTAGE}


def test_running_asks_for_speed_and_rpm_each_second_and_for_all_else_in_turn() -> None:
    asked = ask(schedule(RUNNING), 30.0)
    for pid in (0x0C, 0x0D):
        fast = times(asked, lambda request, pid=pid: pid in request.pids)  # type: ignore[misc]
        assert len(fast) >= 29
    for pid in PIDS - {0x0C, 0x0D}:
        slow = times(asked, lambda request, pid=pid: pid in request.pids)  # type: ignore[misc]
        assert 4 <= len(slow) <= 7
    assert 4 <= len(times(asked, lambda request: request == VOLTAGE)) <= 7


def test_running_without_a_known_car_reads_the_voltage_at_its_slow_pace() -> None:
    voltage = times(ask(schedule(RUNNING, car=None), 30.0), lambda request: request == VOLTAGE)
    assert [round(at - 100.0, 3) for at in voltage] == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]


def test_a_car_met_in_mid_drive_is_asked_from_then_on() -> None:
    it = schedule(RUNNING, car=None)
    ask(it, 2.0)
    it.meet(CAR)
    assert {0x0C, 0x0D} <= set(ask(it, 1.0, now=102.0)[0][1].pids)


def test_another_car_is_asked_for_what_it_supports() -> None:
    it = schedule(RUNNING)
    ask(it, 2.0)
    it.meet(Car(Dialect("6"), 0, frozenset({0x0C, 0x5C}), None))
    assert {pid for _, request in ask(it, 10.0, now=102.0) for pid in request.pids} == {0x0C, 0x5C}


def test_a_car_that_does_not_speak_can_is_asked_for_one_thing_at_a_time() -> None:
    asked = ask(schedule(RUNNING, car=Car(Dialect("3"), 0, PIDS, None)), 20.0)
    assert max(len(request.pids) for _, request in asked) == 1


def test_a_resting_car_is_read_once_at_its_time_and_again_a_second_later_until_something_came() -> None:
    it = schedule(Plan(voltage_at=700.0), now=100.0)
    assert it.next_request(100.0) is None
    assert it.wait_s(100.0) == 600.0
    assert it.next_request(699.9) is None
    assert it.next_request(700.0) == VOLTAGE
    assert it.next_request(700.5) is None
    assert it.wait_s(700.5) == pytest.approx(THRESHOLDS.retry_s - 0.5)
    assert it.next_request(701.0) == VOLTAGE
    it.follow(Plan(voltage_at=1300.0), 701.1)
    assert it.next_request(702.5) is None
    assert it.next_request(1300.0) == VOLTAGE


def test_a_plan_without_anything_asks_nothing() -> None:
    it = schedule(Plan())
    assert it.next_request(100.0) is None
    assert it.wait_s(100.0) == float("inf")


def test_the_dip_does_not_hold_the_voltage_up() -> None:
    it = schedule(READY)
    ask(it, 1.0, takes_s=0.03)
    it.follow(CRANKING, 101.0)
    first_at, first = ask(it, 0.2, now=101.0)[0]
    assert first == VOLTAGE
    assert first_at - 101.0 <= 0.008


plans = st.sampled_from(
    [READY, READY_KEY_OFF, CRANKING, RUNNING, Plan(), *(Plan(voltage_at=at) for at in (0.0, 130.0, 700.0))]
)


@given(
    st.lists(st.tuples(plans, st.sampled_from([None, CAR]), st.floats(0.01, 20.0)), max_size=12),
    st.floats(0.004, 0.3),
)
def test_whatever_plans_follow_each_other_only_what_the_present_one_wants_is_asked(
    story: list[tuple[Plan, Car | None, float]], takes_s: float
) -> None:
    it, now = Schedule(), 100.0
    for plan, car, duration_s in story:
        it.meet(car)
        it.follow(plan, now)
        assert it.plan is plan
        for at, request in ask(it, duration_s, takes_s=takes_s, now=now):
            if request == VOLTAGE:
                assert plan.voltage_every_s is not None or at >= (plan.voltage_at or 0.0)
            else:
                assert car is not None
                assert plan.asks_ecu
                assert set(request.pids) <= PIDS
        if plan.voltage_every_s is not None and plan.rotation_every_s is None:
            # Nothing that an earlier plan waited for holds this one up.
            assert it.wait_s(now + duration_s + takes_s) <= 0.01
        now += duration_s + takes_s
