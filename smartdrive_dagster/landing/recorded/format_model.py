"""What a format of recorded logs may say. `docs/formats` describes the fields for those who write one."""

from __future__ import annotations

import codecs
import json
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, UnitError, nearest, parse_unit, to_contract

MISSING: Final = frozenset({"", "nan", "-", "--", "n/a", "na", "null", "none", "no data", "nodata"})
_ENCODINGS = (
    "utf-8",
    "utf-16",
    "ascii",
    "cp1250",
    "cp1251",
    "cp1252",
    "iso8859-1",
    "iso8859-15",
    "cp932",
    "gb18030",
)
_DATE_DIRECTIVES = ("%Y", "%y", "%c", "%x", "%G")
_DAY_DIRECTIVES = ("%d", "%m", "%b", "%B", "%j", "%c", "%x")

Finite = Annotated[float, Field(allow_inf_nan=False)]
TimeForm = Literal[
    "epoch_s",
    "epoch_ms",
    "iso8601",
    "ymd",
    "dmy",
    "mdy",
    "strptime",
    "time_of_day",
    "seconds_of_day",
    "seconds_since_start",
]
Decimal = Literal[".", ",", "any", "1,234.5", "1.234,5"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignalMapping(_Strict):
    """What one column or PID measures.

    Attributes:
        signal: name in the telemetry contract.
        unit: as the recorder writes it; a unit in the row or in the cell itself goes before it.
        scale: the recorded number is multiplied by it before its unit is looked at.
        offset: is then added.
        range: least and greatest plausible value in the contract's unit; what lies outside is quarantined.
        missing: texts that mean "not measured" here, for example ``"0"`` of a position without a fix.
    """

    signal: str
    unit: str | None = None
    scale: Finite = 1.0
    offset: Finite = 0.0
    range: tuple[Finite, Finite] | None = None
    missing: tuple[str, ...] = ()

    @field_validator("signal")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in UNIT_OF_SIGNAL:
            raise ValueError(f"{value!r} is no signal of the contract{nearest(value, UNIT_OF_SIGNAL)}")
        return value

    @field_validator("scale")
    @classmethod
    def _not_zero(cls, value: float) -> float:
        if value == 0:
            raise ValueError("0 would make all readings equal")
        return value

    @model_validator(mode="after")
    def _convertible(self) -> SignalMapping:
        if self.unit is not None:
            to_contract(self.signal, self.unit)
        if self.range and not self.range[0] < self.range[1]:
            raise ValueError("range: the least value must be below the greatest")
        return self


class TimeColumn(_Strict):
    """Where the time stands and in which form.

    Attributes:
        column: one name, or several whose cells are joined by a space (a date and a time).
        form: how to read it; `docs/formats` explains each.
        pattern: of `datetime.strptime`, for that form only. Without a date it is a time of day.
        unit: of the two forms that count; seconds by default.
    """

    column: str | tuple[str, ...]
    form: TimeForm
    pattern: str | None = None
    unit: str = "s"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, always as a tuple."""
        return (self.column,) if isinstance(self.column, str) else self.column

    @property
    def needs_day(self) -> bool:
        """Whether the times lack a date, so that the user must give one."""
        return self.form in {"seconds_of_day", "seconds_since_start"} or self.is_time_of_day

    @property
    def is_elapsed(self) -> bool:
        """Whether the times count from a start that the log does not name."""
        return self.form == "seconds_since_start"

    @property
    def is_time_of_day(self) -> bool:
        """Whether the times are of a wall clock, without a date."""
        if self.form == "time_of_day":
            return True
        return self.pattern is not None and not any(part in self.pattern for part in _DATE_DIRECTIVES)

    @property
    def is_local(self) -> bool:
        """Whether a time zone has a say in what the times mean."""
        return self.form not in {"epoch_s", "epoch_ms"}

    @model_validator(mode="after")
    def _consistent(self) -> TimeColumn:
        if not self.columns:
            raise ValueError("column: at least one name is needed")
        if (self.form == "strptime") != (self.pattern is not None):
            raise ValueError("pattern: needed for the form strptime, and for no other")
        if self.unit != "s" and self.form not in {"seconds_of_day", "seconds_since_start"}:
            raise ValueError("unit: only for seconds_of_day and seconds_since_start")
        if parse_unit(self.unit).dimension != "time":
            raise ValueError(f"unit: {self.unit!r} is no unit of time")
        if self.pattern is not None:
            _check_pattern(self.pattern)
            if self.is_time_of_day and any(part in self.pattern for part in _DAY_DIRECTIVES):
                raise ValueError(
                    "pattern: a day without a year cannot be placed; leave the day out or add the year"
                )
        return self


class ReadingColumns(_Strict):
    """The columns of a long log: one reading per row."""

    name: str
    value: str
    unit: str | None = None


class Format(_Strict):
    """How to read one kind of log.

    Attributes:
        title: for people.
        shape: ``wide`` (a column per signal) or ``long`` (a row per reading).
        time: see `TimeColumn`.
        columns: column name to signal.
        reading: the columns of a long log.
        pids: PID name to signal, of a long log.
        ignore: column (wide) or PID name (long) to the reason why it is not imported.
        unlisted: what becomes of columns and PIDs that are named nowhere: counted as ignored, or the whole
            import is refused.
        encoding: of the text; a byte order mark goes before it.
        delimiter: one character, or ``auto``: that of comma, semicolon, tab and bar which makes the header fit.
        quote: one character, or empty for none. A quoted cell does not span lines.
        container: ``text``, or ``envirocar``: a track as GeoJSON, see `envirocar`.
        decimal: ``.``, ``,`` or ``any``: a lone comma is then a decimal comma (never a thousands separator). With
            ``1,234.5`` and ``1.234,5`` there may be thousands separators too, as these say.
        comment: lines that begin with it are skipped.
        skip_lines: lines before the header is looked for; metadata before a header need not be counted.
        header: False where there is none; columns are then called ``#1``, ``#2``, …
        skip_after_header: lines after the header that are not data, such as a row of units.
        missing: further texts that mean "not measured", beside the usual ones (`MISSING`).
    """

    title: str = ""
    shape: Literal["wide", "long"]
    time: TimeColumn
    columns: dict[str, SignalMapping] = Field(default_factory=dict)
    reading: ReadingColumns | None = None
    pids: dict[str, SignalMapping] = Field(default_factory=dict)
    ignore: dict[str, str] = Field(default_factory=dict)
    unlisted: Literal["ignore", "refuse"] = "ignore"
    encoding: str = "utf-8"
    delimiter: str = "auto"
    quote: str = Field('"', max_length=1)
    decimal: Decimal = "."
    container: Literal["text", "envirocar"] = "text"
    comment: str = ""
    skip_lines: int = Field(0, ge=0, le=1_000_000)
    header: bool = True
    skip_after_header: int = Field(0, ge=0, le=1000)
    missing: tuple[str, ...] = ()

    @field_validator("encoding")
    @classmethod
    def _text_encoding(cls, value: str) -> str:
        try:
            name = codecs.lookup(value.removesuffix("-sig")).name
        except LookupError:
            name = value
        if name not in _ENCODINGS:
            raise ValueError(f"{value!r} is none of {', '.join(_ENCODINGS)}")
        return name

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        named = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}.get(value, value)
        if named != "auto" and (len(named) != 1 or named in '\r\n"'):
            raise ValueError(f"{value!r} is neither one character nor 'auto'")
        return named

    @model_validator(mode="after")
    def _consistent(self) -> Format:
        if self.shape == "wide" and (self.reading or self.pids or not self.columns):
            raise ValueError("a wide log needs columns, and neither reading nor pids")
        if self.shape == "long" and not (self.reading and self.pids):
            raise ValueError("a long log needs reading and pids")
        if not self.header and self.delimiter == "auto":
            raise ValueError("delimiter: must be given where there is no header to tell it by")
        if self.quote and self.quote == self.delimiter:
            raise ValueError("quote: must differ from the delimiter")
        _check_names(self)
        _check_units(self)
        return self

    def effect(self) -> str:
        """What of the mapping decides how a log is read, as canonical JSON.

        Texts for people are left out, and so are defaults: a field that a later version adds changes no identity.
        """
        content = self.model_dump(mode="json", exclude={"title", "ignore", "unlisted"}, exclude_defaults=True)
        return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _check_pattern(pattern: str) -> None:
    try:
        datetime.strptime("", pattern)  # noqa: DTZ007 - only the pattern itself is tried
    except ValueError as error:
        if "directive" in str(error) or "stray" in str(error):
            raise ValueError(f"pattern: {error}") from None
    except Exception as error:
        raise ValueError(f"pattern: {pattern!r} is no pattern of strptime") from error


def _check_names(form: Format) -> None:
    listed = form.pids if form.shape == "long" else form.columns
    if both := sorted({fold(name) for name in form.ignore} & {fold(name) for name in listed}):
        raise ValueError(f"ignore: {both[0]!r} is mapped as well; decide for one")
    for names in (form.columns, form.pids, form.ignore):
        folded = [fold(name) for name in names]
        if twice := sorted({name for name in folded if folded.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} is given twice (case and spaces do not matter)")


def _check_units(form: Format) -> None:
    row_has_unit = form.reading is not None and form.reading.unit is not None
    for kind, mappings in (("columns", form.columns), ("pids", form.pids)):
        for name, mapping in mappings.items():
            if mapping.unit is None and UNIT_OF_SIGNAL[mapping.signal] and not (kind == "pids" and row_has_unit):
                wanted = UNIT_OF_SIGNAL[mapping.signal]
                raise UnitError("unit_missing", f"{kind}.{name}: the unit is missing, for example {wanted!r}")


def fold(name: str) -> str:
    """A column or PID name as it is compared: case and runs of spaces do not matter."""
    return " ".join(name.split()).casefold()
