"""What holds of the policy whatever is measured, whenever the process dies, and whatever the clock does."""

from __future__ import annotations

import ast
import json
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import pytest
import smartdrive_edge.policy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from smartdrive_edge.policy import (
    ASKING,
    RESTING,
    Action,
    Emit,
    Persist,
    Phase,
    ProbeEcu,
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
from smartdrive_edge.policy.values import EventType

CONTRACTS = Path(__file__).parents[2] / "contracts"
LAST_GASPS = {"external_drain", "power_saving"}
DAY_S = 86_400

VOLTAGES = st.one_of(
    st.none(),
    st.sampled_from([9.0, 11.4, 11.5, 11.51, 11.8, 12.2, 12.21, 12.6, 12.99, 13.0, 14.1, math.nan, math.inf]),
    st.floats(6, 16),
)
RPMS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 200.0, 599.0, 600.0, 900.0, math.nan]))
SPEEDS = st.one_of(st.none(), st.sampled_from([0.0, 50.0, math.nan]))
FLAGS = st.sampled_from([None, False, True])
READINGS = st.builds(Reading, VOLTAGES, RPMS, SPEEDS, FLAGS, FLAGS)
# Seconds between two calls: in time, late, backwards, and nonsense.
ELAPSED = st.one_of(
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 5.0, 60.0, 600.0, 3600.0, -1.0, -1e6, 1e7, math.nan, math.inf]),
    st.floats(0, 700),
)


def events(actions: tuple[Action, ...]) -> list[str]:
    return [action.event for action in actions if isinstance(action, Emit)]


class Collector(RuleBasedStateMachine):
    """A shell that obeys: it does what the actions say, and may die between any two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = 1000.0
        self.stored: str | None = None
        self.is_asking = False
        self.is_uploading = True
        self.last_gasps = 0
        self.is_first = True

    @initialize(phase=st.sampled_from(list(Phase)), ignition=FLAGS)
    def begin(self, phase: Phase, ignition: bool | None) -> None:
        if phase is not Phase.SUSPENDED:
            self.state = from_json(to_json(State(phase=phase, ignition=ignition)))

    def take(self, reading: Reading, now: float) -> tuple[Action, ...]:
        before = self.state
        if not math.isfinite(now) and self.is_first:
            now = self.now  # there is no time yet to stand still at
        self.state, actions = step(before, reading, now)
        if math.isfinite(now):
            self.now = now
        for action in actions:
            self.carry_out(action, reading)
        self.judge(before, reading, actions)
        self.is_first = False
        return actions

    def carry_out(self, action: Action, reading: Reading) -> None:
        match action:
            case Sample(plan):
                self.is_asking = plan.asks_ecu
            case ProbeEcu():
                assert self.state.phase is Phase.READY
            case Emit(event, detail):
                json.dumps(detail, allow_nan=False)
                if event in LAST_GASPS:
                    assert self.is_uploading or self.last_gasps == 0
                    self.last_gasps += 1
            case StopPolling():
                self.is_asking = False
            case StopUploading():
                self.is_uploading = False
            case ResumeUploading():
                assert reading.voltage_v is not None
                assert reading.voltage_v >= 13.0
                self.is_uploading = True
                self.last_gasps = 0
            case Persist(state):
                self.stored = to_json(state)

    def judge(self, before: State, reading: Reading, actions: tuple[Action, ...]) -> None:
        after, plan = self.state, self.state.plan
        assert plan is not None
        assert self.last_gasps <= 1
        is_edge = reading.ignition is True and before.ignition is not True
        already_runs = after.phase is Phase.RUNNING and reading.rpm is not None and reading.rpm >= 600
        if is_edge and not already_runs and before.phase not in {Phase.CRANKING, Phase.RUNNING}:
            assert plan.voltage_every_s is not None
            assert plan.voltage_every_s <= 0.1
            assert after.phase in ASKING
        if before.phase is Phase.CRANKING:
            assert after.phase is not Phase.SUSPENDED
        if after.durable() != before.durable():
            assert actions[-1] == Persist(after)

    @rule(reading=READINGS, elapsed=ELAPSED)
    def reads_anything_at_any_time(self, reading: Reading, elapsed: float) -> None:
        self.take(reading, self.now + elapsed)

    @rule(reading=READINGS)
    def reads_anything_in_time(self, reading: Reading) -> None:
        self.take(reading, self.state.wake_at if not self.is_first else self.now)

    @rule(count=st.integers(2, 40), voltage=st.floats(6, 11.5))
    def reads_low_for_a_while(self, count: int, voltage: float) -> None:
        """As the plan asks, engine off: three readings in rest, or 60 s of them, lead to the cut-off."""
        has_line = self.state.line_at is not None
        for _ in range(count):
            self.take(
                Reading(voltage_v=voltage, ignition=False if has_line else None),
                self.now if self.is_first else self.state.wake_at,
            )
        if self.state.phase in RESTING and count >= 3 and self.state.low_readings >= 3:
            assert self.state.phase is Phase.SUSPENDED
            assert self.state.last_gasp_sent

    @precondition(lambda self: not self.is_first)
    @rule(clock=st.floats(0, 1e9))
    def restarts(self, clock: float) -> None:
        """Dies after a step, at which the shell had stored what it was told to."""
        self.state = from_json(self.stored) if self.stored is not None else from_json(to_json(self.state))
        self.now, self.is_first, self.is_asking, self.is_uploading = clock, True, False, True

    @invariant()
    def a_restart_begins_with_what_the_state_holds(self) -> None:
        if self.stored is not None:
            assert from_json(self.stored) == from_json(to_json(self.state))

    @invariant()
    def the_ecu_is_left_alone_while_resting(self) -> None:
        if self.state.phase in RESTING:
            assert not self.is_asking
            assert self.state.plan is None or not self.state.plan.asks_ecu

    @invariant()
    def suspended_uploads_nothing_and_the_shell_knows(self) -> None:
        if not self.is_first:
            assert self.is_uploading is self.state.uploading
        assert not (self.state.phase is Phase.SUSPENDED and self.state.uploading)

    @invariant()
    def the_next_wake_up_is_ahead(self) -> None:
        if not self.is_first:
            assert math.isfinite(self.state.wake_at)
            assert self.state.wake_at > self.now


TestCollector = Collector.TestCase
TestCollector.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(
    phase=st.sampled_from([Phase.POST_DRIVE, Phase.SENTINEL]),
    before=st.lists(st.one_of(st.none(), st.floats(11.51, 12.99)), max_size=5),
    low=st.lists(st.one_of(st.none(), st.floats(6, 11.5)), min_size=3, max_size=60),
    restarts=st.sets(st.integers(0, 65)),
    ignition=st.sampled_from([None, False]),
)
@settings(max_examples=300, deadline=None)
def test_three_low_readings_suspend_with_one_last_gasp_wherever_the_process_dies(
    phase: Phase, before: list[float | None], low: list[float | None], restarts: set[int], ignition: bool | None
) -> None:
    state = from_json(to_json(State(phase=phase, ignition=False)))
    state, _ = step(
        state, Reading(ignition=False), 0.0
    )  # where there was a line, it is lost after the first reading
    seen: list[str] = []
    lows, is_probing = 0, False
    for k, voltage in enumerate([*before, *low]):
        is_low = voltage is not None and voltage <= 11.5
        if k in restarts:
            state = from_json(to_json(state))
        now = state.wake_at if state.clock is not None else 0.0
        state, actions = step(state, Reading(voltage_v=voltage, ignition=ignition), now)
        seen += [event for event in events(actions) if event in LAST_GASPS]
        if state.phase in ASKING:
            is_probing = (
                True  # without a line, a change of voltage above the cut-off: readings count otherwise there
            )
        lows += is_low
        if not is_probing:
            assert (state.phase is Phase.SUSPENDED) is (lows >= 3)
            assert len(seen) == (lows >= 3)
    assert len(seen) <= 1


@given(readings=st.lists(READINGS, max_size=60), stop=st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_none_is_never_treated_as_0(readings: list[Reading], stop: int) -> None:
    """A voltage, an rpm or a speed that is not there neither counts as low nor as an engine that stands."""
    state, now = State(), 0.0
    for reading in readings[:stop]:
        state, _ = step(state, reading, now)
        now = state.wake_at
    for _ in range(200):
        before = state
        state, actions = step(state, Reading(ignition=state.ignition), now)
        assert (
            LAST_GASPS.isdisjoint(events(actions)) or before.low_readings >= 3 or before.cut_off_since is not None
        )
        assert "low_voltage" not in events(actions)
        assert state.low_readings <= before.low_readings
        assert not (before.phase is Phase.READY and state.phase is Phase.CRANKING)
        assert not (before.confirmed and before.phase is Phase.CRANKING and state.phase is Phase.READY) or (
            state.time - before.since >= 30
        )
        now = state.wake_at


@given(reading=READINGS, elapsed=ELAPSED, phase=st.sampled_from(list(Phase)))
def test_a_step_is_a_function_of_its_arguments(reading: Reading, elapsed: float, phase: Phase) -> None:
    state, _ = step(State(phase=phase, uploading=phase is not Phase.SUSPENDED), Reading(), 1.0)
    assert step(state, reading, 1.0 + elapsed) == step(state, reading, 1.0 + elapsed)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(State().durable())), inner),
    max_leaves=12,
)


@given(text=st.one_of(st.text(), st.binary(), JSONS.map(json.dumps)))
@settings(max_examples=300, deadline=None)
def test_any_stored_text_gives_a_state_that_is_safe_to_begin_with(text: str | bytes) -> None:
    state = from_json(text)
    assert from_json(to_json(state)).durable() == state.durable()
    state, actions = step(state, Reading(), 0.0)
    assert not events(actions)
    assert not state.plan or not state.plan.asks_ecu


@given(
    changes=st.dictionaries(
        st.sampled_from(sorted(State().durable())), st.one_of(st.none(), st.booleans(), st.integers(), st.text())
    )
)
def test_a_stored_state_with_fields_of_other_types_is_taken_or_falls_back(changes: dict[str, object]) -> None:
    text = json.dumps(State(phase=Phase.SENTINEL).durable() | changes)
    state = from_json(text)
    assert state.phase is Phase.SUSPENDED or json.loads(text) == {
        **state.durable(),
        "phase": json.loads(text)["phase"],
    }


def test_deep_nesting_in_the_stored_text_falls_back() -> None:
    assert from_json("[" * sys.getrecursionlimit() * 100).phase is Phase.SUSPENDED


@pytest.mark.parametrize("lateness_s", [0.0, 0.3, 9.9])
def test_sentinel_pulses_are_exactly_10_min_apart(lateness_s: float) -> None:
    state, _ = step(State(phase=Phase.SENTINEL, ignition=False), Reading(12.5, ignition=False), 0.0)
    for k in range(1, 300):
        assert state.wake_at == 600.0 * k
        assert state.plan is not None
        assert state.plan.voltage_at == 600.0 * k
        state, _ = step(state, Reading(ignition=False), 600.0 * k - 0.4)  # a look at the line moves nothing
        assert state.wake_at == 600.0 * k
        state, actions = step(state, Reading(12.5, ignition=False), 600.0 * k + lateness_s)
        assert [type(action) for action in actions] == [Sample]


def test_a_sentinel_reading_that_fails_is_tried_each_second_for_10_s_and_then_left() -> None:
    state, _ = step(State(phase=Phase.SENTINEL, ignition=False), Reading(12.5, ignition=False), 0.0)
    tries = []
    while state.wake_at < 1200:
        tries.append(state.wake_at)
        state, _ = step(state, Reading(ignition=False), state.wake_at)
    assert tries == [600.0 + k for k in range(11)]
    assert state.wake_at == 1200.0


def running() -> State:
    state, _ = step(State(ignition=True), Reading(14.1, 900, 0, True), 100.0)
    return step(state, Reading(14.1, 900, 0, True), 101.0)[0]


def test_a_clock_that_goes_backwards_stands_still_and_goes_on() -> None:
    state, _ = step(running(), Reading(13.0, ignition=False), 102.0)
    state, actions = step(state, Reading(12.8, ignition=False), 50.0)
    assert state.phase is Phase.POST_DRIVE
    assert state.wake_at == 110.0
    assert [type(action) for action in actions] == [Sample]
    assert step(state, Reading(12.8, ignition=False), 110.0)[0].wake_at == 170.0


@pytest.mark.parametrize("jump_s", [100.0, 3600.0, 1e9])
def test_time_that_nobody_observed_has_not_lasted(jump_s: float) -> None:
    """A computer that slept with the key on at 11.4 V has not seen 60 s of it."""
    state, _ = step(State(ignition=True), Reading(11.4, 0, 0, True), 0.0)
    state, _ = step(state, Reading(11.4, 0, 0, True), jump_s)
    assert state.phase is Phase.READY
    assert state.time == pytest.approx(10.1)


@dataclass
class Budget:
    """What a parked month costs."""

    wake_ups: int = 0
    voltage_requests: int = 0
    ecu_requests: int = 0
    messages: int = 0
    events: int = 0
    stored: int = 0


def park(days: int, voltage: Callable[[float], float], ignition: bool | None) -> tuple[Budget, Counter[str]]:
    """After a drive: a shell that sends every reading and every event at once, as long as it may upload."""
    state, _ = step(State(ignition=ignition), Reading(14.1, 900, 0, ignition, True), 0.0)
    state, _ = step(state, Reading(14.1, 900, 0, ignition, True), 1.0)
    off = False if ignition is not None else None
    while state.phase is Phase.RUNNING:
        state, _ = step(state, Reading(13.0, None, None, off, False), state.wake_at)
    budget, kinds, begin = Budget(), Counter[str](), state.wake_at
    while state.wake_at < begin + days * DAY_S:
        now = state.wake_at
        is_asked = state.plan is not None and state.plan.asks_ecu
        was_uploading = state.uploading
        state, actions = step(state, Reading(round(voltage(now - begin), 1), ignition=off), now)
        budget.wake_ups += 1
        budget.voltage_requests += 1
        budget.ecu_requests += is_asked + actions.count(ProbeEcu())
        budget.events += len(events(actions))
        budget.messages += was_uploading + len(events(actions))
        budget.stored += sum(isinstance(action, Persist) for action in actions)
        kinds.update(events(actions))
    return budget, kinds


def healthy(seconds: float) -> float:
    """12.7 V, and 0.1 V a week of self-discharge and standing current."""
    return 12.7 - 0.1 * seconds / (7 * DAY_S)


def drained(seconds: float) -> float:
    """12.7 V, and 0.1 V a day: a lamp left on."""
    return 12.7 - 0.1 * seconds / DAY_S


@pytest.mark.parametrize("ignition", [True, None], ids=["line", "no line"])
def test_30_days_parked_cost_a_reading_every_10_min_and_no_word_to_the_ecu(ignition: bool | None) -> None:
    budget, kinds = park(30, healthy, ignition)
    assert asdict(budget) == {
        "wake_ups": 4347,
        "voltage_requests": 4347,
        "ecu_requests": 0,
        "messages": 4347,
        "events": 0,
        "stored": 1,
    }
    assert kinds == {}


@pytest.mark.parametrize("ignition", [True, None], ids=["line", "no line"])
def test_30_days_parked_with_a_drain_fall_silent_at_the_cut_off(ignition: bool | None) -> None:
    budget, kinds = park(30, drained, ignition)
    assert kinds == {"low_voltage": 1, "external_drain": 1}
    assert (budget.wake_ups, budget.messages, budget.ecu_requests) == (4347, 1688, 0)
    assert budget.stored <= 6


def test_every_event_of_the_policy_is_one_of_the_contract() -> None:
    schema = json.loads((CONTRACTS / "events.v1.schema.json").read_text())
    assert set(get_args(EventType)) <= set(schema["properties"]["type"]["enum"])


def test_the_phases_are_those_of_the_contract() -> None:
    schema = json.loads((CONTRACTS / "telemetry.v1.schema.json").read_text())
    assert [phase.value for phase in Phase] == schema["properties"]["phase"]["enum"]


def test_the_policy_imports_only_the_standard_library_and_nothing_that_acts() -> None:
    acting = {"asyncio", "datetime", "os", "random", "socket", "subprocess", "threading", "time"}
    for path in Path(smartdrive_edge.policy.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                top = name.split(".")[0]
                assert name.startswith("smartdrive_edge.policy") or top in sys.stdlib_module_names - acting


def test_a_state_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        State().phase = Phase.RUNNING  # type: ignore[misc]
    assert replace(State(), phase=Phase.RUNNING).phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("voltages", "probes"),
    [
        ([9.4, 14.2], 1),  # the process began within a start
        ([9.4, 10.0, 10.2, 10.4, 10.6, 10.8, 11.0, 11.2, 11.4, 11.6, 11.8, 12.0, 12.5, 12.9, 13.1, 13.3], 3),
        ([12.4] * 50, 1),  # the first, and never again while nothing changes
        ([9.4] * 50, 0),
    ],
)
def test_an_engine_that_was_started_unseen_is_asked_for_when_it_charges(
    voltages: list[float], probes: int
) -> None:
    state, count = State(), 0
    for number, voltage in enumerate(voltages):
        state, actions = step(state, Reading(voltage_v=voltage), number * 0.1)
        count += actions.count(ProbeEcu())
    assert count == probes
