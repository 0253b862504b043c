"""What the lake survives, counted: `make faults`.

Every promise has a campaign that breaks things and counts, and a control: the same trial with the guard switched
off, which has to fail.
"""

from __future__ import annotations

import sys
from typing import Final

from tests.faults import (
    crowd,
    deliveries,
    harness,
    hostile,
    late_data,
    library_kills,
    maintenance_faults,
    month,
    orchestrated_kills,
    races,
    s3_faults,
)
from tests.faults.harness import Campaign

CAMPAIGNS: Final[dict[str, Campaign]] = {
    **library_kills.CAMPAIGNS,
    **late_data.CAMPAIGNS,
    **orchestrated_kills.CAMPAIGNS,
    **s3_faults.CAMPAIGNS,
    **races.CAMPAIGNS,
    **maintenance_faults.CAMPAIGNS,
    **hostile.CAMPAIGNS,
    **deliveries.CAMPAIGNS,
    **crowd.CAMPAIGNS,
    **month.CAMPAIGNS,
}
"""By name, in the order in which they run."""


if __name__ == "__main__":
    sys.exit(
        harness.main(
            "The lake under faults",
            "Kill, starve, race and feed garbage to the lake; count what is lost and what is doubled. "
            "Example: python -m tests.faults.lake_faults --quick kills-disk",
            CAMPAIGNS,
        )
    )
