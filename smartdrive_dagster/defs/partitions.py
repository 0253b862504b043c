"""The two kinds of day. Both are UTC, begin 2008-01-01 and include today."""

import dagster as dg

from smartdrive_dagster.tables import Days

FIRST_DAY = "2008-01-01"

ARRIVAL_DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1)
EVENT_DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1)


def range_tags(days: Days) -> dict[str, str]:
    """The tags by which Dagster knows that a run is of a range of partitions."""
    return {
        "dagster/asset_partition_range_start": days.first.isoformat(),
        "dagster/asset_partition_range_end": days.last.isoformat(),
    }
