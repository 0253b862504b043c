"""A slice of Bronze lines: from payloads to wide samples, events, trouble codes and rejections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from smartdrive_dagster.domain.fact_frames import LARGEST_SKEW_MS, FactRows
from smartdrive_dagster.domain.facts import (
    Correction,
    Profile,
    Weather,
    decode_correction,
    decode_profile,
    decode_weather,
)
from smartdrive_dagster.domain.identity import digest, vehicle_id
from smartdrive_dagster.domain.messages import Event, Rejection, Telemetry, decode_message
from smartdrive_dagster.tables import Table
from smartdrive_dagster.tables.signals import COLUMN_OF_SIGNAL, SIGNALS

ERASED: Final = "erased"
"""The fault of a Bronze line whose vehicle was erased, and the verdict of every line that brings nothing more."""
EARLIEST_MS: Final = 1_199_145_600_000  # 2008-01-01: the first year in which every new car had to speak CAN
_Outcome = Telemetry | Event | Correction | Profile | Weather | Rejection
_DECODERS: Final[dict[str, Callable[[bytes], _Outcome]]] = {
    "telemetry": decode_message,
    "events": decode_message,
    "corrections": decode_correction,
    "profiles": decode_profile,
    "weather": decode_weather,
}
_WHOLE_LINE: Final = -1
VALUES_A_SAMPLE: Final = 10  # without a column of their own; a slice with more of them ends early

_LINE = {
    "object_key": pl.String(),
    "line_no": pl.Int64(),
    "landing_date": pl.Date(),
    "received_at": pl.Datetime("us", "UTC"),
}
_LANDED = {**_LINE, "channel": pl.String(), "payload_digest": pl.String()}
_CLAIMED = {**_LINE, "message_id": pl.String(), "content_digest": pl.String(), "vehicle_id": pl.String()}
_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Decoded:
    """What a slice of Bronze lines says.

    Attributes:
        lines: one row per Bronze line: object_key, line_no, landing_date, received_at, channel, payload_digest
            (null where Bronze holds no payload), message_id, content_digest, samples (0 where it could not be
            decoded), its sender: device_id, boot_id, seq, and is_erased (it is the stub of an erased line).
        telemetry: silver.telemetry's columns and `reason` (null where the sample is acceptable).
        events: silver.events' columns and `sample` (0) and `reason`.
        dtc_readings: silver.dtc_readings' columns.
        facts: per table of facts its columns and `sample`, `reason` and `event_date` (null for all days).
        rejected: silver.quarantine's columns: lines rejected as a whole.
        vins: the VINs that were given, by vehicle_id.
    """

    lines: pl.DataFrame
    telemetry: pl.DataFrame
    events: pl.DataFrame
    dtc_readings: pl.DataFrame
    facts: Mapping[Table, pl.DataFrame]
    rejected: pl.DataFrame
    vins: Mapping[str, str] = field(repr=False)


def decode_lines(bronze: pl.DataFrame, pseudonym: Callable[[str], str]) -> Decoded:
    """Decode a slice of bronze.messages.

    Args:
        bronze: rows of bronze.messages.
        pseudonym: from a VIN to its vehicle_id.
    """
    (decoded,) = decode_slices(bronze, pseudonym, max_samples=None, max_bytes=None)
    return decoded


def decode_slices(
    bronze: pl.DataFrame,
    pseudonym: Callable[[str], str],
    *,
    max_samples: int | None,
    max_bytes: int | None,
) -> Iterator[Decoded]:
    """Decode rows of bronze.messages in their order, a slice at a time.

    Decoded values take far more room than their JSON, and how much more depends on the message: so a slice is full
    at a number of samples as well as at a number of payload bytes, and at `VALUES_A_SAMPLE` times that number of
    values of signals that have no column. It holds one message at least.
    """
    collected = _Collector(pseudonym)
    columns = ("object_key", "line_no", "landing_date", "received_at", "channel", "payload", "fault")
    for key, number, day, received, channel, payload, fault in bronze.select(columns).iter_rows():
        line = (key, number, day, received)
        if fault == ERASED:
            collected.add_stub(line, channel)
            continue
        if fault is not None:
            outcome: _Outcome = Rejection(fault, "the line as a whole")
        elif channel not in _DECODERS:
            outcome = Rejection("channel_unsupported", "kept in bronze.messages")
        else:
            outcome = _DECODERS[channel](payload)
        collected.add(line, channel, outcome, payload)
        if collected.reaches(max_samples, max_bytes):
            yield collected.result()
            collected = _Collector(pseudonym)
    if not collected.is_empty or max_samples is None:
        yield collected.result()


class _Collector:
    """Column-wise lists: cheaper to fill and to hand to Polars than a dictionary a sample."""

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self._pseudonym = pseudonym
        self._pseudonyms: dict[str, str] = {}
        self._lines: list[tuple[Any, ...]] = []
        self._rejected: list[tuple[Any, ...]] = []
        self._messages: list[tuple[Any, ...]] = []
        self._samples: dict[str, list[Any]] = {
            name: [] for name in ("message", "sample", "t_ms", "extra_signals", *(c.name for c in SIGNALS))
        }
        self._size_bytes = 0
        self._extra_values = 0
        self._events: list[tuple[Any, ...]] = []
        self._dtcs: list[tuple[Any, ...]] = []
        self._facts = FactRows()

    @property
    def is_empty(self) -> bool:
        return not self._lines

    def reaches(self, max_samples: int | None, max_bytes: int | None) -> bool:
        if max_samples is not None:
            samples = len(self._samples["sample"]) + len(self._facts)
            if max(samples, self._extra_values // VALUES_A_SAMPLE) >= max_samples:
                return True
        return max_bytes is not None and self._size_bytes >= max_bytes

    def add(
        self,
        line: tuple[Any, ...],
        channel: str,
        outcome: _Outcome,
        payload: bytes | None,
    ) -> None:
        self._size_bytes += len(payload or b"")
        landed = (*line, channel, None if payload is None else digest(payload))
        match outcome:
            case Rejection():
                self._lines.append((*landed, None, None, 0, *_sent(outcome), False))
                self._reject(landed, outcome, 0)
            case Telemetry():
                samples = len(outcome.t_ms)
                judged = (outcome.message_id, outcome.content_digest, samples, *_sent(outcome))
                self._lines.append((*landed, *judged, False))
                if outcome.is_synced:
                    self._add_telemetry(line, outcome, samples)
                else:
                    self._reject(landed, Rejection("clock_unsynced", "$.clock"), samples)
            case Event():
                judged = (outcome.message_id, outcome.content_digest, 1, *_sent(outcome))
                self._lines.append((*landed, *judged, False))
                self._add_event(line, outcome)
            case Correction() | Profile() | Weather():
                samples = self._facts.add(line, outcome, self._vehicle)
                judged = (outcome.message_id, outcome.content_digest, samples, None, None, None)
                self._lines.append((*landed, *judged, False))

    def add_stub(self, line: tuple[Any, ...], channel: str) -> None:
        """A line that was erased: it says nothing, and counts."""
        self._lines.append((*line, channel, None, None, None, 0, None, None, None, True))

    def _reject(self, landed: tuple[Any, ...], why: Rejection, samples: int) -> None:
        self._rejected.append((*landed, _WHOLE_LINE, why.reason, why.detail, samples))

    def _vehicle(self, vin: str) -> str:
        found = self._pseudonyms.get(vin)
        if found is None:
            found = self._pseudonyms[vin] = self._pseudonym(vin)
        return found

    def _add_telemetry(self, line: tuple[Any, ...], message: Telemetry, samples: int) -> None:
        number = len(self._messages)
        vehicle = self._vehicle(message.vin)
        self._messages.append(
            (*line, message.message_id, message.content_digest, vehicle, message.device_id, message.phase)
        )
        columns = self._samples
        columns["message"].extend([number] * samples)
        columns["sample"].extend(range(samples))
        columns["t_ms"].extend(message.t_ms)
        known = {COLUMN_OF_SIGNAL[n]: v for n, v in message.signals.items() if n in COLUMN_OF_SIGNAL}
        missing = [None] * samples
        for column in SIGNALS:
            columns[column.name].extend(known.get(column.name, missing))
        extra = {n: v for n, v in message.signals.items() if n not in COLUMN_OF_SIGNAL}
        self._extra_values += len(extra) * samples
        columns["extra_signals"].extend(_row_maps(extra, samples) if extra else missing)

    def _add_event(self, line: tuple[Any, ...], event: Event) -> None:
        vehicle = self._vehicle(event.vin)
        claimed = (*line, event.message_id, event.content_digest, vehicle)
        self._events.append((*claimed, event.device_id, event.type, event.detail, event.t_ms))
        unique = {(dtc.code, dtc.status): dtc.title for dtc in event.dtcs}
        self._dtcs.extend((*claimed, code, status, title, event.t_ms) for (code, status), title in unique.items())

    def result(self) -> Decoded:
        return Decoded(
            lines=_frame(
                self._lines,
                {
                    **_LANDED,
                    "message_id": pl.String(),
                    "content_digest": pl.String(),
                    "samples": pl.Int64(),
                    "device_id": pl.String(),
                    "boot_id": pl.String(),
                    "seq": pl.Int64(),
                    "is_erased": pl.Boolean(),
                },
            ),
            telemetry=self._telemetry(),
            events=_frame(
                self._events,
                {
                    **_CLAIMED,
                    "device_id": pl.String(),
                    "type": pl.String(),
                    "detail": pl.String(),
                    "t_ms": pl.Int64(),
                },
            )
            .with_columns(_reason(), sample=pl.lit(0, pl.Int32))
            .pipe(_with_instant),
            dtc_readings=_frame(
                self._dtcs,
                {
                    **_CLAIMED,
                    "dtc_code": pl.String(),
                    "status": pl.String(),
                    "title": pl.String(),
                    "t_ms": pl.Int64(),
                },
            )
            .with_columns(_reason())
            .pipe(_with_instant)
            .filter(pl.col("reason").is_null())
            .drop("reason", "content_digest"),
            facts=self._facts.frames(),
            vins={vehicle: vin for vin, vehicle in self._pseudonyms.items()},
            rejected=_frame(
                self._rejected,
                {
                    **_LANDED,
                    "sample": pl.Int32(),
                    "reason": pl.String(),
                    "detail": pl.String(),
                    "samples": pl.Int64(),
                },
            ),
        )

    def _telemetry(self) -> pl.DataFrame:
        messages = _frame(
            self._messages, {**_CLAIMED, "device_id": pl.String(), "phase": pl.String()}
        ).with_row_index("message")
        dtypes: dict[str, Any] = {
            "message": pl.UInt32(),
            "sample": pl.Int32(),
            "t_ms": pl.Int64(),
            "extra_signals": pl.Map(pl.String(), pl.Float64()),
            **{column.name: pl.Float64() for column in SIGNALS},
        }
        samples = pl.DataFrame(
            [pl.Series(name, values, dtype=dtypes[name]) for name, values in self._samples.items()]
        )
        return (
            samples.join(messages, on="message", how="left", maintain_order="left")
            .drop("message")
            .with_columns(_reason())
            .pipe(_with_instant)
        )


def keyed_pseudonym(secret: bytes) -> Callable[[str], str]:
    """The lake's mapping from VIN to vehicle_id, for `decode_lines`."""
    return lambda vin: vehicle_id(vin, secret)


def _sent(outcome: Telemetry | Event | Rejection) -> tuple[str, str, int] | tuple[None, None, None]:
    sender = outcome.sender
    return (sender.device_id, sender.boot_id, sender.seq) if sender else (None, None, None)


def _row_maps(extra: dict[str, list[float | None]], samples: int) -> list[dict[str, float] | None]:
    rows: list[dict[str, float] | None] = []
    for i in range(samples):
        present = {name: value for name, values in extra.items() if (value := values[i]) is not None}
        rows.append(present or None)
    return rows


def _frame(rows: list[tuple[Any, ...]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")


def _reason() -> pl.Expr:
    """Why a sample's time cannot be right (null where it can): judged against the receipt, never corrected."""
    latest = pl.col("received_at").dt.epoch("ms") + LARGEST_SKEW_MS
    return (
        pl.when(pl.col("t_ms") < EARLIEST_MS)
        .then(pl.lit("clock_before_2008"))
        .when(pl.col("t_ms") > latest)
        .then(pl.lit("clock_ahead"))
        .alias("reason")
    )


def _with_instant(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace t_ms by event_at and event_date; null where the time is rejected (it may not fit a date)."""
    valid = pl.when(pl.col("reason").is_null()).then(pl.col("t_ms"))
    return (
        frame.with_columns(event_at=pl.from_epoch(valid, "ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        .with_columns(event_date=pl.col("event_at").dt.date())
        .drop("t_ms")
    )
