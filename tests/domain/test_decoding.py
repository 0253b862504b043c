from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from smartdrive_dagster.domain.decoding import Decoded, decode_lines, keyed_pseudonym
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.frames import conform, polars_schema
from smartdrive_dagster.tables import bronze, facts, silver
from smartdrive_dagster.tables.signals import SIGNALS
from tests.messages import OTHER_VIN, SECRET, START, VIN, correction, event, ms, profile, telemetry, weather

EXAMPLES = Path(__file__).parents[2] / "contracts/examples/invalid"
RECEIVED = START + timedelta(minutes=1)
EARLIEST = datetime(2008, 1, 1, tzinfo=UTC)
SKEW = timedelta(minutes=5)
MS = timedelta(milliseconds=1)
SCAN = {
    "stored": [{"code": "P0171", "title": "lean"}, {"code": "P0171"}, {"code": "P0420"}],
    "pending": [{"code": "P0171"}],
    "permanent": [],
}


def lines(*payloads: bytes | None, at: datetime = RECEIVED, channel: str = "telemetry", **changes) -> pl.DataFrame:
    key = f"{channel}/dt=2025-12-01/hr=08/a.jsonl.gz"
    rows = [
        {
            "object_key": key,
            "line_no": number,
            "landing_date": date(2025, 12, 1),
            "channel": channel,
            "topic": "t",
            "received_at": at,
            "payload": payload,
            "fault": None,
        }
        | changes
        for number, payload in enumerate(payloads, start=1)
    ]
    return pl.DataFrame(rows, schema=polars_schema(bronze.MESSAGES))


def decoded(*payloads: bytes | None, **changes) -> Decoded:
    return decode_lines(lines(*payloads, **changes), keyed_pseudonym(SECRET))


def test_the_frames_have_the_columns_and_types_of_their_tables():
    result = decoded(telemetry(), event(2, type_="dtc_scan", detail=SCAN), b"", telemetry(3, clock="unsynced"))
    frames = (
        (result.telemetry, silver.TELEMETRY, {"reason"}),
        (result.events, silver.EVENTS, {"reason", "sample"}),
        (result.dtc_readings, silver.DTC_READINGS, set()),
        (result.rejected, silver.QUARANTINE, set()),
    )
    for frame, table, more in frames:
        assert frame.height
        schema = polars_schema(table)
        assert set(frame.columns) == set(schema) | more, table
        assert dict(frame.select(list(schema)).schema) == dict(schema), table


def frames(result: Decoded) -> dict[str, pl.DataFrame]:
    own = ("lines", "telemetry", "events", "dtc_readings", "rejected")
    return {name: getattr(result, name) for name in own} | {str(t): frame for t, frame in result.facts.items()}


def test_no_lines_give_empty_frames_of_the_same_types():
    empty, full = decoded(), decoded(telemetry(), event(2, type_="dtc_scan", detail=SCAN), b"")
    assert empty.vins == {}
    for name, frame in frames(empty).items():
        assert frame.is_empty()
        assert frame.schema == frames(full)[name].schema


def test_every_signal_with_a_column_arrives_in_it_and_nothing_else_does():
    values = {column.signal: [float(number)] for number, column in enumerate(SIGNALS, start=1)}
    row = decoded(telemetry(samples=1, signals=values)).telemetry.row(0, named=True)
    assert {column.name: row[column.name] for column in SIGNALS} == {
        column.name: float(number) for number, column in enumerate(SIGNALS, start=1)
    }
    assert row["extra_signals"] is None


def test_what_was_not_measured_is_null_and_never_zero():
    result = decoded(telemetry(samples=3, signals={"RPM": [None, 0, 1], "X1": [None, 0, None]})).telemetry
    assert result.get_column("engine_speed_rpm").to_list() == [None, 0.0, 1.0]
    assert result.get_column("speed_kmh").to_list() == [None] * 3
    assert [dict(row) if row else None for row in result.get_column("extra_signals").to_list()] == [
        None,
        {"X1": 0.0},
        None,
    ]


def test_unknown_signals_are_kept_by_their_names():
    signals = {f"S{number}": [number, None] for number in range(5000)} | {"RPM": [1, 2]}
    rows = decoded(telemetry(samples=2, signals=signals)).telemetry.get_column("extra_signals").to_list()
    assert dict(rows[0]) == {f"S{number}": float(number) for number in range(5000)}
    assert rows[1] is None


def test_messages_of_one_batch_do_not_mix():
    result = decoded(
        telemetry(1, samples=2, signals={"RPM": [1, 2]}),
        telemetry(2, samples=1, vin=OTHER_VIN, signals={"SPEED": [3]}, device_id="edge-2", phase="cranking"),
    ).telemetry
    columns = ("line_no", "sample", "vehicle_id", "device_id", "phase", "engine_speed_rpm", "speed_kmh")
    first, second = vehicle_id(VIN, SECRET), vehicle_id(OTHER_VIN, SECRET)
    assert result.select(columns).rows() == [
        (1, 0, first, "edge-00001", "running", 1.0, None),
        (1, 1, first, "edge-00001", "running", 2.0, None),
        (2, 0, second, "edge-2", "cranking", None, 3.0),
    ]


def test_instants_are_utc_with_the_day_they_fall_on():
    times = [datetime(2025, 11, 30, 23, 59, 59, 999000, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)]
    result = decoded(telemetry(samples=2, t=[ms(at) for at in times], signals={"RPM": [1, 1]})).telemetry
    assert result.get_column("event_at").to_list() == times
    assert result.get_column("event_date").to_list() == [date(2025, 11, 30), date(2025, 12, 1)]


BOUNDARIES = [
    (EARLIEST, None),
    (EARLIEST - MS, "clock_before_2008"),
    (datetime(1970, 1, 1, tzinfo=UTC), "clock_before_2008"),
    (RECEIVED, None),
    (RECEIVED + SKEW, None),
    (RECEIVED + SKEW + MS, "clock_ahead"),
    (datetime(2106, 2, 7, tzinfo=UTC), "clock_ahead"),
]


@pytest.mark.parametrize(("at", "reason"), BOUNDARIES)
def test_a_samples_time_is_judged_against_its_receipt(at, reason):
    result = decoded(telemetry(samples=3, t=[ms(RECEIVED), ms(at), ms(RECEIVED)], signals={"RPM": [1, 2, 3]}))
    assert result.telemetry.get_column("reason").to_list() == [None, reason, None]
    assert result.rejected.is_empty()
    instant = result.telemetry.row(1, named=True)
    assert (instant["event_at"], instant["event_date"]) == ((at, at.date()) if reason is None else (None, None))


@pytest.mark.parametrize(("at", "reason"), BOUNDARIES)
def test_an_events_time_and_its_codes_are_judged_against_the_receipt(at, reason):
    result = decoded(event(t=ms(at), type_="dtc_scan", detail=SCAN), channel="events")
    assert result.events.get_column("reason").to_list() == [reason]
    assert result.dtc_readings.height == (3 if reason is None else 0)


@pytest.mark.parametrize("t", [0, 2**53 - 1, 253_402_300_800_000])
def test_times_beyond_any_calendar_are_rejected_and_not_a_crash(t):
    result = decoded(telemetry(samples=1, t=[t]).replace(b"1500.0", b"1"), event(2, t=t))
    assert result.telemetry.get_column("reason").null_count() == 0
    assert result.events.get_column("reason").null_count() == 0


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(EXAMPLES.glob("*.json")) if '"clock_' in path.read_text()],
    ids=lambda path: path.stem,
)
def test_the_clock_examples_of_the_contract_are_rejected_as_they_say(path):
    wrapped = msgspec.json.decode(path.read_bytes())
    for received in (datetime(2025, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)):
        result = decoded(msgspec.json.encode(wrapped["payload"]), at=received)
        rejected = [*result.telemetry["reason"], *result.events["reason"], *result.rejected["reason"]]
        assert set(rejected) == {wrapped["reason"]}


def test_an_unsynced_message_is_rejected_as_a_whole_with_its_samples_counted():
    result = decoded(telemetry(samples=3, clock="unsynced"))
    assert result.telemetry.is_empty()
    assert result.rejected.select("line_no", "sample", "reason", "samples").rows() == [
        (1, -1, "clock_unsynced", 3)
    ]
    assert result.lines.get_column("samples").to_list() == [3]


def test_a_code_listed_twice_by_a_service_is_one_reading():
    rows = decoded(event(type_="dtc_scan", detail=SCAN)).dtc_readings.select("dtc_code", "status").rows()
    assert sorted(rows) == [("P0171", "pending"), ("P0171", "stored"), ("P0420", "stored")]


def test_every_line_appears_once_with_its_samples():
    result = decoded(telemetry(1, samples=3), b"not JSON", event(2), telemetry(3, clock="unsynced", samples=2))
    assert result.lines.select("line_no", "samples").rows() == [(1, 3), (2, 0), (3, 1), (4, 2)]
    assert result.lines.get_column("message_id").is_null().to_list() == [False, True, False, False]


def test_a_fault_of_the_line_is_its_reason_and_nothing_is_decoded():
    for fault in ("envelope_malformed", "object_too_large"):
        payload = telemetry() if fault == "envelope_malformed" else None
        result = decoded(payload, fault=fault, received_at=None)
        assert result.rejected.get_column("reason").to_list() == [fault]
        assert result.telemetry.is_empty()
        assert result.lines.get_column("samples").to_list() == [0]


def test_a_channel_without_a_table_is_set_aside():
    result = decoded(telemetry(), channel="tolls")
    assert result.rejected.get_column("reason").to_list() == ["channel_unsupported"]
    assert result.telemetry.is_empty()


@pytest.mark.parametrize(
    ("channel", "payload", "hours"),
    [("corrections", correction(), 1), ("profiles", profile(), 1), ("weather", weather(hours=5), 5)],
)
def test_a_fact_of_each_channel_becomes_rows_of_its_table(channel: str, payload: bytes, hours: int):
    result = decoded(payload, channel=channel)
    (table,) = (table for table, name in facts.CHANNEL_OF.items() if name == channel)
    rows = result.facts[table]
    typed = rows.select(list(table.by_name))
    assert conform(table, typed).height == result.lines.item(0, "samples") == hours
    assert result.vins == {vehicle_id(VIN, SECRET): VIN}
    assert rows.get_column("reason").is_null().all()


@pytest.mark.parametrize(
    ("channel", "payload"),
    [
        ("corrections", correction(set_at=ms(RECEIVED + SKEW) + 1)),
        ("corrections", correction(to=ms(RECEIVED + SKEW) + 1)),
        ("profiles", profile(set_at=ms(RECEIVED + SKEW) + 1)),
        ("weather", weather(issued=RECEIVED + SKEW + MS, at=RECEIVED)),
    ],
)
def test_a_word_from_the_future_would_win_for_ever_and_is_refused(channel: str, payload: bytes):
    rows = next(frame for frame in decoded(payload, channel=channel).facts.values() if frame.height)
    assert set(rows.get_column("reason")) == {"clock_ahead"}


@pytest.mark.parametrize("channel", ["telemetry", "events"])
def test_a_message_is_decoded_by_its_schema_whatever_the_channel(channel):
    result = decoded(telemetry(1), event(2), channel=channel)
    assert (result.telemetry.height, result.events.height) == (3, 1)


def test_no_frame_holds_the_vin():
    result = decoded(telemetry(), event(2, detail={"a": 1}), telemetry(3, phase=VIN), telemetry(4, vin=VIN + "x"))
    assert all(VIN not in frame.write_json() for frame in frames(result).values())
    assert VIN not in repr(result)
