"""What a recomputation changes, told per vehicle and day."""

from __future__ import annotations

from datetime import date

from smartdrive_dagster.domain.changes import Change, changes
from smartdrive_dagster.tables import gold

DAY, NEXT = date(2025, 12, 1), date(2025, 12, 2)


def test_rows_added_removed_and_changed_are_counted_with_what_the_day_comes_to(rows_of) -> None:
    def trip(name: str, vehicle: str, day: date, **values: object) -> dict[str, object]:
        return {"trip_id": name, "vehicle_id": vehicle, "event_date": day, **values}

    old = rows_of(
        gold.TRIPS,
        trip("same", "a", DAY, distance_km=1.0, max_speed_kmh=50.0),
        trip("other", "a", DAY, distance_km=2.0, max_speed_kmh=60.0, idle_s=None, algo_version="1"),
        trip("gone", "a", NEXT, distance_km=4.0),
        trip("kept", "b", DAY, distance_km=None),
    )
    new = rows_of(
        gold.TRIPS,
        trip("kept", "b", DAY, distance_km=None),
        trip("other", "a", DAY, distance_km=2.5, max_speed_kmh=60.0, idle_s=0.0, algo_version="2"),
        trip("same", "a", DAY, distance_km=1.0, max_speed_kmh=50.0),
        trip("added", "c", NEXT, distance_km=8.0),
    )
    first, gone, added = changes(gold.TRIPS, old, new)
    assert first == Change(
        "a",
        DAY,
        added=0,
        removed=0,
        changed=1,
        columns=("distance_km", "idle_s", "algo_version"),
        values={"distance_km": (3.0, 3.5), "idle_s": (None, 0.0)},
    )
    assert (gone.vehicle_id, gone.day, gone.removed, gone.values["distance_km"]) == ("a", NEXT, 1, (4.0, None))
    assert (added.vehicle_id, added.day, added.added, added.values["distance_km"]) == ("c", NEXT, 1, (None, 8.0))
    assert list(changes(gold.TRIPS, old, old.reverse())) == []
