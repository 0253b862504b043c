"""Samples on their way into messages: held back around a start, put into rows, batched, given to a vehicle."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from smartdrive_edge.messages import KIND_OF_PHASE, Batch, Kind, Message, Phase, Telemetry

PRE_TRIGGER_S: Final = 5.0
"""How much voltage before a start is kept at its full rate; what is older is thinned to 1 Hz."""
THINNED_S: Final = 1.0
ROW_S: Final = 1.0
"""While the engine runs, values of so many seconds share a row, at the time of the first of them."""
MOST_UNATTRIBUTED: Final = 20_000
"""Rows that wait in memory until the car has told its VIN."""

Values = Mapping[str, float | None]
_VOLTAGE: Final = "ELM_VOLTAGE"
_THINNED: Final = {_VOLTAGE, "IGNITION"}


@dataclass(frozen=True, slots=True)
class _Row:
    phase: Phase
    t_ms: int
    values: Values


class Recorder:
    """Turns single values into messages of one vehicle.

    Args:
        batch_s: a message holds samples of at most so many seconds.

    Attributes:
        unattributed_drops: rows lost because no VIN was known for too long, by kind; the caller takes them.
    """

    def __init__(self, *, batch_s: float) -> None:
        self._batch_ms = round(batch_s * 1000)
        self._batch: Batch | None = None
        self._ring: deque[tuple[float, Values]] = deque()
        self._thinned_at = float("-inf")
        self._open: tuple[float, dict[str, float | None]] | None = None
        self._waiting: deque[_Row] = deque()
        self._phase: Phase = "ready"
        self.unattributed_drops: dict[Kind, int] = {}

    def attribute(self, vin: str | None) -> list[Message]:
        """Say whose samples these are, or that nobody knows; messages that are due by that."""
        if vin is None:
            done = self._flush_batch()
            self._batch = None
            return done
        if self._batch is not None and self._batch.vin == vin:
            return []
        done = self._flush_batch()
        self._batch = Batch(vin, flush_after_ms=self._batch_ms)
        waiting, self._waiting = self._waiting, deque()
        for row in waiting:
            done += self._batch.add(row.phase, row.t_ms, row.values)
        return done

    def add(self, phase: Phase, at: float, values: Values) -> list[Message]:
        """Take what one answer brought.

        Args:
            phase: of the policy, after it has seen these values.
            at: monotonic seconds, the middle between question and answer.
            values: by signal; nothing where nothing was measured.

        Returns:
            Messages that are complete.
        """
        done = self.enter(phase)
        if not values:
            return done
        if phase == "ready":
            self._ring.append((at, values))
            return done + self._thin(at)
        if phase == "running":
            return done + self._join(at, values)
        return done + self._put(phase, at, values)

    def enter(self, phase: Phase) -> list[Message]:
        """The policy entered a phase: what belongs to the one before is complete."""
        if phase == self._phase:
            return []
        is_start = self._phase == "ready" and phase == "cranking"
        # A start is one message with what led to it: what was measured before a dip tells how deep it is.
        ring, self._ring = (self._ring, deque()) if is_start else (deque(), self._ring)
        done = self.flush()
        self._phase = phase
        return done + [message for at, values in ring for message in self._put(phase, at, values)]

    def due(self, now: float) -> list[Message]:
        """Messages whose time has come."""
        done: list[Message] = []
        if self._open is not None and now - self._open[0] >= ROW_S:
            done = self._close_row()
        if self._batch is not None:
            done += self._batch.due(round(now * 1000))
        return done

    def flush(self) -> list[Message]:
        """Everything; rows that wait for a VIN stay."""
        return self._settle() + self._flush_batch()

    def abandon(self) -> Counter[Kind]:
        """Give up the rows that wait for a VIN, at the end; how many there were, by kind."""
        waiting, self._waiting = self._waiting, deque()
        return Counter(KIND_OF_PHASE[row.phase] for row in waiting)

    def _settle(self) -> list[Message]:
        """What is held back goes on its way, as rows of the phase that it belongs to."""
        return self._thin(float("inf")) + self._close_row()

    def _close_row(self) -> list[Message]:
        if self._open is None:
            return []
        (at, row), self._open = self._open, None
        return self._put("running", at, row)

    def _thin(self, now: float) -> list[Message]:
        done: list[Message] = []
        while self._ring and self._ring[0][0] < now - PRE_TRIGGER_S:
            at, values = self._ring.popleft()
            if values.keys() <= _THINNED and at < self._thinned_at + THINNED_S:
                continue
            if _VOLTAGE in values:
                self._thinned_at = at
            done += self._put("ready", at, values)
        return done

    def _join(self, at: float, values: Values) -> list[Message]:
        done: list[Message] = []
        if self._open is not None:
            began, row = self._open
            if at - began < ROW_S and not row.keys() & values.keys():
                row.update(values)
                return []
            done = self._put("running", began, row)
        self._open = (at, dict(values))
        return done

    def _put(self, phase: Phase, at: float, values: Values) -> list[Message]:
        row = _Row(phase, round(at * 1000), values)
        if self._batch is not None:
            return [*self._batch.add(row.phase, row.t_ms, row.values)]
        self._waiting.append(row)
        if len(self._waiting) > MOST_UNATTRIBUTED:
            kind = KIND_OF_PHASE[self._waiting.popleft().phase]
            self.unattributed_drops[kind] = self.unattributed_drops.get(kind, 0) + 1
        return []

    def _flush_batch(self) -> list[Message]:
        flushed: list[Telemetry] = self._batch.flush() if self._batch is not None else []
        return [*flushed]
