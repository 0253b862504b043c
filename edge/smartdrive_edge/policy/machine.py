"""The machine that applies the rules."""

from __future__ import annotations

from dataclasses import replace

from smartdrive_edge.policy.evidence import Moment, advance, observe
from smartdrive_edge.policy.rules import NOTICES, TRANSITIONS, Effect, Rule
from smartdrive_edge.policy.state import State
from smartdrive_edge.policy.values import (
    ASKING,
    RESTING,
    THRESHOLDS,
    Action,
    Emit,
    EventType,
    Persist,
    Phase,
    Plan,
    ProbeEcu,
    Reading,
    ResumeUploading,
    Sample,
    StopPolling,
    StopUploading,
    Thresholds,
)


def step(
    state: State, reading: Reading, now: float, *, thresholds: Thresholds = THRESHOLDS
) -> tuple[State, tuple[Action, ...]]:
    """Decide what follows from one reading.

    Call it with every reading, with every look at the ignition line (at 2 Hz or more; a reading of nothing else),
    and no later than `State.wake_at`. The first step of a process tells the shell all it needs to begin with.

    The policy keeps its own clock. It follows `now` and stands still when `now` goes backwards. Where a call comes
    more than `patience_s` after the wake-up, it advances to `patience_s` beyond it and no further: a computer that
    slept has observed nothing, so nothing has lasted meanwhile. `Plan.voltage_at` and `State.wake_at` are in the
    caller's time and are given anew after such a jump.

    Args:
        state: from the step before, or from `from_json` at the beginning of a process.
        reading: what was measured since the last step.
        now: the caller's monotonic clock, s; its origin is free and may differ from one process to the next.
        thresholds: the numbers to decide by.

    Returns:
        The new state, and the actions in the order in which to carry them out. Events and the persisted state of
        one step belong in one transaction: then a crash repeats or loses none of them.
    """
    reading = reading.finite()
    before = advance(state, now, thresholds)
    moment = Moment(before, reading, observe(before, reading, thresholds), thresholds)
    moment, actions = _apply_notices(moment)
    rule = next((rule for rule in TRANSITIONS if moment.state.phase in rule.source and rule.holds(moment)), None)
    if rule is not None:
        moment, more = _apply(rule, moment)
        actions += more
    after = moment.state
    if state.clock is None and not after.uploading:
        actions = [*(action for action in _standstill(after) if action not in actions), *actions]
    after = _with_schedule(after, thresholds)
    if after.plan is not None and after.plan != state.plan:
        actions.append(Sample(after.plan))
    if after.durable() != state.durable():
        actions.append(Persist(after))
    return after, tuple(actions)


def _standstill(state: State) -> list[Action]:
    """What a new process has to be told of a cut-off that lasts."""
    return [StopPolling(), StopUploading()] if state.phase is Phase.SUSPENDED else [StopUploading()]


def _apply_notices(moment: Moment) -> tuple[Moment, list[Action]]:
    actions: list[Action] = []
    for rule in NOTICES:
        if moment.state.phase in rule.source and rule.holds(moment):
            moment, more = _apply(rule, moment)
            actions += more
    confirmed = moment.state.confirmed or (
        moment.state.phase is Phase.CRANKING and moment.reading.rpm is not None and moment.reading.rpm > 0
    )
    return replace(moment, state=replace(moment.state, confirmed=confirmed)), actions


def _apply(rule: Rule, moment: Moment) -> tuple[Moment, list[Action]]:
    actions: list[Action] = []
    for effect in rule.effects:
        state, more = _take(effect, moment)
        moment = replace(moment, state=state)
        actions += more
    if rule.target is not None:
        moment = replace(moment, state=_enter(moment.state, rule.target, moment.thresholds))
    return moment, actions


def _take(effect: Effect, moment: Moment) -> tuple[State, list[Action]]:
    state, actions = moment.state, list[Action]()
    match effect:
        case Effect.LAST_GASP:
            if not state.last_gasp_sent:
                event: EventType = "external_drain" if state.phase is Phase.SENTINEL else "power_saving"
                actions = [Emit(event, _detail(moment))]
            state = replace(state, last_gasp_sent=True)
        case Effect.STOP_UPLOADING:
            state, actions = replace(state, uploading=False), [StopUploading()]
        case Effect.STOP_POLLING:
            actions = [StopPolling()]
        case Effect.RESUMED:
            state = replace(state, uploading=True, last_gasp_sent=False)
            actions = [Emit("resumed", _detail(moment)), ResumeUploading()]
        case Effect.PROBE:
            actions = [ProbeEcu()]
        case Effect.LOW_VOLTAGE:
            state, actions = replace(state, low_voltage_sent=True), [Emit("low_voltage", _detail(moment))]
        case Effect.IGNITION_ON:
            actions = [Emit("ignition_on", _ignition_detail(moment))]
        case Effect.IGNITION_OFF:
            actions = [Emit("ignition_off", _ignition_detail(moment))]
    return state, actions


def _detail(moment: Moment) -> dict[str, float | str]:
    voltage = moment.reading.voltage_v
    return {"phase": moment.state.phase.value} | ({} if voltage is None else {"voltage_v": voltage})


def _ignition_detail(moment: Moment) -> dict[str, float | str]:
    """Where the ignition is known from; and that a start was missed, if the engine already ran by then."""
    detail = _detail(moment) | {"source": "line" if moment.line_known else "ecu"}
    rpm = moment.reading.rpm
    is_missed = (
        not moment.line_known
        and moment.state.phase is Phase.READY
        and rpm is not None
        and rpm >= moment.thresholds.running_rpm
    )
    return detail | ({"start": "missed"} if is_missed else {})


def _enter(state: State, phase: Phase, thresholds: Thresholds) -> State:
    entered = replace(state, phase=phase, since=state.time, off_since=None, confirmed=False)
    if phase in ASKING:
        was_resting = state.phase in RESTING
        return replace(
            entered,
            quiet_since=state.time,
            cut_off_since=None,
            low_readings=0,
            low_at=None,
            ecu_at=None if was_resting else state.ecu_at,
            turning_at=None if was_resting else state.turning_at,
        )
    return replace(
        entered,
        due=state.time + (thresholds.resting_period_s(phase) or 0.0),
        cut_off_since=None,
        low_sentinel_readings=0,
        turning_at=None,
        last_v=None if phase is Phase.POST_DRIVE else state.last_v,
        recent_v=(),
    )


def _with_schedule(state: State, thresholds: Thresholds) -> State:
    """The plan of the phase, and when to call again."""
    now = state.time + state.offset
    if state.phase in RESTING:
        at = state.due + state.offset
        wake_at = at if at > now else now + thresholds.retry_s
        return replace(state, plan=Plan(voltage_at=at), wake_at=wake_at)
    plan = _asking_plan(state, thresholds)
    every_s = plan.voltage_every_s if state.phase is not Phase.RUNNING else thresholds.running_core_s
    return replace(state, plan=plan, wake_at=now + (every_s or 0.0))


def _asking_plan(state: State, t: Thresholds) -> Plan:
    if state.phase is Phase.RUNNING:
        # The adapter's voltage takes its turn too: the cut-off and the end of it are seen by nothing else.
        return Plan(
            voltage_every_s=t.running_rotation_s,
            rpm_every_s=t.running_core_s,
            speed_every_s=t.running_core_s,
            rotation_every_s=t.running_rotation_s,
        )
    if state.phase is Phase.CRANKING:
        return Plan(voltage_every_s=t.fast_voltage_s, rpm_every_nth=t.cranking_rpm_nth)
    # Without ignition a request would only wake a sleeping ECU, or cost the silence of one.
    is_key_on = Moment(state, Reading(), state, t).key_on
    return Plan(voltage_every_s=t.fast_voltage_s, rpm_every_s=t.ready_rpm_s if is_key_on else None)
