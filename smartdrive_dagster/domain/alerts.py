"""Alerts: what the other Gold tables say, as episodes that a person is told of once.

A vehicle may be worse than it was: each severity is an episode of its own, so that a battery that turns from a
warning into a critical one is told twice, and one that stays as it is only once. The rows are a function of the
other tables alone; what was told, and which told episodes later data has overturned, is the outbox's to remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.tables import Days
from smartdrive_dagster.tables.alerts import ALERTS

ALGO_VERSION: Final = "2"
HALO_DAYS: Final = 0

LONGEST_SILENCE_DAYS: Final = 2
"""Days at risk that lie further apart are two alerts: nobody knows what was between them."""

_PARTS: Final = (
    "vehicle_id",
    "kind",
    "subject",
    "severity",
    "opened_at",
    "updated_at",
    "resolved_at",
    "title",
    "text",
    "source_table",
    "source_id",
)
_NOTHING: Final = pl.lit(None, pl.String)
_NEVER: Final = pl.lit(None, pl.Datetime("us", "UTC"))
_CHARGE_EVENTS: Final = ("low_voltage", "resumed", "ignition_on")
_HEALTH_RANK: Final = {"warning": 1, "critical": 2}


def alerts(
    *,
    health: pl.LazyFrame,
    cranks: pl.LazyFrame,
    drains: pl.LazyFrame,
    codes: pl.LazyFrame,
    incidents: pl.LazyFrame,
    events: pl.LazyFrame,
    risks: pl.LazyFrame,
    days: Days,
) -> pl.LazyFrame:
    """Join everything that a person should know of some vehicles.

    Args:
        health: all rows of gold.battery_health of the vehicles, in any order.
        cranks: all rows of gold.cranks.
        drains: all rows of gold.drain_episodes.
        codes: all rows of gold.dtc_episodes.
        incidents: all rows of gold.incidents.
        events: all rows of silver.events; low_voltage, resumed and ignition_on are used.
        risks: all rows of gold.winter_risk.
        days: UTC days whose alerts are wanted, by their opening.

    Returns:
        Rows of gold.alerts, by vehicle, opening and id.
    """
    parts = [
        _battery(health, cranks, "warning"),
        _battery(health, cranks, "critical"),
        _drains(drains),
        _codes(codes),
        _incidents(incidents),
        _low_voltage(events),
        _winter(risks),
    ]
    found = pl.concat([part.select(_PARTS) for part in parts])
    state = pl.when(pl.col("resolved_at").is_null()).then(pl.lit("open")).otherwise(pl.lit("resolved"))
    named = ["vehicle_id", "kind", "subject", "severity", "opened_at"]
    return (
        found.with_columns(
            alert_id=pl.struct(named).map_batches(_ids, return_dtype=pl.String),
            state=state,
            event_date=pl.col("opened_at").dt.date(),
            algo_version=pl.lit(ALGO_VERSION),
        )
        .filter(pl.col("event_date").is_between(days.first, days.last))
        .unique("alert_id", keep="any")
        .sort("vehicle_id", "opened_at", "alert_id")
        .select(*ALERTS.by_name)
    )


def _battery(health: pl.LazyFrame, cranks: pl.LazyFrame, severity: str) -> pl.LazyFrame:
    """Runs of days on which the battery is as bad as this, or worse; opened by the last start of the first."""
    starts = cranks.group_by("vehicle_id", "event_date").agg(at=pl.col("started_at").max())
    rank = pl.col("status").replace_strict(_HEALTH_RANK, default=0, return_dtype=pl.Int32)
    is_bad = pl.col("is_bad")
    judged = (
        health.filter(pl.col("status") != "unknown")
        .join(starts, on=["vehicle_id", "event_date"], how="left")
        .with_columns(
            pl.col("at").fill_null(pl.col("event_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")),
            is_bad=rank >= _HEALTH_RANK[severity],
        )
        .sort("vehicle_id", "event_date")
        .with_columns(
            run=(is_bad != is_bad.shift().over("vehicle_id")).fill_null(value=True).cum_sum().over("vehicle_id")
        )
        .with_columns(next_at=pl.col("at").shift(-1).over("vehicle_id"))
    )
    words = (
        "Replace the battery soon: it may not start the engine again."
        if severity == "critical"
        else "The battery is weaker than it was. Have it tested, and charge it fully once."
    )
    percent = {name: pl.col(name).round(0).cast(pl.Int64) for name in ("soh_pct", "soh_low_pct", "soh_high_pct")}
    between = pl.format(" (between {} and {})", percent["soh_low_pct"], percent["soh_high_pct"]).fill_null("")
    soh = pl.format("State of health {} %{}.", percent["soh_pct"], between).fill_null(
        "State of health not known yet."
    )
    return (
        judged.filter(is_bad)
        .group_by("vehicle_id", "run")
        .agg(
            opened_at=pl.col("at").first(),
            updated_at=pl.col("at").last(),
            resolved_at=pl.col("next_at").last(),
            soh=soh.last(),
            source_id=pl.col("event_date").first().cast(pl.String),
        )
        .with_columns(
            kind=pl.lit("battery"),
            subject=_NOTHING,
            severity=pl.lit(severity),
            title=pl.lit("Battery failing" if severity == "critical" else "Battery weak"),
            text=pl.col("soh") + pl.lit(f" {words}"),
            source_table=pl.lit("gold.battery_health"),
        )
    )


def _drains(drains: pl.LazyFrame) -> pl.LazyFrame:
    flat = pl.col("severity") == "critical"
    lowest = pl.format("Lowest voltage {} V.", pl.col("min_voltage_v").round(2)).fill_null("")
    return drains.with_columns(
        kind=pl.lit("drain"),
        subject=_NOTHING,
        updated_at=pl.col("last_seen_at"),
        resolved_at=pl.col("closed_at"),
        title=pl.when(flat)
        .then(pl.lit("Battery flat while parked"))
        .otherwise(pl.lit("Battery drains while parked")),
        text=pl.concat_str(
            pl.lit(
                "It loses charge faster than a parked car explains. Look for a light, a door or an accessory that "
                "stays on, and charge the battery. "
            ),
            lowest,
        ).str.strip_chars_end(),
        source_table=pl.lit("gold.drain_episodes"),
        source_id=pl.col("drain_episode_id"),
    )


def _codes(codes: pl.LazyFrame) -> pl.LazyFrame:
    advice = {
        "critical": "Stop where it is safe and do not drive on before it was looked at.",
        "warning": "Have it looked at within 500 km.",
        "info": "Nothing to do at once.",
    }
    return codes.with_columns(
        kind=pl.lit("trouble_code"),
        subject=pl.col("dtc_code"),
        updated_at=pl.col("last_seen_at"),
        resolved_at=pl.col("closed_at"),
        text=pl.concat_str(
            pl.col("title"), pl.lit(". "), pl.col("severity").replace_strict(advice, return_dtype=pl.String)
        ),
        title=pl.format("Trouble code {}: {}", "dtc_code", "title"),
        source_table=pl.lit("gold.dtc_episodes"),
        source_id=pl.col("episode_id"),
    )


def _incidents(incidents: pl.LazyFrame) -> pl.LazyFrame:
    """Over as soon as it has happened; what the accelerometer alone saw at standstill is not worth a call."""
    return incidents.filter(pl.col("confidence") != "low").with_columns(
        kind=pl.lit("incident"),
        subject=_NOTHING,
        severity=pl.lit("critical"),
        opened_at=pl.col("started_at"),
        updated_at=pl.col("ended_at"),
        resolved_at=pl.col("ended_at"),
        title=pl.lit("Crash-like event"),
        text=pl.format(
            "An acceleration of {} g was recorded. The telemetry around it is kept.",
            pl.col("peak_g").abs().round(2),
        ),
        source_table=pl.lit("gold.incidents"),
        source_id=pl.col("incident_id"),
    )


def _low_voltage(events: pl.LazyFrame) -> pl.LazyFrame:
    """From the device's warning to the next sign of a charged battery or of a start."""
    is_sign = pl.col("type") == "low_voltage"
    ordered = (
        events.filter(pl.col("type").is_in(_CHARGE_EVENTS))
        .sort("vehicle_id", "event_at", "message_id")
        .with_columns(
            over_at=pl.when(~is_sign)
            .then(pl.col("event_at"))
            .otherwise(_NEVER)
            .shift(-1)
            .backward_fill()
            .over("vehicle_id"),
        )
    )
    return (
        ordered.filter(is_sign)
        .group_by("vehicle_id", "over_at")
        .agg(
            opened_at=pl.col("event_at").first(),
            updated_at=pl.col("event_at").last(),
            source_id=pl.col("message_id").first(),
        )
        .with_columns(
            kind=pl.lit("low_voltage"),
            subject=_NOTHING,
            severity=pl.lit("info"),
            resolved_at=pl.col("over_at"),
            title=pl.lit("Battery low"),
            text=pl.lit("The device measured 12.2 V or less for some time. Drive or charge before it is flat."),
            source_table=pl.lit("silver.events"),
        )
    )


def _winter(risks: pl.LazyFrame) -> pl.LazyFrame:
    """Runs of days at risk, opened a day before the first of them: later forecasts of that day do not move it."""
    day = pl.col("event_date")
    begins = day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    at_risk = pl.col("is_at_risk")
    is_other = (at_risk != at_risk.shift()) | (day - day.shift() > pl.duration(days=LONGEST_SILENCE_DAYS))
    judged = (
        risks.filter(at_risk.is_not_null())
        .sort("vehicle_id", "event_date")
        .with_columns(
            run=is_other.over("vehicle_id").fill_null(value=True).cum_sum().over("vehicle_id"),
            is_last=day == day.max().over("vehicle_id"),
            begins=begins,
        )
    )
    parts = [
        pl.format(
            "Frost of {} °C is forecast for {} (UTC) and the battery is weak.",
            pl.col("forecast_min_c").round(1),
            day.cast(pl.String),
        ),
        *(
            pl.format(f" {words} {{}} %.", pl.col(name).round(0).cast(pl.Int64)).fill_null("")
            for words, name in (("State of health", "soh_pct"), ("Charge", "soc_pct"))
        ),
        pl.lit(" Charge it fully before, or park where it is warmer."),
    ]
    return (
        judged.filter(at_risk)
        .group_by("vehicle_id", "run")
        .agg(
            opened_at=pl.col("begins").first() - pl.duration(days=1),
            updated_at=pl.col("forecast_at").last(),
            resolved_at=pl.when(~pl.col("is_last").last()).then(pl.col("begins").last() + pl.duration(days=1)),
            text=pl.concat_str(parts).first(),
            source_id=day.first().cast(pl.String),
        )
        .with_columns(
            pl.max_horizontal("updated_at", "opened_at").alias("updated_at"),
            kind=pl.lit("winter_risk"),
            subject=_NOTHING,
            severity=pl.lit("warning"),
            title=pl.lit("Frost ahead, and the battery is weak"),
            source_table=pl.lit("gold.winter_risk"),
        )
    )


def _ids(keys: pl.Series) -> pl.Series:
    """Name alerts by vehicle, kind, subject, severity and opening; the same in every rebuild."""
    return pl.Series([_id(tuple(key.values())) for key in keys], dtype=pl.String)


def _id(parts: Sequence[object]) -> str:
    return digest("\x1f".join("" if part is None else str(part) for part in parts).encode())
