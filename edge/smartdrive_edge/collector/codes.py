"""Scans of trouble codes: one service per turn, so that sampling goes on in between."""

from __future__ import annotations

from typing import Final

from smartdrive_edge.adapter.answers import Answer, Outcome
from smartdrive_edge.adapter.decode import CODE_SERVICES, decode_codes
from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.requests import Request

FIRST_AFTER_S: Final = 20.0


class CodeScan:
    """When to ask for which codes, and what came.

    Args:
        every_s: between two scans of one drive.
    """

    def __init__(self, *, every_s: float) -> None:
        self._every_s = every_s
        self._due_at = float("inf")
        self._left: list[str] = []
        self._found: dict[str, object] = {}

    def begin(self, now: float) -> None:
        """A drive begins; its first scan comes when the engine has run for a while."""
        self._due_at = now + FIRST_AFTER_S
        self._left, self._found = [], {}

    def is_due(self, now: float) -> bool:
        """Whether there is something to ask."""
        return bool(self._left) or now >= self._due_at

    def next_request(self, now: float) -> Request:
        """What to ask, once that is due."""
        if not self._left:
            self._due_at = now + self._every_s
            self._left = list(CODE_SERVICES)
            self._found = {}
        return Request(f"{CODE_SERVICES[self._left[0]]:02X}")

    def take(self, outcome: Outcome, car: Car) -> dict[str, object] | None:
        """Take the outcome of that request; the detail of `dtc_scan` once all are there and any was answered."""
        status = self._left.pop(0)
        codes = None
        if isinstance(outcome, Answer):
            codes = decode_codes(outcome.lines, CODE_SERVICES[status], car.dialect)
        # Not answered is null; none is an empty list.
        self._found[status] = None if codes is None else [{"code": c.code, "title": c.title} for c in codes]
        if self._left or not any(value is not None for value in self._found.values()):
            return None
        return dict(self._found)
