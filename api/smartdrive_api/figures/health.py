"""The health report: one verdict over battery, trouble codes and alerts, and what it rests on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from smartdrive_api.figures import answers, reading, tables
from smartdrive_api.figures.reading import Sight

# Older than this, a battery's day says nothing about today.
_BATTERY_SPEAKS: Final = timedelta(days=60)
_MOST_OPEN: Final = 200
_BATTERY: Final = {
    "critical": "The battery is failing.",
    "warning": "The battery shows its age.",
}


def health_report(connection: Connection, sight: Sight, now: datetime) -> answers.HealthReport:
    """The report of a vehicle.

    Args:
        connection: to the database.
        sight: what of the vehicle may be seen.
        now: the time, against which a battery's last word is too old to count.
    """
    newest = reading.newest(connection, sight, tables.BATTERY_HEALTH)
    trend = reading.newest(connection, sight, tables.BATTERY_TREND)
    risk = reading.newest(connection, sight, tables.WINTER_RISK)
    overview = reading.newest(connection, sight, tables.FLEET_OVERVIEW)
    codes = [answers.FoundCode.model_validate(row) for row in _open(connection, sight, "dtc_episodes")]
    alerts = [answers.Alert.model_validate(row) for row in _open(connection, sight, "alerts")]
    battery = None if newest is None else answers.BatteryDay.model_validate(newest)
    is_current = battery is not None and now.date() - battery.event_date <= _BATTERY_SPEAKS
    verdict, reasons = judge(battery.status if battery and is_current else None, codes, alerts)
    return answers.HealthReport(
        verdict=verdict,
        reasons=reasons,
        battery=battery,
        battery_trend=None if trend is None else answers.BatteryTrend.model_validate(trend),
        winter_risk=None if risk is None else answers.WinterRisk.model_validate(risk),
        open_codes=codes,
        open_alerts=alerts,
        driving=_driving(connection, sight),
        last_seen_at=overview.last_seen_at if overview else None,
        published_at=reading.published_at(connection),
    )


def judge(
    battery: str | None, codes: list[answers.FoundCode], alerts: list[answers.Alert]
) -> tuple[answers.Verdict, list[str]]:
    """The verdict, and its reasons, the gravest first.

    Args:
        battery: status of the battery; None where nothing recent is known.
        codes: open trouble codes.
        alerts: open alerts.
    """
    found: list[answers.FoundCode | answers.Alert] = [*codes, *alerts]
    reasons = [
        *(_said(one) for one in found if one.severity == "critical"),
        *([_BATTERY["critical"]] if battery == "critical" else []),
        *(_said(one) for one in found if one.severity == "warning"),
        *([_BATTERY["warning"]] if battery == "warning" else []),
    ]
    # Only a trouble code can ask to stop: a battery that fails leaves the car standing, which is no danger.
    if any(one.severity == "critical" for one in codes):
        return "stop", reasons
    if reasons:
        return "attention", reasons
    if battery == "ok":
        return "ok", ["The battery is well, and no trouble code and no alert is known to be open."]
    return "unknown", ["No trouble code and no alert is known, but nothing recent of the battery either."]


def _said(one: answers.FoundCode | answers.Alert) -> str:
    return one.title if isinstance(one, answers.Alert) else f"{one.dtc_code}: {one.title}"


def _open(connection: Connection, sight: Sight, name: str) -> reading.Rows:
    table = {"alerts": tables.ALERTS, "dtc_episodes": tables.DTC_EPISODES}[name]
    is_open = table.c.state == "open" if name == "alerts" else table.c.is_open
    found = sight.of(table, "opened_at").where(is_open).order_by(table.c.opened_at.desc()).limit(_MOST_OPEN)
    return connection.execute(found).all()


def _driving(connection: Connection, sight: Sight) -> answers.ScoreWeek | None:
    table = tables.DRIVER_SCORES
    found = (
        sight.of(table, "week_start_date")
        .where(table.c.score.is_not(None))
        .order_by(table.c.week_start_date.desc())
        .limit(1)
    )
    row = connection.execute(found).first()
    return None if row is None else answers.ScoreWeek.model_validate(row)
