"""The spool: the only queue between the car and the lake, kept in one SQLite file.

A message gets its identity here, committed with its content before anything is sent. It leaves only when a
lander's ack names its digest, when the replay window ends where no lander speaks, or when room runs out, and then
it is counted. `spool_file` survives a full disk and damage, `spool_schema` has the tables.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from smartdrive_edge.messages import (
    Identity,
    Kind,
    Message,
    MessageError,
    channel_of,
    check_device_id,
    encode,
    from_waiting,
    to_waiting,
)
from smartdrive_edge.spool_file import SpoolFile, machine_boot_id, ulid

LIMIT_BYTES: Final = 50_000_000
DAY_MS: Final = 86_400_000
_KEPT_LONGEST: Final = frozenset({Kind.CRANK, Kind.EVENT})
_STAMPED_AT_ONCE: Final = 200
_LARGEST_DOUBLING: Final = 20
_WIDEST_OFFSET_MS: Final = 1 << 52
_SET_FACT: Final = "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value ="
_FACT: Final = "collector."  # beside the spool's own


@dataclass(frozen=True, slots=True)
class Row:
    """A message ready to be sent: `payload` goes out byte for byte, `number` is the spool's own name for it."""

    number: int
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Health:
    """What the spool holds and has lost.

    Attributes:
        messages: rows in it, those that wait for the clock included.
        waiting: rows that wait for the clock.
        used_bytes: pages in use; the file itself may be larger, never than its limit and a journal.
        oldest_ms: wall clock of the oldest row, UTC epoch ms, as good as the clock was then; None when empty.
        drops: rows lost to the limit, a full disk or damage since the file was made, by kind.
        restarts: openings since the file was made, the first not counted.
    """

    messages: int
    waiting: int
    used_bytes: int
    oldest_ms: int | None
    drops: Mapping[str, int]
    restarts: int


class Spool:
    """A durable queue of messages, safe to share between threads, held by one process at a time.

    Args:
        path: of the file; its folder is made with it.
        device_id: stands in topics and identities.
        limit_bytes: of pages in use.
        machine_boot: names the span over which the monotonic clock counts.
        wall_ms: UTC epoch milliseconds, right or not.

    Attributes:
        boot_id: new at every start, and after damage.
        machine_boot: names the span over which the monotonic clock counts.

    Raises:
        SpoolInUseError: another process has it.
        sqlite3.OperationalError: the place cannot be written at all.
    """

    def __init__(
        self,
        path: Path,
        device_id: str,
        *,
        limit_bytes: int = LIMIT_BYTES,
        machine_boot: str | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.device_id = check_device_id(device_id)
        self.machine_boot = machine_boot or machine_boot_id()
        self._wall_ms = wall_ms
        self._offset_ms: int | None = None
        self._mutex = threading.RLock()
        self._file = SpoolFile(path, limit_bytes=limit_bytes, wall_ms=wall_ms, begin=self._begin)
        # What an earlier start of the machine left waiting can never be stamped: its clock's zero is gone.
        self._render("machine_boot != ?", None)

    @property
    def set_aside(self) -> list[Path]:
        """Files found damaged and renamed since the start; the caller reports them."""
        return list(self._file.set_aside)

    def append(self, message: Message) -> Identity | None:
        """Give a message its identity and keep it; on return it is on the disk.

        Returns:
            Its identity; None where there was no room for it and none could be made, which is counted.

        Raises:
            MessageError: the payload would be over 102,400 bytes.
        """
        return self.commit([message])[0]

    def commit(self, messages: Sequence[Message], facts: Mapping[str, str] | None = None) -> list[Identity | None]:
        """Keep messages and facts in one transaction: a crash finds all of them, or none.

        Args:
            messages: in the order of their numbers.
            facts: by name; they replace earlier ones and are read by `fact`.

        Returns:
            The identity of each message; None where there was no room, which is counted.

        Raises:
            MessageError: a payload would be over 102,400 bytes; nothing was kept.
        """
        with self._mutex:
            for _ in range(2):
                boot_id = self.boot_id
                identities, inserts = self._prepared(messages)
                may_drop_all = bool(facts) or any(message.kind in _KEPT_LONGEST for message in messages)
                kept = self._file.write(partial(self._keep, inserts, facts or {}), may_drop_all=may_drop_all)
                if kept is not None:
                    return [identity if it_is else None for identity, it_is in zip(identities, kept, strict=True)]
                if self.boot_id == boot_id:  # not damage, which opens a fresh file
                    break
            self._file.uncounted.update(message.kind for message in messages)
            return [None] * len(messages)

    def fact(self, name: str) -> str | None:
        """What was last committed under this name; None where nothing was, or where it was lost with the file."""
        with self._mutex:
            rows = self._file.read("SELECT value FROM facts WHERE name = ?", (_FACT + name,))
            return str(rows[0][0]) if rows else None

    def count_drops(self, kind: Kind, number: int) -> None:
        """Count what never got as far as a message in the spool."""
        with self._mutex:
            self._file.uncounted[kind] += number
            self._file.write(lambda: None)  # each write begins by writing these down

    def stamp(self, offset_ms: int) -> int:
        """The clock is synced: stamp what waits, and everything from now on.

        Args:
            offset_ms: UTC epoch milliseconds minus monotonic milliseconds.

        Returns:
            How many rows were stamped.
        """
        with self._mutex:
            self._offset_ms = offset_ms
            return self._render("machine_boot = ?", offset_ms)

    def has_urgent(self) -> bool:
        """Whether an event waits for being sent, or for its ack."""
        with self._mutex:
            return bool(
                self._file.read("SELECT 1 FROM deliveries WHERE urgent = 1 AND due_ms IS NOT NULL LIMIT 1")
            )

    def unsent(self, now_ms: int, limit: int, *, urgent_only: bool = False) -> list[Row]:
        """Rows to send now, events first, then the oldest that was never sent, then what is due again.

        Args:
            now_ms: monotonic milliseconds.
            limit: at most so many rows.
            urgent_only: events and nothing else.
        """
        query = (
            "SELECT id, topic, CAST(payload AS BLOB), sha256, kind FROM messages JOIN"
            " (SELECT message_id, due_ms FROM deliveries"
            " WHERE urgent = ? AND due_ms <= ? ORDER BY due_ms, message_id LIMIT ?) ON message_id = id"
            " ORDER BY due_ms, id"
        )
        with self._mutex:
            found = self._file.read(query, (1, now_ms, limit))
            if not urgent_only:
                found += self._file.read(query, (0, now_ms, limit - len(found)))
            whole = [
                Row(number, topic, payload)
                for number, topic, payload, digest, _ in found
                if _digest(payload) == digest
            ]
            if len(whole) < len(
                found
            ):  # a memory card forgets bits: other content must not go out under this identity
                numbers = {row.number for row in whole}
                broken = [(number, kind) for number, *_, kind in found if number not in numbers]
                self._file.write(lambda: self._file.drop(broken))
            return whole

    def mark_sent(self, numbers: Sequence[int], at_ms: int, *, again_ms: int, at_most_ms: int) -> None:
        """Set when rows are due again: after `again_ms`, then twice as long each time, up to `at_most_ms`.

        Args:
            numbers: of the rows.
            at_ms: when they were sent, monotonic milliseconds.
            again_ms: first wait, milliseconds.
            at_most_ms: longest wait, milliseconds.
        """
        update = (
            f"UPDATE deliveries SET attempts = attempts + 1,"  # noqa: S608
            f" due_ms = ? + min(? * (1 << min(attempts, {_LARGEST_DOUBLING})), ?) WHERE message_id = ?"
        )
        rows = [(at_ms, again_ms, at_most_ms, number) for number in numbers]
        with self._mutex:
            self._file.write(lambda: self._file.executemany(update, rows))

    def acknowledge(self, digests: Iterable[str]) -> int:
        """Delete the rows that a lander has landed durably; the number of them. Unknown digests are ignored.

        Args:
            digests: SHA-256 of payloads in hexadecimal.
        """
        keys = [(bytes.fromhex(digest),) for digest in digests]
        return self._delete("sha256 = ?", keys)

    def mark_puback(self, numbers: Sequence[int], at_ms: int) -> None:
        """Where no lander speaks: note when the broker took rows, monotonic ms; they are not sent again."""
        update = "UPDATE deliveries SET due_ms = NULL, puback_ms = ? WHERE message_id = ?"
        rows = [(at_ms, number) for number in numbers]
        with self._mutex:
            self._file.write(lambda: self._file.executemany(update, rows))

    def expire(self, now_ms: int, *, replay_window_ms: int = DAY_MS) -> int:
        """Where no lander speaks: delete rows that the broker took a replay window ago; the number of them.

        Args:
            now_ms: monotonic milliseconds: a wall clock that is put right must not end the window. After a start
                of the machine the window begins anew.
            replay_window_ms: how long an upstream dead-letter queue can still ask for a row, by design 24 h.
        """
        which = "id IN (SELECT message_id FROM deliveries WHERE puback_ms <= ?)"
        return self._delete(which, [(now_ms - replay_window_ms,)])

    def health(self) -> Health:
        """What the spool holds and has lost."""
        with self._mutex:
            rows = self._file.read("SELECT count(*), count(waiting), min(created_ms) FROM messages")
            messages, waiting, oldest_ms = rows[0] if rows else (0, 0, None)
            drops = Counter(dict(self._file.read("SELECT kind, count FROM drops"))) + self._file.uncounted
            starts = self._file.read("SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'starts'")
            restarts = starts[0][0] - 1 if starts else 0
            return Health(messages, waiting, self._file.used_bytes(), oldest_ms, dict(drops), restarts)

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        with self._mutex:
            self._file.close()

    def _begin(self, file: SpoolFile) -> None:
        self.boot_id = ulid(self._wall_ms())
        self._seq = 0

        def begin() -> None:
            file.execute(f"{_SET_FACT} CAST(value AS INTEGER) + 1", ("starts", "1"))
            before = file.execute("SELECT value FROM facts WHERE name = 'machine_boot'").fetchone()
            if before is not None and before[0] != self.machine_boot:  # due times were on that boot's clock
                file.execute("UPDATE deliveries SET due_ms = 0, attempts = 0 WHERE due_ms IS NOT NULL")
                file.execute("UPDATE deliveries SET puback_ms = 0 WHERE puback_ms IS NOT NULL")
            file.execute(f"{_SET_FACT} excluded.value", ("machine_boot", self.machine_boot))

        file.write(begin)

    def _delete(self, which: str, rows: Sequence[Sequence[object]]) -> int:
        delete = f"DELETE FROM messages WHERE {which}"  # noqa: S608
        with self._mutex:
            return self._file.write(lambda: self._file.executemany(delete, rows)) or 0

    def _prepared(self, messages: Sequence[Message]) -> tuple[list[Identity], list[Callable[[], bool]]]:
        """Number and encode messages. A number is used up by the attempt: a failed commit may be on the disk."""
        identities: list[Identity] = []
        inserts: list[Callable[[], bool]] = []
        for message in messages:
            identity = Identity(self.device_id, self.boot_id, self._seq)
            self._seq += 1
            # What waits is tried with the widest times there are, so that stamping it cannot fail later.
            offset_ms = _WIDEST_OFFSET_MS if self._offset_ms is None else self._offset_ms
            payload = encode(message, identity, offset_ms=offset_ms)
            kept_payload = None if self._offset_ms is None else payload
            identities.append(identity)
            inserts.append(partial(self._insert, message, identity, kept_payload))
        return identities, inserts

    def _keep(self, inserts: Sequence[Callable[[], bool]], facts: Mapping[str, str]) -> list[bool]:
        for name, value in facts.items():
            self._file.execute(f"{_SET_FACT} excluded.value", (_FACT + name, value))
        return [insert() for insert in inserts]

    def _insert(self, message: Message, identity: Identity, payload: bytes | None) -> bool:
        waiting = to_waiting(message) if payload is None else None
        topic = f"vehicle/{self.device_id}/{channel_of(message)}"
        key = (identity.boot_id, identity.seq, message.kind, message.kind in _KEPT_LONGEST)
        number = self._file.execute(
            "INSERT INTO messages (boot_id, seq, kind, keep_longest, topic, created_ms, machine_boot, waiting,"
            " payload, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, topic, self._wall_ms(), self.machine_boot, waiting, payload, payload and _digest(payload)),
        ).lastrowid
        self._file.execute(
            "INSERT INTO deliveries (message_id, urgent, due_ms) VALUES (?, ?, ?)",
            (number, message.kind is Kind.EVENT, None if payload is None else 0),
        )
        self._file.trim()
        return bool(self._file.execute("SELECT 1 FROM messages WHERE id = ?", (number,)).fetchone())

    def _render(self, which: str, offset_ms: int | None) -> int:
        """Turn waiting rows into payloads, some at a time, each lot in one transaction."""
        query = (
            f"SELECT id, boot_id, seq, kind, waiting FROM messages WHERE waiting IS NOT NULL AND {which}"  # noqa: S608
            f" ORDER BY id LIMIT {_STAMPED_AT_ONCE}"
        )
        stamped = 0
        while rows := self._file.read(query, (self.machine_boot,)):
            payloads: list[tuple[bytes, bytes, int]] = []
            broken: list[tuple[int, str]] = []
            for number, boot_id, seq, kind, waiting in rows:
                identity = Identity(self.device_id, boot_id, seq)
                try:
                    payload = encode(from_waiting(waiting), identity, offset_ms=offset_ms)
                except MessageError:  # a memory card forgets bits: one lost row must not stop those behind it
                    broken.append((number, kind))
                else:
                    payloads.append((payload, _digest(payload), number))
            if not self._file.write(partial(self._settle, payloads, broken)):
                break
            stamped += len(payloads)
        return stamped

    def _settle(self, payloads: Sequence[tuple[bytes, bytes, int]], broken: Sequence[tuple[int, str]]) -> bool:
        self._file.drop(broken)
        update = "UPDATE messages SET waiting = NULL, payload = ?, sha256 = ? WHERE id = ?"
        self._file.executemany(update, payloads)
        due = "UPDATE deliveries SET due_ms = 0 WHERE message_id = ?"
        self._file.executemany(due, [(number,) for *_, number in payloads])
        self._file.trim()
        return True


def _digest(payload: bytes) -> bytes:
    return sha256(payload).digest()
