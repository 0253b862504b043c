"""The tables that `edge/docs/policy.md` shows are the rules that the machine applies."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

import pytest
from smartdrive_edge.policy import (
    ASKING,
    NOTICES,
    RESTING,
    THRESHOLDS,
    TRANSITIONS,
    Action,
    Phase,
    Plan,
    Reading,
    Rule,
    State,
    from_json,
    machine,
    rules_as_markdown,
    step,
    to_json,
)

PAGE = (Path(__file__).parents[1] / "docs" / "policy.md").read_text()
Life: TypeAlias = list[tuple[Phase, Phase, tuple[Action, ...]]]
RULES = [("TRANSITIONS", rule) for rule in TRANSITIONS] + [("NOTICES", rule) for rule in NOTICES]


def named(of_table: tuple[str, Rule]) -> str:
    """A test's name of letters, digits and hyphens: tools that run single tests stumble over others."""
    rule = of_table[1]
    return re.sub(r"[^a-z0-9_]+", "-", f"{rule.source[0]}-{rule.when}".lower()).strip("-")


def plan_in_words(plan: Plan) -> str:
    words = {
        "voltage_every_s": "voltage every {:g} s",
        "rpm_every_s": "RPM every {:g} s",
        "rpm_every_nth": "RPM every {:g}th request",
        "speed_every_s": "SPEED every {:g} s",
        "rotation_every_s": "each other PID at most every {:g} s",
    }
    asked = asdict(plan)
    return ", ".join(text.format(asked[name]) for name, text in words.items() if asked[name] is not None)


def first_plan(state: State, reading: Reading) -> Plan:
    plan = step(state, reading, 0.0)[0].plan
    assert plan is not None
    return plan


def sampling() -> list[str]:
    ready = first_plan(State(ignition=True), Reading(ignition=True))
    listening = first_plan(State(), Reading())
    cranking = first_plan(State(phase=Phase.CRANKING), Reading())
    running = first_plan(State(phase=Phase.RUNNING), Reading())
    rows = [
        f"| ready | {plan_in_words(ready)}; ignition not ON: {plan_in_words(listening)} |",
        f"| cranking | {plan_in_words(cranking)} |",
        f"| running | {plan_in_words(running)} |",
    ]
    return rows + [
        f"| {phase} | one voltage reading every {THRESHOLDS.resting_period_s(phase):g} s |" for phase in RESTING
    ]


@pytest.mark.parametrize("table", [NOTICES, TRANSITIONS], ids=["notices", "transitions"])
def test_the_page_shows_the_rules(table: tuple[Rule, ...]) -> None:
    expected = rules_as_markdown(table)
    assert expected in PAGE, f"paste this table into edge/docs/policy.md:\n{expected}"


def test_the_page_shows_no_other_rows() -> None:
    shown = {line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line}
    tables = [*rules_as_markdown(NOTICES).splitlines(), *rules_as_markdown(TRANSITIONS).splitlines(), *sampling()]
    assert shown - set(tables) == {"| Phase | Sampling |"}


def test_the_page_shows_the_sampling_of_each_phase() -> None:
    assert [row for row in sampling() if row not in PAGE.splitlines()] == []


def walk(seed: int, steps: int) -> Life:
    """A plausible life, quickly: keys turn, starters pull, batteries sag, chargers come, processes die."""
    chance = random.Random(seed)
    state = from_json("{" if chance.random() < 0.2 else None)
    has_line, now, seen = chance.random() < 0.5, 0.0, []
    key, engine, base = False, False, 12.6
    ease = chance.choice([0.005, 0.01, 0.02, 0.05, 0.3])
    is_weak = chance.random() < 0.4  # and the alternator does not charge
    for _ in range(steps):
        if chance.random() < ease:
            key = chance.random() < 0.5
            engine = key and chance.random() < 0.5
            base = chance.choice([11.4, 11.4, 11.9, 12.4] if is_weak else [11.2, 11.4, 12.0, 12.3, 12.6, 13.2])
        if chance.random() < 0.001:
            state, now = from_json(to_json(state)), 0.0
        voltage = 14.1 if engine and base > 12 and not is_weak else base
        if key and chance.random() < 0.05:
            voltage = 9.5
        is_asked = state.plan is not None and state.phase in ASKING
        rpm = (chance.choice([0.0, 250.0, 900.0]) if engine else 0.0) if key and is_asked else None
        reading = Reading(
            voltage_v=None if chance.random() < 0.1 else voltage,
            rpm=rpm if chance.random() < 0.5 else None,
            ignition=key if has_line else None,
        )
        before = state
        now = state.wake_at if state.clock is not None else now
        if state.phase in ASKING:
            now += chance.choice([0.0, 0.9, 9.0, 9.9])
        state, actions = step(state, reading, now)
        seen.append((before.phase, state.phase, actions))
    return seen


def play(stored: str | None, *readings: Reading) -> Life:
    """Readings as they come, 9 s late in the phases that sample without end."""
    state, now, seen = from_json(stored), 0.0, []
    for reading in readings:
        before = state
        state, actions = step(state, reading, now)
        seen.append((before.phase, state.phase, actions))
        now = state.wake_at + (0 if state.phase in RESTING else 9)
    return seen


ON_LOW = Reading(11.4, ignition=True)
STARTED = Reading(12.4, 900, ignition=True)
OFF = Reading(12.3, ignition=False)
CHARGED = Reading(13.2, ignition=False)


def lives() -> Iterator[Life]:
    """All that happens in them, one after the other: what is rare is scripted."""
    yield play(None, *[ON_LOW] * 12, Reading(13.2, ignition=True))
    yield play("{", ON_LOW, STARTED, *[OFF] * 32)
    yield play("{", ON_LOW, *[OFF] * 40)
    yield play("{", OFF, CHARGED)
    for seed in range(20):
        yield walk(seed, 600)


def test_every_change_of_phase_is_a_row_of_the_table() -> None:
    rows = {(source, rule.target) for rule in TRANSITIONS for source in rule.source}
    changes = {(old, new) for life in lives() for old, new, _ in life if old is not new}
    assert changes == rows


@pytest.fixture(scope="module")
def lived() -> list[Life]:
    return list(lives())


@pytest.mark.parametrize(("table", "rule"), RULES, ids=map(named, RULES))
def test_without_any_one_rule_the_machine_behaves_otherwise(
    table: str, rule: Rule, lived: list[Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, table, tuple(other for other in getattr(machine, table) if other is not rule))
    assert any(life != expected for life, expected in zip(lives(), lived, strict=True))
