"""Importing into a landing zone on disk, and the recorded drives where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.landing.recorded.format_model import Format
from smartdrive_dagster.landing.recorded.formats import parse_format
from smartdrive_dagster.landing.recorded.importer import ImportReport, import_log
from smartdrive_dagster.landing.store import LandingStore

VIN = "1M8GDM9AXKP042788"  # the worked example of the check digit in 49 CFR 565.15
SECRET = b"a secret of the tests, 32 bytes."
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Imported:
    report: ImportReport
    messages: list[dict[str, Any]]
    payloads: list[bytes]
    topics: set[str]

    def series(self, signal: str) -> list[tuple[int, float]]:
        """(UTC epoch ms, value) in the order of the messages."""
        return [
            (at, value)
            for message in self.messages
            for at, value in zip(
                message["t"], message["signals"].get(signal, [None] * len(message["t"])), strict=True
            )
            if value is not None
        ]

    @property
    def times(self) -> list[int]:
        return [at for message in self.messages for at in message["t"]]


Importer = Callable[..., Imported]


@pytest.fixture
def do_import(tmp_path: Path) -> Importer:
    """Import a log (text, bytes or a path) with a format (YAML text or `Format`) and read what landed."""

    def run(log: str | bytes | Path, form: str | Format, **options: Any) -> Imported:
        path = log if isinstance(log, Path) else tmp_path / "log.csv"
        if not isinstance(log, Path):
            path.write_bytes(log.encode() if isinstance(log, str) else log)
        store = LandingStore(str(options.pop("landing", tmp_path / "landing")))
        report = import_log(
            path,
            format=parse_format(form, source="test.yml") if isinstance(form, str) else form,
            store=store,
            **{
                "vin": VIN,
                "secret": SECRET,
                "day": None,
                "time_zone": "UTC",
                "received_at": datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
                **options,
            },
        )
        lines = [line for entry in store.list().objects for line in read_lines(store, entry)]
        payloads = [line.payload or b"" for line in lines]
        return Imported(report, [json.loads(p) for p in payloads], payloads, {line.topic or "" for line in lines})

    return run


@pytest.fixture(scope="session")
def day() -> date:
    return date(2024, 5, 31)
