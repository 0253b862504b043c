"""The outbox: each episode is told once over each channel, whatever crashes.

It lies beside the lake and not in it: what people were told is no function of landing, and a rebuild must not tell
them again. It is an append-only Delta table with the lake's compare-and-swap, so that of two senders one gets the
claim. A sender claims before it sends and records what came of it; a claim whose sender died is taken up again
after a while, so that a crash between sending and recording, and nothing else, can send twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from smartdrive_dagster.alerting.channels import Channel, ChannelError
from smartdrive_dagster.alerting.message import Notice, message_of
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.tables.outbox import NOTIFICATIONS

NEWS: Final = timedelta(hours=24)
_CLAIM_LASTS: Final = timedelta(minutes=10)
_MAX_ATTEMPTS: Final = 8
_SHORTEST_PAUSE: Final = timedelta(minutes=1)
_EVERY_CHANNEL: Final = ""
_SCHEMA: Final = polars_schema(NOTIFICATIONS)


@dataclass
class Delivery:
    """What one round of sending did.

    Attributes:
        sent: notices handed over, over all channels.
        failed: notices that a channel did not take; they are tried again, with growing pauses.
        faults: what the channels said, by name.
    """

    sent: int = 0
    failed: int = 0
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outbox:
    """What was told to whom.

    Args:
        lakehouse: holds the outbox's table; not the lake's own root.
    """

    lakehouse: Lakehouse

    def deliver(
        self, notices: Sequence[Notice], channels: Iterable[Channel], *, now: datetime, as_digest: bool = False
    ) -> Delivery:
        """Send what is new over each channel.

        Args:
            notices: all that is the case; old ones and those that were told already are left out.
            channels: where to.
            now: UTC.
            as_digest: one message for all, instead of one each.
        """
        done = Delivery()
        for channel in channels:
            claimed = self._claim(notices, channel.name, now)
            groups = [claimed] if as_digest and claimed else [[one] for one in claimed]
            for group in groups:
                try:
                    channel.send(message_of([notice for notice, _ in group]))
                except ChannelError as error:
                    done.failed += len(group)
                    done.faults[channel.name] = str(error)
                    self._record(group, channel.name, "failed", now, str(error))
                else:
                    done.sent += len(group)
                    self._record(group, channel.name, "sent", now)
        return done

    def due(self, notices: Sequence[Notice], channels: Iterable[Channel], *, now: datetime) -> int:
        """How many notifications `deliver` would send now."""
        snapshot = self.lakehouse.open(NOTIFICATIONS)
        return sum(len(_due(snapshot, notices, channel.name, now)) for channel in channels)

    def suppress(self, episodes: Collection[str], *, now: datetime) -> int:
        """Never tell these episodes, if they have not been told yet: a backfill or a rebuild brought them up.

        Returns:
            How many were new.
        """

        def rows(snapshot: Snapshot) -> pl.DataFrame:
            known = set(snapshot.rows().select("episode_id").unique().collect().get_column("episode_id"))
            new = [(episode, _EVERY_CHANNEL, 0, "suppressed", now, now.date(), None) for episode in episodes]
            return _frame([row for row in new if row[0] not in known])

        return self.lakehouse.append_once(NOTIFICATIONS, rows).rows

    def follow(
        self, scope: str, present: Collection[str], *, looked_at: Callable[[str], bool], now: datetime
    ) -> dict[str, tuple[str, datetime]]:
        """Give what is the case now the episodes to which it belongs, where no table remembers them.

        What was there at the last call goes on as the episode that it was; what was not begins one; and what was
        there and is not any more is over, so that it will begin another should it come back.

        Args:
            scope: who follows; episodes of others are left alone.
            present: names of what is the case.
            looked_at: whether this call knows of a name that is not present that it is over.
            now: UTC.

        Returns:
            By name, the episode's id and when it was first seen.
        """
        found: dict[str, tuple[str, datetime]] = {}

        def rows(snapshot: Snapshot) -> pl.DataFrame:
            nonlocal found
            ours = pl.col("episode_id").str.starts_with(f"{scope}/") & pl.col("state").is_in(
                ["opened", "resolved"]
            )
            held = snapshot.rows().filter(ours).select("episode_id", "state", "at").collect()
            over = set(held.filter(pl.col("state") == "resolved").get_column("episode_id"))
            open_ = {
                episode.removeprefix(f"{scope}/").rpartition("/")[0]: (episode, at)
                for episode, state, at in held.iter_rows()
                if state == "opened" and episode not in over
            }
            new = {name: (f"{scope}/{name}/{now:%Y-%m-%dT%H:%M:%S.%fZ}", now) for name in {*present} - {*open_}}
            gone = [episode for name, (episode, _) in open_.items() if name not in present and looked_at(name)]
            found = {name: episode for name, episode in (open_ | new).items() if name in present}
            steps = [(episode, "opened") for episode, _ in new.values()] + [(one, "resolved") for one in gone]
            return _frame(
                [(episode, _EVERY_CHANNEL, 0, state, now, now.date(), None) for episode, state in sorted(steps)]
            )

        self.lakehouse.append_once(NOTIFICATIONS, rows)
        return found

    def supersede(self, present: Collection[str], *, now: datetime) -> int:
        """Mark recently told episodes that later data has overturned.

        Args:
            present: all episodes that are the case now.
            now: UTC.

        Returns:
            How many were marked.
        """

        def rows(snapshot: Snapshot) -> pl.DataFrame:
            held = snapshot.rows().select("episode_id", "state").collect()
            # A fault of the pipeline (run-failed/…, watch/…) is no row of Gold that could be overturned.
            of_gold = held.filter(~pl.col("episode_id").str.contains("/", literal=True))
            told = set(of_gold.filter(pl.col("state") == "sent").get_column("episode_id"))
            marked = set(held.filter(pl.col("state") == "superseded").get_column("episode_id"))
            gone = sorted(told - marked - set(present))
            return _frame([(episode, _EVERY_CHANNEL, 0, "superseded", now, now.date(), None) for episode in gone])

        return self.lakehouse.append_once(NOTIFICATIONS, rows).rows

    def states(self) -> pl.DataFrame:
        """Each notification's latest step: episode_id, channel, attempt, state, at, detail."""
        rows = self.lakehouse.scan(NOTIFICATIONS).collect().sort("at", "attempt", "state", maintain_order=True)
        return rows.group_by("episode_id", "channel", maintain_order=True).last().drop("at_date")

    def _claim(self, notices: Sequence[Notice], channel: str, now: datetime) -> list[tuple[Notice, int]]:
        """Take what is due on a channel; each with the number of its attempt."""
        taken: list[tuple[Notice, int]] = []

        def rows(snapshot: Snapshot) -> pl.DataFrame:
            nonlocal taken
            taken = _due(snapshot, notices, channel, now)
            return _frame(
                [(notice.episode_id, channel, n, "claimed", now, now.date(), None) for notice, n in taken]
            )

        if notices:
            self.lakehouse.append_once(NOTIFICATIONS, rows)
        return taken

    def _record(
        self,
        group: Sequence[tuple[Notice, int]],
        channel: str,
        state: str,
        now: datetime,
        detail: str | None = None,
    ) -> None:
        rows = _frame(
            [(notice.episode_id, channel, attempt, state, now, now.date(), detail) for notice, attempt in group]
        )
        self.lakehouse.append_once(
            NOTIFICATIONS,
            lambda snapshot: rows.join(snapshot.rows().collect(), on=list(NOTIFICATIONS.key), how="anti"),
        )


def _due(snapshot: Snapshot, notices: Sequence[Notice], channel: str, now: datetime) -> list[tuple[Notice, int]]:
    """News that is due on a channel; each with the number of its attempt."""
    news = {notice.episode_id: notice for notice in notices if now - NEWS <= notice.opened_at <= now + NEWS}
    of_news = pl.col("episode_id").is_in(list(news)) & pl.col("channel").is_in([channel, _EVERY_CHANNEL])
    by_episode: dict[str, list[tuple[int, str, datetime]]] = {}
    held = snapshot.rows().filter(of_news).select("episode_id", "attempt", "state", "at").collect()
    for episode, attempt, state, at in held.iter_rows():
        by_episode.setdefault(episode, []).append((attempt, state, at))
    due = ((notice, next_attempt(by_episode.get(notice.episode_id, []), now)) for notice in news.values())
    return [(notice, attempt) for notice, attempt in due if attempt is not None]


def next_attempt(steps: Sequence[tuple[int, str, datetime]], now: datetime) -> int | None:
    """The number of the attempt that is due now, or None.

    None where it was sent, suppressed, overturned or over, where a sender is at it, where it is too soon after a
    failure (the pause doubles from one minute), and after eight attempts.

    Args:
        steps: attempt, state and time of each step so far, in any order.
        now: UTC.
    """
    if any(state in {"sent", "suppressed", "superseded", "resolved"} for _, state, _ in steps):
        return None
    last = max((attempt for attempt, _, _ in steps), default=0)
    if not last:  # nothing was tried: at most it was opened
        return 1
    failed_at = [at for attempt, state, at in steps if attempt == last and state == "failed"]
    if not failed_at:
        claimed_at = max(at for attempt, _, at in steps if attempt == last)
        return last + 1 if now - claimed_at > _CLAIM_LASTS else None
    is_due = now - failed_at[0] >= _SHORTEST_PAUSE * (1 << (last - 1))
    return last + 1 if is_due and last < _MAX_ATTEMPTS else None


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")
