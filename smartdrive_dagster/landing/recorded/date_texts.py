"""Dates and times of day as people and programs write them, once the order of day, month and year is known."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final, Literal

DateOrder = Literal["ymd", "dmy", "mdy"]

_HOUR_MS, _MINUTE_MS, _SECOND_MS = 3_600_000, 60_000, 1000
_NOON: Final = 12
_TIME = re.compile(
    r"(?P<hour>\d{1,2})[:h](?P<minute>\d{2})(?:[:m](?P<second>\d{2})(?:[.,:](?P<fraction>\d{1,9}))?s?)?"
    r"\s*(?P<half>[ap]\.?m\.?)?",
    re.IGNORECASE | re.ASCII,
)
_ZONE = re.compile(
    r"\s*(?:(?:GMT|UTC)?(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})|(?P<utc>Z|UTC|GMT))", re.ASCII
)
_NAME = r"[^\W\d_]{3,10}\.?"
_DATES: Final[dict[DateOrder, re.Pattern[str]]] = {
    "ymd": re.compile(rf"(?P<y>\d{{4}})[-/._ ]?(?P<m>\d{{1,2}}|{_NAME})[-/._ ]?(?P<d>\d{{1,2}})"),
    "dmy": re.compile(rf"(?P<d>\d{{1,2}})(?:[-/._ ]|\. )?(?P<m>\d{{1,2}}|{_NAME})[-/._ ]?(?P<y>\d{{4}})"),
    "mdy": re.compile(rf"(?P<m>\d{{1,2}}|{_NAME})[-/._ ]?(?P<d>\d{{1,2}}),?[-/._ ]?(?P<y>\d{{4}})"),
}
# First three letters in English, German, French, Spanish, Italian, Portuguese and Dutch where they name one month.
_MONTHS: Final[dict[str, int]] = {
    name: number
    for number, names in enumerate(
        (
            "jan ene gen janv",
            "feb fev fév févr fevr",
            "mar mär mrz mrt maa märz mars",
            "apr avr abr avri avril",
            "may mai mag mei maio mayo",
            "jun giu juin",
            "jul lug juil",
            "aug aoû aou ago août",
            "sep set sept",
            "oct okt ott out",
            "nov",
            "dec dez dic déc",
        ),
        start=1,
    )
    for name in names.split()
}


def parse_time_of_day(text: str) -> int:
    """Milliseconds since midnight of ``20:27``, ``20:27:44.5``, ``08:27:44,5 PM`` and the like.

    Raises:
        ValueError: it is none.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return _milliseconds(match)


def parse_date_time(text: str, order: DateOrder) -> datetime:
    """A date and, behind it, a time of day, perhaps with an offset from UTC; aware only if there is one.

    The parts of the date may be separated by dash, slash, dot, space or nothing, months may be named.

    Raises:
        ValueError: it is none, or there is no such day.
    """
    text = text.strip()
    match = _DATES[order].match(text)
    if match is None:
        raise ValueError(text)
    day = datetime(int(match["y"]), month_number(match["m"]), int(match["d"]))  # noqa: DTZ001 - a wall clock's day
    rest = text[match.end() :].lstrip(" T,_\t")
    time = _TIME.match(rest)
    if time is None:
        if rest:
            raise ValueError(text)
        return day
    moment = day + timedelta(milliseconds=_milliseconds(time))
    tail = rest[time.end() :]
    if not tail.strip():
        return moment
    zone = _ZONE.fullmatch(tail)
    if zone is None:
        raise ValueError(text)
    return moment.replace(tzinfo=_offset(zone))


def month_number(text: str) -> int:
    """The number of a month that is given by number or by name.

    Raises:
        ValueError: it is none.
    """
    if text.isdigit():
        return int(text)
    name = text.rstrip(".").casefold()
    number = _MONTHS.get(name) or _MONTHS.get(name[:4]) or _MONTHS.get(name[:3])
    if number is None:
        raise ValueError(text)
    return number


def dates_in_name(name: str) -> dict[date, str]:
    """The days that a file's name can mean, each with the way it is read (``year-month-day`` and so on).

    More than one where day and month cannot be told apart, or where the name holds several dates.
    """
    found: dict[date, str] = {}
    taken: list[tuple[int, int]] = []
    for pattern, orders in _IN_NAMES:
        for match in pattern.finditer(name):
            if any(start < match.end() and match.start() < end for start, end in taken):
                continue
            taken.append(match.span())
            for order in orders:
                parts = dict(zip(order, match.groups(), strict=True))
                try:
                    day = date(int(parts["y"]), month_number(parts["m"]), int(parts["d"]))
                except ValueError:
                    continue
                found.setdefault(day, "-".join({"y": "year", "m": "month", "d": "day"}[part] for part in order))
    return found


def time_in_name(name: str) -> str | None:
    """The time of day behind the date in a file's name, as ``HH:MM:SS``; None where there is no such."""
    match = _TIME_IN_NAME.search(name)
    return ":".join(match.groups()) if match else None


_YEAR = r"((?:19|20)\d\d)"
_IN_NAMES: Final = tuple(
    (re.compile(rf"(?<!\d){pattern}(?!\d)"), orders)
    for pattern, orders in (
        (rf"{_YEAR}[-_. ](\d{{1,2}})[-_. ](\d{{1,2}})", ("ymd",)),
        (rf"{_YEAR}(\d\d)(\d\d)", ("ymd",)),
        (rf"{_YEAR}[-_. ]?([A-Za-z]{{3,9}})[-_. ]?(\d{{1,2}})", ("ymd",)),
        (rf"(\d{{1,2}})[-_. ]?([A-Za-z]{{3,9}})[-_. ]?{_YEAR}", ("dmy",)),
        (rf"([A-Za-z]{{3,9}})[-_. ](\d{{1,2}}),?[-_. ]{_YEAR}", ("mdy",)),
        (rf"(\d{{1,2}})[-_. ](\d{{1,2}})[-_. ]{_YEAR}", ("dmy", "mdy")),
    )
)
_TIME_IN_NAME = re.compile(
    rf"{_YEAR[1:-1]}(?:[-_. ]?\d{{1,2}}[-_. ]?\d{{1,2}}|[-_. ]?[A-Za-z]{{3,9}}[-_. ]?\d{{1,2}})"
    r"[-_ T](?:at )?([01]\d|2[0-3])[-_.:h]?([0-5]\d)[-_.:m]?([0-5]\d)(?!\d)"
)


def _milliseconds(match: re.Match[str]) -> int:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if match["half"]:
        if not 1 <= hour <= _NOON:
            raise ValueError(match[0])
        hour = hour % _NOON + (_NOON if match["half"][0] in "pP" else 0)
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - a clock's own
        raise ValueError(match[0])
    fraction = round(float(f"0.{match['fraction'] or 0}") * 1000)
    return hour * _HOUR_MS + minute * _MINUTE_MS + second * _SECOND_MS + fraction


def _offset(match: re.Match[str]) -> timezone:
    if match["utc"]:
        return UTC
    offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    return timezone(offset if match["sign"] == "+" else -offset)
