"""A mapping for a log of unknown format, where its names, units and values leave one reading only.

A name says which signal a column is (`names`); its unit is what the name or the cells say, else what the values or
the log's other units leave as the only one. Where two readings are left the user is asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from smartdrive_dagster.landing.recorded.format_model import Decimal
from smartdrive_dagster.landing.recorded.meter import number_and_unit
from smartdrive_dagster.landing.recorded.names import Meaning, is_unit, meaning_of, split_unit
from smartdrive_dagster.landing.recorded.plausible import could_be_fractions, is_plausible, likely_units
from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, UnitError, parse_unit, to_contract

_HALF: Final = 0.5
_AGREE: Final = 0.98
_MANY: Final = 3
_METRIC: Final = frozenset({"km/h", "km", "°C"})
_IMPERIAL: Final = frozenset({"mph", "mi", "°F"})
LEAVE_OUT: Final = "-"
OTHER_UNITS: Final = "the log's other units"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of one column or PID.

    Attributes:
        name: as the log has it.
        signal: of the contract; None where it is not imported.
        unit: in which the log has it; None where each row says so.
        because: how the unit is known, or why it is not imported.
    """

    name: str
    signal: str | None
    unit: str | None = None
    because: str = ""


@dataclass
class Plans:
    """Plans for all columns, and what has to be asked before they hold."""

    plans: dict[str, Plan] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A column's numbers, and the unit behind them if most have the same."""

    values: tuple[float, ...]
    unit: str | None
    share: float
    is_empty: bool


def plan_columns(
    cells: Mapping[str, Sequence[str]],
    decimal: Decimal,
    choices: Mapping[str, str],
    row_units: Mapping[str, str | None] | None = None,
) -> Plans:
    """Plan columns by their names and cells.

    Args:
        cells: by column or PID, those that hold something.
        decimal: how numbers are written.
        choices: what the user has said, by name: ``SIGNAL``, ``SIGNAL:unit`` or ``-``.
        row_units: what a row of units says of each column, or a column of units in most rows of each PID.
    """
    measured = {name: _measure(texts, decimal) for name, texts in cells.items()}
    found = Plans()
    for name in cells:
        found.plans[name] = _first_plan(name, measured[name], choices, row_units)
    _choose_among_equals(found, measured)
    _find_units(found, measured, row_units)
    for name, plan in found.plans.items():
        if plan.signal is not None and plan.unit is not None and name not in choices:
            found.plans[name] = _judged(plan, measured[name])
    return found


def _first_plan(
    name: str, measured: _Measured, choices: Mapping[str, str], row_units: Mapping[str, str | None] | None
) -> Plan:
    if name in choices:
        chosen, _, said = choices[name].partition(":")
        if chosen == LEAVE_OUT:
            return Plan(name, None, because="left out as you say")
        return Plan(name, chosen, said or measured.unit or _unit_in(name, chosen), "you say so")
    meaning = meaning_of(name.partition("#")[0] or name)
    if measured.is_empty and meaning.signal and meaning.unit and _converts(meaning.signal, meaning.unit):
        return Plan(name, meaning.signal, meaning.unit, "the name")  # there may be values in rows not looked at
    if reason := _obstacle(measured, meaning):
        return Plan(name, None, because=reason)
    signal = meaning.signal or ""
    row_unit = (row_units or {}).get(name)
    known: list[tuple[str | None, str]] = [
        (row_unit, "the rows"),
        (measured.unit, "the cells"),
        (meaning.unit, "the name"),
    ]
    if not UNIT_OF_SIGNAL[signal]:
        known.append(("", "has none"))
    unit, source = next((pair for pair in known if pair[0] or pair[1] == "has none"), (None, ""))
    if unit and not _converts(signal, unit):
        return Plan(name, None, because=f"is in {unit}, which does not measure {signal}")
    return Plan(name, signal, unit, source)


def _obstacle(measured: _Measured, meaning: Meaning) -> str:
    """Why a column gives no signal; empty where it does."""
    if not measured.values:
        return "empty" if measured.is_empty else "holds no numbers"
    if meaning.signal is None:
        return meaning.reason
    return "most of its cells are no numbers" if measured.share < _HALF else ""


def _choose_among_equals(found: Plans, measured: Mapping[str, _Measured]) -> None:
    """Let one column give each signal."""
    by_signal: dict[str, list[str]] = {}
    for name, plan in found.plans.items():
        if plan.signal:
            by_signal.setdefault(plan.signal, []).append(name)
    for signal, names in by_signal.items():
        said = [name for name in names if found.plans[name].because == "you say so"]
        first = said or [name for name in names if not meaning_of(name).is_second_choice] or names
        first = [name for name in first if measured[name].values] or first
        best, *rest = first
        differing = [name for name in rest if not _agree(found.plans, measured, best, name)]
        if differing:
            ways = ", ".join(f'--column "{name}={LEAVE_OUT}"' for name in (best, *differing))
            listed = ", ".join(map(repr, (best, *differing)))
            found.questions.append(
                f"{listed} can all be {signal}, and they differ: leave out all but one ({ways})"
            )
        for name in names:
            if name != best and name not in differing:
                found.plans[name] = Plan(name, None, because=f"{signal} as well, which {best!r} gives")


def _agree(plans: Mapping[str, Plan], measured: Mapping[str, _Measured], one: str, other: str) -> bool:
    a, b = measured[one].values, measured[other].values
    units = plans[one].unit, plans[other].unit
    signal = plans[one].signal or ""
    if len(a) != len(b) or (units[0] is None) != (units[1] is None):
        return False
    to = [to_contract(signal, unit) if unit else float for unit in units]
    pairs = ((to[0](x), to[1](y)) for x, y in zip(a, b, strict=True))
    good = sum(math.isclose(x, y, rel_tol=0.02, abs_tol=0.5) for x, y in pairs)
    return good >= _AGREE * len(a)


def _find_units(
    found: Plans, measured: Mapping[str, _Measured], row_units: Mapping[str, str | None] | None
) -> None:
    """Give the columns without a unit the only one that is left."""
    plans = found.plans
    own = [name for name in plans if name in UNIT_OF_SIGNAL]  # to the letter: written by python-OBD
    open_plans: list[Plan] = []
    for name, plan in plans.items():
        if plan.signal is None or plan.unit is not None:
            continue
        units = likely_units(plan.signal, measured[name].values)
        wanted = UNIT_OF_SIGNAL[plan.signal]
        if could_be_fractions(plan.signal, measured[name].values):
            found.questions.append(
                f"{name!r} never exceeds 1: percent, or a fraction? If it is percent pass "
                f'--column "{name}={plan.signal}:%", else a mapping file with scale: 100, or '
                f'--column "{name}={LEAVE_OUT}"'
            )
        elif not units:
            plans[name] = Plan(
                name, None, because=f"its values ({_span(measured[name])}) are none of {plan.signal}"
            )
        elif name in own and len(own) >= _MANY and wanted in units:
            plans[name] = replace(plan, unit=wanted, because="the name is python-OBD's")
        elif len(units) == 1:
            plans[name] = replace(plan, unit=units[0], because="the values")
        else:
            open_plans.append(plan)
    for plan in open_plans:
        units = likely_units(plan.signal or "", measured[plan.name].values)
        unit = _by_neighbours(units, plans.values(), row_units or {})
        if unit is not None:
            plans[plan.name] = replace(plan, unit=unit, because=OTHER_UNITS)
            continue
        ways = " or ".join(f'--column "{plan.name}={plan.signal}:{unit}"' for unit in units)
        found.questions.append(
            f"{plan.name!r} is {plan.signal}, but in {' or '.join(units)}? ({_span(measured[plan.name])}) "
            f"Pass {ways}"
        )


def _by_neighbours(units: Sequence[str], plans: Iterable[Plan], row_units: Mapping[str, str | None]) -> str | None:
    """The unit that fits those of the log's other columns: of the same quantity, else of the same system."""
    named = {unit for plan in plans if (unit := plan.unit or split_unit(plan.name)[1] or row_units.get(plan.name))}
    same = [unit for unit in units if any(_is_same(unit, other) for other in named)]
    if len(same) == 1:
        return same[0]
    metric = any(_is_same(unit, other) for unit in _METRIC for other in named)
    imperial = any(_is_same(unit, other) for unit in _IMPERIAL for other in named)
    if metric == imperial:
        return None
    system = _METRIC if metric else _IMPERIAL
    fitting = [unit for unit in units if unit in system]
    return fitting[0] if len(fitting) == 1 else None


def _judged(plan: Plan, measured: _Measured) -> Plan:
    if plan.signal is None or is_plausible(plan.signal, plan.unit or None, measured.values):
        return plan
    unit = f" {plan.unit}" if plan.unit else ""
    return Plan(plan.name, None, because=f"its values ({_span(measured)}{unit}) are none of {plan.signal}")


def _measure(texts: Sequence[str], decimal: Decimal) -> _Measured:
    units: Counter[str] = Counter()
    values = []
    for text in texts:
        try:
            value, unit = number_and_unit(text, decimal)
        except ValueError:
            continue
        if math.isfinite(value) and (not unit or is_unit(unit)):
            values.append(value)
            units[unit.strip()] += 1
    share = len(values) / len(texts) if texts else 1.0
    unit, count = units.most_common(1)[0] if units else ("", 0)
    return _Measured(tuple(values), unit if unit and count >= _HALF * len(values) else None, share, not texts)


def _span(measured: _Measured) -> str:
    return f"{min(measured.values):g} to {max(measured.values):g}"


def _unit_in(name: str, signal: str) -> str | None:
    unit = meaning_of(name).unit
    return unit if unit and _converts(signal, unit) else None


def _converts(signal: str, unit: str) -> bool:
    try:
        to_contract(signal, unit)
    except UnitError:
        return False
    return True


def _is_same(one: str, other: str) -> bool:
    try:
        return parse_unit(one) == parse_unit(other)
    except UnitError:
        return False
