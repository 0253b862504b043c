"""Which request comes next while the engine runs: speed and rpm each second, all other signals in turn.

Pure: time is passed in. An adapter answers 5 to 13 requests a second, so that signals share requests where the car
speaks CAN and the adapter bears it; what time is left goes to the signal whose age times its weight is greatest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from smartdrive_edge.adapter.requests import MAX_PIDS, VOLTAGE, Request, current
from smartdrive_edge.adapter.signals import BY_NAME

FAST_PERIOD_S: Final = 1.0
SLOW_PERIOD_S: Final = 5.0
FAST: Final = frozenset({"RPM", "SPEED"})
LONGEST_PERIOD_S: Final = 60.0

_ADAPTER_VOLTAGE: Final = "ELM_VOLTAGE"
_FOREVER_S: Final = 1e9
_MISSES_ALONE: Final = 3
_MISSES_IN_GROUP: Final = 2
# What is expected of the next request is nearer to the slow ones: up at once, down slowly.
_SMOOTHING_UP: Final = 0.5
_SMOOTHING_DOWN: Final = 0.05
_FIRST_LATENCY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Wanted:
    """A signal: `ELM_VOLTAGE` or a name of the catalogue. Weight 2 is asked twice as often where time is short."""

    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.name != _ADAPTER_VOLTAGE and self.name not in BY_NAME:
            raise ValueError(f"{self.name} is no signal of service 01")
        if not self.weight > 0:
            raise ValueError(f"the weight of {self.name} is {self.weight}, not positive")


@dataclass(slots=True)
class _Turn:
    wanted: Wanted
    may_group: bool
    asked_at: float = float("-inf")
    period_s: float = SLOW_PERIOD_S
    misses: int = 0
    group_misses: int = 0
    on_trial: bool = False

    @property
    def pid(self) -> int:
        return BY_NAME[self.wanted.name].pid


class Rotation:
    """Chooses requests and learns from what came back.

    Args:
        signals: What to read; those that the car does not support are the caller's to leave out.
        is_can: Whether one request may ask for several PIDs.
    """

    def __init__(self, signals: Iterable[Wanted], *, is_can: bool) -> None:
        self._turns = {wanted.name: _Turn(wanted, is_can and _is_groupable(wanted.name)) for wanted in signals}
        for name in FAST & self._turns.keys():
            self._turns[name].period_s = FAST_PERIOD_S
        self._latency_s = _FIRST_LATENCY_S

    def next_request(self, now: float) -> Request | None:
        """What to ask now; None when nothing is due. Asking is taken for done.

        Args:
            now: Monotonic seconds, never before an earlier call's.
        """
        due = sorted(
            (turn for turn in self._turns.values() if self._is_due(turn, now)), key=lambda turn: _rank(turn, now)
        )
        if not due:
            return None
        first = due[0]
        group = [first]
        if _joins(first):
            group += [turn for turn in due[1:] if _joins(turn)][: MAX_PIDS - 1]
        for turn in group:
            turn.asked_at = now
        return VOLTAGE if first.wanted.name == _ADAPTER_VOLTAGE else current(*(turn.pid for turn in group))

    def wait_s(self, now: float) -> float:
        """How long nothing will be due, s."""
        return max(0.0, min((self._due_at(turn) for turn in self._turns.values()), default=now + 1.0) - now)

    def record(self, request: Request, asked_at: float, ended_at: float, answered: Collection[str]) -> None:
        """Learn from an outcome.

        Args:
            request: What was asked.
            asked_at: Monotonic seconds.
            ended_at: Monotonic seconds.
            answered: Names of the signals that came with a value.
        """
        rise = ended_at - asked_at - self._latency_s
        self._latency_s += (_SMOOTHING_UP if rise > 0 else _SMOOTHING_DOWN) * rise
        asked = [turn for turn in self._turns.values() if _is_asked(turn, request)]
        for turn in asked:
            _learn(turn, grouped=len(asked) > 1, answered=turn.wanted.name in answered)

    def _is_due(self, turn: _Turn, now: float) -> bool:
        return now >= self._due_at(turn)

    def _due_at(self, turn: _Turn) -> float:
        if turn.wanted.name not in FAST:
            return turn.asked_at + turn.period_s
        # Early by the requests that may stand before it: one under way, and the other fast one if it goes apart.
        apart = [other for other in self._turns.values() if other.wanted.name in FAST and not _joins(other)]
        ahead = 1 + sum(other is not turn for other in apart)
        return turn.asked_at + turn.period_s - min(self._latency_s * ahead, turn.period_s / 2)


def _rank(turn: _Turn, now: float) -> tuple[bool, float, str]:
    age_s = min(now - turn.asked_at, _FOREVER_S)
    return turn.wanted.name not in FAST, -age_s * turn.wanted.weight, turn.wanted.name


def _is_groupable(name: str) -> bool:
    return name in BY_NAME and BY_NAME[name].is_groupable


def _joins(turn: _Turn) -> bool:
    return turn.may_group and not turn.on_trial


def _is_asked(turn: _Turn, request: Request) -> bool:
    if turn.wanted.name == _ADAPTER_VOLTAGE:
        return request == VOLTAGE
    return request.mode == 1 and turn.pid in request.pids


def _learn(turn: _Turn, *, grouped: bool, answered: bool) -> None:
    """Leave the group after two misses in it if the signal answers alone; ask more rarely what never answers."""
    if answered:
        if turn.on_trial and not grouped:
            turn.may_group = turn.on_trial = False
        turn.misses = turn.group_misses = 0
        if turn.wanted.name not in FAST:
            turn.period_s = SLOW_PERIOD_S
    elif grouped:
        turn.group_misses += 1
        turn.on_trial = turn.group_misses >= _MISSES_IN_GROUP
    else:
        turn.on_trial = False
        turn.group_misses = 0
        turn.misses += 1
        if turn.misses >= _MISSES_ALONE and turn.wanted.name not in FAST:
            turn.period_s = min(2 * turn.period_s, LONGEST_PERIOD_S)
