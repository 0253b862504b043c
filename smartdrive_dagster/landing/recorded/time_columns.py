"""Which columns of an unknown log hold its times, and in which form: by their names and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from smartdrive_dagster.landing.recorded.date_texts import DateOrder, parse_date_time, parse_time_of_day
from smartdrive_dagster.landing.recorded.format_model import MISSING, Decimal, TimeColumn
from smartdrive_dagster.landing.recorded.names import is_unit, split_unit, squash
from smartdrive_dagster.landing.recorded.times import EARLIEST_MS, LATEST_MS, parse_number
from smartdrive_dagster.landing.recorded.units import parse_unit

_NAMES: Final = [
    *(
        "device time",
        "timestamp",
        "time stamp",
        "datetime",
        "date time",
        "time utc",
        "utc time",
        "time",
        "utc",
        "local time",
        "ts",
    ),
    *(
        "zeit",
        "zeitstempel",
        "uhrzeit",
        "temps",
        "heure",
        "horodatage",
        "hora",
        "tiempo",
        "fecha hora",
        "fecha y hora",
        "tempo",
    ),
    *(
        "ora",
        "orario",
        "data ora",
        "data hora",
        "datum zeit",
        "datum uhrzeit",
        "date heure",
        "date et heure",
        "log time",
        "logtime",
    ),
    *(
        "epoch",
        "epoch time",
        "unix time",
        "unix timestamp",
        "unixtime",
        "seconds",
        "second",
        "secs",
        "sec",
        "millis",
        "milliseconds",
    ),
    *(
        "elapsed",
        "elapsed time",
        "time elapsed",
        "elapsed seconds",
        "seconds elapsed",
        "time since start",
        "relative time",
        "rel time",
        "t",
    ),
    *(
        "time s",
        "time ms",
        "time sec",
        "timestamp ms",
        "timestamp s",
        "time epoch",
        "time stamp ms",
        "created at",
        "recorded at",
        "gps time",
    ),
]
_RANK: Final = {squash(name): rank for rank, name in enumerate(_NAMES)}
_DATES: Final = {
    squash(name) for name in ("date", "datum", "fecha", "data", "day", "local date", "gps date", "utc date")
}
_SHARE: Final = 0.95  # of the cells that must fit: the rest is damage, which the import counts
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
_GPS_TIME: Final = "%a %b %d %H:%M:%S GMT%z %Y"  # of Torque: java.util.Date's text
_GPS_OFFSET = re.compile(r"GMT([+-])(\d{2}):?(\d{2}) ")
_DOTTED = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}")
_OFFSET = re.compile(r"(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}(?: \d{4})?)$")
_COMPACT = re.compile(r"(?:19|20)\d{12}")
_ORDERS: Final[tuple[DateOrder, ...]] = ("ymd", "dmy", "mdy")
_SAID = {"ymd": "year/month/day", "dmy": "day/month/year", "mdy": "month/day/year"}


@dataclass(frozen=True, slots=True)
class Times:
    """What was found of a log's times.

    Attributes:
        column: None where nothing was, or where there are two readings.
        question: what to ask the user then.
        others: columns that hold times too and are not used.
        zone_hint: offset from UTC in whole hours that another column of the log tells of its local times.
        is_utc: whether all times looked at carry their offset.
    """

    column: TimeColumn | None
    question: str = ""
    others: tuple[str, ...] = ()
    zone_hint: int | None = None
    is_utc: bool = False


def is_time_name(name: str) -> bool:
    """Whether a column of this name could hold times."""
    plain = squash(split_unit(name)[0])
    return plain in _RANK or squash(name) in _RANK or plain in _DATES


def find_times(
    rows: Sequence[Mapping[str, str]],
    names: Iterable[str],
    decimal: Decimal,
    *,
    has_day: bool,
    has_start: bool,
    said: tuple[str, DateOrder] | None = None,
) -> Times:
    """Choose the time column and its form.

    Args:
        rows: the log's first rows, one behind the other, by column.
        names: the columns.
        decimal: how numbers are written.
        has_day: whether the log's first day is known from elsewhere.
        has_start: whether the instant is known at which it began.
        said: a column with dates and their order, as the user says.
    """
    columns = {name: [cell for row in rows if _is_held(cell := row.get(name, ""))] for name in names}
    candidates = [name for name in columns if columns[name] and _rank(name) is not None]
    candidates.sort(key=lambda name: _rank(name) or 0)
    dates = [name for name in columns if columns[name] and squash(name) in _DATES]
    joined = {(date, time): _joined(rows, date, time) for date in dates for time in candidates}
    read: list[tuple[int, TimeColumn | None, str, tuple[str, ...]]] = []
    for used, cells in [*(((name,), columns[name]) for name in (*candidates, *dates)), *joined.items()]:
        orders = (said[1],) if said else _ORDERS
        if said and said[0] not in used:
            continue
        column, question = _form_of(used, cells, decimal, orders, has_day=has_day, has_start=has_start)
        if column is not None or question:
            read.append((_order(column, used), column, question, used))
    hint = _zone_hint(columns)
    if not read:
        return Times(None, _no_time(list(columns)), (), hint)
    read.sort(key=lambda entry: entry[0])
    _, column, question, used = read[0]
    others = tuple(name for name in (*candidates, *dates) if name not in used)
    is_utc = all(map(_OFFSET.search, columns[used[-1]]))
    return Times(column, question, others, hint, is_utc)


def parse_time_option(column: str, form: str) -> TimeColumn:
    """The time column that a user names, with its form, a unit of elapsed time, or a pattern of strptime.

    Raises:
        ValueError: it is none of these.
    """
    if "%" in form:
        return TimeColumn(column=column, form="strptime", pattern=form)
    if is_unit(form) and parse_unit(form).dimension == "time":
        return TimeColumn(column=column, form="seconds_since_start", unit=form)
    return TimeColumn.model_validate({"column": column, "form": form})


def _rank(name: str) -> int | None:
    plain, full = squash(split_unit(name)[0]), squash(name)
    return _RANK.get(plain, _RANK.get(full))


def _order(column: TimeColumn | None, names: tuple[str, ...]) -> int:
    """Full times go before times of day, these before elapsed ones; a date alone is no time at all."""
    if len(names) == 1 and squash(names[0]) in _DATES:
        return 4
    if column is None:
        return 1
    if column.needs_day:
        return 3 if column.is_elapsed else 2
    return 0


def _joined(rows: Sequence[Mapping[str, str]], date: str, time: str) -> list[str]:
    cells = [(row.get(date, ""), row.get(time, "")) for row in rows]
    return [" ".join(pair) for pair in cells if all(map(_is_held, pair))]


def _is_held(cell: str) -> bool:
    return bool(cell) and cell.casefold() not in MISSING


def _form_of(
    names: tuple[str, ...],
    cells: Sequence[str],
    decimal: Decimal,
    orders: Sequence[DateOrder],
    *,
    has_day: bool,
    has_start: bool,
) -> tuple[TimeColumn | None, str]:
    column: str | tuple[str, ...] = names[0] if len(names) == 1 else names
    if len(names) == 1 and _fits(cells, lambda cell: parse_number(cell, decimal)):
        if _fits(cells, _COMPACT.fullmatch):
            return TimeColumn(column=column, form="strptime", pattern="%Y%m%d%H%M%S"), ""
        numbers = [_number(cell, decimal) for cell in cells]
        return _count_of(names[0], [n for n in numbers if n is not None], has_day=has_day, has_start=has_start)
    found, question = _dated_form(column, cells, orders)
    if found is None and not question and _fits(cells, parse_time_of_day):
        found = TimeColumn(column=column, form="time_of_day")
    if found is None and not question and _fits(cells, lambda cell: datetime.strptime(cell, _GPS_TIME)):  # noqa: DTZ007 - it has an offset
        found = TimeColumn(column=column, form="strptime", pattern=_GPS_TIME)
    return found, question


def _dated_form(
    column: str | tuple[str, ...], cells: Sequence[str], orders: Sequence[DateOrder]
) -> tuple[TimeColumn | None, str]:
    if len(orders) > 1 and _fits(cells, lambda cell: _dated(datetime.fromisoformat(cell), cell)):
        return TimeColumn(column=column, form="iso8601"), ""
    fitting = [order for order in orders if _fits(cells, _reader(order))]
    if len(fitting) > 1 and "mdy" in fitting and _fits(cells, _DOTTED.match):  # nobody writes month.day.year
        fitting.remove("mdy")
    if not fitting:
        return None, ""
    if len(fitting) == 1 or _say_the_same(cells, fitting):
        return TimeColumn(column=column, form=fitting[0]), ""
    name = column if isinstance(column, str) else column[0]
    ways = " or ".join(f'--column "{name}=TIME:{order}" ({_SAID[order]})' for order in fitting)
    return None, f"the dates in {name!r} can be read two ways ({cells[0][:30]}): pass {ways}"


def _count_of(name: str, numbers: list[float], *, has_day: bool, has_start: bool) -> tuple[TimeColumn | None, str]:
    """Numbers: since 1970, since midnight, or since the recording began."""
    ordered = sorted(numbers)
    least, most = ordered[len(ordered) // 50], ordered[-1 - len(ordered) // 50]  # but for damaged ones
    for form, factor in (("epoch_s", 1000.0), ("epoch_ms", 1.0)):
        if least * factor >= EARLIEST_MS and most * factor < LATEST_MS:
            return parse_time_option(name, form), ""
    if least < 0 or most >= EARLIEST_MS / 1000:
        return None, f"{name!r} holds numbers that are no times since 2008, and too large to count from a start"
    unit = _unit_of(name) or _unit_of_steps(numbers)
    if unit is None:
        return None, (
            f'{name!r} counts, but seconds or milliseconds? Pass --column "{name}=TIME:s" or --column '
            f'"{name}=TIME:ms"'
        )
    seconds = parse_unit(unit).factor
    first, last = numbers[0] * seconds, most * seconds
    elapsed = TimeColumn(column=name, form="seconds_since_start", unit=unit)
    if first < _HOUR_S or last > 2 * _DAY_S or has_start:
        return elapsed, ""
    of_day = TimeColumn(column=name, form="seconds_of_day", unit=unit)
    if has_day:
        return of_day, ""
    return None, (
        f"{name!r} can be the time since midnight or since the recording began: pass --date with the day it "
        "began, or --start with the instant from which it counts"
    )


def _unit_of(name: str) -> str | None:
    plain, unit = split_unit(name)
    if unit and parse_unit(unit).dimension == "time":
        return unit
    words = re.split(r"[\s_.-]+", plain.casefold())
    return next((word for word in reversed(words) if is_unit(word) and parse_unit(word).dimension == "time"), None)


def _unit_of_steps(numbers: list[float]) -> str | None:
    """Nobody records every 100 seconds or slower, nor a thousand times a second or faster."""
    if any(number != round(number) for number in numbers):
        return "s"
    steps = sorted(b - a for a, b in pairwise(numbers) if b > a)
    if not steps:
        return None
    middle = steps[len(steps) // 2]
    return "s" if middle <= 1 else "ms" if middle >= 100 else None  # noqa: PLR2004 - see above


def _zone_hint(columns: Mapping[str, Sequence[str]]) -> int | None:
    """Torque writes the phone's offset from UTC into its GPS times, and none into its device's."""
    hours = set()
    for name, cells in columns.items():
        if squash(name) == "gpstime":
            for sign, hour, minute in (found.groups() for cell in cells if (found := _GPS_OFFSET.search(cell))):
                if minute != "00":
                    return None
                hours.add(int(f"{sign}{hour}"))
    return hours.pop() if len(hours) == 1 else None


def _no_time(names: list[str]) -> str:
    shown = ", ".join(repr(name[:30]) for name in names[:8])
    return (
        f"no column is known to hold times ({shown}{', …' if len(names) > 8 else ''}): "  # noqa: PLR2004
        'name it, for example --column "NAME=TIME:iso8601" or "NAME=TIME:ms"'
    )


def _fits(cells: Sequence[str], read: Callable[[str], object]) -> bool:
    good = sum(_reads(cell, read) for cell in cells)
    return bool(cells) and good >= _SHARE * len(cells)


def _reads(cell: str, read: Callable[[str], object]) -> bool:
    try:
        return read(cell) is not None
    except (ValueError, OverflowError):
        return False


def _reader(order: DateOrder) -> Callable[[str], object]:
    return lambda cell: parse_date_time(cell, order)


def _say_the_same(cells: Sequence[str], orders: Sequence[DateOrder]) -> bool:
    """Whether the orders give the same instants, as 05/05 does."""
    for cell in cells:
        readings = set()
        for order in orders:
            if _reads(cell, _reader(order)):
                readings.add(parse_date_time(cell, order))
        if len(readings) > 1:
            return False
    return True


def _dated(moment: datetime, cell: str) -> datetime | None:
    """An ISO text with a separator in its date; eight digits alone are a number."""
    return moment if "-" in cell else None


def _number(cell: str, decimal: Decimal) -> float | None:
    try:
        return parse_number(cell, decimal)
    except ValueError:
        return None
