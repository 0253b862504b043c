"""The evaluation of battery health as tables, for terminal and page, and as plots."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.battery_judgement import Cell, Verdict, share
from smartdrive_dagster.fleet.battery_model import STEP_S, Adapter, Car
from smartdrive_dagster.fleet.battery_readings import readings

DOCS: Final = Path(__file__).parents[1] / "docs"
_BEGINS: Final = "<!-- written by benchmarks/battery_eval.py: begin -->"
_ENDS: Final = "<!-- end -->"
HEADINGS: Final = (
    *("rate, Hz", "noise, V", "found", "plateau", "conclusive", "plateau error, V", "SoH error, points"),
    *("95 % within", "interval holds", "false alarms", "misses"),
)
BAND_HEADINGS: Final = ("true SoH", "days", "SoH error, points", "called critical")
TEMPERATURE_HEADINGS: Final = ("°C", "days", "SoH error, points", "false alarms", "misses")
COLD_HEADINGS: Final = ("cold, times the model's", "SoH error, points", "interval holds", "false alarms", "misses")
_BANDS: Final = (("under 40", 40), ("40 to 55", 55), ("55 to 60", 60), ("60 to 65", 65), ("65 to 70", 70))
_SOH_BANDS: Final = (*_BANDS, ("70 to 80", 80), ("80 and more", 1000))
_TEMPERATURES: Final = (("under -5", -5), ("-5 to 5", 5), ("5 to 15", 15), ("15 to 25", 25), ("25 and more", 1000))
_COLOURS: Final = ("#1f77b4", "#d95f02", "#7a1fa2")


def cell_row(cell: Cell) -> tuple[str, ...]:
    """One line of the main table."""
    errors = cell.soh_errors
    return (
        f"{cell.rate_hz:.0f}",
        f"{cell.noise_v:.2f}",
        f"{cell.found} of {cell.starts}",
        _percent(cell.plateaus / cell.starts),
        _percent(cell.conclusive / cell.starts),
        _mean_sd(cell.plateau_errors_v, 3),
        _mean_sd(errors, 1),
        f"{sorted(map(abs, errors))[int(0.95 * len(errors))]:.1f}" if errors else "-",
        _percent(cell.held),
        _of(cell.false_alarms, sum(not one.is_critical for one in cell.decided)),
        _of(cell.misses, sum(one.is_critical for one in cell.decided)),
    )


def band_rows(cell: Cell) -> list[tuple[str, ...]]:
    """The verdicts by true state of health: where the errors are."""

    def row(label: str, part: Cell) -> tuple[str, ...]:
        called = share([one.status == "critical" for one in part.decided])
        return (label, str(len(part.decided)), _mean_sd(part.soh_errors, 1), _percent(called))

    return [row(label, part) for label, part in _parts(cell, _SOH_BANDS, lambda one: one.true_soh_pct)]


def temperature_rows(cell: Cell) -> list[tuple[str, ...]]:
    """The verdicts by the true temperature of the day's start."""
    return [
        (
            label,
            str(len(part.decided)),
            _mean_sd(part.soh_errors, 1),
            _percent(part.false_alarms),
            _percent(part.misses),
        )
        for label, part in _parts(cell, _TEMPERATURES, lambda one: one.temperature_c)
    ]


def cold_row(cold: float, cell: Cell) -> tuple[str, ...]:
    """One line of the table of cars that feel the cold more or less."""
    return (
        f"{cold:.1f}",
        _mean_sd(cell.soh_errors, 1),
        _percent(cell.held),
        _percent(cell.false_alarms),
        _percent(cell.misses),
    )


def _parts(
    cell: Cell, bands: Sequence[tuple[str, float]], of: Callable[[Verdict], float]
) -> list[tuple[str, Cell]]:
    """A cell's decided days by bands, each named and ended by its upper end."""
    found, low = [], float("-inf")
    for label, high in bands:
        inside = tuple(one for one in cell.decided if low <= of(one) < high)
        found.append((label, replace(cell, verdicts=inside)))
        low = high
    return found


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.1f} %"


def _of(part: float | None, count: int) -> str:
    return "-" if part is None else f"{_percent(part)} of {count}"


def _mean_sd(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    return f"{statistics.fmean(values):+.{digits}f} ± {statistics.pstdev(values):.{digits}f}"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for the page."""
    lines = ["| " + " | ".join(headings) + " |", "|" + "---:|" * len(headings)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def show(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for the terminal."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def write_page(tables: Sequence[str]) -> None:
    """Renew the tables of the page, each between its own pair of comments."""
    page = DOCS / "explanation/battery.md"
    before, *parts = page.read_text().split(_BEGINS)
    if len(parts) != len(tables):
        raise SystemExit(f"{page} has {len(parts)} places for tables, not {len(tables)}")
    renewed = (
        f"{_BEGINS}\n\n{table}\n\n{_ENDS}{part.partition(_ENDS)[2]}"
        for table, part in zip(tables, parts, strict=True)
    )
    page.write_text(before + "".join(renewed))


class Plot:
    """A plot as SVG: axes with ticks, and whatever is drawn into it."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, x_label: str, y_label: str) -> None:
        self._x, self._y = x, y
        self._width, self._height, self._left, self._top, self._bottom = 720, 400, 64, 20, 56
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {self._height}" '
            'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
            f'<text x="{self._width / 2}" y="{self._height - 8}" text-anchor="middle">{x_label}</text>',
            f'<text transform="translate(14 {self._height / 2}) rotate(-90)" text-anchor="middle">'
            f"{y_label}</text>",
        ]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the data lies."""
        (x0, x1), (y0, y1) = self._x, self._y
        width, height = self._width - self._left - 20, self._height - self._top - self._bottom
        return (
            round(self._left + (x - x0) / (x1 - x0) * width, 1),
            round(self._top + (y1 - y) / (y1 - y0) * height, 1),
        )

    def ticks(self, xs: Iterable[tuple[float, str]], ys: Iterable[tuple[float, str]]) -> None:
        """Grid lines with their labels."""
        for at, label in xs:
            x, bottom = self.place(at, self._y[0])
            self._parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
        for at, label in ys:
            x, y = self.place(self._x[0], at)
            end, _ = self.place(self._x[1], at)
            self._parts.append(f'<line x1="{x}" x2="{end}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            self._parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{label}</text>')

    def band(self, first: float, last: float, colour: str) -> None:
        """A coloured range of x over the whole height."""
        (x0, top), (x1, bottom) = self.place(first, self._y[1]), self.place(last, self._y[0])
        size = f'width="{round(x1 - x0, 1)}" height="{round(bottom - top, 1)}"'
        self._parts.append(f'<rect x="{x0}" y="{top}" {size} fill="{colour}"/>')

    def line(self, points: Iterable[tuple[float, float]], colour: str, dash: str = "none") -> None:
        """A line through points."""
        path = " ".join(f"{x},{y}" for x, y in (self.place(*point) for point in points))
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6" '
            f'stroke-dasharray="{dash}"/>'
        )

    def dots(
        self, points: Iterable[tuple[float, float]], colour: str, radius: float, opacity: float = 0.5
    ) -> None:
        """Points."""
        for x, y in (self.place(*point) for point in points):
            style = f'fill="{colour}" fill-opacity="{opacity}"'
            self._parts.append(f'<circle cx="{x}" cy="{y}" r="{radius}" {style}/>')

    def legend(self, labels: Iterable[tuple[str, str]]) -> None:
        """Coloured words in the upper right."""
        for number, (label, colour) in enumerate(labels):
            y = self._top + 14 + 16 * number
            self._parts.append(
                f'<text x="{self._width - 26}" y="{y}" text-anchor="end" fill="{colour}">{label}</text>'
            )

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text("\n".join([*self._parts, "</svg>"]) + "\n")


def write_plots(cars: Sequence[Car], cells: Sequence[Cell], middle: Cell) -> None:
    """Renew the page's plots."""
    images = DOCS / "images"
    _plot_start(cars).write(images / "battery-start.svg")
    _plot_health(middle).write(images / "battery-soh.svg")
    _plot_rates(cells).write(images / "battery-rates.svg")


def _plot_start(cars: Sequence[Car]) -> Plot:
    """One start: its true voltage, and what two adapters read of it."""
    car = cars[0]
    start = car.starts[0]
    plot = Plot((-0.3, 1.1), (8, 13), x_label="seconds since the starter engaged", y_label="V")
    plot.band(0, 0.1, "#f3d9d9")
    plot.band(0.1, 0.6, "#e0ecdf")
    plot.ticks([(n / 5, f"{n / 5:.1f}") for n in range(-1, 6)], [(v, str(v)) for v in range(8, 14)])
    plot.line([(n * STEP_S, volts) for n, volts in enumerate(start.volts) if n * STEP_S < 1.1], "#555")  # noqa: PLR2004 - the plot's end
    alone = replace(car, starts=(start,))
    for rate_hz, colour in zip((50.0, 10.0), _COLOURS, strict=False):
        read = readings(alone, Adapter(rate_hz), Random(3))  # noqa: S311 - a simulation
        seen = [(one.at_us * 1e-6 - start.at_s, one.adapter_voltage_v) for one in read]
        plot.dots([(t, v) for t, v in seen if v is not None and -0.3 <= t <= 1.1], colour, 100 / rate_hz / 2 + 2)  # noqa: PLR2004
    plot.legend([("true voltage", "#555"), ("read at 50 Hz", _COLOURS[0]), ("read at 10 Hz", _COLOURS[1])])
    return plot


def _plot_health(cell: Cell) -> Plot:
    """Judged over true state of health."""
    plot = Plot((0, 105), (0, 105), x_label="true state of health, %", y_label="judged, %")
    plot.band(0, 65, "#f7ecec")
    tens = [(n, str(n)) for n in range(0, 101, 20)]
    plot.ticks(tens, tens)
    plot.line([(0, 0), (100, 100)], "#555", "4 3")
    for colour, statuses in ((_COLOURS[0], ("ok", "warning")), (_COLOURS[1], ("critical",))):
        inside = [one for one in cell.decided if one.status in statuses and one.soh_pct is not None]
        plot.dots([(max(0.0, one.true_soh_pct), one.soh_pct or 0.0) for one in inside], colour, 2.5)
    plot.legend([("called critical", _COLOURS[1]), ("not", _COLOURS[0])])
    return plot


def _plot_rates(cells: Sequence[Cell]) -> Plot:
    """Coverage, false alarms and misses over the adapter's rate, at the middle noise."""
    noise_v = sorted({cell.noise_v for cell in cells})[len({cell.noise_v for cell in cells}) // 2]
    of_noise = [cell for cell in cells if cell.noise_v == noise_v]
    plot = Plot((0, 52), (0, 100), x_label="readings per second", y_label="%")
    plot.ticks(
        [(cell.rate_hz, f"{cell.rate_hz:.0f}") for cell in of_noise], [(n, str(n)) for n in range(0, 101, 20)]
    )
    shares: tuple[tuple[str, Callable[[Cell], float | None]], ...] = (
        ("conclusive starts", lambda cell: cell.conclusive / cell.starts),
        ("false alarms", lambda cell: cell.false_alarms),
        ("misses", lambda cell: cell.misses),
    )
    for (_, part), colour in zip(shares, _COLOURS, strict=True):
        known = [(cell.rate_hz, 100 * value) for cell in of_noise if (value := part(cell)) is not None]
        plot.line(known, colour)
        plot.dots(known, colour, 3.5, 1.0)
    plot.legend([(label, colour) for (label, _), colour in zip(shares, _COLOURS, strict=True)])
    return plot
