"""When Dagster's daemons were last alive, as their instance's storage tells: no daemon is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import yaml


class NoInstanceError(RuntimeError):
    """There is no Dagster instance; the text says where one was looked for."""


def heartbeats(home: Path) -> dict[str, datetime | None]:
    """The last heartbeat of each daemon that an instance requires; None for one that never ran.

    A home where there is none is left as it is: opening an instance would make its databases.

    Args:
        home: the DAGSTER_HOME.

    Raises:
        NoInstanceError: no instance has ever been opened there.
    """
    configuration = home / "dagster.yaml"
    named = yaml.safe_load(configuration.read_text()) if configuration.is_file() else None
    has_own_storage = isinstance(named, dict) and bool({"storage", "run_storage"} & set(named))
    if not has_own_storage and not (home / "history" / "runs.db").is_file():
        raise NoInstanceError(f"no Dagster instance at {home}")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        last = {kind: status.last_heartbeat for kind, status in instance.get_daemon_statuses().items()}
    return {kind: datetime.fromtimestamp(beat.timestamp, UTC) if beat else None for kind, beat in last.items()}
