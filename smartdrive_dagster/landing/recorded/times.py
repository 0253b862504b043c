"""Times of recorded logs: from the text of a cell to UTC epoch milliseconds.

A local time that a change to summer time skips does not exist and is refused; of one that the change back repeats
the first is taken (`fold` 0, PEP 495), because nothing in a log tells them apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from smartdrive_dagster.landing.recorded.date_texts import DateOrder, parse_date_time, parse_time_of_day
from smartdrive_dagster.landing.recorded.errors import OptionError
from smartdrive_dagster.landing.recorded.format_model import Decimal, TimeColumn
from smartdrive_dagster.landing.recorded.units import parse_unit

Clock = Callable[[str], int]
"""Takes a stripped cell, returns UTC epoch ms, raises `TimeFaultError`."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock's zero, in whatever zone it hangs
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000
EARLIEST_MS: Final = 1_199_145_600_000  # 2008-01-01, where the lake's event days begin
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
_GROUPED: Final[dict[str, re.Pattern[str]]] = {
    "1,234.5": re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?"),
    "1.234,5": re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?"),
}


class TimeFaultError(ValueError):
    """A time cannot be understood.

    Attributes:
        reason: ``time_missing``, ``time_invalid``, ``time_out_of_range`` or ``time_nonexistent``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_number(text: str, decimal: Decimal) -> float:
    """Read a decimal number.

    Args:
        text: without spaces around it.
        decimal: the decimal separator; with ``any`` a lone comma is one too. Thousands separators are known only
            where it is ``1,234.5`` or ``1.234,5``, and only between groups of three digits.

    Raises:
        ValueError: it is no number.
    """
    if decimal in _GROUPED:
        text = _ungrouped(text, decimal)
    elif decimal != "." and "," in text:
        if "." in text or text.count(",") > 1:
            raise ValueError(text)
        text = text.replace(",", ".")
    elif decimal == "," and "." in text:
        raise ValueError(text)
    if "_" in text:  # Python's own digit grouping
        raise ValueError(text)
    return float(text)


def _ungrouped(text: str, decimal: Decimal) -> str:
    thousands, point = (",", ".") if decimal == "1,234.5" else (".", ",")
    if thousands in text:
        if not _GROUPED[decimal].fullmatch(text):
            raise ValueError(text)
        text = text.replace(thousands, "")
    return text.replace(point, ".")


def open_clock(
    column: TimeColumn,
    *,
    day: date | None,
    time_zone: str,
    decimal: Decimal = ".",
    start: datetime | None = None,
) -> Clock:
    """Make the reader of a log's times. It remembers what it has seen: one clock per log, cells in file order.

    Args:
        column: how the times are written.
        day: local day of the first row, for forms without a date.
        time_zone: IANA name of the zone in which local times run.
        decimal: as in `parse_number`.
        start: instant from which elapsed times count, local where it has no zone; for the form
            ``seconds_since_start``, which else counts from the beginning of the day.

    Raises:
        OptionError: the form needs a day and there is none, or the zone is unknown.
    """
    zone = _LocalTime(time_zone)
    if column.is_elapsed and start is not None:
        day = day or start.date()
    if column.needs_day and day is None:
        raise OptionError(
            f"the times in column {' '.join(column.columns)!r} ({column.form}) carry no date: "
            "give the local day on which the log begins, for example --date 2024-05-31"
            + (", or the instant: --start 2024-05-31T20:27:44" if column.is_elapsed else "")
        )
    to_ms = parse_unit(column.unit).factor * 1000
    midnight = 0 if day is None else round((datetime(day.year, day.month, day.day) - _EPOCH) / _MS)  # noqa: DTZ001
    wall, pattern = _WallClock(midnight, zone), column.pattern or ""
    begin = zone.first_instant(midnight) if start is None else _started(start, zone)
    match column.form:
        case "epoch_s" | "epoch_ms":
            factor = 1000.0 if column.form == "epoch_s" else 1.0
            read: Clock = lambda cell: _milliseconds(cell, decimal, factor)  # noqa: E731
        case "ymd" | "dmy" | "mdy":
            order = column.form
            read = lambda cell: _instant(_parse_date_time(cell, order), zone)  # noqa: E731
        case "time_of_day":
            read = lambda cell: wall(_parse_time_of_day(cell))  # noqa: E731
        case "iso8601":
            read = lambda cell: _instant(_parse_iso(cell), zone)  # noqa: E731
        case "seconds_of_day":
            read = lambda cell: wall(_milliseconds(cell, decimal, to_ms))  # noqa: E731
        case "seconds_since_start":
            read = lambda cell: begin + _milliseconds(cell, decimal, to_ms)  # noqa: E731
        case "strptime" if column.is_time_of_day:
            read = lambda cell: wall(_time_of_day(_parse_pattern(cell, pattern)))  # noqa: E731
        case "strptime":
            read = lambda cell: _instant(_parse_pattern(cell, pattern), zone)  # noqa: E731
    return _remembering(read)


class _LocalTime:
    """Wall clock milliseconds (since 1970-01-01T00:00 on the same clock) to UTC milliseconds."""

    def __init__(self, name: str) -> None:
        try:
            self._zone = ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise OptionError(f"{name!r} is no IANA time zone; for example --timezone Europe/Berlin") from error
        self._shift: dict[int, int | None] = {}

    def __call__(self, local_ms: int) -> int:
        minute = local_ms // _MINUTE_MS  # since 1972 every change falls on a whole minute
        if minute not in self._shift:
            self._shift[minute] = self._shift_at(minute)
        shift = self._shift[minute]
        if shift is None:
            raise TimeFaultError("time_nonexistent")
        return local_ms - shift

    def first_instant(self, midnight_ms: int) -> int:
        """The instant at which a day begins, also where its midnight is skipped."""
        aware = (_EPOCH + timedelta(milliseconds=midnight_ms)).replace(tzinfo=self._zone)
        return midnight_ms - round((aware.utcoffset() or timedelta()) / _MS)

    def _shift_at(self, minute: int) -> int | None:
        try:
            naive = _EPOCH + timedelta(minutes=minute)
            aware = naive.replace(tzinfo=self._zone)
            exists = aware.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) == naive
        except OverflowError as error:
            raise TimeFaultError("time_out_of_range") from error
        return round((aware.utcoffset() or timedelta()) / _MS) if exists else None


class _WallClock:
    """A time of day without a date: a step back by more than 12 h means that midnight has passed.

    Rows in disorder around midnight, or one damaged time, do not move the rest of the log by a day: a step that
    leads back to within 10 minutes of where the log was before the last big step undoes that step.
    """

    _BIG_STEP_MS: Final = _DAY_MS // 2
    _NEAR_MS: Final = 10 * _MINUTE_MS

    def __init__(self, midnight_ms: int, zone: _LocalTime) -> None:
        self._midnight = midnight_ms
        self._zone = zone
        self._last: int | None = None
        self._before_step: int | None = None  # where the log was before the last big step
        self._after_step = 0
        self._days_of_step = 0

    def __call__(self, since_midnight_ms: int) -> int:
        if not 0 <= since_midnight_ms <= 2 * _DAY_MS:
            raise TimeFaultError("time_out_of_range")
        step = 0 if self._last is None else since_midnight_ms - self._last
        if abs(step) > self._BIG_STEP_MS:
            self._take_big_step(self._last or 0, since_midnight_ms)
        elif since_midnight_ms > self._after_step + self._NEAR_MS:
            self._before_step = None
        self._last = since_midnight_ms
        return self._zone(self._midnight + since_midnight_ms)

    def _take_big_step(self, last: int, now: int) -> None:
        if self._before_step is not None and abs(now - self._before_step) <= self._NEAR_MS:
            self._midnight -= self._days_of_step * _DAY_MS
            self._before_step = None
            return
        self._days_of_step = 1 if now < last else 0
        self._midnight += self._days_of_step * _DAY_MS
        self._before_step, self._after_step = last, now


def _remembering(read: Clock) -> Clock:
    """Skip the work for a cell equal to the one before; check the range of what comes out."""
    last_cell: str | None = None
    last_ms = 0

    def clock(cell: str) -> int:
        nonlocal last_cell, last_ms
        if cell == last_cell:
            return last_ms
        if not cell:
            raise TimeFaultError("time_missing")
        ms = read(cell)
        if not EARLIEST_MS <= ms < LATEST_MS:
            raise TimeFaultError("time_out_of_range")
        last_cell, last_ms = cell, ms
        return ms

    return clock


def _started(start: datetime, zone: _LocalTime) -> int:
    try:
        return _instant(start, zone)
    except TimeFaultError as error:
        raise OptionError(f"--start {start:%Y-%m-%dT%H:%M:%S} does not exist in the time zone given") from error


def _milliseconds(cell: str, decimal: Decimal, factor: float) -> int:
    try:
        ms = parse_number(cell, decimal) * factor
    except ValueError as error:
        raise TimeFaultError("time_invalid") from error
    if not math.isfinite(ms):
        raise TimeFaultError("time_invalid")
    if abs(ms) > LATEST_MS:
        raise TimeFaultError("time_out_of_range")
    return round(ms)


def _instant(moment: datetime, zone: _LocalTime) -> int:
    if moment.tzinfo is None:
        return zone(round((moment - _EPOCH) / _MS))
    return round((moment - _EPOCH_UTC) / _MS)


def _time_of_day(moment: datetime) -> int:
    return round((moment.replace(tzinfo=None) - datetime(1900, 1, 1)) / _MS)  # noqa: DTZ001 - strptime's own zero


def _parse_date_time(cell: str, order: DateOrder) -> datetime:
    try:
        return parse_date_time(cell, order)
    except ValueError as error:
        raise TimeFaultError("time_invalid") from error


def _parse_time_of_day(cell: str) -> int:
    try:
        return parse_time_of_day(cell)
    except ValueError as error:
        raise TimeFaultError("time_invalid") from error


def _parse_iso(cell: str) -> datetime:
    try:
        return datetime.fromisoformat(cell)
    except ValueError as error:
        raise TimeFaultError("time_invalid") from error


def _parse_pattern(cell: str, pattern: str) -> datetime:
    try:
        return datetime.strptime(cell, pattern)  # noqa: DTZ007 - its zone, where it has none, is the user's
    except (ValueError, OverflowError) as error:
        raise TimeFaultError("time_invalid") from error
