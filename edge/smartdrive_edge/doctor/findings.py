"""A fact that the doctor found, judged, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smartdrive_edge.redaction import redact


class Verdict(StrEnum):
    """How a fact is judged: `warn` costs something but works, `FAIL` does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; what looks like a VIN is blotted out.

    Attributes:
        check: what was looked at, a stable name such as `serial port`.
        verdict: how it is.
        text: what was found.
        next_step: what to do; empty where there is nothing to do.
    """

    check: str
    verdict: Verdict
    text: str
    next_step: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", redact(" ".join(self.text.split())))
        object.__setattr__(self, "next_step", redact(self.next_step))


def ok(check: str, text: str) -> Finding:
    """It works."""
    return Finding(check, Verdict.OK, text)


def warn(check: str, text: str, next_step: str) -> Finding:
    """It works, at a price."""
    return Finding(check, Verdict.WARN, text, next_step)


def fail(check: str, text: str, next_step: str) -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAIL, text, next_step)
