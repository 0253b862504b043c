"""The code location of `smartdrive_dagster.definitions`, with failpoints, and less patient.

Production waits so that a quiet lake costs little; a trial would only wait longer. What is decided is the same.
"""

from __future__ import annotations

import os
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import dagster as dg

from tests.faults.failpoints import FOLDER, Failpoints, Fuse

_TICK_S: Final = 2
_IDLE_S: Final = 3.0


def _hurry() -> None:
    sensor = dg.sensor

    def often(**options: Any) -> Any:
        return sensor(**{**options, "minimum_interval_seconds": _TICK_S})

    dg.sensor = often  # type: ignore[assignment]
    triggers, ingest = (import_module(f"smartdrive_dagster.defs.{name}") for name in ("triggers", "ingest"))
    triggers._SHORTEST_WAIT = timedelta(seconds=_TICK_S)
    decide = ingest.reason_to_stop
    ingest.reason_to_stop = lambda state, _: decide(state, ingest.IngestConfig(idle_s=_IDLE_S))


_hurry()
Failpoints(Fuse(Path(os.environ[FOLDER])))
defs: Final = import_module("smartdrive_dagster.definitions").defs
