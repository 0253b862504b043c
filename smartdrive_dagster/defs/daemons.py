"""When Dagster's daemons were last alive, as their instance's storage tells: no daemon is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import yaml


class NoInstanceError(RuntimeError):
    """There is no Dagster instance; the text says where one was looked for."""


@contextmanager
def existing_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a home. Meanwhile DAGSTER_HOME is that home: its `dagster.yaml` may name the variable.

    A home where there is none is left as it is: opening an instance would make its databases.

    Args:
        home: the DAGSTER_HOME.

    Raises:
        NoInstanceError: no instance has ever been opened there.
    """
    configuration = home / "dagster.yaml"
    named = yaml.safe_load(configuration.read_text()) if configuration.is_file() else None
    settings = named if isinstance(named, dict) else {}
    is_in_files = "run_storage" not in settings and "sqlite" in str(settings.get("storage") or "sqlite").lower()
    if is_in_files and not (home / "history" / "runs.db").is_file():
        raise NoInstanceError(f"no Dagster instance at {home}")
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def heartbeats(instance: dg.DagsterInstance) -> dict[str, datetime | None]:
    """The last heartbeat of each daemon that an instance requires; None for one that never ran."""
    last = {kind: status.last_heartbeat for kind, status in instance.get_daemon_statuses().items()}
    return {kind: datetime.fromtimestamp(beat.timestamp, UTC) if beat else None for kind, beat in last.items()}
