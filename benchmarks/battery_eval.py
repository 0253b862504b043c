"""How well battery health is judged: simulated starts of known batteries, read by adapters of several rates.

What is counted, and against what, says `battery_judgement.py`; the docs have it in `explanation/battery.md`.
Run with `make eval`.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from rich.console import Console
from rich.progress import track

from benchmarks import battery_report as report
from benchmarks.battery_judgement import TARGET_HZ, Cell, drawn_cars, is_within_targets, judge

RATES_HZ: Final = (5.0, 8.0, 10.0, 20.0, 50.0)
NOISES_V: Final = (0.02, 0.05, 0.1)
COLDS: Final = (0.5, 1.0, 1.5)
COLD_HZ: Final = 20.0
QUICK: Final = 3000
EPILOG: Final = """examples:
  python -m benchmarks.battery_eval               10,000 starts at 5 rates and 3 noises
  python -m benchmarks.battery_eval --quick       3,000 starts
  python -m benchmarks.battery_eval --seed 2      other cars
  python -m benchmarks.battery_eval --write       also renew docs/explanation/battery.md and its plots
"""


def main() -> None:
    """Evaluate, print, on request renew the page; ends with an error outside the targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=10_000, help="simulated starts (default 10,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the cars and of what is read (default 1)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} starts")
    parser.add_argument("--write", action="store_true", help="renew the tables and plots in docs")
    arguments = parser.parse_args()
    starts, seed = QUICK if arguments.quick else arguments.starts, arguments.seed
    grid = [(1.0, rate_hz, noise_v) for rate_hz in RATES_HZ for noise_v in NOISES_V]
    grid += [(cold, COLD_HZ, NOISES_V[1]) for cold in COLDS if cold != 1]
    cars = {cold: drawn_cars(starts, seed, cold=cold) for cold in COLDS}
    cells = {
        (cold, rate_hz, noise_v): judge(cars[cold], rate_hz=rate_hz, noise_v=noise_v, seed=seed)
        for cold, rate_hz, noise_v in track(
            grid, "judging", console=Console(stderr=True), disable=not sys.stderr.isatty()
        )
    }
    usual = [cell for (cold, _, _), cell in cells.items() if cold == 1]
    middle = cells[1.0, TARGET_HZ, NOISES_V[1]]
    tables = (
        (f"{usual[0].starts} starts", report.HEADINGS, [report.cell_row(cell) for cell in usual]),
        ("By true state of health, 10 Hz", report.BAND_HEADINGS, report.band_rows(middle)),
        ("By temperature, 10 Hz", report.TEMPERATURE_HEADINGS, report.temperature_rows(middle)),
        (
            "Cars that feel the cold more or less, 20 Hz",
            report.COLD_HEADINGS,
            [report.cold_row(cold, cells[cold, COLD_HZ, NOISES_V[1]]) for cold in COLDS],
        ),
    )
    for title, headings, rows in tables:
        report.show(title, headings, rows)
    if arguments.write:
        report.write_page([report.markdown(headings, rows) for _, headings, rows in tables])
        report.write_plots(cars[1.0], usual, middle)
    if not arguments.quick:  # at 8 Hz the few decided days of so few cars say nothing
        _refuse([cell for cell in usual if not is_within_targets(cell)])


def _refuse(outside: list[Cell]) -> None:
    if outside:
        names = ", ".join(f"{cell.rate_hz:.0f} Hz with {cell.noise_v} V" for cell in outside)
        raise SystemExit(f"outside the targets (alarms under 2 %, misses under 5 % from 10 Hz on): {names}")


if __name__ == "__main__":
    main()
