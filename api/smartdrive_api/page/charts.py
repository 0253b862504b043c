"""Charts as numbers: where points, bars and ticks lie. The templates draw them as SVG, for any width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from smartdrive_api.figures.answers import BatteryDay, Trip

_WIDTH: Final = 640
_HEIGHT: Final = 240
_LEFT: Final = 56
_RIGHT: Final = 632
_TOP: Final = 12
_BOTTOM: Final = 212
_WARNING_PCT: Final = 80.0  # the design's line for the state of health
_MOST_BARS: Final = 40
_NEWEST: Final = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """Something at a place of a chart: a point, a bar, a line over its whole width, or a tick's text."""

    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    text: str = ""
    kind: str = ""
    status: str = ""
    anchor: str = "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What charts share: their size, the lines across, and the texts below."""

    title: str
    lines: list[Mark]
    ticks: list[Mark]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _RIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryChart(Chart):
    """State of health by day, with its interval."""

    days: list[BatteryDay]
    points: list[Mark]
    path: str
    band: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TripsChart(Chart):
    """Distances of the last trips, the oldest on the left."""

    bars: list[Mark]
    newest: list[Trip] = field(default_factory=list)


def battery_chart(days: Sequence[BatteryDay]) -> BatteryChart:
    """A chart of the days that have a state of health, in order."""
    known = [day for day in days if day.soh_pct is not None]
    values = [value for day in known for value in (day.soh_pct, day.soh_low_pct) if value is not None]
    low = min(50.0, *(math.floor(value / 10) * 10 for value in values)) if values else 50.0
    low = max(0.0, low)

    def up(value: float) -> float:
        return round(_BOTTOM - (min(max(value, low), 100.0) - low) / (100.0 - low) * (_BOTTOM - _TOP), 1)

    across = _scale(known[0].event_date, known[-1].event_date) if known else None
    points = [
        Mark(
            x=across(day.event_date),
            y=up(day.soh_pct),
            status=day.status,
            text=f"{day.event_date}: {day.soh_pct:.1f} %",
        )
        for day in known
        if across is not None and day.soh_pct is not None
    ]
    edges = [
        (point.x, up(day.soh_low_pct), up(day.soh_high_pct))
        for point, day in zip(points, known, strict=True)
        if day.soh_low_pct is not None and day.soh_high_pct is not None
    ]
    outline = [*((x, high) for x, _, high in edges), *((x, lower) for x, lower, _ in reversed(edges))]
    return BatteryChart(
        title=_battery_title(known),
        lines=[
            *(Mark(y=up(value), text=f"{value:.0f}", kind="grid") for value in (low, 100.0)),
            Mark(y=up(_WARNING_PCT), text=f"{_WARNING_PCT:.0f}", kind="limit"),
        ],
        ticks=_ticks(known[0].event_date, known[-1].event_date) if known else [],
        days=[*days],
        points=points,
        path=" ".join(f"{point.x},{point.y}" for point in points),
        band=" ".join(f"{x},{y}" for x, y in outline) if len(edges) > 1 else "",
    )


def trips_chart(newest_first: Sequence[Trip]) -> TripsChart:
    """A chart of the last trips.

    Args:
        newest_first: trips as the pages of trips have them.
    """
    shown = [*reversed(newest_first[:_MOST_BARS])]
    most = max((trip.distance_km or 0.0 for trip in shown), default=0.0)
    top = _round_up(most)
    step = (_RIGHT - _LEFT) / max(len(shown), 1)
    bars = []
    for number, trip in enumerate(shown):
        height = round((trip.distance_km or 0.0) / top * (_BOTTOM - _TOP), 1)
        bars.append(
            Mark(
                x=round(_LEFT + number * step + step * 0.1, 1),
                y=round(_BOTTOM - height, 1),
                width=round(step * 0.8, 1),
                height=height,
                text=f"{trip.started_at:%Y-%m-%d %H:%M}: {_km(trip.distance_km)}",
            )
        )
    return TripsChart(
        title=f"Distance of the last {len(shown)} trips, at most {most:.1f} km",
        lines=[Mark(y=_BOTTOM, text="0", kind="grid"), Mark(y=_TOP, text=f"{top:g}", kind="grid")],
        ticks=_ticks(shown[0].started_at.date(), shown[-1].started_at.date()) if shown else [],
        bars=bars,
        newest=[*newest_first[:_NEWEST]],
    )


def _battery_title(known: Sequence[BatteryDay]) -> str:
    if not known:
        return "State of health: not known of any day"
    first, last = known[0], known[-1]
    return (
        f"State of health by day: {first.soh_pct:.0f} % on {first.event_date}, "
        f"{last.soh_pct:.0f} % on {last.event_date}; the battery shows its age below {_WARNING_PCT:.0f} %"
    )


class _scale:  # noqa: N801 - used as a function
    """Days from left to right; a single day lies in the middle."""

    def __init__(self, first: date, last: date) -> None:
        self._first, self._days = first, (last - first).days

    def __call__(self, day: date) -> float:
        share = (day - self._first).days / self._days if self._days else 0.5
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def _ticks(first: date, last: date) -> list[Mark]:
    if first == last:
        return [Mark(x=(_LEFT + _RIGHT) / 2, text=first.isoformat())]
    return [
        Mark(x=_LEFT, text=first.isoformat(), anchor="start"),
        Mark(x=_RIGHT, text=last.isoformat(), anchor="end"),
    ]


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 and so on."""
    if value <= 1.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)


def _km(distance: float | None) -> str:
    return "distance not known" if distance is None else f"{distance:.1f} km"
