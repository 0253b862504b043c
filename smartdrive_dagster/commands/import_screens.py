"""What `smartdrive import` shows: how a log is read, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from smartdrive_dagster.landing.recorded.format_model import TimeColumn
from smartdrive_dagster.landing.recorded.recognise import Recognised
from smartdrive_dagster.landing.recorded.report import ImportReport
from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, to_contract

if TYPE_CHECKING:
    from rich.console import RenderableType

_DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", " ": "space"}


def show_recognised(path: str, found: Recognised) -> RenderableType:
    """How a log is to be read, before anything is."""
    facts = Grid(title=path, title_justify="left", title_style="bold", show_header=False)
    facts.add_row("recognised as", found.title)
    if found.delimiter:
        named = _DELIMITERS.get(found.delimiter, repr(found.delimiter))
        facts.add_row("text", f"{found.encoding}, separated by {named}, header in line {found.header_line}")
    if found.format is not None:
        facts.add_row("times", _times(found, found.format.time))
        facts.add_row("decimal sign", found.format.decimal)
    columns = Grid(header_style="dim")
    for name in ("column", "signal", "recorded in", "becomes", "known by, or why left out"):
        columns.add_column(name)
    for plan in found.plans:
        wanted = UNIT_OF_SIGNAL[plan.signal] if plan.signal else ""
        columns.add_row(
            Text(plan.name),
            plan.signal or "-",
            Text(plan.unit or ""),
            _conversion(plan.signal, plan.unit, wanted, by_row=found.format is not None),
            plan.because,
        )
    notes = [Text(f"note: {note}", style="yellow") for note in found.notes]
    notes += [Text(f"open: {question}", style="red") for question in found.questions]
    return Group(facts, columns, *notes)


def show_preview(report: ImportReport, time_zone: str) -> RenderableType:
    """The span of time and the first samples; positions are not shown."""
    if report.first_ms is None or report.last_ms is None:
        return Text("no sample could be read", style="red")
    span = Text(f"from {_moment(report.first_ms, time_zone)} to {_moment(report.last_ms, time_zone)}")
    grid = Grid(title="first samples", title_justify="left", header_style="dim")
    signals = list(dict.fromkeys(name for _, values in report.preview for name in values))
    grid.add_column("UTC")
    for name in signals:
        grid.add_column(f"{name} {UNIT_OF_SIGNAL[name]}".strip(), justify="right")
    for at, values in report.preview:
        grid.add_row(_utc(at), *(f"{values[name]:g}" if name in values else "" for name in signals))
    return Group(span, grid)


def show_import(path: str, report: ImportReport, reasons: Mapping[str, str]) -> RenderableType:
    """What became of every reading of a recorded log.

    Args:
        path: the file's name.
        report: its account.
        reasons: why columns are not imported, by name.
    """
    grid = Grid(title=path, title_justify="left", title_style="bold", header_style="dim")
    for column in ("readings", "count", "what they are"):
        grid.add_column(column, justify="right" if column == "count" else "left")
    samples = f"{report.samples:,} samples"
    if report.messages:
        samples += f", {report.messages} messages"
    grid.add_row("read", f"{report.read:,}", f"{report.lines:,} lines")
    grid.add_row("mapped", f"{report.mapped:,}", samples)
    for name, count in report.ignored.items():
        reason = reasons.get(name)
        grid.add_row("ignored", f"{count:,}", Text(f"{name}: {reason}" if reason else name))
    for code, count in report.quarantined.items():
        grid.add_row("quarantined", f"{count:,}", code)
    grid.add_row("duplicate", f"{report.duplicate:,}", "same signal, time and value")
    notes = [Text(f"warning: {warning}", style="yellow") for warning in report.warnings]
    notes += [
        Text(f"quarantined in line {one.line_no}: {one.reason} {one.detail}".rstrip(), style="dim")
        for one in report.examples
    ]
    if report.objects_present:
        count = len(report.objects_present)
        were = "object was" if count == 1 else "objects were"
        notes.append(Text(f"{count} landing {were} there already: imported before"))
    return Group(grid, *notes)


def _times(found: Recognised, column: TimeColumn) -> str:
    named = " and ".join(map(repr, column.columns))
    form = {
        "epoch_s": "seconds since 1970, UTC",
        "epoch_ms": "milliseconds since 1970, UTC",
        "iso8601": "ISO 8601",
        "ymd": "year, month, day and time",
        "dmy": "day, month, year and time",
        "mdy": "month, day, year and time",
        "strptime": f"pattern {column.pattern}",
        "time_of_day": "time of day",
        "seconds_of_day": f"time since midnight in {column.unit}",
        "seconds_since_start": f"time since the start in {column.unit}",
    }[column.form]
    begun = f" from {found.start.isoformat(sep=' ')}" if found.start and column.is_elapsed else ""
    begun = begun or (f", first day {found.day}" if found.day and column.needs_day else "")
    zone = f", zone {_zone(found.time_zone)} where a time names none" if column.is_local else ""
    return f"{named}: {form}{begun}{zone}"


def _conversion(signal: str | None, unit: str | None, wanted: str, *, by_row: bool) -> str:
    if signal is None:
        return ""
    if unit is None and not by_row:
        return f"{wanted}, from ?"
    if unit is None:
        return f"{wanted}, by each row's unit"
    convert = to_contract(signal, unit or None)
    if (convert.scale, convert.offset) == (1.0, 0.0):
        return f"{wanted}, as it is".lstrip(", ")
    offset = f" {'+' if convert.offset > 0 else '-'} {abs(convert.offset):.6g}" if convert.offset else ""
    return f"{wanted} = {convert.scale:.6g} x value{offset}"


def _moment(at: int, time_zone: str) -> str:
    if time_zone == "UTC":
        return f"{_utc(at)} UTC"
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(time_zone))
    return f"{_utc(at)} UTC ({local:%Y-%m-%d %H:%M:%S} {_zone(time_zone)})"


def _zone(name: str) -> str:
    """A zone's name; those of the family Etc/GMT count westwards, which nobody expects."""
    west = name.removeprefix("Etc/GMT")
    return f"UTC{-int(west):+d}" if west != name and west else name


def _utc(at: int) -> str:
    return (
        datetime.fromtimestamp(at / 1000, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    )
