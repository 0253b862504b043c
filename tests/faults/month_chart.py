"""The simulated month as a picture: files, log and times by day, in plain SVG."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.faults.month import SimulatedDay

_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 110, 70, 34
_INK: Final = ("#1f6f8b", "#d1495b")


def draw(path: Path, days: Sequence[SimulatedDay]) -> None:
    """Write three panels: files, log entries, times."""
    panels: list[tuple[str, list[tuple[str, list[float]]]]] = [
        (
            "files of one table, at most",
            [
                ("by day", [day.most_files for day in days]),
                ("after the night", [max(day.files.values()) for day in days]),
            ],
        ),
        ("entries of one table's log, at most", [("after the night", [max(day.log.values()) for day in days])]),
        (
            "milliseconds, median",
            [
                ("micro-batch", [statistics.median(day.batch_ms) for day in days]),
                ("query of a day", [day.query_ms for day in days]),
            ],
        ),
    ]
    parts = [_panel(number, title, lines) for number, (title, lines) in enumerate(panels)]
    height = len(panels) * (_HEIGHT + _TOP) + 30
    axis = f'<text x="{_LEFT}" y="{height - 8}">day 1</text>'
    axis += f'<text x="{_LEFT + _WIDTH}" y="{height - 8}" text-anchor="end">day {len(days)}</text>'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join([*parts, axis])
        + "\n</svg>\n"
    )


def _panel(number: int, title: str, lines: list[tuple[str, list[float]]]) -> str:
    top = number * (_HEIGHT + _TOP) + _TOP
    most = max(max(values) for _, values in lines) or 1.0
    parts = [
        f'<text x="{_LEFT}" y="{top - 12}" font-weight="bold">{title}</text>',
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>',
        f'<text x="{_LEFT - 6}" y="{top + _HEIGHT}" text-anchor="end">0</text>',
        f'<path d="M{_LEFT} {top}V{top + _HEIGHT}H{_LEFT + _WIDTH}" fill="none" stroke="#999"/>',
    ]
    for (name, values), ink in zip(lines, _INK, strict=False):
        step = _WIDTH / max(1, len(values) - 1)
        points = " ".join(
            f"{_LEFT + at * step:.1f},{top + _HEIGHT * (1 - value / most):.1f}" for at, value in enumerate(values)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="2"/>')
        x = _LEFT + _WIDTH - (0 if ink == _INK[0] else 130)
        parts.append(f'<text x="{x}" y="{top - 12}" text-anchor="end" fill="{ink}">{name}</text>')
    return "\n".join(parts)
