"""The rules as data: from which phase, when, to which phase, with what effect.

`NOTICES` change no phase: every one that holds takes effect. Of `TRANSITIONS` the first that holds does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Final

from smartdrive_edge.policy.evidence import Moment
from smartdrive_edge.policy.values import ASKING, RESTING, THRESHOLDS, Phase, Thresholds

_ALL: Final = (*ASKING, *RESTING)


class Effect(Enum):
    """What a rule does apart from changing the phase."""

    IGNITION_ON = "Emit ignition_on"
    IGNITION_OFF = "Emit ignition_off"
    LOW_VOLTAGE = "Emit low_voltage"
    RESUMED = "Emit resumed, ResumeUploading"
    LAST_GASP = "Emit external_drain from sentinel, power_saving from elsewhere; once per cut-off"
    STOP_POLLING = "StopPolling"
    STOP_UPLOADING = "StopUploading"
    PROBE = "ProbeEcu"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        source: the phases it applies to.
        when: the guard in words; `{name}` stands for a field of `Thresholds`.
        holds: the guard.
        target: the phase it leads to; None where the phase stays.
        effects: what it does, in this order.
    """

    source: tuple[Phase, ...]
    when: str
    holds: Callable[[Moment], bool]
    target: Phase | None
    effects: tuple[Effect, ...] = ()


def _is_at_least(value: float | None, threshold: float) -> bool:
    return value is not None and value >= threshold


def _ignition_went_on(m: Moment) -> bool:
    return m.state.ignition is True and m.before.ignition is not True


def _ignition_went_off(m: Moment) -> bool:
    return m.state.ignition is False and m.before.ignition is True


def _is_charged(m: Moment) -> bool:
    return _is_at_least(m.reading.voltage_v, m.thresholds.resume_v)


def _is_low(m: Moment) -> bool:
    voltage, state, t = m.reading.voltage_v, m.state, m.thresholds
    if voltage is None or voltage > t.low_v or state.low_voltage_sent or not state.uploading:
        return False
    if voltage <= t.cut_off_v and not m.engine_on:
        return False  # the cut-off is counting: one message, not two
    return m.lasts(state.low_since, t.low_s) or state.low_sentinel_readings >= t.low_sentinel_readings


def _is_drained(m: Moment) -> bool:
    return m.state.low_readings >= m.thresholds.cut_off_readings


def _is_drained_key_on(m: Moment) -> bool:
    return not m.engine_on and m.lasts(m.state.cut_off_since, m.thresholds.cut_off_key_on_s)


def _suggests_ignition(m: Moment) -> bool:
    last, t = m.before.last_v, m.thresholds
    # An engine that was started unseen charges; its voltage may come there in steps that are too small to notice.
    is_risen = not m.line_known and last is not None and last < t.resume_v and _is_charged(m)
    return (m.voltage_changed or is_risen) and not m.key_on


def _runs(m: Moment) -> bool:
    return _is_at_least(m.reading.rpm, m.thresholds.running_rpm)


def _is_false_crank(m: Moment) -> bool:
    return not m.state.confirmed and m.lasts(m.state.since, m.thresholds.crank_confirm_s)


def _crank_failed(m: Moment) -> bool:
    return m.state.confirmed and (m.reading.rpm == 0 or m.lasts(m.state.since, m.thresholds.crank_limit_s))


def _is_quiet(m: Moment) -> bool:
    return m.lasts(m.state.quiet_since, m.thresholds.ready_s)


def _drive_is_over(m: Moment) -> bool:
    return m.lasts(m.state.since, m.thresholds.post_drive_s)


_CUT_OFF: Final = (Effect.LAST_GASP, Effect.STOP_POLLING, Effect.STOP_UPLOADING)

NOTICES: Final[tuple[Rule, ...]] = (
    Rule(
        _ALL, "ignition goes ON: the line, or without one the ECU", _ignition_went_on, None, (Effect.IGNITION_ON,)
    ),
    Rule(
        _ALL,
        "ignition goes OFF: the line (in ready for {line_off_s} s, in cranking never), or without one the ECU "
        "silent for {ecu_silence_s} s",
        _ignition_went_off,
        None,
        (Effect.IGNITION_OFF,),
    ),
    Rule(
        _ALL,
        "uploading stopped and voltage ≥ {resume_v} V",
        lambda m: not m.state.uploading and _is_charged(m),
        None,
        (Effect.RESUMED,),
    ),
    Rule(
        tuple(phase for phase in _ALL if phase is not Phase.SUSPENDED),
        "voltage ≤ {low_v} V for {low_s} s or at {low_sentinel_readings} sentinel readings; not yet sent since "
        "≥ {resume_v} V, uploading not stopped, and not while the cut-off counts (≤ {cut_off_v} V, engine off)",
        _is_low,
        None,
        (Effect.LOW_VOLTAGE,),
    ),
    Rule(
        (Phase.READY,),
        "no line known, ignition not ON, voltage > {cut_off_v} V and changed by ≥ {change_v} V since the reading "
        "before, or there is none before, or risen to ≥ {resume_v} V",
        _suggests_ignition,
        None,
        (Effect.PROBE,),
    ),
    Rule(
        (Phase.SUSPENDED,),
        "{cut_off_readings} readings ≤ {cut_off_v} V and no last gasp is known to have been sent (the stored "
        "state was damaged)",
        lambda m: not m.state.last_gasp_sent and _is_drained(m),
        None,
        (Effect.LAST_GASP, Effect.STOP_UPLOADING),
    ),
)

TRANSITIONS: Final[tuple[Rule, ...]] = (
    Rule((Phase.SUSPENDED,), "line goes OFF → ON", lambda m: m.key_turned_on, Phase.READY),
    Rule((Phase.POST_DRIVE, Phase.SENTINEL), "line ON", lambda m: m.line_known and m.key_on, Phase.READY),
    Rule(
        (Phase.SUSPENDED,),
        "voltage ≥ {resume_v} V, line ON",
        lambda m: _is_charged(m) and m.line_known and m.key_on,
        Phase.READY,
    ),
    Rule(
        (Phase.SUSPENDED,),
        "voltage ≥ {resume_v} V, line OFF",
        lambda m: _is_charged(m) and m.line_known,
        Phase.SENTINEL,
    ),
    Rule((Phase.SUSPENDED,), "voltage ≥ {resume_v} V, no line known", _is_charged, Phase.READY, (Effect.PROBE,)),
    Rule((Phase.READY, Phase.CRANKING), "rpm ≥ {running_rpm}", _runs, Phase.RUNNING),
    Rule(
        (Phase.CRANKING,),
        "rpm > 0 not measured within {crank_confirm_s} s",
        _is_false_crank,
        Phase.READY,
    ),
    Rule(
        (Phase.CRANKING,),
        "confirmed, then rpm = 0, or {crank_limit_s} s over",
        _crank_failed,
        Phase.READY,
    ),
    Rule((Phase.READY,), "voltage ≥ {dip_v} V under its {median_s} s median", lambda m: m.dips, Phase.CRANKING),
    Rule(
        (Phase.READY,),
        "ignition ON, engine off, voltage ≤ {cut_off_v} V for {cut_off_key_on_s} s",
        lambda m: m.key_on and _is_drained_key_on(m),
        Phase.SUSPENDED,
        _CUT_OFF,
    ),
    Rule(
        (Phase.READY,),
        "ignition not ON, engine off, {cut_off_readings} readings ≤ {cut_off_v} V, {cut_off_spacing_s} s apart",
        lambda m: not m.key_on and _is_drained(m),
        Phase.SUSPENDED,
        _CUT_OFF,
    ),
    Rule(
        (Phase.READY,),
        "{ready_s} s without a start and without ignition",
        lambda m: _is_quiet(m) and m.state.uploading,
        Phase.SENTINEL,
    ),
    Rule(
        (Phase.READY,),
        "{ready_s} s without a start and without ignition, uploading stopped",
        _is_quiet,
        Phase.SUSPENDED,
        (Effect.STOP_POLLING,),
    ),
    Rule((Phase.RUNNING,), "ignition OFF", lambda m: m.state.ignition is False, Phase.POST_DRIVE),
    Rule(
        (Phase.RUNNING,),
        "engine off, voltage ≤ {cut_off_v} V for {cut_off_key_on_s} s",
        _is_drained_key_on,
        Phase.SUSPENDED,
        _CUT_OFF,
    ),
    Rule(
        (Phase.POST_DRIVE, Phase.SENTINEL),
        "engine off, {cut_off_readings} readings ≤ {cut_off_v} V",
        _is_drained,
        Phase.SUSPENDED,
        _CUT_OFF,
    ),
    Rule(
        (Phase.POST_DRIVE,),
        "no line known, voltage > {cut_off_v} V and changed by ≥ {change_v} V since the reading before",
        lambda m: m.before.last_v is not None and m.voltage_changed,
        Phase.READY,
        (Effect.PROBE,),
    ),
    Rule(
        (Phase.SENTINEL,),
        "no line known, voltage > {cut_off_v} V and changed by ≥ {change_v} V since the reading before, or there "
        "is none before",
        lambda m: m.voltage_changed,
        Phase.READY,
        (Effect.PROBE,),
    ),
    Rule(
        (Phase.POST_DRIVE,),
        "{post_drive_s} s over",
        lambda m: _drive_is_over(m) and m.state.uploading,
        Phase.SENTINEL,
    ),
    Rule(
        (Phase.POST_DRIVE,),
        "{post_drive_s} s over, uploading stopped",
        _drive_is_over,
        Phase.SUSPENDED,
        (Effect.STOP_POLLING,),
    ),
)


def rules_as_markdown(rules: tuple[Rule, ...], thresholds: Thresholds = THRESHOLDS) -> str:
    """The rules as a Markdown table, with the thresholds' numbers in place."""
    numbers = {name: f"{value:g}" for name, value in asdict(thresholds).items()}
    lines = ["| From | When | To | Actions |", "|---|---|---|---|"]
    for rule in rules:
        source = "any" if rule.source == _ALL else ", ".join(rule.source)
        effects = "; ".join(effect.value for effect in rule.effects) or "none of its own"
        lines.append(f"| {source} | {rule.when.format(**numbers)} | {rule.target or 'stays'} | {effects} |")
    return "\n".join(lines)
