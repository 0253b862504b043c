"""What is told: one alert in words, or several as a digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know.

    Attributes:
        episode_id: names the episode: it is told once over each channel.
        severity: how urgent it is.
        title: one line, without a VIN or a position.
        text: what it means and what to do.
        opened_at: when the episode began (UTC).
    """

    episode_id: str
    severity: Severity
    title: str
    text: str
    opened_at: datetime

    def is_at_least(self, severity: Severity) -> bool:
        """Whether it is as urgent as this, or more."""
        return SEVERITIES.index(self.severity) >= SEVERITIES.index(severity)


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel carries.

    Attributes:
        severity: the highest among its notices.
        subject: one line.
        body: plain text.
        notices: what it tells of.
    """

    severity: Severity
    subject: str
    body: str
    notices: tuple[Notice, ...]


def message_of(notices: Sequence[Notice]) -> Message:
    """One notice as it is, several as a digest with the most urgent first."""
    if not notices:
        raise ValueError("a message needs a notice")
    ordered = sorted(notices, key=lambda notice: (-SEVERITIES.index(notice.severity), notice.opened_at))
    worst = ordered[0].severity
    if len(ordered) == 1:
        (only,) = ordered
        return Message(worst, f"[{worst}] {only.title}", f"{only.text}\n\nSince {_when(only)}", (only,))
    lines = [f"[{notice.severity}] {notice.title}, since {_when(notice)}\n{notice.text}" for notice in ordered]
    return Message(worst, f"[{worst}] {len(ordered)} alerts", "\n\n".join(lines), tuple(ordered))


def _when(notice: Notice) -> str:
    return f"{notice.opened_at:%Y-%m-%d %H:%M} UTC"
