"""How a log is to be read: by the format that is named, a built-in one, or a mapping made for it.

What the file and the options leave open is asked, never assumed; but for the zone of local times, which is UTC
where nobody says otherwise, and said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from smartdrive_dagster.landing.recorded.date_texts import DateOrder, dates_in_name, time_in_name
from smartdrive_dagster.landing.recorded.envirocar import is_json
from smartdrive_dagster.landing.recorded.errors import (
    AmbiguousLogError,
    FormatUndetectedError,
    LogUnreadableError,
    OptionError,
)
from smartdrive_dagster.landing.recorded.format_model import MISSING, Decimal, Format, TimeColumn
from smartdrive_dagster.landing.recorded.formats import load_format
from smartdrive_dagster.landing.recorded.guess import OTHER_UNITS, Plan, plan_columns
from smartdrive_dagster.landing.recorded.lines import detect_format, find_header, open_log
from smartdrive_dagster.landing.recorded.names import meaning_of, squash
from smartdrive_dagster.landing.recorded.sampling import Sample, head_of, look_at
from smartdrive_dagster.landing.recorded.speed_unit import speed_unit
from smartdrive_dagster.landing.recorded.time_columns import Times, find_times, parse_time_option
from smartdrive_dagster.landing.recorded.times import open_clock, parse_number
from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, UnitError, nearest, to_contract

_TIME = "TIME"
_TORQUE = "Torque Pro, CSV, by the names, units and values of its columns"
_UNKNOWN = "a log of unknown format, by the names, units and values of its columns"
_POSITION = frozenset({"LATITUDE", "LONGITUDE"})


@dataclass(frozen=True, slots=True)
class Given:
    """What the user says of a log.

    Attributes:
        form: a built-in format's name or a mapping file's path.
        day: local day on which it begins.
        start: instant from which its elapsed times count.
        time_zone: IANA name of the zone of its local times.
        columns: by column: ``SIGNAL``, ``SIGNAL:unit``, ``TIME:form`` or ``-``; for a log of unknown format.
        decimal: how numbers are written; for a log of unknown format.
    """

    form: str | None = None
    day: date | None = None
    start: datetime | None = None
    time_zone: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    decimal: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Recognised:
    """How a log is read.

    Attributes:
        title: what it was recognised as.
        format: the mapping; None while `questions` are open.
        encoding: of its text.
        delimiter: between its cells.
        header_line: line number of its header.
        plans: what becomes of each column or PID.
        day: on which it begins, as far as needed.
        start: from which its times count, as far as needed.
        time_zone: of its local times.
        notes: how day, start and zone are known.
        questions: what must be answered before it can be imported.
    """

    title: str
    format: Format | None
    encoding: str = ""
    delimiter: str = ""
    header_line: int = 0
    plans: tuple[Plan, ...] = ()
    day: date | None = None
    start: datetime | None = None
    time_zone: str = "UTC"
    notes: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()

    def checked(self, path: Path) -> Format:
        """The format.

        Raises:
            AmbiguousLogError: questions are open.
        """
        if self.format is None or self.questions:
            asked = "\n".join(f"  - {question}" for question in self.questions)
            raise AmbiguousLogError(f"{path} can be read in more than one way; nothing was imported:\n{asked}")
        return self.format


def recognise(path: Path, given: Given) -> Recognised:
    """Find out how a log is to be read.

    Raises:
        LogImportError: it cannot be read, no format fits, or an option does not do.
    """
    if given.form is not None:
        return _known(path, load_format(given.form), f"format {given.form}", given)
    try:
        form = _built_in(path)
    except FormatUndetectedError as error:
        if "JSON" in str(error):
            raise
        return _guessed(path, given)
    return _known(path, form, form.title, given)


def _built_in(path: Path) -> Format:
    if not is_json(head_of(path)):
        return detect_format(path)
    form = load_format("envirocar")
    with open_log(path, form.encoding, form.container) as log:
        names = {text.split("\t")[1] for _, text in log.lines() if text and text.count("\t")}
    if "GPS Speed" in names and "Speed" not in names:  # a phone without an adapter
        speed = {"GPS Speed": form.pids["Speed"]}
        ignored = {name: reason for name, reason in form.ignore.items() if name != "GPS Speed"}
        return form.model_copy(update={"pids": {**form.pids, **speed}, "ignore": ignored})
    return form


def _known(path: Path, form: Format, title: str, given: Given) -> Recognised:
    if given.columns or given.decimal:
        raise OptionError(
            f"--column and --decimal are for logs of unknown format, and {path} is read as {title}: "
            "write what you want into a mapping file, and pass it as --format"
        )
    with open_log(path, form.encoding, form.container) as log:
        header = find_header(log.lines(), form, path)
    named = form.pids if form.shape == "long" else form.columns
    plans = [
        Plan(name, mapping.signal, mapping.unit, "the format says so")
        for name, mapping in named.items()
        if form.shape == "long" or header.position(name) is not None
    ]
    plans += [Plan(name, None, because=reason) for name, reason in form.ignore.items()]
    return _timed(
        path,
        given,
        Recognised(title, form, form.encoding, header.delimiter, header.line_no, tuple(plans)),
        Times(form.time, is_utc=form.container == "envirocar"),
    )


def _guessed(path: Path, given: Given) -> Recognised:
    sample = look_at(path)
    if not sample.rows and not sample.odd_rows:
        raise LogUnreadableError(f"{path} has a header but no row below it: export the log again")
    decimal = given.decimal or sample.decimal
    questions = _of_rows(path, sample, decimal)
    decimal = decimal or "."
    name, value, unit = (sample.long_column(role) for role in ("name", "value", "unit"))
    is_long = bool(name and value)
    fixed = {text for text in (name, value, unit) if text} if is_long else set()
    choices = _checked_choices(given.columns, sample)
    times = _times_of(path, sample, decimal, given, choices)
    used = set(times.column.columns) if times.column else set()
    others = used | fixed | set(times.others)
    wide = {text: sample.cells(text) for text in sample.names if text not in others}
    units = sample.units | _speed_by_positions(sample, times.column, decimal)
    plans = plan_columns(wide, decimal, choices, units)
    if is_long and name and value:
        wide_plans = {text: plan for text, plan in plans.plans.items() if plan.signal in _POSITION}
        by_name, row_units = _by_name(sample, name, value, unit)
        plans = plan_columns(by_name, decimal, choices, row_units if unit else None)
    else:
        wide_plans = plans.plans
    columns = [Plan(text, None, because="holds times as well; they are not needed") for text in times.others]
    questions += [times.question] if times.question else []
    questions += plans.questions
    if not any(plan.signal for plan in plans.plans.values()):
        questions.append(
            'no column is known to be a signal: name those that are, for example --column "NAME=RPM:rpm" '
            "(or describe the log in a mapping file). Its columns: "
            f"{', '.join(map(repr, list(sample.names)[:12]))}"
        )
    all_plans = (*plans.plans.values(), *columns)
    form = None
    if not questions and times.column is not None:
        content: dict[str, Any] = {
            "shape": "long" if is_long else "wide",
            "time": times.column,
            "columns": _mappings(wide_plans, sample),
            "ignore": {plan.name: plan.because for plan in all_plans if plan.signal is None},
            "encoding": sample.encoding,
            "delimiter": sample.header.delimiter,
            "decimal": decimal,
            "skip_after_header": sample.unit_lines,
        }
        if is_long:
            content["reading"] = {"name": name, "value": value, "unit": unit}
            content["pids"] = _mappings(plans.plans, sample)
        form = _made(content, path)
    found = Recognised(
        _TORQUE if {squash(text) for text in sample.names} >= {"gpstime", "devicetime"} else _UNKNOWN,
        form,
        sample.encoding,
        sample.header.delimiter,
        sample.header.line_no,
        all_plans,
        notes=tuple(
            f"{plan.name!r} is taken to be in {plan.unit}, because of the log's other units"
            for plan in plans.plans.values()
            if plan.because == OTHER_UNITS
        ),
        questions=tuple(questions),
    )
    return _timed(path, given, found, times)


def _made(content: dict[str, Any], path: Path) -> Format:
    try:
        return Format.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        raise FormatUndetectedError(
            f"{path}: no mapping could be made for it ({fault['msg'][:200]}): write a mapping file "
            "(docs/formats/README.md)"
        ) from error


def _of_rows(path: Path, sample: Sample, decimal: Decimal | None) -> list[str]:
    questions = []
    if sample.odd_rows > len(sample.rows):
        raise FormatUndetectedError(
            f"{path}: most rows have another number of cells than the header in line {sample.header.line_no} "
            f"({len(sample.header.names)}). A decimal comma in a file separated by commas? Export it with "
            "semicolons or decimal points"
        )
    if decimal is None:
        questions.append(
            f"numbers such as {sample.comma_example} have a comma that is either decimal or groups thousands: "
            'pass --decimal "," or --decimal "1,234.5"'
        )
    if sample.vehicles > 1:
        questions.append(
            "a column names more than one vehicle, and --vin is one: split the file, or describe it in a mapping "
            "file"
        )
    return questions


def _checked_choices(columns: Mapping[str, str], sample: Sample) -> dict[str, str]:
    for name, choice in columns.items():
        signal, _, unit = choice.partition(":")
        if name not in sample.names and sample.long_column("name") is None:
            raise OptionError(f"--column: the log has no column {name!r}{nearest(name, sample.names)}")
        if signal in {_TIME, "-"}:
            continue
        if signal not in UNIT_OF_SIGNAL:
            raise OptionError(f"--column: {signal!r} is no signal{nearest(signal, UNIT_OF_SIGNAL)}")
        try:
            if unit:
                to_contract(signal, unit)
        except UnitError as error:
            raise OptionError(f"--column {name!r}: {error}") from error
    return {name: choice for name, choice in columns.items() if not choice.startswith(_TIME)}


def _times_of(path: Path, sample: Sample, decimal: Decimal, given: Given, choices: Mapping[str, str]) -> Times:
    said: tuple[str, DateOrder] | None = None
    for name, choice in given.columns.items():
        kind, _, form = choice.partition(":")
        if kind == _TIME and form in {"ymd", "dmy", "mdy"}:
            said = (name, cast("DateOrder", form))
        elif kind == _TIME:
            try:
                return Times(parse_time_option(name, form or "iso8601"))
            except ValueError as error:
                raise OptionError(
                    f"--column {name!r}: {form!r} is no form of time, unit of time or pattern of strptime"
                ) from error
    names = [name for name in sample.names if name not in choices]
    has_start = given.start is not None
    has_day = given.day is not None or bool(dates_in_name(path.stem))
    return find_times(sample.first_rows, names, decimal, has_day=has_day, has_start=has_start, said=said)


def _speed_by_positions(sample: Sample, column: TimeColumn | None, decimal: Decimal) -> dict[str, str | None]:
    """The unit of a column of speeds whose name has none, if there are positions to tell it by."""
    named: dict[str, list[str]] = {}
    for name in sample.names:
        named.setdefault(meaning_of(name).signal or "", []).append(name)
    columns = [named.get(signal, []) for signal in ("LATITUDE", "LONGITUDE", "SPEED")]
    if column is None or any(len(names) != 1 for names in columns) or meaning_of(columns[2][0]).unit:
        return {}
    clock = open_clock(column, day=date(2024, 1, 1), time_zone="UTC", decimal=decimal)
    fixes = []
    for row in sample.first_rows:
        try:
            north, east, speed = (parse_number(row.get(names[0], ""), decimal) for names in columns)
            fixes.append((clock(" ".join(row.get(name, "") for name in column.columns)), north, east, speed))
        except ValueError:
            continue
    unit = speed_unit([fix for fix in fixes if fix[1] and fix[2] and all(map(math.isfinite, fix[1:]))])
    return {columns[2][0]: unit} if unit else {}


def _by_name(
    sample: Sample, name: str, value: str, unit: str | None
) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    cells: dict[str, list[str]] = {}
    units: dict[str, Counter[str]] = {}
    for row in sample.rows:
        pid, cell = row.get(name, ""), row.get(value, "")
        if pid:
            held = cells.setdefault(pid, [])
            if cell and cell.casefold() not in MISSING:
                held.append(cell)
            units.setdefault(pid, Counter())[row.get(unit or "", "")] += 1
    return cells, {pid: counted.most_common(1)[0][0] or None for pid, counted in units.items()}


def _mappings(plans: Mapping[str, Plan], sample: Sample) -> dict[str, dict[str, object]]:
    mappings: dict[str, dict[str, object]] = {}
    for name, plan in plans.items():
        if plan.signal is None:
            continue
        mapping: dict[str, object] = {"signal": plan.signal, "unit": plan.unit or None}
        if plan.signal in _POSITION:  # 0 where there is no fix
            zeros = {cell for cell in sample.cells(name) if set(cell) <= set("0.,-") and "0" in cell}
            mapping["missing"] = tuple(sorted(zeros))
        mappings[name] = mapping
    return mappings


def _timed(path: Path, given: Given, found: Recognised, times: Times) -> Recognised:
    """Add the day, the start and the zone, from the options or the file's name."""
    column, notes, questions = times.column, list(found.notes), list(found.questions)
    day, start = given.day, given.start
    if start is not None and not (column and column.is_elapsed):
        notes.append("--start is not used: the log's times do not count from a start")
        start = None
    if column is not None and column.needs_day and day is None and start is None:
        day, start, said = _from_name(path, column)
        (notes if day else questions).append(said)
    if column is not None and column.is_elapsed and day and start is None:
        notes.append(f"the log's times count from midnight of {day}: pass --start if it began later")
    zone = given.time_zone or "UTC"
    if given.time_zone is None and column is not None and column.is_local and not times.is_utc:
        if times.zone_hint is not None and not column.needs_day and column.form != "strptime":
            zone = f"Etc/GMT{-times.zone_hint:+d}" if times.zone_hint else "UTC"
            notes.append(f"local times are at UTC{times.zone_hint:+d} h, as the log's GPS times say")
        else:
            notes.append(
                "times without an offset are taken as UTC: pass --timezone with the recorder's, for example "
                "Europe/Berlin"
            )
    return Recognised(
        found.title,
        found.format if not questions else None,
        found.encoding,
        found.delimiter,
        found.header_line,
        found.plans,
        day,
        start,
        zone,
        tuple(notes),
        tuple(questions),
    )


def _from_name(path: Path, column: TimeColumn) -> tuple[date | None, datetime | None, str]:
    days = dates_in_name(path.stem)
    ask = "--date 2024-05-31" + (", or --start 2024-05-31T20:27:44" if column.is_elapsed else "")
    if not days:
        return None, None, f"its times carry no date, and neither does the file's name: pass it, for example {ask}"
    if len(days) > 1:
        read = " or ".join(f"--date {day} ({way})" for day, way in days.items())
        return None, None, f"the file's name holds more than one date: pass {read}"
    (day,) = days
    time = time_in_name(path.stem)
    if column.is_elapsed and time:
        start = datetime.fromisoformat(f"{day}T{time}")
        return day, start, f"the log began at {start:%Y-%m-%d %H:%M:%S}, as the file's name says"
    if column.is_elapsed:
        said = "only the day on which it began is known, from the file's name, and its times count from a start"
        return (
            None,
            None,
            f"{said}: pass --start {day}T08:30:00 with the time, or --date {day} to count from midnight",
        )
    return day, None, f"the log begins on {day}, as the file's name says"
