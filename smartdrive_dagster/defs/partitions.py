"""The two kinds of day. Both are UTC, begin 2008-01-01 and include today."""

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache

import dagster as dg

from smartdrive_dagster.tables import Days

FIRST_DAY = "2008-01-01"


class UtcDays(dg.DailyPartitionsDefinition):
    """Daily partitions from the first day to today, of which the keys are counted out once.

    Dagster lists all of them for each dependency of each step, and walks through a cron schedule to do so: a fifth
    of what a run of Gold cost.
    """

    def get_partition_keys(
        self,
        current_time: datetime | None = None,
        dynamic_partitions_store: dg.DagsterInstance | None = None,  # type: ignore[override]
    ) -> Sequence[str]:
        """All keys, the first day first."""
        if current_time is not None:
            return super().get_partition_keys(current_time, dynamic_partitions_store)
        last = self.get_last_partition_key()
        return [] if last is None else _keys(last)


@lru_cache(maxsize=2)
def _keys(last: str) -> Sequence[str]:
    return [day.isoformat() for day in Days(date.fromisoformat(FIRST_DAY), date.fromisoformat(last))]


ARRIVAL_DAYS = UtcDays(start_date=FIRST_DAY, end_offset=1)
EVENT_DAYS = UtcDays(start_date=FIRST_DAY, end_offset=1)


def range_tags(days: Days) -> dict[str, str]:
    """The tags by which Dagster knows that a run is of a range of partitions."""
    return {
        "dagster/asset_partition_range_start": days.first.isoformat(),
        "dagster/asset_partition_range_end": days.last.isoformat(),
    }
