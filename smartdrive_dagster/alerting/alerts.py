"""From rows of gold.alerts to what people are told."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import polars as pl

from smartdrive_dagster.alerting.message import Notice, Severity
from smartdrive_dagster.alerting.outbox import NEWS
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import Days, facts
from smartdrive_dagster.tables.alerts import ALERTS


def recent_alerts(lakehouse: Lakehouse, *, now: datetime, severity: Severity) -> list[Notice]:
    """Alerts that opened within the last day and are at least so urgent."""
    days = Days((now - NEWS).date(), now.date())
    rows = lakehouse.scan(ALERTS, days).sort("opened_at", "alert_id").collect()
    called = lakehouse.scan(facts.VEHICLES).filter(pl.col("name").is_not_null()).select("vehicle_id", "name")
    names = dict(called.collect().iter_rows())
    columns = rows.select("alert_id", "vehicle_id", "severity", "title", "text", "opened_at")
    notices = [
        Notice(
            episode_id=alert,
            severity=cast("Severity", level),
            title=f"{names.get(vehicle, f'vehicle {vehicle[:8]}')}: {title}",
            text=text,
            opened_at=opened_at,
        )
        for alert, vehicle, level, title, text, opened_at in columns.iter_rows()
    ]
    return [notice for notice in notices if notice.is_at_least(severity) and notice.opened_at >= now - NEWS]


def present_alerts(lakehouse: Lakehouse) -> set[str]:
    """The ids of all alerts that Gold holds."""
    return set(lakehouse.scan(ALERTS).select(pl.col("alert_id")).collect().get_column("alert_id"))
