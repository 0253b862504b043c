from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartdrive_dagster.domain.claims import (
    CLAIM_COLUMNS,
    CONFLICT,
    DUPLICATE,
    OURS,
    REJECTED,
    WRITE,
    ledger_rows,
    line_counts,
    rejected_samples,
    settle,
)

DAY = date(2025, 12, 1)
SAMPLES = {
    "message_id": pl.String(),
    "sample": pl.Int32(),
    "content_digest": pl.String(),
    "object_key": pl.String(),
    "line_no": pl.Int64(),
    "landing_date": pl.Date(),
    "received_at": pl.Datetime("us", "UTC"),
    "reason": pl.String(),
    "event_date": pl.Date(),
    "vehicle_id": pl.String(),
}
CLAIMS = {name: SAMPLES[name] for name in CLAIM_COLUMNS}
NO_CLAIMS = pl.DataFrame(schema=CLAIMS)


def sample(
    line: int, message: str = "m", number: int = 0, content: str = "c", reason: str | None = None, key: str = "k"
) -> tuple:
    at = datetime(2025, 12, 1, tzinfo=UTC) + timedelta(seconds=line)
    return (message, number, content, key, line, DAY, at, reason, DAY if reason is None else None, "v")


def batch(*samples: tuple) -> pl.DataFrame:
    return pl.DataFrame(samples, schema=SAMPLES, orient="row")


def held(*samples: tuple) -> pl.DataFrame:
    return batch(*samples).select(CLAIM_COLUMNS)


def fates(samples: pl.DataFrame, claims: pl.DataFrame = NO_CLAIMS) -> list[str]:
    return settle(samples, claims).sort("object_key", "line_no", "sample").get_column("fate").to_list()


CASES = {
    "a first copy is written": ([sample(1)], [], [WRITE]),
    "a second copy in the batch is a duplicate": ([sample(1), sample(2)], [], [WRITE, DUPLICATE]),
    "a copy of what Silver holds is a duplicate": ([sample(2)], [sample(1)], [DUPLICATE]),
    "what this line wrote before a crash is ours": ([sample(1)], [sample(1)], [OURS]),
    "ours and a second copy": ([sample(1), sample(2)], [sample(1)], [OURS, DUPLICATE]),
    "the same line of another object is a duplicate": ([sample(1)], [sample(1, key="j")], [DUPLICATE]),
    "other content under the identity is a conflict": ([sample(1), sample(2, content="d")], [], [WRITE, CONFLICT]),
    "other content than Silver holds is a conflict": ([sample(2, content="d")], [sample(1)], [CONFLICT]),
    "what Silver holds wins over what arrived earlier": ([sample(1, content="d")], [sample(2)], [CONFLICT]),
    "a rejected copy claims nothing": (
        [sample(1, reason="clock_ahead"), sample(2)],
        [],
        [REJECTED, WRITE],
    ),
    "a rejected copy of other content makes no conflict": (
        [sample(1, reason="clock_ahead", content="d"), sample(2)],
        [],
        [REJECTED, WRITE],
    ),
    "a rejected copy stays rejected where Silver holds the sample": (
        [sample(2, reason="clock_ahead")],
        [sample(1)],
        [REJECTED],
    ),
    "a rejected copy of other content is rejected and no conflict": (
        [sample(2, reason="clock_ahead", content="d")],
        [sample(1)],
        [REJECTED],
    ),
    "samples of a message are settled one by one": (
        [sample(1, number=0), sample(1, number=1, reason="clock_ahead"), sample(2, number=0), sample(2, number=1)],
        [],
        [WRITE, REJECTED, DUPLICATE, WRITE],
    ),
    "a sample that Silver lacks of a message it holds is written": (
        [sample(2, number=0), sample(2, number=1)],
        [sample(1, number=0)],
        [DUPLICATE, WRITE],
    ),
    "another sample of other content is a conflict all the same": (
        [sample(2, number=1, content="d")],
        [sample(1, number=0)],
        [CONFLICT],
    ),
    "other messages have nothing to do with it": (
        [sample(1, "m"), sample(2, "n", content="d")],
        [sample(9, "o", content="e")],
        [WRITE, WRITE],
    ),
}


@pytest.mark.parametrize(("samples", "claims", "wanted"), CASES.values(), ids=list(CASES))
def test_the_fate_of_a_sample(samples, claims, wanted):
    assert fates(batch(*samples), held(*claims)) == wanted
    assert fates(batch(*reversed(samples)), held(*claims)) == wanted


def test_the_first_to_arrive_is_written_and_not_the_first_by_name():
    late, early = sample(9, key="a"), sample(1, key="b")
    settled = settle(batch(late, early), NO_CLAIMS)
    assert settled.filter(pl.col("fate") == WRITE).get_column("object_key").to_list() == ["b"]


def test_of_two_contents_the_first_to_arrive_stays():
    late, early = sample(9, content="late", key="a"), sample(1, content="early", key="b")
    settled = settle(batch(late, early), NO_CLAIMS)
    assert dict(settled.select("content_digest", "fate").rows()) == {"late": CONFLICT, "early": WRITE}


def test_an_empty_batch_settles_to_an_empty_batch():
    assert settle(batch(), NO_CLAIMS).is_empty()
    assert line_counts(settle(batch(), NO_CLAIMS)).is_empty()


def counted(*samples: tuple, claims: pl.DataFrame = NO_CLAIMS) -> list[tuple]:
    columns = ("line_no", "samples_accepted", "samples_duplicate", "samples_quarantined", "is_conflict")
    return line_counts(settle(batch(*samples), claims)).select(columns).rows()


def test_lines_count_their_samples_by_fate():
    first = [sample(1, number=n, reason="clock_ahead" if n == 2 else None) for n in range(3)]
    second = [sample(2, number=n) for n in range(3)]
    assert counted(*first, *second) == [(1, 2, 0, 1, False), (2, 1, 2, 0, False)]
    assert counted(*first, *second, claims=held(*first[:2])) == [(1, 2, 0, 1, False), (2, 1, 2, 0, False)]


def test_a_line_in_conflict_touches_nothing_and_is_quarantined_as_a_whole():
    settled = settle(batch(sample(1), sample(2, content="d"), sample(2, number=1, content="d")), NO_CLAIMS)
    counts = line_counts(settled)
    assert counts.row(1, named=True) == {
        "object_key": "k",
        "line_no": 2,
        "samples_accepted": 0,
        "samples_duplicate": 0,
        "samples_quarantined": 2,
        "is_conflict": True,
        "touched": [],
    }
    assert counts.row(0, named=True)["touched"] == [{"event_date": DAY, "vehicle_id": "v"}]
    channels = pl.DataFrame({"object_key": ["k"] * 2, "line_no": [1, 2], "channel": ["telemetry"] * 2})
    columns = ("line_no", "sample", "reason", "samples")
    assert rejected_samples(settled, channels).select(columns).rows() == [(2, -1, CONFLICT, 2)]


def test_quarantine_rows_stand_for_lines_where_all_samples_share_a_reason_and_else_for_samples():
    settled = settle(
        batch(
            *(sample(1, "a", n, reason="clock_ahead") for n in range(3)),
            sample(2, "b", 0),
            sample(2, "b", 1, reason="clock_ahead"),
            sample(2, "b", 2, reason="clock_before_2008"),
            sample(3, "c", 0, reason="clock_ahead"),
            sample(3, "c", 1, reason="clock_before_2008"),
        ),
        NO_CLAIMS,
    )
    channels = pl.DataFrame({"object_key": ["k"] * 3, "line_no": [1, 2, 3], "channel": ["telemetry"] * 3})
    assert rejected_samples(settled, channels).select("line_no", "sample", "reason", "samples").rows() == [
        (1, -1, "clock_ahead", 3),
        (2, 1, "clock_ahead", 1),
        (2, 2, "clock_before_2008", 1),
        (3, 0, "clock_ahead", 1),
        (3, 1, "clock_before_2008", 1),
    ]


LINES = {
    "object_key": pl.String(),
    "line_no": pl.Int64(),
    "landing_date": pl.Date(),
    "received_at": pl.Datetime("us", "UTC"),
    "channel": pl.String(),
    "message_id": pl.String(),
    "content_digest": pl.String(),
    "samples": pl.Int64(),
}


def lines_of(samples: pl.DataFrame) -> pl.DataFrame:
    grouped = samples.group_by("object_key", "line_no", "landing_date", "received_at").agg(
        pl.col("message_id", "content_digest").first(), samples=pl.len().cast(pl.Int64)
    )
    return grouped.with_columns(channel=pl.lit("telemetry")).select(list(LINES)).sort("object_key", "line_no")


@pytest.mark.parametrize(
    ("samples", "claims", "verdict"),
    [
        ([sample(1), sample(1, number=1, reason="clock_ahead")], [], "accepted"),
        ([sample(1)], [sample(1)], "accepted"),
        ([sample(1), sample(1, number=1, reason="clock_ahead")], [sample(0)], "duplicate"),
        ([sample(1, reason="clock_ahead")], [], "quarantined"),
        ([sample(1, content="d")], [sample(0)], "conflict"),
    ],
)
def test_the_verdict_on_a_line(samples, claims, verdict):
    frame = batch(*samples)
    ledger = ledger_rows(lines_of(frame), line_counts(settle(frame, held(*claims))))
    assert ledger.get_column("verdict").to_list() == [verdict]


def test_a_line_without_settled_samples_is_quarantined_with_all_it_decoded():
    lines = pl.DataFrame([("k", 1, DAY, None, "telemetry", "m", "c", 4)], schema=LINES, orient="row")
    row = ledger_rows(lines, line_counts(settle(batch(), NO_CLAIMS))).row(0, named=True)
    assert row["verdict"] == "quarantined"
    assert (row["samples_accepted"], row["samples_duplicate"], row["samples_quarantined"]) == (0, 0, 4)


# Messages of one to three samples at the seconds below; a copy's receipt decides which of them are acceptable.
_MESSAGES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=3), min_size=1, max_size=4)


@st.composite
def _deliveries(draw: st.DrawFn) -> tuple[list[list[int]], list[list[tuple]], list[list[tuple]]]:
    """Messages, and two ways in which the same copies of them arrive: order, batches, places in objects."""
    messages = draw(_MESSAGES)
    copies = draw(
        st.lists(st.tuples(st.integers(0, len(messages) - 1), st.integers(0, 9)), min_size=1, max_size=10)
    )

    def arrival() -> list[list[tuple]]:
        order = draw(st.permutations(range(len(copies))))
        cuts = sorted(draw(st.lists(st.integers(0, len(copies)), max_size=3)))
        lines = [_line(position, *copies[number], messages) for position, number in enumerate(order)]
        bounds = [0, *cuts, len(lines)]
        parts = [lines[start:end] for start, end in pairwise(bounds)]
        return [[row for line in part for row in line] for part in parts]

    return messages, arrival(), arrival()


def _line(position: int, message: int, received: int, messages: list[list[int]]) -> list[tuple]:
    at = datetime(2025, 12, 1, tzinfo=UTC) + timedelta(seconds=received)
    key, line = f"k{position % 3}", position // 3 + 1
    return [
        (
            f"m{message}",
            number,
            f"c{message}",
            key,
            line,
            DAY,
            at,
            None if second <= received else "clock_ahead",
            DAY + timedelta(second % 2) if second <= received else None,
            "v",
        )
        for number, second in enumerate(messages[message])
    ]


def _claims(silver: list[tuple], samples: pl.DataFrame) -> pl.DataFrame:
    """What Silver holds of the batch's messages on the batch's event days, as ingestion asks for it."""
    days, messages = set(samples["event_date"].drop_nulls()), set(samples["message_id"])
    return held(*(row for row in silver if row[8] in days and row[0] in messages))


def _written(settled: pl.DataFrame) -> list[tuple]:
    return settled.filter(pl.col("fate") == WRITE).select(list(SAMPLES)).rows()


def _check_balance(samples: pl.DataFrame, settled: pl.DataFrame) -> None:
    assert settled.height == samples.height
    ledger = ledger_rows(lines_of(samples), line_counts(settled))
    parts = pl.sum_horizontal("samples_accepted", "samples_duplicate", "samples_quarantined")
    assert ledger.select((parts == pl.col("samples")).all()).item()
    quarantined = rejected_samples(settled, lines_of(samples).select("object_key", "line_no", "channel"))
    assert quarantined.get_column("samples").sum() == ledger.get_column("samples_quarantined").sum()
    assert quarantined.select("object_key", "line_no", "sample").is_duplicated().sum() == 0


@given(_deliveries())
def test_order_batches_and_copies_do_not_change_what_silver_holds(given_deliveries):
    _, *arrivals = given_deliveries
    held_after = []
    for arrival in arrivals:
        silver: list[tuple] = []
        for part in arrival:
            samples = batch(*part)
            settled = settle(samples, _claims(silver, samples))
            _check_balance(samples, settled)
            silver += _written(settled)
        keys = Counter((row[0], row[1]) for row in silver)
        assert set(keys.values()) <= {1}
        acceptable = {(row[0], row[1]) for part in arrival for row in part if row[7] is None}
        assert set(keys) == acceptable
        held_after.append({(row[0], row[1], row[2], row[8]) for row in silver})
    assert held_after[0] == held_after[1]


@given(_deliveries())
def test_running_a_batch_again_after_a_crash_writes_nothing_and_counts_the_same(given_deliveries):
    _, arrival, _ = given_deliveries
    silver: list[tuple] = []
    for part in arrival:
        samples = batch(*part)
        first = settle(samples, _claims(silver, samples))
        silver += _written(first)
        again = settle(samples, _claims(silver, samples))
        assert _written(again) == []
        assert line_counts(again).equals(line_counts(first))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.booleans()), min_size=1, max_size=8))
def test_the_balance_closes_and_a_rerun_agrees_with_conflicts_too(copies):
    rows = [
        sample(position, f"m{message}", 0, f"c{content}", None if is_good else "clock_ahead")
        for position, (message, content, is_good) in enumerate(copies)
    ]
    samples = batch(*rows)
    settled = settle(samples, NO_CLAIMS)
    _check_balance(samples, settled)
    written = _written(settled)
    assert Counter(row[0] for row in written) == Counter({row[0] for row in rows if row[7] is None})
    again = settle(samples, held(*written))
    assert _written(again) == []
    assert line_counts(again).equals(line_counts(settled))
