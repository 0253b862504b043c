"""Tables as they were: from an instant to the version that a table had then.

The time of a version is the one in its commit, not that of a file, which copying a lake would change. A version is
there as long as the log holds it and maintenance has not deleted its files.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.tables import Table

_FIRST_LOOK: Final = 64


class TooLongAgoError(ValueError):
    """The log no longer holds the version that the table had then; the text says how far back it goes."""


class AsOfError(ValueError):
    """A text that names no instant and no version."""


def commits(delta: DeltaTable) -> Iterator[dict[str, Any]]:
    """A table's commits from the newest to the oldest that the log holds, reading no more of it than is asked for.

    Each has `version` and `timestamp` (UTC epoch milliseconds), and what the writer said of itself.
    """
    seen, limit = 0, _FIRST_LOOK
    while True:
        found = delta.history(limit)
        yield from found[seen:]
        if len(found) < limit:
            return
        seen, limit = len(found), 4 * limit


def committed_at(commit: dict[str, Any]) -> datetime:
    """When a commit of `commits` was made."""
    return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)


def at_instant(delta: DeltaTable, name: str, moment: datetime) -> DeltaTable | None:
    """The version that a table had at an instant; None where it did not exist yet.

    Args:
        delta: the newest version; it is loaded anew at the older one.
        name: of the table, for errors.
        moment: with its zone.

    Raises:
        TooLongAgoError: the log does not reach back to it.
    """
    oldest: dict[str, Any] = {}
    for commit in commits(delta):
        oldest = commit
        if committed_at(commit) <= moment:
            break
    else:
        if oldest and oldest["version"] == 0:
            return None
        raise _too_long_ago(name, moment, oldest)
    try:
        delta.load_as_version(int(oldest["version"]))
    except DeltaError as error:  # the commit is there, and the checkpoint that it builds on is gone
        raise _too_long_ago(name, moment, oldest) from error
    return delta


def parse_as_of(lakehouse: Lakehouse, text: str, *, time_zone: str, tables: tuple[Table, ...]) -> datetime:
    """The instant that a user names.

    Args:
        lakehouse: the lake.
        text: an instant in ISO 8601 (without an offset it is meant in `time_zone`; a date alone is its first
            moment), or ``gold.trips@12``: when that table's version 12 was committed.
        time_zone: IANA name.
        tables: the tables whose versions may be named.

    Raises:
        AsOfError: it is neither, the table is unknown, or its log does not hold that version.
    """
    name, has_version, number = text.partition("@")
    if not has_version:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise AsOfError(
                f"{text!r} is no instant, such as 2026-11-20T12:00Z, and no version, such as gold.trips@12"
            ) from error
        return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(time_zone))
    table = next((table for table in tables if str(table) == name), None)
    if table is None or not number.isdigit():
        raise AsOfError(f"{text!r} names no version of a table, such as gold.trips@12")
    delta = lakehouse.open(table).delta
    commit = next((c for c in commits(delta) if c["version"] == int(number)), None) if delta else None
    if commit is None:
        raise AsOfError(f"the log of {name} holds no version {number}: smartdrive status shows the newest")
    return committed_at(commit)


def _too_long_ago(name: str, moment: datetime, oldest: dict[str, Any]) -> TooLongAgoError:
    since = f"its log reaches back to {committed_at(oldest).isoformat()}" if oldest else "its log is empty"
    return TooLongAgoError(f"{name} as of {moment.isoformat()} is no longer known: {since}")
