"""What a reading says: it is taken into the state here, before any rule looks at it. No phase changes here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from smartdrive_edge.policy.state import State
from smartdrive_edge.policy.values import ASKING, RESTING, Phase, Reading, Thresholds

# Bounds the memory if a caller reads far faster than scheduled.
_MOST_RECENT: Final = 128


@dataclass(frozen=True, slots=True)
class Moment:
    """All that a rule may look at: the state before the reading, the reading, and the state with it."""

    before: State
    reading: Reading
    state: State
    thresholds: Thresholds

    def lasts(self, since: float | None, seconds: float) -> bool:
        """Whether what began at `since` has lasted that long."""
        return since is not None and self.state.time - since >= seconds

    @property
    def line_known(self) -> bool:
        """Whether there is an ignition line that spoke lately."""
        at = self.state.line_at
        return at is not None and self.state.time - at <= self.thresholds.line_lost_s

    @property
    def key_on(self) -> bool:
        """Whether the ignition is on, by the line or, without one, by the ECU's answers."""
        return self.state.ignition is True and (
            self.line_known or _is_fresh(self.state, self.state.ecu_at, self.thresholds)
        )

    @property
    def key_turned_on(self) -> bool:
        """Whether this reading's line is ON and it was not before."""
        return self.reading.ignition is True and self.before.ignition is not True

    @property
    def engine_on(self) -> bool:
        """Whether the engine is known to turn, or the vehicle to move."""
        return _is_fresh(self.state, self.state.turning_at, self.thresholds)

    @property
    def voltage_changed(self) -> bool:
        """Whether the voltage speaks for the ignition: above the cut-off, and changed or never seen before."""
        voltage, last = self.reading.voltage_v, self.before.last_v
        if self.line_known or voltage is None or voltage <= self.thresholds.cut_off_v:
            return False
        return last is None or round(abs(voltage - last), 3) >= self.thresholds.change_v

    @property
    def dips(self) -> bool:
        """Whether this voltage lies `dip_v` or more under the median of those just before it."""
        voltage, earlier = self.reading.voltage_v, [v for _, v in self.before.recent_v]
        return (
            voltage is not None and bool(earlier) and round(median(earlier) - voltage, 3) >= self.thresholds.dip_v
        )


def _is_fresh(state: State, at: float | None, thresholds: Thresholds) -> bool:
    return at is not None and state.time - at < thresholds.ecu_silence_s


def advance(state: State, now: float, thresholds: Thresholds) -> State:
    """Let the policy's own clock follow the caller's.

    A clock that goes backwards, or is no finite number, stands still; one that jumps further than `patience_s`
    beyond the wake-up advances by that much only, since what nobody observed has not lasted.
    """
    if state.clock is None:
        clock = now if math.isfinite(now) else 0.0
        return _forget_old(replace(state, clock=clock, since=clock, quiet_since=clock, due=clock), thresholds)
    if not math.isfinite(now):
        return state
    latest = state.wake_at - state.offset + thresholds.patience_s
    clock = now - state.offset
    if clock < state.clock:
        return replace(state, offset=now - state.clock)
    if clock > latest:
        return _forget_old(replace(state, clock=latest, offset=now - latest), thresholds)
    return _forget_old(replace(state, clock=clock), thresholds)


def _forget_old(state: State, thresholds: Thresholds) -> State:
    kept = tuple(pair for pair in state.recent_v if state.time - pair[0] <= thresholds.median_s)
    return replace(state, recent_v=kept)


def observe(state: State, reading: Reading, thresholds: Thresholds) -> State:
    """Take a finite reading into a state that has been advanced to its time."""
    state = _hear_ecu(_read_line(state, reading, thresholds), reading, thresholds)
    state = _weigh_voltage(state, reading, thresholds)
    moment = Moment(state, reading, state, thresholds)
    if moment.key_on or moment.engine_on:
        state = replace(state, quiet_since=state.time)
    return _schedule_next(state, reading, thresholds)


def _read_line(state: State, reading: Reading, thresholds: Thresholds) -> State:
    if reading.ignition is None:
        return state
    state = replace(state, line_at=state.time)
    if reading.ignition:
        if state.ignition is not True:
            state = replace(state, cut_off_since=None, low_readings=0, low_at=None)
        return replace(state, ignition=True, off_since=None)
    if state.phase is Phase.CRANKING:
        return state  # accessory circuits are dropped while the starter turns
    if state.phase is Phase.READY and state.ignition is True:
        off_since = state.time if state.off_since is None else state.off_since
        if state.time - off_since < thresholds.line_off_s:
            return replace(state, off_since=off_since)
    return replace(state, ignition=False, off_since=None)


def _hear_ecu(state: State, reading: Reading, thresholds: Thresholds) -> State:
    if reading.turning:
        state = replace(state, turning_at=state.time)
    elif reading.rpm == 0:
        state = replace(state, turning_at=None)
    if state.phase not in ASKING:
        return state
    is_line_known = Moment(state, reading, state, thresholds).line_known
    if reading.heard:
        state = replace(state, ecu_at=state.time)
        # A car started from afar leaves the accessory line OFF; the running engine has the better word then.
        is_start = state.phase is not Phase.RUNNING and (reading.rpm or 0) >= thresholds.running_rpm
        return replace(state, ignition=True) if is_start or not is_line_known else state
    last_word = max(state.since, state.ecu_at if state.ecu_at is not None else state.since)
    is_silent = state.time - last_word >= thresholds.ecu_silence_s
    if is_silent and not is_line_known and state.phase is not Phase.CRANKING:
        return replace(state, ignition=False)
    return state


def _weigh_voltage(state: State, reading: Reading, thresholds: Thresholds) -> State:
    voltage = reading.voltage_v
    if voltage is None:
        return state
    state = _count_low(_count_cut_off(state, reading, voltage, thresholds), voltage, thresholds)
    recent = (*state.recent_v, (state.time, voltage))[-_MOST_RECENT:] if state.phase in ASKING else ()
    return replace(state, last_v=voltage, recent_v=recent)


def _count_cut_off(state: State, reading: Reading, voltage: float, thresholds: Thresholds) -> State:
    moment = Moment(state, reading, state, thresholds)
    if voltage > thresholds.cut_off_v or moment.engine_on:
        return replace(state, low_readings=0, low_at=None, cut_off_since=None)
    if state.cut_off_since is None:
        state = replace(state, cut_off_since=state.time)
    is_spaced = state.low_at is None or state.time - state.low_at >= thresholds.cut_off_spacing_s
    if state.phase in RESTING or (state.phase is Phase.READY and not moment.key_on and is_spaced):
        return replace(
            state, low_readings=min(state.low_readings + 1, thresholds.cut_off_readings), low_at=state.time
        )
    return state


def _count_low(state: State, voltage: float, thresholds: Thresholds) -> State:
    if voltage > thresholds.low_v:
        is_charged = voltage >= thresholds.resume_v
        return replace(
            state,
            low_since=None,
            low_sentinel_readings=0,
            low_voltage_sent=state.low_voltage_sent and not is_charged,
        )
    return replace(
        state,
        low_since=state.time if state.low_since is None else state.low_since,
        low_sentinel_readings=state.low_sentinel_readings + 1 if state.phase is Phase.SENTINEL else 0,
    )


def _schedule_next(state: State, reading: Reading, thresholds: Thresholds) -> State:
    period = thresholds.resting_period_s(state.phase)
    if period is None:
        return state
    # A caller's timer, or the rounding of a shifted clock, may be early by a hair.
    is_taken = reading.voltage_v is not None and state.time > state.due - thresholds.retry_s
    if is_taken or state.time >= state.due + thresholds.patience_s:
        return replace(state, due=state.due + period)
    return state
