"""Scans of trouble codes and the engine lamp: one request per turn, so that sampling goes on in between."""

from __future__ import annotations

from typing import Final

from smartdrive_edge.adapter.answers import Answer, Outcome
from smartdrive_edge.adapter.decode import CODE_SERVICES, decode_codes, decode_lamp
from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.requests import Request

FIRST_AFTER_S: Final = 20.0
_LAMP: Final = "mil"
_REQUESTS: Final = {**{status: f"{service:02X}" for status, service in CODE_SERVICES.items()}, _LAMP: "0101"}
"""What is asked in a scan, by the name under which `dtc_scan` tells it."""


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
            self._left = list(_REQUESTS)
            self._found = {}
        return Request(_REQUESTS[self._left[0]])

    def take(self, outcome: Outcome, car: Car) -> dict[str, object] | None:
        """Take the outcome of that request; the detail of `dtc_scan` once all are there, one list at least."""
        asked = self._left.pop(0)
        self._found[asked] = _found(asked, outcome, car) if isinstance(outcome, Answer) else None
        if self._left or not any(self._found[status] is not None for status in CODE_SERVICES):
            return None
        return dict(self._found)


def _found(asked: str, answer: Answer, car: Car) -> object:
    """What an answer tells: none is an empty list, and None is what was not answered."""
    if asked == _LAMP:
        return decode_lamp(answer.lines, car.dialect)
    codes = decode_codes(answer.lines, CODE_SERVICES[asked], car.dialect)
    return None if codes is None else [{"code": c.code, "title": c.title} for c in codes]
