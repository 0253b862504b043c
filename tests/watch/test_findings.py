"""What is wrong follows from facts alone; each limit is met exactly, and passed by a little."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from smartdrive_dagster.defs.measuring import RECENT
from smartdrive_dagster.lake.audit import Balances
from smartdrive_dagster.watch.findings import (
    HORIZON,
    Arrivals,
    Daemons,
    Facts,
    Gap,
    Lander,
    Limits,
    Waiting,
    calm,
    findings,
    notes,
)

NOW = datetime(2025, 12, 10, 12, tzinfo=UTC)
DAY = NOW.date()
CLOSED = Balances(2, 20, 0, {"accepted": 20}, 60, 60, 0, 0, 0, 0, 60)
CALM = Facts(
    at=NOW,
    objects=1234,
    strays=0,
    waiting=[],
    unreadable={},
    newest_at=NOW - timedelta(minutes=3),
    arrivals=[Arrivals(24, 0, 0, {}), Arrivals(48, 20, 0, {})],
    gaps=[],
    stale={},
    balances=CLOSED,
    is_steady=True,
    daemons=Daemons(last={"SENSOR": NOW - timedelta(seconds=31), "SCHEDULER": NOW - timedelta(seconds=12)}),
    lander=Lander(NOW - timedelta(seconds=1)),
)
GAP = Gap("edge-1", "boot-1", missing=3, gaps=2, after=4, before=20, drops=0)


def told(facts: Facts, limits: Limits = Limits()) -> list[str]:  # noqa: B008 - frozen
    return [finding.text for finding in findings(facts, limits)]


def waiting(minutes: float, day: date = DAY, key: str = "k") -> Waiting:
    return Waiting(key, day, NOW - timedelta(minutes=minutes))


def test_nothing_is_wrong_with_a_calm_lake() -> None:
    assert told(CALM) == []
    assert notes(CALM) == []
    assert calm(CALM) == (
        "all is well: 1,234 landing objects, newest message 3 min ago, both balances close, daemon's heartbeat "
        "31 s ago"
    )
    empty = replace(CALM, objects=0, newest_at=None, daemons=None, lander=None)
    assert told(empty) == []
    assert calm(empty) == "all is well: 0 landing objects, newest message none yet, both balances close"


@pytest.mark.parametrize(
    ("entry", "lags"),
    [
        (waiting(15), False),
        (waiting(15.1), True),
        (waiting(15.1, DAY - timedelta(2)), True),
        (waiting(15.1, DAY - timedelta(3)), False),  # the sensor does not look there, the daily sweep does
        (waiting(24 * 60 + 15.1, DAY - timedelta(3)), True),
        (waiting(-5), False),
    ],
)
def test_an_object_that_waits_longer_than_its_sensor_takes_is_late(entry: Waiting, lags: bool) -> None:
    assert [finding.kind for finding in findings(replace(CALM, waiting=[entry]), Limits())] == (
        ["landing_lags"] if lags else []
    )


def test_the_horizon_is_that_of_the_landing_sensor() -> None:
    assert HORIZON == RECENT


def test_late_objects_are_counted_and_the_oldest_is_named() -> None:
    late = replace(
        CALM,
        waiting=[waiting(20), waiting(300, key="old"), waiting(1, key="new")],
        unreadable={"old": "it is locked"},
    )
    assert told(late) == [
        "landing lags: 2 objects landed more than 15 min ago and not in the ledger (1 of them cannot be read); "
        "the oldest landed 5 h ago: old"
    ]
    assert notes(replace(late, strays=2)) == [
        "old cannot be read: it is locked",
        "2 keys in landing of no landing object: nothing reads them",
    ]


@pytest.mark.parametrize(
    ("day", "two_days", "texts"),
    [
        (Arrivals(24, 100, 1, {}), Arrivals(48, 200, 2, {}), []),
        (
            Arrivals(24, 100, 2, {"not_json": 1, "vin_invalid": 1}),
            Arrivals(48, 1000, 2, {}),
            [
                "quarantine: 2 of 100 lines of the last 24 h rejected, 2.00% (limit 1.00%): "
                "not_json 1, vin_invalid 1"
            ],
        ),
        (
            Arrivals(24, 0, 0, {}),
            Arrivals(48, 10, 9, {"a": 1, "b": 5, "c": 2, "d": 1}),
            ["quarantine: 9 of 10 lines of the last 48 h rejected, 90.00% (limit 1.00%): b 5, c 2, a 1"],
        ),
    ],
)
def test_a_large_share_of_rejected_lines_is_told_with_its_reasons(
    day: Arrivals, two_days: Arrivals, texts: list[str]
) -> None:
    assert told(replace(CALM, arrivals=[day, two_days])) == texts


@pytest.mark.parametrize(
    ("drops", "words"),
    [
        (None, "the device has not told how many it dropped"),
        (0, "the device itself counted no drops"),
        (1, "the device itself counted 1 drop, which may explain 1 of them"),
        (3, "the device itself counted 3 drops, which may explain them all"),
    ],
)
def test_a_gap_says_how_far_the_device_s_own_drops_explain_it(drops: int | None, words: str) -> None:
    assert told(replace(CALM, gaps=[replace(GAP, drops=drops)])) == [
        "sequence gap: device edge-1, boot boot-1: 3 messages missing in 2 gaps between 4 and 20 for more than "
        f"60 min; {words}"
    ]


def test_a_thousand_gaps_are_told_in_a_few_lines() -> None:
    gaps = [replace(GAP, boot_id=f"boot-{n}", missing=2**53 - n, gaps=1) for n in range(1000)]
    lines = told(replace(CALM, gaps=gaps))
    assert len(lines) == 21
    assert "boot boot-0:" in lines[0]
    assert lines[-1].endswith(f"{sum(2**53 - n for n in range(20, 1000)):,} messages of 980 more boots missing")


def test_a_stale_table_is_named_with_its_days() -> None:
    days = [date(2025, 12, n) for n in (1, 2, 4, 6, 8)]
    assert told(replace(CALM, stale={"gold.trips": days, "marts.vehicle_daily": days[:1]})) == [
        "stale: gold.trips does not show what came more than 60 min ago on 5 days: 2025-12-01…2025-12-02, "
        "2025-12-04, 2025-12-06, …",
        "stale: marts.vehicle_daily does not show what came more than 60 min ago on 1 day: 2025-12-01",
    ]


@pytest.mark.parametrize(
    ("daemons", "texts"),
    [
        (None, []),
        (Daemons(fault="no Dagster instance at /home"), ["no Dagster instance at /home"]),
        (Daemons(last={"SENSOR": NOW - timedelta(minutes=5)}), []),
        (
            Daemons(last={"SENSOR": NOW - timedelta(minutes=6), "FRESHNESS_DAEMON": NOW - timedelta(hours=3)}),
            ["Dagster's daemon: no heartbeat of freshness, sensor for 6 min"],
        ),
        (
            Daemons(last={"SENSOR": NOW, "QUEUED_RUN_COORDINATOR": None}),
            ["Dagster's daemon: no heartbeat ever of queued run coordinator"],
        ),
    ],
)
def test_a_daemon_that_says_nothing_is_noticed(daemons: Daemons | None, texts: list[str]) -> None:
    assert told(replace(CALM, daemons=daemons)) == texts


@pytest.mark.parametrize(
    ("lander", "texts"),
    [
        (None, []),
        (Lander(None), ["lander: it runs under `smartdrive up` and has written no heartbeat"]),
        (Lander(NOW - timedelta(minutes=7)), ["lander: it has said nothing for 7 min"]),
        (Lander(NOW, failures=4), ["lander: it cannot write to landing, 4 attempts failed in a row"]),
        (Lander(NOW, is_connected=False), ["lander: it is not connected to the broker"]),
    ],
)
def test_a_lander_that_cannot_land_is_noticed(lander: Lander | None, texts: list[str]) -> None:
    assert told(replace(CALM, lander=lander)) == texts


@pytest.mark.parametrize(
    ("held", "is_steady", "is_open"),
    [
        (replace(CLOSED, samples_in_silver=59), True, True),
        (replace(CLOSED, samples_in_silver=61), True, True),
        (replace(CLOSED, samples_in_silver=61), False, False),
        (replace(CLOSED, samples_in_silver=61, unjudged=1), True, False),  # Silver is written before the ledger
        (replace(CLOSED, samples_in_silver=59, unjudged=1), True, True),
        (replace(CLOSED, unjudged=5), True, False),
        (replace(CLOSED, objects_out_of_balance=1), False, True),
        (replace(CLOSED, lines_out_of_balance=1), False, True),
    ],
)
def test_a_balance_that_does_not_close_is_noticed_and_a_write_under_way_is_none(
    held: Balances, is_steady: bool, is_open: bool
) -> None:
    found = findings(replace(CALM, balances=held, is_steady=is_steady), Limits())
    assert [finding.kind for finding in found] == (["balance"] if is_open else [])
