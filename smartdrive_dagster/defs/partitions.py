"""The two kinds of day. Both are UTC, begin 2008-01-01 and include today."""

import dagster as dg

FIRST_DAY = "2008-01-01"

ARRIVAL_DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1)
EVENT_DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1)
