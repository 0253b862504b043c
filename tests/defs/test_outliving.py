"""Incidents stay when the samples that they were made of have gone, and go when these were never good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from smartdrive_dagster.defs.backfill import recomputations
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.rebuild import Rebuild
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.shadow import compute_shadow, promote, shadow_changes
from smartdrive_dagster.lake.frames import empty
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days, driving, silver
from tests.messages import SECRET

DAY = date(2025, 12, 1)
UNTIL = DAY + timedelta(30)
RowsOf = Callable[..., pl.DataFrame]


class House:
    """A lake in which vehicle A and vehicle B stop within a second from 90 km/h."""

    def __init__(self, root: Path, rows_of: RowsOf) -> None:
        self.lakehouse = Lakehouse(str(root / "lake"))
        self.settings = Settings(lake_url=self.lakehouse.url, state_url=str(root / "state"))
        self._rows_of = rows_of
        for line, vehicle in enumerate("AB"):
            self.drive(vehicle, [90.0] * 40 + [0.0] * 40)
            self.enter(line, vehicle, DAY)

    def drive(self, vehicle: str, speeds: list[float]) -> None:
        at = datetime(2025, 12, 1, 8, tzinfo=UTC)
        rows: list[dict[str, Any]] = [
            {
                "vehicle_id": vehicle,
                "device_id": vehicle,
                "event_at": at + timedelta(seconds=second),
                "event_date": DAY,
                "message_id": vehicle,
                "sample": second,
                "speed_kmh": speed,
            }
            for second, speed in enumerate(speeds)
        ]
        self.lakehouse.append_once(silver.TELEMETRY, lambda _: self._rows_of(silver.TELEMETRY, *rows))

    def enter(self, line: int, vehicle: str, day: date, verdict: str = "accepted") -> None:
        """Enter a line into the ledger, in place of the one that is there."""

        def rows(snapshot: Any) -> pl.DataFrame:
            row = {"object_key": "k", "line_no": line, "channel": "telemetry", "verdict": verdict}
            row |= {"landing_date": day, "batch": snapshot.batch + 1}
            row |= {"touched": [{"event_date": day, "vehicle_id": vehicle}]}
            return self._rows_of(silver.MESSAGES, row)

        self.lakehouse.replace(silver.MESSAGES, rows, predicate=f"object_key = 'k' AND line_no = {line}")

    def lose_samples(self) -> None:
        self.lakehouse.replace(
            silver.TELEMETRY, lambda _: empty(silver.TELEMETRY), predicate="event_date = '2025-12-01'"
        )

    def compute(self, *, redo: bool = False) -> None:
        incidents = computations()[driving.INCIDENTS]
        list(recompute(self.lakehouse, incidents, [DAY], self.settings, redo=redo, until=UNTIL))

    def incidents(self, lakehouse: Lakehouse | None = None) -> list[str]:
        rows = (lakehouse or self.lakehouse).scan(driving.INCIDENTS).collect()
        assert set(rows.get_column("samples")) <= {60, 61}
        return sorted(rows.get_column("vehicle_id"))


@pytest.fixture
def house(tmp_path: Path, rows_of: RowsOf) -> House:
    made = House(tmp_path, rows_of)
    made.compute()
    assert made.incidents() == ["A", "B"]
    return made


@pytest.mark.parametrize("redo", [False, True])
def test_a_recomputation_of_a_day_without_samples_keeps_its_incidents(house: House, redo: bool) -> None:
    house.lose_samples()
    house.enter(2, "A", DAY + timedelta(1))  # late data: the day before it is computed anew
    house.compute(redo=redo)
    assert house.incidents() == ["A", "B"]


def test_an_incident_whose_lines_are_no_longer_accepted_goes(house: House) -> None:
    house.lose_samples()
    house.enter(0, "A", DAY, "quarantined")
    house.compute()
    assert house.incidents() == ["B"]


def test_an_incident_that_the_samples_no_longer_show_goes(house: House) -> None:
    house.lose_samples()
    house.drive("A", [50.0] * 80)
    house.enter(0, "A", DAY)
    house.compute()
    assert house.incidents() == ["B"]


def test_a_shadow_and_a_rebuild_keep_them_too(house: House, tmp_path: Path) -> None:
    house.lose_samples()
    known = recomputations(house.settings, until=UNTIL)
    entry = known[str(driving.INCIDENTS)]
    list(compute_shadow(house.lakehouse, entry, Days(DAY, DAY), house.settings))
    assert list(shadow_changes(house.lakehouse, entry)) == []
    list(promote(house.lakehouse, known, entry, house.settings))
    assert house.incidents() == ["A", "B"]
    new = Lakehouse(str(tmp_path / "new"))
    store = LandingStore(str(tmp_path / "landing"))
    rebuild = Rebuild(house.lakehouse, new, store, SECRET, known, UNTIL)
    for _ in range(2):
        list(rebuild.compute())
        assert house.incidents(new) == ["A", "B"]
