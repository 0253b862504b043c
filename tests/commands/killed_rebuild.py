"""A rebuild of the configured lake that kills itself after a number of commits: a process of its own.

Usage: python -m tests.commands.killed_rebuild COMMITS
"""

from __future__ import annotations

import sys

from smartdrive_dagster.cli import app
from tests.faults.worker import arm

if __name__ == "__main__":
    arm(int(sys.argv[1]), "after", 0)
    app(["rebuild"])
