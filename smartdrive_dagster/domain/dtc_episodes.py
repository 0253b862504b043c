"""Stays of trouble codes in a vehicle, from scans that each list what is there.

A scan asks three services (stored, pending, permanent). A service that answered proves of each code whether it is
there; one that did not answer proves nothing, so the last answer holds. A code is there while the last answer of
any service lists it, and an episode is an unbroken time of that. `docs/explanation/trouble-codes.md` says why.

The rows of a vehicle are a function of its whole history, whatever the order of the rows. A scan changes only
episodes that were not closed before it, and the numbers (`occurrence`) of those that opened after it.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.domain.dtc import decode_structure, family_of
from smartdrive_dagster.domain.dtc_knowledge import CodeBook, severity_of_episode
from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.tables import Days, codes
from smartdrive_dagster.tables.silver import DTC_STATUSES

ALGO_VERSION: Final = "2"

_NEVER_US: Final = 2**62
_CODE: Final = ("vehicle_id", "dtc_code")
_SERVICE: Final = ("vehicle_id", "status")
_EPISODE: Final = (*_CODE, "occurrence")
# Pending comes first in a car's own order (SAE J1979), stored confirms, permanent outlives a clearing.
_STAGES: Final = ("pending", "stored", "permanent")
_MEANING: Final = pl.Struct(
    dict.fromkeys(
        (
            "dtc_family",
            "system",
            "origin",
            "title",
            "title_tier",
            "title_hu",
            "severity",
            "severity_rule",
        ),
        pl.String(),
    )
)


def dtc_episodes(
    readings: pl.LazyFrame, scans: pl.LazyFrame, mil: pl.LazyFrame | None, *, days: Days, book: CodeBook
) -> pl.LazyFrame:
    """Find the episodes of some vehicles that opened within some days.

    Args:
        readings: all rows of silver.dtc_readings of these vehicles. Used are ``vehicle_id``, ``event_at``,
            ``dtc_code``, ``status`` and ``title``.
        scans: all rows of silver.events of these vehicles; other types than ``dtc_scan`` do no harm. Used are
            ``vehicle_id``, ``event_at``, ``type`` and ``detail``, whose lists are null where a service did not
            answer.
        mil: what is known of the engine lamp, or None: ``vehicle_id``, ``event_at``, ``is_on``.
        days: UTC days whose openings are wanted.
        book: titles and rules of severity.

    Returns:
        Rows of codes.DTC_EPISODES by vehicle, opening and code.
    """
    answers = _answers(readings, scans)
    listings = _listings(readings, answers).cache()
    runs = _runs(listings)
    numbered = _numbered(runs).cache()
    episodes = _episodes(numbered)
    seen = _seen(listings, numbered)
    opened = _instant("opened_at_us").dt.date().is_between(days.first, days.last)
    known = episodes.filter(opened).join(seen, on=_EPISODE, how="left").pipe(_with_lamp, mil)
    return _rows(known, book)


def first_changed_day(present: pl.LazyFrame, first: date) -> date:
    """The earliest day whose rows a scan of `first` or later can change.

    An episode stands on the day that it opened, and goes on until a scan proves it gone, however late that is. So
    the rows that may change begin with the earliest episode that was not closed before `first`.

    Args:
        present: rows of codes.DTC_EPISODES as they are, of the vehicles that were scanned.
        first: the earliest UTC day with a new scan.
    """
    midnight = pl.lit(first).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    is_touched = pl.col("closed_at").is_null() | (pl.col("closed_at") >= midnight)
    opened = present.filter(is_touched).select(pl.col("event_date").min()).collect().item()
    return first if opened is None else min(first, opened)


def mil_from_scans(scans: pl.LazyFrame) -> pl.LazyFrame:
    """What scans tell of the engine lamp (SAE J1979, service 01, PID 01).

    Args:
        scans: rows of silver.events with ``vehicle_id``, ``event_at``, ``type`` and ``detail``; other types than
            ``dtc_scan``, and scans that do not tell it, do no harm.

    Returns:
        ``vehicle_id``, ``event_at``, ``is_on``: one row per scan that tells it.
    """
    told = pl.col("detail").str.json_path_match("$.mil")
    return scans.filter(pl.col("type") == "dtc_scan", told.is_in(["true", "false"])).select(
        "vehicle_id", "event_at", is_on=told == "true"
    )


def _answers(readings: pl.LazyFrame, scans: pl.LazyFrame) -> pl.LazyFrame:
    """Who answered when: vehicle_id, status, at_us, the next answer of the same service, and a running number."""
    scan = scans.filter(pl.col("type") == "dtc_scan")
    answered = [
        scan.filter(pl.col("detail").str.json_path_match(f"$.{status}").is_not_null()).select(
            "vehicle_id", status=pl.lit(status), at_us=_us("event_at")
        )
        for status in DTC_STATUSES
    ]
    # A code that was read proves an answer too, should its scan be missing.
    listed = readings.select("vehicle_id", "status", at_us=_us("event_at"))
    return (
        pl.concat([*answered, listed])
        .unique()
        .sort(*_SERVICE, "at_us")
        .with_columns(
            next_at_us=pl.col("at_us").shift(-1).over(_SERVICE), number=pl.int_range(pl.len()).over(_SERVICE)
        )
    )


def _listings(readings: pl.LazyFrame, answers: pl.LazyFrame) -> pl.LazyFrame:
    """One row per code, service and answer that lists it. Two devices at one instant are one answer."""
    listed = readings.group_by("vehicle_id", "status", "dtc_code", at_us=_us("event_at")).agg(
        title=pl.col("title").max()
    )
    is_gap = (pl.col("number").diff() != 1).over(*_SERVICE, "dtc_code")
    return (
        listed.join(answers, on=(*_SERVICE, "at_us"), how="inner")
        .sort(*_SERVICE, "dtc_code", "number")
        .with_columns(run=is_gap.fill_null(value=True).cum_sum())
    )


def _runs(listings: pl.LazyFrame) -> pl.LazyFrame:
    """Times in which all answers of one service list a code; gone_at_us is the answer that no longer does."""
    return listings.group_by("run").agg(
        pl.col(*_CODE, "status").first(),
        first_at_us=pl.col("at_us").min(),
        last_at_us=pl.col("at_us").max(),
        gone_at_us=pl.col("next_at_us").fill_null(_NEVER_US).max(),
    )


def _numbered(runs: pl.LazyFrame) -> pl.LazyFrame:
    """Runs with the number of the episode that they belong to: they overlap, or one begins as another ends."""
    ended = pl.col("gone_at_us").cum_max().shift().over(_CODE)
    is_new = ended.is_null() | (pl.col("first_at_us") > ended)
    return (
        runs.sort(*_CODE, "first_at_us", "status")
        .with_columns(is_new=is_new)
        .with_columns(occurrence=pl.col("is_new").cum_sum().over(_CODE).cast(pl.Int64))
    )


def _episodes(numbered: pl.LazyFrame) -> pl.LazyFrame:
    first = {
        f"first_{status}_at_us": pl.col("first_at_us").filter(pl.col("status") == status).min()
        for status in DTC_STATUSES
    }
    gone = pl.col("gone_at_us").max()
    return numbered.group_by(_EPISODE).agg(
        opened_at_us=pl.col("first_at_us").min(),
        last_seen_at_us=pl.col("last_at_us").max(),
        closed_at_us=pl.when(gone < _NEVER_US).then(gone),
        **first,
    )


def _seen(listings: pl.LazyFrame, numbered: pl.LazyFrame) -> pl.LazyFrame:
    """How many scans listed an episode's code, and the last title that a device's library sent with it."""
    return (
        listings.join(numbered.select("run", "occurrence"), on="run", how="inner")
        .group_by(_EPISODE)
        .agg(
            scans=pl.col("at_us").n_unique().cast(pl.Int64),
            library=pl.col("title").sort_by("at_us", "title").drop_nulls().last(),
        )
    )


def _with_lamp(episodes: pl.LazyFrame, mil: pl.LazyFrame | None) -> pl.LazyFrame:
    """Say whether the lamp was seen on, or seen at all, from the opening to the last sighting, both included."""
    if mil is None:
        return episodes.with_columns(has_mil=pl.lit(None, dtype=pl.Boolean))
    counted = (
        mil.group_by("vehicle_id", at_us=_us("event_at"))
        .agg(pl.col("is_on").any())
        .sort("vehicle_id", "at_us")
        .with_columns(
            told=pl.int_range(1, pl.len() + 1).over("vehicle_id"),
            on=pl.col("is_on").cast(pl.Int64).cum_sum().over("vehicle_id"),
        )
        .select("vehicle_id", "at_us", "told", "on")
    )
    for edge, includes in (("opened_at_us", False), ("last_seen_at_us", True)):
        episodes = episodes.sort("vehicle_id", edge).join_asof(
            counted.rename({"at_us": edge, "told": f"told_{edge}", "on": f"on_{edge}"}),
            on=edge,
            by="vehicle_id",
            strategy="backward",
            allow_exact_matches=includes,
            check_sortedness=False,  # both are sorted by vehicle and time
        )
    told, on = (
        pl.col(f"{name}_last_seen_at_us").fill_null(0) - pl.col(f"{name}_opened_at_us").fill_null(0)
        for name in ("told", "on")
    )
    return episodes.with_columns(has_mil=pl.when(told > 0).then(on > 0))


def _rows(episodes: pl.LazyFrame, book: CodeBook) -> pl.LazyFrame:
    """Name, explain and order the columns as codes.DTC_EPISODES has them."""
    reached = pl.coalesce(
        *(
            pl.when(pl.col(f"first_{status}_at_us").is_not_null()).then(pl.lit(status))
            for status in reversed(_STAGES)
        )
    )
    meaning = pl.struct("dtc_code", "library", "status").map_batches(
        lambda found: _meanings(found, book), return_dtype=_MEANING
    )
    version = f"{ALGO_VERSION}+{book.imported_digest}" if book.imported else ALGO_VERSION
    instants = [
        _instant(f"{name}_us").alias(name)
        for name in ("opened_at", "last_seen_at", "closed_at", *(f"first_{status}_at" for status in _STAGES))
    ]
    return (
        episodes.sort("vehicle_id", "opened_at_us", "dtc_code")
        .with_columns(*instants, status=reached)
        .with_columns(
            event_date=pl.col("opened_at").dt.date(),
            is_open=pl.col("closed_at").is_null(),
            episode_id=pl.struct(*_CODE, "opened_at_us").map_batches(_episode_ids, return_dtype=pl.String),
            meaning=meaning,
            algo_version=pl.lit(version),
        )
        .unnest("meaning")
        .select(*codes.DTC_EPISODES.by_name)
    )


def _meanings(found: pl.Series, book: CodeBook) -> pl.Series:
    rows = [_meaning(row["dtc_code"], row["library"], row["status"], book) for row in found]
    return pl.Series(rows, dtype=_MEANING)


def _meaning(code: str, library: str | None, status: str, book: CodeBook) -> dict[str, str | None]:
    structure = decode_structure(code)
    if structure is None:
        raise ValueError(f"silver.dtc_readings holds {code!r}, which is no trouble code")
    title = book.title(code, library=library)
    severity = severity_of_episode(book.severity(code), is_confirmed=status != "pending")
    return {
        "dtc_family": family_of(code),
        "system": structure.system,
        "origin": structure.origin,
        "title": title.text,
        "title_tier": title.tier,
        "title_hu": book.titles[code]["hu"] if title.tier == "own" else None,
        "severity": severity.level,
        "severity_rule": severity.rule,
    }


def _episode_ids(keys: pl.Series) -> pl.Series:
    """Name episodes by the digest of vehicle, code and opening (UTC epoch µs); the same in every rebuild."""
    names = [digest(f"{key['vehicle_id']}\x1f{key['dtc_code']}\x1f{key['opened_at_us']}".encode()) for key in keys]
    return pl.Series(names, dtype=pl.String)


def _instant(us: str) -> pl.Expr:
    return pl.from_epoch(us, time_unit="us").dt.replace_time_zone("UTC")


def _us(column: str) -> pl.Expr:
    return pl.col(column).dt.epoch("us")
