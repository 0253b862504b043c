"""How well driving events are found: on simulated drives whose truth is known, and beside a recorder's own events.

Simulated: hard and gentle manoeuvres of known strength, read at several rates in whole km/h, with late readings.
What is found is held against the truth: a manoeuvre is hard if its acceleration over one second is over the
threshold. Then hours of calm driving, in which every event is a false one.

Real: 28 drives at 1 Hz whose recorder noted events of its own: over 0.35 g by its accelerometer. That is another
rule than ours, so the agreement says how far the two see the same, not which of them is right.

Run with `make eval-driving`; `--write` renews the table and the plot in docs/explanation/driving.md.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table

from smartdrive_dagster.domain.driving_events import (
    ACCELERATION_G,
    BRAKING_G,
    detect_driving_events,
)
from smartdrive_dagster.tables import Days

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/driving.md"
PLOT = ROOT / "docs/images/driving-events.svg"
BEGINS, ENDS = "<!-- evaluation begins -->", "<!-- evaluation ends -->"

G_MPS2 = 9.80665
G_KMH_S = G_MPS2 * 3.6
BEGAN = datetime(2025, 3, 10, 6, tzinfo=UTC)
EVER = Days(date(2008, 1, 1), date(2060, 12, 31))
RATES_HZ = (0.5, 1.0, 2.0, 5.0, 10.0)
STRENGTHS_G = tuple(n / 100 for n in range(10, 62, 4))
TOLERANCE_S = 2
EPILOG = """examples:
  python benchmarks/driving_eval.py              simulated and, where there are recordings, real drives
  python benchmarks/driving_eval.py --quick      a tenth of the simulated drives
  python benchmarks/driving_eval.py --write      also renew the page's table and its plot"""


@dataclass(frozen=True, slots=True)
class Manoeuvre:
    """A change of speed in a simulated drive: its begin and length in s, its strength in g (braking below 0)."""

    at_s: float
    lasts_s: float
    strength_g: float

    def share(self, at_s: float) -> float:
        """How much of it is over, 0 to 1; it sets in and ends within 0.3 s."""
        x = min(1.0, max(0.0, (at_s - self.at_s) / self.lasts_s))
        soft = min(0.3, self.lasts_s / 4) / self.lasts_s
        area = 1 - soft
        if x < soft:
            return x * x / (2 * soft) / area
        if x > 1 - soft:
            return 1 - (1 - x) ** 2 / (2 * soft) / area
        return (x - soft / 2) / area


@dataclass(frozen=True, slots=True)
class Score:
    """Found and true things, and how many of each have a counterpart."""

    found: int
    right: int
    true: int
    seen: int

    @property
    def precision(self) -> str:
        """Share of what was found that is true."""
        return f"{100 * self.right / self.found:.1f} %" if self.found else "-"

    @property
    def recall(self) -> str:
        """Share of what is true that was found."""
        return f"{100 * self.seen / self.true:.1f} %" if self.true else "-"


def simulated_drive(rng: random.Random, strengths: Sequence[float]) -> list[Manoeuvre]:
    """Manoeuvres at least 10 s apart, braking and accelerating in turn between 20 and 110 km/h."""
    made, at_s, speed = [], 20.0, 90.0
    for strength in strengths:
        lasts_s = rng.uniform(1.5, 3.5)
        sign = -1 if speed - strength * lasts_s * G_KMH_S > 15 else 1  # noqa: PLR2004 - km/h
        if sign > 0:
            lasts_s = min(lasts_s, (130 - speed) / (strength * G_KMH_S))
        made.append(Manoeuvre(at_s, lasts_s, sign * strength))
        speed += sign * strength * lasts_s * G_KMH_S
        at_s += lasts_s + rng.uniform(10, 20)
    return made


def readings(
    manoeuvres: Sequence[Manoeuvre], rate_hz: float, rng: random.Random, vehicle: str
) -> list[tuple[str, datetime, float]]:
    """What an adapter reads of the drive: whole km/h, up to 40 ms late, on a road that is never quite even."""
    ends_s = manoeuvres[-1].at_s + 20
    phase = rng.uniform(0, 6)
    read = []
    for number in range(math.floor(ends_s * rate_hz)):
        at_s = number / rate_hz
        speed = 90 + 2 * math.sin(at_s / 6 + phase)
        speed += sum(m.strength_g * m.lasts_s * G_KMH_S * m.share(at_s) for m in manoeuvres)
        late_s = rng.uniform(0, 0.04)
        read.append((vehicle, BEGAN + timedelta(seconds=at_s + late_s), float(math.floor(max(0.0, speed)))))
    return read


def detected(rows: Iterable[tuple[str, datetime, float]]) -> pl.DataFrame:
    """The events of some readings."""
    frame = pl.DataFrame(
        list(rows),
        schema={"vehicle_id": pl.String, "event_at": pl.Datetime("us", "UTC"), "speed_kmh": pl.Float64},
        orient="row",
    )
    return detect_driving_events(frame.lazy(), days=EVER).collect()


def is_hard(manoeuvre: Manoeuvre) -> bool:
    """Whether its strongest second is over the threshold of its kind."""
    middle = manoeuvre.at_s + manoeuvre.lasts_s / 2
    share = manoeuvre.share(middle + 0.5) - manoeuvre.share(middle - 0.5)
    peak = manoeuvre.strength_g * manoeuvre.lasts_s * share
    return peak <= BRAKING_G or peak >= ACCELERATION_G


def judged(drives: dict[str, list[Manoeuvre]], events: pl.DataFrame) -> tuple[Score, dict[float, list[bool]]]:
    """Hold events against the truth; and, by strength, which brakings were found."""
    spans: dict[str, list[tuple[float, float, str]]] = {vehicle: [] for vehicle in drives}
    for row in events.iter_rows(named=True):
        first, last = ((row[name] - BEGAN).total_seconds() for name in ("started_at", "ended_at"))
        spans[row["vehicle_id"]].append((first, last, row["kind"]))
    right = seen = true = 0
    by_strength: dict[float, list[bool]] = {}
    for vehicle, manoeuvres in drives.items():
        for manoeuvre in manoeuvres:
            kind = "braking" if manoeuvre.strength_g < 0 else "acceleration"
            begin, end = manoeuvre.at_s - 1, manoeuvre.at_s + manoeuvre.lasts_s + 1
            hits = [one for one in spans[vehicle] if one[2] == kind and one[0] <= end and one[1] >= begin]
            hard = is_hard(manoeuvre)
            true, seen, right = true + hard, seen + (hard and bool(hits)), right + (len(hits) if hard else 0)
            if kind == "braking":
                by_strength.setdefault(-manoeuvre.strength_g, []).append(bool(hits))
    return Score(events.height, right, true, seen), by_strength


def simulate(drives: int) -> tuple[dict[float, Score], dict[float, dict[float, float]]]:
    """Score by rate, and the share of brakings found by rate and strength."""
    scores, curves = {}, {}
    for rate_hz in track(RATES_HZ, "driving", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        rng = random.Random(7)  # noqa: S311 - the same drives at every rate
        made = {f"v{n}": simulated_drive(rng, rng.sample(STRENGTHS_G, len(STRENGTHS_G))) for n in range(drives)}
        rows = (row for vehicle, made_up in made.items() for row in readings(made_up, rate_hz, rng, vehicle))
        scores[rate_hz], by_strength = judged(made, detected(rows))
        curves[rate_hz] = {strength: sum(found) / len(found) for strength, found in sorted(by_strength.items())}
    return scores, curves


def false_events_an_hour(hours: int) -> dict[float, float]:
    """Events in calm driving (at most 0.15 g) by rate, per hour."""
    found = {}
    for rate_hz in RATES_HZ[1:]:
        rng = random.Random(11)  # noqa: S311
        rows = []
        for hour in range(hours):
            period, swing = rng.uniform(4, 9), 0.15 * G_KMH_S
            for number in range(math.floor(3600 * rate_hz)):
                at_s = number / rate_hz
                speed = 60 + swing * period * math.sin(at_s / period)
                at = BEGAN + timedelta(seconds=at_s + rng.uniform(0, 0.04))
                rows.append((f"v{hour}", at, float(math.floor(max(0.0, speed)))))
        found[rate_hz] = detected(rows).height / hours
    return found


def real_drives(directory: Path) -> pl.DataFrame | None:
    """The recorded drives, or None where there are none."""
    path = directory / "drives_1hz.csv"
    return pl.read_csv(path, infer_schema_length=None) if path.is_file() else None


def beside_the_recorder(recorded: pl.DataFrame) -> dict[str, Score]:
    """Our events against the recorder's: those of the accelerometer by kind, and those of speed alone."""
    frame = recorded.lazy().select(
        vehicle_id=pl.col("drive").cast(pl.String),
        event_at=pl.from_epoch("time_utc", time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        speed_kmh=pl.col("speed_mph") * 1.609344,
        accel_x_mps2=pl.col("accel_x") * G_MPS2,
        accel_y_mps2=pl.col("accel_y") * -G_MPS2,
    )
    both = detect_driving_events(frame, days=EVER).collect()
    speed = detect_driving_events(frame.drop("accel_x_mps2", "accel_y_mps2"), days=EVER).collect()
    along = pl.col("accel_x").abs() >= pl.col("accel_y").abs()
    noted = (
        recorded.filter(pl.col("accel_event").is_not_null())
        .with_columns(
            kind=pl.when(~along)
            .then(pl.lit("cornering"))
            .when(pl.col("accel_x") > 0)
            .then(pl.lit("acceleration"))
            .otherwise(pl.lit("braking"))
        )
        .group_by("drive", "accel_event", "kind")
        .agg(first=pl.col("time_utc").min(), last=pl.col("time_utc").max())
        .with_columns(vehicle_id=pl.col("drive").cast(pl.String))
    )
    by_sensor = both.filter(pl.col("source") != "speed")
    scores = {
        f"{kind}, accelerometer": agreement(by_sensor.filter(kind=kind), noted.filter(kind=kind))
        for kind in ("braking", "acceleration", "cornering")
    }
    lengthwise = noted.filter(pl.col("kind") != "cornering")
    scores["all, accelerometer"] = agreement(by_sensor, noted)
    scores["braking and acceleration, speed alone"] = agreement(speed, lengthwise)
    return scores


def agreement(found: pl.DataFrame, noted: pl.DataFrame) -> Score:
    """How many events of either side have one of the other, of the same kind and at most 2 s away."""
    ours = found.select(
        "event_id",
        "vehicle_id",
        "kind",
        begin=pl.col("started_at").dt.epoch("s") - TOLERANCE_S,
        end=pl.col("ended_at").dt.epoch("s") + TOLERANCE_S,
    )
    theirs = noted.with_row_index("number")
    pairs = ours.join(theirs, on=["vehicle_id", "kind"]).filter(
        (pl.col("begin") <= pl.col("last")) & (pl.col("end") >= pl.col("first"))
    )
    return Score(found.height, pairs["event_id"].n_unique(), noted.height, pairs["number"].n_unique())


def tables(
    scores: dict[float, Score], calm: dict[float, float], real: dict[str, Score], drives: int, hours: int
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows of each table."""
    simulated = [
        [
            f"{rate:g} Hz",
            str(score.true),
            str(score.found),
            score.precision,
            score.recall,
            f"{calm[rate]:.2f}" if rate in calm else "-",
        ]
        for rate, score in scores.items()
    ]
    found = [
        (
            f"Simulated: {drives} drives of {len(STRENGTHS_G)} manoeuvres, {hours} h of calm driving at each rate",
            ["speed at", "hard", "found", "precision", "recall", "false events an hour, calm"],
            simulated,
        )
    ]
    if real:
        rows = [[name, str(s.true), str(s.found), s.precision, s.recall] for name, s in real.items()]
        found.append(
            ("28 real drives at 1 Hz, beside their recorder", ["", "noted", "found", "precision", "recall"], rows)
        )
    return found


def markdown(made: Sequence[tuple[str, list[str], list[list[str]]]]) -> str:
    """The tables as the page has them."""
    blocks = []
    for title, headings, rows in made:
        lines = [f"| {' | '.join(cells)} |" for cells in (headings, *rows)]
        blocks.append(
            "\n".join([f"{title}:", "", lines[0], "|---" + "|---:" * (len(headings) - 1) + "|", *lines[1:]])
        )
    return "\n\n".join(blocks)


def plot(curves: dict[float, dict[float, float]]) -> str:
    """The share of brakings that are found, by their strength and the rate, as SVG."""
    width, height, left, top = 720, 360, 60, 20
    low, high = STRENGTHS_G[0], STRENGTHS_G[-1]

    def x(strength: float) -> float:
        return round(left + (strength - low) / (high - low) * (width - left - 20), 1)

    def y(share: float) -> float:
        return round(top + (1 - share) * (height - top - 70), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(share)}" y2="{y(share)}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(share) + 4}" text-anchor="end">{100 * share:.0f} %</text>')
    parts += [
        f'<text x="{x(strength)}" y="{y(0) + 18}" text-anchor="middle">{strength:.2f} g</text>'
        for strength in STRENGTHS_G[::2]
    ]
    limit = x(-BRAKING_G)
    parts.append(f'<line x1="{limit}" x2="{limit}" y1="{y(1)}" y2="{y(0)}" stroke="#555" stroke-dasharray="4 3"/>')
    colours = ("#999999", "#1f77b4", "#d95f02", "#7a1fa2", "#1b7837")
    for number, ((rate, curve), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        line = " ".join(f"{x(strength)},{y(share)}" for strength, share in curve.items())
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        place = left + 10 + 90 * number
        parts.append(
            f'<line x1="{place}" x2="{place + 18}" y1="{height - 14}" y2="{height - 14}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        parts.append(f'<text x="{place + 24}" y="{height - 10}">{rate:g} Hz</text>')
    parts.append(f'<text x="{left + 480}" y="{height - 10}" fill="#555">dashed: the threshold</text></svg>')
    return "\n".join(parts) + "\n"


def write(text: str, picture: str) -> None:
    """Renew the page's tables and its plot."""
    before, _, rest = PAGE.read_text().partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    PAGE.write_text(f"{before}{BEGINS}\n\n{text}\n\n{ENDS}{after}")
    PLOT.write_text(picture)


def main() -> None:
    """Evaluate and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulated drives")
    parser.add_argument("--recordings", type=Path, default=ROOT.parent / "shared/data", help="where drives lie")
    parser.add_argument("--write", action="store_true", help="renew the table and the plot in docs/explanation")
    arguments = parser.parse_args()
    drives, hours = (10, 1) if arguments.quick else (100, 10)
    scores, curves = simulate(drives)
    calm = false_events_an_hour(hours)
    recorded = real_drives(arguments.recordings)
    real = {} if recorded is None else beside_the_recorder(recorded)
    made = tables(scores, calm, real, drives, hours)
    console = Console()
    for title, headings, rows in made:
        table = Table(title=title, title_justify="left")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if recorded is None:
        console.print(f"no recorded drives in {arguments.recordings}: --recordings names another place")
    if arguments.write:
        write(markdown(made), plot(curves))


if __name__ == "__main__":
    main()
