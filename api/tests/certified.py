"""A car with a history to certify, and what a certificate of it carries."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any

from pypdf import PdfReader
from smartdrive_api.figures import tables
from sqlalchemy import Engine, Table
from sqlalchemy.dialects.postgresql import insert

LAST = date(2025, 11, 20)

TITLE = 'System <too lean> & "rich" <b>(bank 1)</b>'
TITLE_HU = "Túl szegény keverék, őszi hűvösben gyűrött szűrő"


def history() -> dict[Table, list[dict[str, Any]]]:
    """Published rows, without the vehicle's id: half a year of it."""
    days = [LAST - timedelta(days=number) for number in reversed(range(180))]
    driven = [day for day in days if day.month % 6 and day.toordinal() % 3]
    return {
        tables.VEHICLE_DAILY: [{"local_date": day, "trips": int(day in driven)} for day in days if day.day < 29],
        tables.TRIPS: [
            {
                "trip_id": f"t{number:03}",
                "event_date": day,
                "started_at": datetime(day.year, day.month, day.day, 7, 30, tzinfo=UTC),
                "ended_at": datetime(day.year, day.month, day.day, 8, tzinfo=UTC),
                "duration_s": 1800.0 + number,
                "distance_km": None if number % 40 == 7 else 18.1 + number % 7,
                "distance_method": "odometer" if number % 5 == 0 else "speed",
                "algo_version": "2" if number < 50 else "3",
                "start_latitude_deg": 47.51,
                "label": "to the doctor",
            }
            for number, day in enumerate(driven)
        ],
        tables.BATTERY_HEALTH: [
            {
                "event_date": day,
                "status": "ok" if number < 100 else "warning",
                "confidence": "medium",
                "method": "plateau",
                "soh_pct": None if number in SILENT else 96.4 - number * 0.17 + number % 4,
                "soh_low_pct": None if number in SILENT else 90.4 - number * 0.17,
                "soh_high_pct": None if number in SILENT else min(100.0, 104.0 - number * 0.17),
                "soh_reason": "baseline_incomplete" if number in SILENT else None,
                "cranks": 2,
                "conclusive_cranks": 1,
                "failing_cranks": int(number > 105),
                "algo_version": "1",
            }
            for number, day in enumerate(driven)
        ],
        tables.DRIVER_SCORES: [
            {
                "week_start_date": date(2025, 5, 26) + timedelta(weeks=number),
                "score": None if number % 6 == 5 else 70.0 + number,
                "status": "too_short" if number % 6 == 5 else "scored",
                "method": "events_and_idle",
                "distance_km": 80.0 + number,
                "brakings_per_100km": None if number % 6 == 5 else 2.5,
                "accelerations_per_100km": None if number % 6 == 5 else 1.25,
            }
            for number in range(25)
        ],
        tables.DTC_EPISODES: [
            {
                "episode_id": f"e{number}",
                "event_date": date(2025, 7, 3 + number),
                "opened_at": datetime(2025, 7, 3 + number, 6, tzinfo=UTC),
                "last_seen_at": datetime(2025, 8, 3, 23, 30, tzinfo=UTC),
                "dtc_code": code,
                "title": title,
                "title_hu": title_hu,
                "title_tier": "own",
                "severity": severity,
                "status": "stored",
                "is_open": is_open,
                "has_mil": lamp,
                "algo_version": "4",
            }
            for number, (code, title, title_hu, severity, is_open, lamp) in enumerate(
                [
                    ("P0171", TITLE, TITLE_HU, "warning", False, False),
                    ("P0300", "Random misfire \u202e\x07日本", None, "warning", True, None),
                    ("P0524", "Engine oil pressure too low", "Alacsony olajnyomás", "critical", True, True),
                    ("P0171", TITLE, TITLE_HU, "warning", True, True),
                ]
            )
        ],
    }


def publish(engine: Engine, vehicle_id: str, rows: dict[Table, list[dict[str, Any]]], version: int = 7) -> None:
    """Put rows into the published tables as the lake does, with the mark of each day."""
    with engine.begin() as connection:
        for table, given in rows.items():
            ids = [name for name in ("trip_id", "episode_id") if name in table.c]
            filled = [
                required(table)
                | row
                | {"vehicle_id": vehicle_id}
                | {name: vehicle_id[:4] + row[name] for name in ids}
                for row in given
            ]
            connection.execute(insert(table), filled)
            days = {str(next(row[name] for name in DAYS if name in row)) for row in filled}
            marks = [
                {
                    "table_name": table.name,
                    "part": day,
                    "content": f"files of {day}",
                    "rows": 1,
                    "version": version,
                    "published_at": datetime(2025, 11, 21, 5, tzinfo=UTC),
                }
                for day in sorted(days)
            ]
            connection.execute(insert(tables.PUBLICATIONS).on_conflict_do_nothing(), marks)


SILENT = (*range(10), 99)  # starts, the last one among them, that tell no health
DAYS = ("event_date", "local_date", "week_start_date")


def required(table: Table) -> dict[str, Any]:
    """Something for each column that is never null."""
    fillers: dict[str, Any] = {
        "BigInteger": 0,
        "Double": 0.0,
        "Boolean": False,
        "Date": LAST,
        "DateTime": datetime(2025, 11, 20, tzinfo=UTC),
        "Text": "x",
    }
    return {c.name: fillers[type(c.type).__name__] for c in table.c if not c.nullable and c.name not in DAYS} | {
        name: LAST for name in DAYS if name in table.c
    }


def pages(pdf: bytes) -> list[str]:
    """The text of each page, words separated by one space."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(pdf)).pages]


def carried(pdf: bytes) -> dict[str, Any]:
    """The JSON in the attachment."""
    (data,) = PdfReader(BytesIO(pdf)).attachments["certificate.json"]
    return dict(json.loads(data))
