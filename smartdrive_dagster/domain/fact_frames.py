"""Facts as rows: decoded corrections, profiles and weather, column by column, ready to be settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import polars as pl

from smartdrive_dagster.domain.claims import OURS, WRITE
from smartdrive_dagster.domain.facts import Correction, Profile, Weather
from smartdrive_dagster.tables import Table, facts

LARGEST_SKEW_MS: Final = 5 * 60 * 1000

_LINE: Final = ["object_key", "line_no"]
_CLAIMED: Final = {
    "object_key": pl.String(),
    "line_no": pl.Int64(),
    "landing_date": pl.Date(),
    "received_at": pl.Datetime("us", "UTC"),
    "message_id": pl.String(),
    "content_digest": pl.String(),
    "vehicle_id": pl.String(),
}
_WORDS: Final = {name: pl.String() for name in facts.PROFILE_COLUMNS}
_NUMBERS: Final = {
    name: pl.Float64() for name in facts.PROFILE_COLUMNS if facts.PROFILES.by_name[name].dtype == "double"
}
_OWN: Final[dict[Table, dict[str, Any]]] = {
    facts.CORRECTIONS: {
        "kind": pl.String(),
        "from_at": pl.Int64(),
        "to_at": pl.Int64(),
        "label": pl.String(),
        "set_at": pl.Int64(),
    },
    facts.PROFILES: {"set_at": pl.Int64(), **_WORDS, **_NUMBERS},
    facts.WEATHER: {
        "forecast_at": pl.Int64(),
        "source": pl.String(),
        "latitude_deg": pl.Float64(),
        "longitude_deg": pl.Float64(),
        "sample": pl.Int32(),
        "valid_at": pl.Int64(),
        "temperature_c": pl.Float64(),
    },
}
# What cannot lie in the future: when it was said, and trips that were corrected. A forecast's hours may.
_PAST: Final = {
    facts.CORRECTIONS: ("set_at", "to_at"),
    facts.PROFILES: ("set_at",),
    facts.WEATHER: ("forecast_at",),
}
# The first day that a row touches; a profile touches all days of its vehicle.
_TOUCHES: Final = {facts.CORRECTIONS: "from_at", facts.PROFILES: None, facts.WEATHER: "valid_at"}


class FactRows:
    """Rows of the tables of facts, filled fact by fact."""

    def __init__(self) -> None:
        self._rows: dict[Table, list[tuple[Any, ...]]] = {table: [] for table in facts.CHANNEL_OF}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def add(
        self, line: tuple[Any, ...], fact: Correction | Profile | Weather, vehicle: Callable[[str], str]
    ) -> int:
        """Add a fact's rows, and tell how many they are.

        Args:
            line: object_key, line_no, landing_date and received_at.
            fact: the fact.
            vehicle: from a VIN to its vehicle_id.
        """
        claimed = (*line, fact.message_id, fact.content_digest, fact.subject.pseudonym(vehicle))
        match fact:
            case Correction():
                own = (fact.kind, fact.from_ms, fact.to_ms, fact.label, fact.set_ms)
                self._rows[facts.CORRECTIONS].append((*claimed, *own))
                return 1
            case Profile():
                said = (getattr(fact, name) for name in facts.PROFILE_COLUMNS)
                self._rows[facts.PROFILES].append((*claimed, fact.set_ms, *said))
                return 1
            case Weather():
                place = (fact.issued_ms, fact.source, fact.latitude_deg, fact.longitude_deg)
                hours = enumerate(zip(fact.t_ms, fact.temperature_c, strict=True))
                self._rows[facts.WEATHER].extend((*claimed, *place, sample, *hour) for sample, hour in hours)
                return len(fact.t_ms)

    def frames(self) -> dict[Table, pl.DataFrame]:
        """Per table its columns, `sample`, `reason` (null if acceptable) and `event_date` (null: all days)."""
        return {table: _frame(table, rows) for table, rows in self._rows.items()}


def line_touches(counts: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """Add to the touched pairs of corrections' lines the day on which each interval ends.

    Args:
        counts: `claims.line_counts`.
        corrections: settled rows of silver.corrections.
    """
    if corrections.is_empty():
        return counts
    ends = pl.struct(event_date=pl.col("to_at").dt.date(), vehicle_id="vehicle_id")
    last = corrections.filter(pl.col("fate").is_in([WRITE, OURS])).select(*_LINE, ends=pl.concat_list(ends))
    touched = pl.concat_list("touched", pl.col("ends").fill_null([])).list.unique().list.sort()
    return (
        counts.join(last, on=_LINE, how="left", maintain_order="left").with_columns(touched=touched).drop("ends")
    )


def _frame(table: Table, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {**_CLAIMED, **_OWN[table]}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    latest = pl.col("received_at").dt.epoch("ms") + LARGEST_SKEW_MS
    is_ahead = pl.any_horizontal(pl.col(name) > latest for name in _PAST[table])
    instants = [name for name in _OWN[table] if table.by_name[name].dtype == "timestamp"]
    day = _TOUCHES[table]
    frame = frame.with_columns(
        reason=pl.when(is_ahead).then(pl.lit("clock_ahead")),
        **{
            name: pl.from_epoch(pl.col(name), "ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            for name in instants
        },
    ).with_columns(event_date=pl.col(day).dt.date() if day else pl.lit(None, pl.Date()))
    return frame if "sample" in schema else frame.with_columns(sample=pl.lit(0, pl.Int32))
