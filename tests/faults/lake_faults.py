"""What the lake survives, counted: `make faults`.

Every promise has a campaign that breaks things and counts, and a control: the same trial with the guard switched
off, which has to fail.
"""

from __future__ import annotations

import sys
from typing import Final

from tests.faults import harness, late_data, library_kills, orchestrated_kills
from tests.faults.harness import Campaign

CAMPAIGNS: Final[dict[str, Campaign]] = {
    **library_kills.CAMPAIGNS,
    **late_data.CAMPAIGNS,
    **orchestrated_kills.CAMPAIGNS,
}
"""By name, in the order in which they run."""


if __name__ == "__main__":
    sys.exit(
        harness.main(
            "The lake under faults",
            "Kill, starve, race and feed garbage to the lake; count what is lost and what is doubled. "
            "Example: python -m tests.faults.lake_faults --quick kills",
            CAMPAIGNS,
        )
    )
