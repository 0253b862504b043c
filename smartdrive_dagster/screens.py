"""What the commands print: tables that a person reads, made from values that tests read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text

from smartdrive_dagster.lake.audit import Balances
from smartdrive_dagster.status import Status
from smartdrive_dagster.tables.silver import REASONS


def show_balances(held: Balances) -> RenderableType:
    """Both balances as sums that anyone can check."""
    verdicts = ("accepted", "duplicate", "quarantined", "conflict", "erased")
    grid = _grid("Nothing lost, nothing twice", "", "landed", *verdicts)
    judged = held.verdicts
    lines = (_number(judged.get(verdict, 0)) for verdict in verdicts)
    grid.add_row("lines", _number(held.lines - held.unjudged), *lines)
    grid.add_row(
        "samples",
        _number(held.samples),
        _number(held.samples_accepted),
        _number(held.samples_duplicate),
        _number(held.samples_quarantined),
        "",
        "",
    )
    verdict = Text("both balances close", style="green") if held.close else Text(_open_balance(held), style="red")
    return Group(grid, verdict)


def show_quarantine(reasons: Mapping[str, int]) -> RenderableType:
    """Why lines and samples were rejected."""
    grid = _grid("In quarantine, with reasons", "reason", "rows", "what it means")
    for reason, rows in sorted(reasons.items(), key=lambda item: -item[1]):
        grid.add_row(reason, _number(rows), REASONS.get(reason, ""))
    return grid


def show_tables(status: Status) -> RenderableType:
    """Rows, files, version and age of each table."""
    grid = _grid("Tables", "table", "rows", "files", "version", "last commit")
    for entry in status.tables:
        if entry.version < 0:
            grid.add_row(entry.table, "", "", "", Text("not yet written", style="dim"))
        else:
            age = _age(status.at, entry.committed_at)
            grid.add_row(entry.table, _number(entry.rows), _number(entry.files), str(entry.version), age)
    return grid


def show_freshness(status: Status) -> RenderableType:
    """How far the lake is behind landing."""
    lines = [
        f"landing objects      {_number(status.landing_objects)}, not yet in Bronze {status.unread_objects}",
        f"newest message       {_seconds(status.lag_s)} ago" if status.lag_s is not None else "no message yet",
        f"arrival days to do   {len(status.pending_days)}",
        f"stale Gold days      {len(status.stale_days)}",
    ]
    if status.quarantine_share is not None:
        lines.append(f"quarantine share     {status.quarantine_share:.2%} of lines")
    if status.strays:
        lines.append(f"strays               {status.strays} keys that are no landing objects; nothing reads them")
    lines += [f"cannot be listed     {folder}" for folder in status.unreadable_folders]
    return Panel("\n".join(lines), title="Freshness", title_align="left", expand=False)


def show_trips(trips: pl.DataFrame, names: Mapping[str, str]) -> RenderableType:
    """Trips per vehicle.

    Args:
        trips: rows of gold.trips.
        names: what to call a vehicle, by vehicle_id.
    """
    grid = _grid("Trips per vehicle", "vehicle", "vehicle_id", "trips", "km", "hours", "fastest")
    per_vehicle = (
        trips.group_by("vehicle_id")
        .agg(
            pl.len(),
            pl.col("distance_km").sum(),
            pl.col("duration_s").sum() / 3600,
            pl.col("max_speed_kmh").max(),
        )
        .sort("distance_km", descending=True)
    )
    for vehicle, count, km, hours, fastest in per_vehicle.iter_rows():
        speed = f"{fastest:.0f} km/h" if fastest is not None else "unknown"
        grid.add_row(names.get(vehicle, ""), f"{vehicle[:8]}…", str(count), f"{km:.1f}", f"{hours:.1f}", speed)
    return grid


def show_checks(checks: Mapping[str, bool]) -> RenderableType:
    """Whether the checks of whole tables passed, and which did not."""
    failed = [name for name, passed in checks.items() if not passed]
    if failed:
        return Text(f"{len(failed)} of {len(checks)} table checks failed: {', '.join(failed)}", style="red")
    return Text(f"all {len(checks)} table checks passed (unique keys, balances)", style="green")


def show_alerts(alerts: pl.DataFrame, told: pl.DataFrame) -> RenderableType:
    """Alerts, each with what has become of telling it over which channel.

    Args:
        alerts: rows of gold.alerts, in the order in which they are shown.
        told: the outbox's latest steps.
    """
    if alerts.is_empty():
        return Text("no alert", style="green")
    steps: dict[str, list[str]] = {}
    for episode, channel, state in told.select("episode_id", "channel", "state").iter_rows():
        steps.setdefault(episode, []).append(f"{channel} {state}".strip())
    grid = _grid("Alerts", "severity", "vehicle", "since", "state", "what", "told")
    columns = ("alert_id", "severity", "vehicle_id", "opened_at", "state", "title")
    for alert, severity, vehicle, opened_at, state, title in alerts.select(columns).iter_rows():
        since = f"{opened_at:%Y-%m-%d %H:%M}"
        grid.add_row(severity, f"{vehicle[:8]}…", since, state, title, ", ".join(steps.get(alert, ())))
    return grid


def show_commands(commands: Mapping[str, str]) -> RenderableType:
    """What to try next."""
    lines = Text("Try next\n", style="bold")
    for command, purpose in commands.items():
        lines.append(f"\n  {command}\n", style="cyan").append(f"      {purpose}\n", style="not bold dim")
    return lines


def console(*, error: bool = False) -> Console:
    """The terminal, or standard error for what is not the answer."""
    return Console(stderr=error, highlight=False)


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", header_style="dim")
    textual = {
        "",
        "severity",
        "since",
        "state",
        "what",
        "told",
        "table",
        "vehicle",
        "vehicle_id",
        "reason",
        "what it means",
        "readings",
        "what they are",
    }
    for column in columns:
        grid.add_column(column, justify="left" if column in textual else "right")
    return grid


def _number(value: int) -> str:
    return f"{value:,}"


def _open_balance(held: Balances) -> str:
    return (
        f"open: {held.unjudged} lines not judged yet, {held.objects_out_of_balance} objects and "
        f"{held.lines_out_of_balance} lines out of balance; {held.samples_accepted} samples accepted, "
        f"{held.samples_in_silver} in Silver, {held.samples_expired} expired"
    )


def _age(now: datetime, then: datetime | None) -> str:
    return f"{_seconds((now - then).total_seconds())} ago" if then else ""


def _seconds(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
