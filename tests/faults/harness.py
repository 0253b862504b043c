"""What every campaign against the lake shares: its count, its verdict, and how the whole is run and shown."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.status import Status
from rich.table import Table

Step = Callable[[str], None]
_SAID_EACH_S: Final = 60.0


@dataclass
class Result:
    """One campaign's count.

    Attributes:
        campaign: its name.
        trials: how many faults were made.
        lost: rows (or lines, where it says so) that should be there and are not.
        duplicated: rows that are there more than once, or that nobody sent.
        recovered_s: from each fault's end to a whole lake, s.
        broken: promises beside rows that did not hold, in words: a run that failed, a balance that stayed open.
        notes: figures worth showing, in words.
        must_fail: whether it is a negative control: the guard is off, and the campaign has to notice.
    """

    campaign: str
    trials: int = 0
    lost: int = 0
    duplicated: int = 0
    recovered_s: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    must_fail: bool = False

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or broken."""
        return self.trials > 0 and not (self.lost or self.duplicated or self.broken)

    @property
    def is_good(self) -> bool:
        """Whether the promise held, or the control failed as it has to."""
        return self.trials > 0 and self.holds is not self.must_fail

    @property
    def verdict(self) -> str:
        """For the table."""
        if not self.is_good:
            return "FAILS"
        return "fails, as it has to" if self.must_fail else "holds"

    def count(self, trials: int, step: Step) -> Iterator[int]:
        """Number the trials, and say which is under way."""
        for number in range(trials):
            step(f"{number + 1} of {trials}")
            yield number
            self.trials += 1


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign and how often it tries.

    Attributes:
        run: from a fresh folder, a number of trials and a way to say how far it is, to the count.
        trials: of the full run.
        quick: of the suite's; 0 for a campaign that has no quick form.
    """

    run: Callable[[Path, int, Step], Result]
    trials: int
    quick: int


def run_campaigns(
    campaigns: Mapping[str, Campaign], names: Sequence[str], folder: Path, *, is_quick: bool, console: Console
) -> Iterator[Result]:
    """Run campaigns one after the other, showing how far they are."""
    for name in names:
        chosen = campaigns[name]
        if is_quick and not chosen.quick:
            console.print(f"{name}: only in full")
            continue
        with console.status(name) as status:
            began = time.monotonic()
            trials = chosen.quick if is_quick else chosen.trials
            result = chosen.run(folder / name, trials, _shown(name, console, status))
        took_s = time.monotonic() - began
        console.print(f"{name}: {result.campaign}: {result.trials} trials in {took_s:.0f} s: {result.verdict}")
        for fault in result.broken[:20]:
            console.print(f"  broken: {fault}", markup=False)
        yield result


def _shown(name: str, console: Console, status: Status) -> Step:
    """Shows how far a campaign is: in place on a terminal, once a minute in a file."""
    said = time.monotonic()

    def step(text: str) -> None:
        nonlocal said
        status.update(f"{name}: {text}")
        if not console.is_terminal and time.monotonic() - said >= _SAID_EACH_S:
            console.print(f"{name}: {text}")
            said = time.monotonic()

    return step


def table_of(title: str, results: Sequence[Result]) -> Table:
    """The counts as a table that says when and where it was made."""
    table = Table(title=title)
    for column in ("campaign", "trials", "lost", "duplicated", "recovered in", "", "notes"):
        table.add_column(column, justify="left" if column in {"campaign", "", "notes"} else "right")
    for result in results:
        table.add_row(
            result.campaign,
            f"{result.trials:,}",
            f"{result.lost:,}",
            f"{result.duplicated:,}",
            f"≤ {max(result.recovered_s):.1f} s" if result.recovered_s else "",
            result.verdict,
            "; ".join(result.notes),
        )
    table.caption = made_on()
    return table


def made_on() -> str:
    """When and on what this was run."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}."
    )


def main(
    title: str,
    description: str,
    campaigns: Mapping[str, Campaign],
    show: Callable[[str, Sequence[Any]], Table] = table_of,
) -> int:
    """The command line of a set of campaigns; 0 where every verdict is good.

    Args:
        title: of the table.
        description: for `--help`.
        campaigns: by name.
        show: makes the table of the title and the campaigns' results.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a few trials of each")
    parser.add_argument("campaign", nargs="*", help=f"of {', '.join(campaigns)}; by default all")
    given = parser.parse_args()
    if unknown := set(given.campaign) - campaigns.keys():
        parser.error(f"no campaign {', '.join(sorted(unknown))}; there are {', '.join(campaigns)}")
    console = Console(width=None if sys.stdout.isatty() else 180)
    with tempfile.TemporaryDirectory(prefix="smartdrive-faults-") as directory:
        names = given.campaign or [name for name, c in campaigns.items() if c.quick or not given.quick]
        results = list(run_campaigns(campaigns, names, Path(directory), is_quick=given.quick, console=console))
    console.print(show(title, results))
    return 0 if all(result.is_good for result in results) else 1
