from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.adapter.requests import VOLTAGE, Request
from smartdrive_edge.adapter.rotation import FAST, Rotation, Wanted
from smartdrive_edge.adapter.signals import BY_NAME, BY_PID

SLOW = [name for name in BY_NAME if name not in FAST and BY_NAME[name].is_groupable]

Answers = Callable[[Request], set[str]]


def names(request: Request) -> list[str]:
    return ["ELM_VOLTAGE"] if request == VOLTAGE else [BY_PID[pid].name for pid in request.pids]


def everything(request: Request) -> set[str]:
    return set(names(request))


def alone(request: Request) -> set[str]:
    """An adapter that passes on only the first PID of a request."""
    return set(names(request)[:1])


class Drive:
    """A rotation against an adapter of a given speed: when each signal was asked and answered."""

    def __init__(
        self, rotation: Rotation, per_s: float, duration_s: float, answers: Answers = everything, seed: int = 0
    ) -> None:
        rng = random.Random(seed)
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.answered: dict[str, list[float]] = defaultdict(list)
        self.requests: list[Request] = []
        now = 100.0
        while now < 100.0 + duration_s:
            request = rotation.next_request(now)
            if request is None:
                wait = rotation.wait_s(now)
                assert wait > 0
                now += wait
                continue
            ended = now + rng.uniform(0.8, 1.2) / per_s
            got = answers(request)
            for name in names(request):
                self.asked[name].append(now)
            for name in got:
                self.answered[name].append(ended)
            self.requests.append(request)
            rotation.record(request, now, ended, got)
            now = ended
        self.ended_at = now

    def gaps(self, name: str) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.asked[name])]


def rotation(slow: list[str], *, is_can: bool = True, weight: float = 1.0) -> Rotation:
    return Rotation([Wanted("RPM"), Wanted("SPEED"), *(Wanted(name, weight) for name in slow)], is_can=is_can)


@given(
    per_s=st.floats(5.0, 13.0),
    slow=st.lists(st.sampled_from([*SLOW, "ELM_VOLTAGE"]), unique=True, max_size=60),
    is_can=st.booleans(),
    seed=st.integers(0, 99),
)
def test_speed_and_rpm_come_at_least_once_a_second_whatever_else_is_wanted(
    per_s: float, slow: list[str], is_can: bool, seed: int
) -> None:
    drive = Drive(rotation(slow, is_can=is_can), per_s, 30.0, seed=seed)
    for name in FAST:
        assert len(drive.answered[name]) >= 29
        assert max(drive.gaps(name)) <= 1.0 + 0.5 / per_s


@given(
    per_s=st.floats(5.0, 13.0),
    slow=st.lists(st.sampled_from([*SLOW, "ELM_VOLTAGE"]), unique=True, min_size=1, max_size=40),
    is_can=st.booleans(),
)
def test_every_other_signal_comes_at_most_every_five_seconds_and_none_starves(
    per_s: float, slow: list[str], is_can: bool
) -> None:
    drive = Drive(rotation(slow, is_can=is_can), per_s, 60.0)
    for name in slow:
        gaps = drive.gaps(name)
        assert gaps
        assert min(gaps) >= 5.0 - 1e-9
        assert max(gaps) <= max(7.0, 3.5 * len(slow) / per_s + 2.0)


@given(st.lists(st.sampled_from(SLOW), unique=True, max_size=30), st.booleans())
def test_requests_hold_one_to_six_pids_and_one_outside_can(slow: list[str], is_can: bool) -> None:
    drive = Drive(rotation([*slow, "ELM_VOLTAGE"], is_can=is_can), 8.0, 12.0)
    for request in drive.requests:
        assert 1 <= len(names(request)) <= (6 if is_can else 1)
        assert len(set(names(request))) == len(names(request))


def test_on_can_one_request_carries_speed_rpm_and_what_is_due() -> None:
    first = rotation(["COOLANT_TEMP", "MAF"]).next_request(0.0)
    assert first is not None
    assert set(names(first)) == {"RPM", "SPEED", "COOLANT_TEMP", "MAF"}


def test_what_is_heavier_is_asked_more_often_where_time_is_short() -> None:
    heavy, light = SLOW[:15], SLOW[15:40]
    wanted = [Wanted("RPM"), Wanted("SPEED"), *(Wanted(n, 3.0) for n in heavy), *(Wanted(n) for n in light)]
    drive = Drive(Rotation(wanted, is_can=False), 5.0, 200.0)
    of_heavy, of_light = ([len(drive.asked[name]) for name in group] for group in (heavy, light))
    assert min(of_heavy) > 1.5 * max(of_light)
    assert min(of_light) > 2


@pytest.mark.parametrize("per_s", [5.0, 13.0])
def test_an_adapter_that_cannot_share_requests_is_found_out_and_asked_one_by_one(per_s: float) -> None:
    drive = Drive(rotation(SLOW[:10]), per_s, 60.0, answers=alone)
    assert all(len(names(request)) == 1 for request in drive.requests[-20:])
    for name in [*SLOW[:10], *FAST]:
        assert max(b - a for a, b in itertools.pairwise([100.0, *drive.answered[name]])) < 20.0
        assert drive.ended_at - drive.answered[name][-1] < 11.0


def test_one_lost_answer_does_not_end_sharing() -> None:
    losses = iter([True, False])
    drive = Drive(rotation(SLOW[:8]), 8.0, 30.0, answers=lambda r: set() if next(losses, False) else everything(r))
    assert len(names(drive.requests[-1])) > 1 or len(drive.requests) < 60
    assert any(len(names(request)) == 6 for request in drive.requests[5:])


def test_a_silent_car_does_not_end_sharing_once_it_speaks_again() -> None:
    speaks = False
    shared = rotation(SLOW[:8])
    Drive(shared, 5.0, 30.0, answers=lambda r: everything(r) if speaks else set())
    speaks = True
    requests = []
    now = 200.0
    while now < 330.0:
        request = shared.next_request(now)
        if request is None:
            now += shared.wait_s(now)
            continue
        requests.append(request)
        shared.record(request, now, now + 0.1, everything(request))
        now += 0.1
    assert any({"RPM", "SPEED"} <= set(names(request)) for request in requests[-5:])


def test_a_signal_that_never_answers_is_asked_ever_more_rarely_and_at_least_once_a_minute() -> None:
    dead = "MAF"
    drive = Drive(rotation([dead, "COOLANT_TEMP"]), 8.0, 400.0, answers=lambda r: everything(r) - {dead})
    assert len(drive.asked[dead]) < 25
    assert max(drive.gaps(dead)) < 62.0
    assert len(drive.answered["COOLANT_TEMP"]) > 70


def test_what_the_car_never_answers_takes_nothing_from_what_it_does() -> None:
    drive = Drive(rotation(["MAF", "COOLANT_TEMP"]), 8.0, 60.0, answers=lambda r: everything(r) - {"MAF"})
    in_the_last_ten_seconds = {
        name: sum(at > drive.ended_at - 10.0 for at in drive.answered[name])
        for name in ("RPM", "SPEED", "COOLANT_TEMP", "MAF")
    }
    assert 10 <= in_the_last_ten_seconds["RPM"] <= 17
    assert 10 <= in_the_last_ten_seconds["SPEED"] <= 17
    assert 1 <= in_the_last_ten_seconds["COOLANT_TEMP"] <= 3
    assert in_the_last_ten_seconds["MAF"] == 0
    assert drive.asked["MAF"]


def test_speed_is_not_asked_of_a_car_without_it() -> None:
    drive = Drive(Rotation([Wanted("RPM")], is_can=True), 8.0, 10.0)
    assert set(drive.asked) == {"RPM"}


def test_nothing_wanted_asks_nothing() -> None:
    assert Rotation([], is_can=True).next_request(0.0) is None
    assert Rotation([], is_can=True).wait_s(0.0) > 0


@pytest.mark.parametrize(
    ("name", "weight"), [("FUEL_STATUS", 1.0), ("NOPE", 1.0), ("RPM", 0.0), ("RPM", float("nan"))]
)
def test_what_cannot_be_read_cannot_be_wanted(name: str, weight: float) -> None:
    with pytest.raises(ValueError, match=name):
        Wanted(name, weight)
