"""What is wrong with the lake, decided from facts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal, get_args

from smartdrive_dagster.lake.audit import Balances
from smartdrive_dagster.tables import ranges

HORIZON: Final = timedelta(hours=48)
"""Arrival days that the landing sensor looks at, and how far back shares and gaps are counted."""

SWEEP: Final = timedelta(hours=24)
"""Objects under older days are found by the daily sweep: they wait so much longer."""

_LINES_PER_KIND: Final = 20
_REASONS: Final = 3

Kind = Literal["landing_lags", "quarantine", "sequence_gap", "stale", "daemon", "lander", "balance", "look"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an owner puts up with.

    Attributes:
        lag: how long a landed object may wait for the ledger.
        quarantine_share: rejected lines over all lines of a day or two.
        gap_grace: how long a missing sequence number may still come.
        staleness: how long Gold may be behind the ledger.
        silence: how long a daemon or the lander may say nothing.
    """

    lag: timedelta = timedelta(minutes=15)
    quarantine_share: float = 0.01
    gap_grace: timedelta = timedelta(hours=1)
    staleness: timedelta = timedelta(hours=1)
    silence: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that has landed and whose lines the ledger does not hold."""

    key: str
    landing_date: date
    landed_at: datetime


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The lines that arrived within some hours.

    Attributes:
        hours: before the look.
        lines: judged lines.
        rejected: quarantined or in conflict.
        reasons: rejected lines by reason.
    """

    hours: int
    lines: int
    rejected: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of one boot of a device that did not come, though later ones did and the grace is over.

    Attributes:
        device_id: the sender, as it names itself.
        boot_id: its boot.
        missing: how many.
        gaps: how many runs of missing numbers.
        after: the number seen before the first gap.
        before: the number seen after the last gap.
        drops: messages that the device itself counted as dropped in the meantime; None where it has not said.
    """

    device_id: str
    boot_id: str
    missing: int
    gaps: int
    after: int
    before: int
    drops: int | None


@dataclass(frozen=True, slots=True)
class Daemons:
    """What Dagster's instance tells.

    Attributes:
        fault: why it tells nothing; None where it does.
        last: the last heartbeat of each required daemon.
    """

    fault: str | None = None
    last: Mapping[str, datetime | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lander:
    """What the lander of a running `smartdrive up` says of itself.

    Attributes:
        said_at: when; None where it has said nothing.
        is_connected: to the broker.
        failures: attempts to land that failed in a row.
    """

    said_at: datetime | None
    is_connected: bool = True
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a look at everything found.

    Attributes:
        at: when.
        objects: in landing.
        strays: keys in landing that are no objects; nothing reads them.
        waiting: landed and not in the ledger.
        unreadable: of those, keys that cannot be read, with the reason.
        newest_at: the newest receipt in Bronze.
        arrivals: lines of the last 24 and 48 hours.
        gaps: missing sequence numbers.
        stale: by table, days that are stale for what was in the ledger before the limit.
        balances: both balances.
        is_steady: nobody wrote while they were drawn up.
        daemons: None where they are not asked about.
        lander: None where none runs here.
    """

    at: datetime
    objects: int
    strays: int
    waiting: Sequence[Waiting]
    unreadable: Mapping[str, str]
    newest_at: datetime | None
    arrivals: Sequence[Arrivals]
    gaps: Sequence[Gap]
    stale: Mapping[str, Sequence[date]]
    balances: Balances
    is_steady: bool
    daemons: Daemons | None
    lander: Lander | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in one line.

    Attributes:
        kind: what kind of thing.
        text: the line; its numbers change from look to look.
        subject: what it is about, where a kind may name several; the same at every look.
    """

    kind: Kind
    text: str
    subject: str = ""

    @property
    def name(self) -> str:
        """What it is called as long as it lasts."""
        return f"{self.kind}/{self.subject}" if self.subject else self.kind


def findings(facts: Facts, limits: Limits) -> list[Finding]:
    """All that is wrong; nothing where all is well."""
    return [
        *_landing_lags(facts, limits),
        *_quarantine(facts, limits),
        *_sequence_gaps(facts, limits),
        *_stale(facts, limits),
        *_daemons(facts, limits),
        *_lander(facts, limits),
        *_balance(facts),
    ]


def notes(facts: Facts) -> list[str]:
    """What an owner may want to know, and which is no fault of the lake's."""
    told = [f"{key} cannot be read: {reason}" for key, reason in facts.unreadable.items()]
    if facts.strays:
        told.append(f"{_count(facts.strays, 'key')} in landing of no landing object: nothing reads them")
    return told


def calm(facts: Facts) -> str:
    """One line for when nothing is wrong."""
    age = f"{duration(facts.at - facts.newest_at)} ago" if facts.newest_at else "none yet"
    parts = [_count(facts.objects, "landing object"), f"newest message {age}", "both balances close"]
    if facts.daemons and facts.daemons.last:
        beats = [beat for beat in facts.daemons.last.values() if beat]
        parts.append(f"daemon's heartbeat {duration(facts.at - min(beats))} ago")
    return f"all is well: {', '.join(parts)}"


def duration(span: timedelta) -> str:
    """A time span as people say it."""
    seconds = span.total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _landing_lags(facts: Facts, limits: Limits) -> Iterator[Finding]:
    oldest_day = (facts.at - HORIZON).date()
    late = [
        entry
        for entry in facts.waiting
        if facts.at - entry.landed_at > limits.lag + (SWEEP if entry.landing_date < oldest_day else timedelta(0))
    ]
    if late:
        first = min(late, key=lambda entry: entry.landed_at)
        why = f" ({unreadable} of them cannot be read)" if (unreadable := _unreadable(facts, late)) else ""
        yield Finding(
            "landing_lags",
            f"landing lags: {_count(len(late), 'object')} landed more than {duration(limits.lag)} ago and not in "
            f"the ledger{why}; the oldest landed {duration(facts.at - first.landed_at)} ago: {first.key}",
        )


def _unreadable(facts: Facts, late: Sequence[Waiting]) -> int:
    return sum(entry.key in facts.unreadable for entry in late)


def _quarantine(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for some in facts.arrivals:
        if some.lines and some.rejected / some.lines > limits.quarantine_share:
            most = sorted(some.reasons.items(), key=lambda item: (-item[1], item[0]))[:_REASONS]
            reasons = ", ".join(f"{reason} {lines}" for reason, lines in most)
            yield Finding(
                "quarantine",
                f"quarantine: {some.rejected} of {_count(some.lines, 'line')} of the last {some.hours} h "
                f"rejected, {some.rejected / some.lines:.2%} (limit {limits.quarantine_share:.2%}): {reasons}",
            )
            return


def _sequence_gaps(facts: Facts, limits: Limits) -> Iterator[Finding]:
    ordered = sorted(facts.gaps, key=lambda gap: -gap.missing)
    for gap in ordered[:_LINES_PER_KIND]:
        where = f"in {gap.gaps} gaps between" if gap.gaps > 1 else "between"
        yield Finding(
            "sequence_gap",
            f"sequence gap: device {gap.device_id}, boot {gap.boot_id}: {_count(gap.missing, 'message')} missing "
            f"{where} {gap.after} and {gap.before} for more than {duration(limits.gap_grace)}; {_drops(gap)}",
            f"{gap.device_id}/{gap.boot_id}",
        )
    if rest := ordered[_LINES_PER_KIND:]:
        missing = sum(gap.missing for gap in rest)
        yield Finding(
            "sequence_gap", f"sequence gap: {_count(missing, 'message')} of {len(rest)} more boots missing", "more"
        )


def _drops(gap: Gap) -> str:
    if gap.drops is None:
        return "the device has not told how many it dropped"
    if not gap.drops:
        return "the device itself counted no drops"
    explained = "them all" if gap.drops >= gap.missing else f"{gap.drops} of them"
    return f"the device itself counted {_count(gap.drops, 'drop')}, which may explain {explained}"


def _stale(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for table, days in facts.stale.items():
        spans = ranges(days)
        named = ", ".join(map(str, spans[:_REASONS])) + (", …" if len(spans) > _REASONS else "")
        yield Finding(
            "stale",
            f"stale: {table} does not show what came more than {duration(limits.staleness)} ago on "
            f"{_count(len(days), 'day')}: {named}",
            table,
        )


def _daemons(facts: Facts, limits: Limits) -> Iterator[Finding]:
    if facts.daemons is None:
        return
    if facts.daemons.fault is not None:
        yield Finding("daemon", facts.daemons.fault)
        return
    never = sorted(_called(kind) for kind, at in facts.daemons.last.items() if at is None)
    silent = {
        _called(kind): facts.at - at
        for kind, at in facts.daemons.last.items()
        if at is not None and facts.at - at > limits.silence
    }
    if never:
        yield Finding("daemon", f"Dagster's daemon: no heartbeat ever of {', '.join(never)}", "never")
    if silent:
        yield Finding(
            "daemon",
            f"Dagster's daemon: no heartbeat of {', '.join(sorted(silent))} for {duration(min(silent.values()))}",
            "silent",
        )


def _called(kind: str) -> str:
    return kind.lower().removesuffix("_daemon").replace("_", " ")


def _lander(facts: Facts, limits: Limits) -> Iterator[Finding]:
    lander = facts.lander
    if lander is None:
        return
    if lander.said_at is None:
        yield Finding("lander", "lander: it runs under `smartdrive up` and has written no heartbeat")
    elif facts.at - lander.said_at > limits.silence:
        yield Finding("lander", f"lander: it has said nothing for {duration(facts.at - lander.said_at)}")
    elif lander.failures:
        yield Finding("lander", f"lander: it cannot write to landing, {lander.failures} attempts failed in a row")
    elif not lander.is_connected:
        yield Finding("lander", "lander: it is not connected to the broker")


def _balance(facts: Facts) -> Iterator[Finding]:
    """Lines that are not judged yet are no fault: where they stay so, landing lags."""
    held = facts.balances
    if held.objects_out_of_balance or held.lines_out_of_balance:
        yield Finding(
            "balance",
            f"a balance does not close: {_count(held.objects_out_of_balance, 'object')} with another number of "
            f"lines in the ledger than in Bronze, and {_count(held.lines_out_of_balance, 'line')} whose samples "
            "do not add up",
            "lines",
        )
    excess = held.samples_in_silver - held.samples_accepted
    is_under_way = not facts.is_steady or (excess > 0 and held.unjudged > 0)  # Silver is written before the ledger
    if excess and not is_under_way:
        yield Finding(
            "balance",
            f"a balance does not close: the ledger accepted {held.samples_accepted} samples, Silver holds "
            f"{held.samples_in_silver}",
            "samples",
        )


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
