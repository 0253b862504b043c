"""Episodes of trouble codes: what opens, closes and recurs, and what proves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smartdrive_dagster.domain.dtc_episodes import (
    ALGO_VERSION,
    dtc_episodes,
    first_changed_day,
    mil_from_scans,
)
from smartdrive_dagster.domain.dtc_knowledge import CodeBook
from smartdrive_dagster.knowledge.trouble_codes import load_book
from smartdrive_dagster.lake.frames import conform
from smartdrive_dagster.tables import Days, codes

INSTANT = pl.Datetime("us", "UTC")
READINGS = pl.Schema(
    {
        "vehicle_id": pl.String(),
        "event_at": INSTANT,
        "dtc_code": pl.String(),
        "status": pl.String(),
        "title": pl.String(),
    }
)
EVENTS = pl.Schema({"vehicle_id": pl.String(), "event_at": INSTANT, "type": pl.String(), "detail": pl.String()})
LAMP = pl.Schema({"vehicle_id": pl.String(), "event_at": INSTANT, "is_on": pl.Boolean()})
STATUSES = ("stored", "pending", "permanent")
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
BOOK = load_book()
EVER = Days(date(2008, 1, 1), date(2060, 12, 31))

Scan = tuple[str, int, Mapping[str, list[str] | None]]  # vehicle, minute, codes by service


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def scan(minute: int, vehicle: str = "a", **lists: list[str] | None) -> Scan:
    """A scan; a service that is not named answered with no code."""
    return vehicle, minute, {status: lists.get(status, []) for status in STATUSES}


def readings_of(scans: Iterable[Scan], titles: Mapping[str, str] | None = None) -> pl.DataFrame:
    rows = [
        {
            "vehicle_id": vehicle,
            "event_at": at(minute),
            "dtc_code": code,
            "status": status,
            "title": (titles or {}).get(code),
        }
        for vehicle, minute, lists in scans
        for status, listed in lists.items()
        for code in listed or ()
    ]
    return pl.DataFrame(rows, schema=READINGS)


def events_of(scans: Iterable[Scan]) -> pl.DataFrame:
    rows = [
        {
            "vehicle_id": vehicle,
            "event_at": at(minute),
            "type": "dtc_scan",
            "detail": json.dumps(
                {
                    status: None if listed is None else [{"code": code, "title": None} for code in listed]
                    for status, listed in lists.items()
                },
                sort_keys=True,
            ),
        }
        for vehicle, minute, lists in scans
    ]
    return pl.DataFrame(rows, schema=EVENTS)


def episodes(
    *scans: Scan, mil: pl.DataFrame | None = None, titles: Mapping[str, str] | None = None, book: CodeBook = BOOK
) -> pl.DataFrame:
    found = dtc_episodes(
        readings_of(scans, titles).lazy(),
        events_of(scans).lazy(),
        None if mil is None else mil.lazy(),
        days=EVER,
        book=book,
    )
    return conform(codes.DTC_EPISODES, found.collect())


def spans(frame: pl.DataFrame) -> list[tuple[str, int, int, int | None]]:
    """Code, opening, last sight and closing, in minutes."""

    def minute(moment: datetime | None) -> int | None:
        return None if moment is None else round((moment - NOON).total_seconds() / 60)

    chosen = frame.select("dtc_code", "opened_at", "last_seen_at", "closed_at").rows()
    return [(code, *(minute(moment) for moment in moments)) for code, *moments in chosen]  # type: ignore[misc]


def one(frame: pl.DataFrame) -> dict[str, Any]:
    (row,) = frame.to_dicts()
    return row


def test_an_episode_says_all_that_is_known_of_the_code() -> None:
    row = one(episodes(scan(0, pending=["P0171"]), scan(5, stored=["P0171"]), scan(9)))
    assert row.pop("episode_id").isalnum()
    assert row == {
        "vehicle_id": "a",
        "dtc_code": "P0171",
        "dtc_family": "P01",
        "system": "powertrain",
        "origin": "generic",
        "title": "Mixture too lean, bank 1",
        "title_tier": "own",
        "title_hu": "Túl szegény keverék, 1. hengersor",
        "severity": "warning",
        "severity_rule": "powertrain",
        "opened_at": at(0),
        "event_date": date(2025, 3, 10),
        "last_seen_at": at(5),
        "closed_at": at(9),
        "is_open": False,
        "status": "stored",
        "first_pending_at": at(0),
        "first_stored_at": at(5),
        "first_permanent_at": None,
        "occurrence": 1,
        "scans": 2,
        "has_mil": None,
        "algo_version": ALGO_VERSION,
    }


def test_a_code_that_no_scan_proved_gone_is_open() -> None:
    found = episodes(scan(0, stored=["P0301"]), scan(5, stored=["P0301"]))
    assert spans(found) == [("P0301", 0, 5, None)]
    assert one(found)["is_open"]


def test_a_scan_without_codes_closes_and_the_code_may_recur() -> None:
    found = episodes(scan(0, stored=["P0301"]), scan(5), scan(6), scan(9, stored=["P0301"]), scan(12))
    assert spans(found) == [("P0301", 0, 0, 5), ("P0301", 9, 9, 12)]
    assert found["occurrence"].to_list() == [1, 2]
    assert found["episode_id"].n_unique() == 2


def test_a_service_that_did_not_answer_proves_nothing() -> None:
    found = episodes(
        scan(0, stored=["P0301"]),
        scan(5, stored=None),
        scan(7, stored=None, permanent=None),
        scan(9, stored=["P0301"]),
    )
    assert spans(found) == [("P0301", 0, 9, None)]
    assert found["scans"].to_list() == [2]


def test_the_last_answer_of_each_service_holds() -> None:
    """The code leaves the stored list while the pending one is unknown: that list still stands."""
    listed = [scan(0, stored=["P0301"], pending=["P0301"]), scan(5, pending=None), scan(9)]
    assert spans(episodes(*listed)) == [("P0301", 0, 0, 9)]


def test_a_code_goes_from_pending_to_stored_to_permanent_in_one_episode() -> None:
    found = episodes(
        scan(0, pending=["P0420"]),
        scan(2, stored=["P0420"]),
        scan(4, stored=["P0420"], permanent=["P0420"]),
        scan(6, permanent=["P0420"]),
        scan(8),
    )
    row = one(found)
    assert (row["status"], row["first_pending_at"], row["first_stored_at"], row["first_permanent_at"]) == (
        "permanent",
        at(0),
        at(2),
        at(4),
    )
    assert spans(found) == [("P0420", 0, 6, 8)]


def test_a_code_that_one_service_lists_throughout_is_one_episode_however_the_others_come_and_go() -> None:
    stored = ["P0301"]
    found = episodes(
        scan(0, stored=stored),
        scan(1, stored=stored, pending=stored),
        scan(2, stored=stored),
        scan(3, stored=stored, pending=stored),
        scan(4, stored=stored),
        scan(5),
    )
    assert spans(found) == [("P0301", 0, 4, 5)]


def test_a_pending_code_is_not_confirmed_and_says_so() -> None:
    found = episodes(scan(0, pending=["P0301", "P0524"]))
    assert found.select("dtc_code", "severity", "severity_rule", "status").rows() == [
        ("P0301", "info", "not_confirmed", "pending"),
        ("P0524", "critical", "oil_pressure", "pending"),
    ]


def test_vehicles_do_not_touch_each_other() -> None:
    found = episodes(scan(0, "a", stored=["P0301"]), scan(5, "b"), scan(9, "b", stored=["P0301"]))
    assert found.select("vehicle_id", "is_open", "occurrence").rows() == [("a", True, 1), ("b", True, 1)]


def test_two_devices_at_one_instant_are_one_answer_and_the_one_that_lists_the_code_counts() -> None:
    found = episodes(scan(0, stored=["P0301"]), scan(5), scan(5, stored=["P0301"]), scan(9))
    assert spans(found) == [("P0301", 0, 5, 9)]
    assert found["scans"].to_list() == [2]


def test_an_episode_belongs_to_the_utc_day_on_which_it_opened() -> None:
    found = episodes(scan(719, stored=["P0301"]), scan(721, stored=["P0301"], pending=["P0302"]))
    assert found.select("dtc_code", "event_date").rows() == [
        ("P0301", date(2025, 3, 10)),
        ("P0302", date(2025, 3, 11)),
    ]


def test_only_the_days_that_are_asked_for_are_given_and_numbers_count_all() -> None:
    scans = [scan(0, stored=["P0301"]), scan(1), scan(1440, stored=["P0301"])]
    day = Days(date(2025, 3, 11), date(2025, 3, 11))
    found = dtc_episodes(readings_of(scans).lazy(), events_of(scans).lazy(), None, days=day, book=BOOK).collect()
    assert found.select("event_date", "occurrence").rows() == [(date(2025, 3, 11), 2)]


def test_without_a_scan_there_is_no_episode() -> None:
    assert episodes().height == 0
    assert episodes(scan(0)).height == 0


def test_a_reading_whose_scan_is_missing_still_opens_an_episode() -> None:
    found = dtc_episodes(
        readings_of([scan(0, stored=["P0301"])]).lazy(), events_of([scan(5)]).lazy(), None, days=EVER, book=BOOK
    ).collect()
    assert spans(found) == [("P0301", 0, 0, 5)]


def test_other_events_prove_nothing() -> None:
    scans = [scan(0, stored=["P0301"])]
    other = pl.DataFrame(
        [{"vehicle_id": "a", "event_at": at(5), "type": "health", "detail": '{"stored": []}'}], schema=EVENTS
    )
    events = pl.concat([events_of(scans), other])
    found = dtc_episodes(readings_of(scans).lazy(), events.lazy(), None, days=EVER, book=BOOK).collect()
    assert spans(found) == [("P0301", 0, 0, None)]


def test_the_library_s_last_title_is_used_where_our_own_table_has_none() -> None:
    scans = [scan(0, stored=["P2ABC", "P1345"]), scan(5, pending=["P2ABC"]), scan(6, stored=["P2ABC"])]
    readings = readings_of(scans).with_columns(
        title=pl.when(pl.col("dtc_code") == "P2ABC").then(
            pl.col("event_at").replace_strict({at(0): "Old", at(5): "New", at(6): None}, return_dtype=pl.String)
        )
    )
    found = dtc_episodes(readings.lazy(), events_of(scans).lazy(), None, days=EVER, book=BOOK).collect()
    assert found.select("dtc_code", "title", "title_tier", "title_hu").rows() == [
        ("P1345", BOOK.structure_title("P1345"), "structure", None),
        ("P2ABC", "New", "library", None),
    ]


def test_the_version_of_the_algorithm_names_the_imported_table() -> None:
    book = CodeBook(BOOK.titles, BOOK.rules, BOOK.words, {"P2ABC": {"en": "Imported"}})
    row = one(episodes(scan(0, stored=["P2ABC"]), book=book))
    assert (row["title"], row["title_tier"]) == ("Imported", "imported")
    assert row["algo_version"] == f"{ALGO_VERSION}+{book.imported_digest}"


# --- the lamp ----------------------------------------------------------------------------------------------------


def lamp(*told: tuple[float, bool], vehicle: str = "a") -> pl.DataFrame:
    rows = [{"vehicle_id": vehicle, "event_at": at(minute), "is_on": is_on} for minute, is_on in told]
    return pl.DataFrame(rows, schema=LAMP)


@pytest.mark.parametrize(
    ("told", "has_mil"),
    [
        ([], None),
        ([(-1, True), (6, True)], None),  # before the opening, and after the last sight
        ([(0, True)], True),
        ([(5, True)], True),
        ([(0, False), (5, False)], False),
        ([(-1, True), (2, False)], False),
        ([(1, True), (3, False)], True),
    ],
)
def test_the_lamp_counts_from_the_opening_to_the_last_sight(
    told: list[tuple[float, bool]], has_mil: bool | None
) -> None:
    scans = (scan(0, stored=["P0301"]), scan(5, stored=["P0301"]), scan(8))
    assert one(episodes(*scans, mil=lamp(*told)))["has_mil"] is has_mil
    foreign = pl.concat([lamp(*told), lamp((2, True), vehicle="b")])
    assert one(episodes(*scans, mil=foreign))["has_mil"] is has_mil


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ('{"stored":[],"mil":true}', [True]),
        ('{"stored":[],"mil":false}', [False]),
        ('{"stored":[],"mil":null}', []),
        ('{"stored":[]}', []),  # of a sender that does not ask
    ],
)
def test_a_scan_tells_the_lamp_or_nothing(detail: str, told: list[bool]) -> None:
    rows = [("a", at(1), kind, text) for kind, text in (("dtc_scan", detail), ("health", '{"mil":true}'))]
    found = mil_from_scans(pl.DataFrame(rows, schema=EVENTS, orient="row").lazy()).collect()
    assert_frame_equal(found, lamp(*((1, is_on) for is_on in told)))


# --- properties --------------------------------------------------------------------------------------------------

LISTS = st.one_of(st.none(), st.lists(st.sampled_from(["P0171", "P0301", "U0100"]), unique=True, max_size=2))
HISTORIES = st.lists(
    st.builds(
        lambda minute, vehicle, stored, pending, permanent: (
            vehicle,
            minute,
            {"stored": stored, "pending": pending, "permanent": permanent},
        ),
        st.integers(0, 8),
        st.sampled_from("abcde"),
        LISTS,
        LISTS,
        LISTS,
    ),
    max_size=30,
)


def one_by_one(scans: list[Scan]) -> list[tuple[str, str, int, int, int | None, int, str]]:
    """The same rules, told as a clerk would follow them: one scan after another."""
    merged: dict[tuple[str, int], dict[str, set[str]]] = {}
    for vehicle, minute, lists in scans:
        answers = merged.setdefault((vehicle, minute), {})
        for status, listed in lists.items():
            if listed is not None:
                answers.setdefault(status, set()).update(listed)
    rows: list[tuple[str, str, int, int, int | None, int, str]] = []
    for vehicle in {vehicle for vehicle, _ in merged}:
        standing: dict[str, set[str]] = {status: set() for status in STATUSES}
        current: dict[str, list[Any]] = {}
        counts: dict[str, int] = {}
        for minute in sorted(minute for who, minute in merged if who == vehicle):
            answers = merged[vehicle, minute]
            standing |= answers
            there = set().union(*standing.values())
            seen = set().union(*answers.values())
            for code in sorted(seen):
                if code not in current:
                    counts[code] = counts.get(code, 0) + 1
                    current[code] = [minute, minute, set(), counts[code]]
                current[code][1] = minute
                current[code][2] |= {status for status, listed in answers.items() if code in listed}
            for code in [code for code in current if code not in there]:
                opened, last, reached, number = current.pop(code)
                rows.append((vehicle, code, opened, last, minute, number, _furthest(reached)))
        rows += [
            (vehicle, code, opened, last, None, number, _furthest(reached))
            for code, (opened, last, reached, number) in current.items()
        ]
    return sorted(rows, key=repr)


def _furthest(reached: set[str]) -> str:
    return next(status for status in ("permanent", "stored", "pending") if status in reached)


@settings(max_examples=15, deadline=None)
@given(HISTORIES)
def test_any_history_gives_what_following_it_scan_by_scan_gives(scans: list[Scan]) -> None:
    found = episodes(*scans)
    rows = [
        (vehicle, *span, number, status)
        for vehicle, span, number, status in zip(
            found["vehicle_id"], spans(found), found["occurrence"], found["status"], strict=True
        )
    ]
    assert sorted(rows, key=repr) == one_by_one(scans)


@settings(max_examples=8, deadline=None)
@given(HISTORIES, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_rows_nor_the_engine_matters(scans: list[Scan], chance: Any) -> None:
    readings = readings_of(scans).with_columns(title=pl.col("status") + pl.col("event_at").cast(pl.String))
    mil = lamp(*((minute, minute % 3 == 0) for _, minute, _ in scans))
    first = dtc_episodes(readings.lazy(), events_of(scans).lazy(), mil.lazy(), days=EVER, book=BOOK).collect()
    seed = chance.randrange(1000)
    shuffled = [
        frame.sample(fraction=1, shuffle=True, seed=seed).lazy() for frame in (readings, events_of(scans), mil)
    ]
    assert_frame_equal(dtc_episodes(*shuffled, days=EVER, book=BOOK).collect(engine="streaming"), first)


@settings(max_examples=8, deadline=None)
@given(HISTORIES, HISTORIES.filter(bool))
def test_a_late_scan_leaves_alone_what_had_closed_before_it_and_other_vehicles(
    scans: list[Scan], late: list[Scan]
) -> None:
    vehicle, minute, lists = late[0]
    before, after = episodes(*scans), episodes(*scans, (vehicle, minute, lists))
    kept = (pl.col("vehicle_id") != vehicle) | (pl.col("closed_at") < at(minute)).fill_null(value=False)
    assert_frame_equal(after.filter(kept), before.filter(kept))


HALF_A_DAY = 720


@settings(max_examples=8, deadline=None)
@given(HISTORIES, HISTORIES.filter(bool))
@example([scan(0, "a", stored=["P0301"])], [scan(6, "a")])  # closes what opened three days before
@example([scan(0, "a", stored=["P0301"]), scan(6, "a")], [scan(4, "a")])  # closes it earlier
@example([scan(0, "a", stored=["P0301"]), scan(2, "a")], [scan(4, "a", stored=["P0301"])])  # leaves it alone
def test_what_new_scans_change_lies_on_the_first_changed_day_and_later(scans: list[Scan], new: list[Scan]) -> None:
    """What an incremental run does: it keeps the days before, and computes the rest for the scanned vehicles."""
    scans, new = (
        [(vehicle, step * HALF_A_DAY, lists) for vehicle, step, lists in given_scans]
        for given_scans in (scans, new)
    )
    before, after = episodes(*scans), episodes(*scans, *new)
    scanned = pl.col("vehicle_id").is_in(sorted({vehicle for vehicle, _, _ in new}))
    first = min(at(minute).date() for _, minute, _ in new)
    changed = first_changed_day(before.filter(scanned).lazy(), first)
    kept = before.filter(~scanned | (pl.col("event_date") < changed))
    recomputed = after.filter(scanned & (pl.col("event_date") >= changed))
    assert_frame_equal(pl.concat([kept, recomputed]), after, check_row_order=False)


def test_the_first_changed_day_is_that_of_the_earliest_episode_that_had_not_closed_before() -> None:
    day = timedelta(days=1)
    found = episodes(
        scan(0, stored=["P0301"]), scan(1440, stored=["P0302"]), scan(4320, stored=["P0302"])
    )  # P0301 closes on the second day, P0302 stays
    assert first_changed_day(found.lazy(), NOON.date() + day) == NOON.date()
    assert first_changed_day(found.lazy(), NOON.date() + 2 * day) == NOON.date() + day
    assert (
        first_changed_day(found.filter(~pl.col("is_open")).lazy(), NOON.date() + 9 * day) == NOON.date() + 9 * day
    )
