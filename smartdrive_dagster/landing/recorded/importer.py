"""Import of recorded logs: a file becomes telemetry.v1 messages in landing objects, like live data.

Nothing is resampled or filled in: each reading keeps its own time, readings of the same millisecond make one
sample. Every reading of the source is imported, ignored by the mapping, a duplicate or quarantined with a reason,
and the report proves it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.recorded.errors import LogUnreadableError, OptionError
from smartdrive_dagster.landing.recorded.formats import Format, known_formats, load_format
from smartdrive_dagster.landing.recorded.lines import detect_format, open_log
from smartdrive_dagster.landing.recorded.meter import PRIVATE, SIGNAL_NAMES
from smartdrive_dagster.landing.recorded.readings import Readings, Rejected, Tally, read_log
from smartdrive_dagster.landing.recorded.report import ImportReport
from smartdrive_dagster.landing.recorded.times import open_clock
from smartdrive_dagster.landing.store import LandingStore

MAX_PAYLOAD_BYTES: Final = 102_400
SAMPLES_PER_MESSAGE: Final = 500
MESSAGES_PER_OBJECT: Final = 200
_PREVIEW: Final = 5
# Part of a message's identity: raise it whenever the same file and options would give other payloads than before.
_ALGORITHM = 1
_OPTIONS_LABEL = b"smartdrive/landing/import/options\0"
_VIN = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_VIN_VALUES = dict(
    zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", map(int, "012345678912345678123457923456789"), strict=True)
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)

__all__ = ["ImportReport", "Rejected", "detect_format", "import_log", "known_formats", "load_format"]


@dataclass(slots=True)
class _Samples:
    """Distinct readings in time order; `starts` holds each sample's first reading and, last, their number."""

    at: array[int] = field(default_factory=lambda: array("q"))
    signal: array[int] = field(default_factory=lambda: array("H"))
    value: array[float] = field(default_factory=lambda: array("d"))
    starts: array[int] = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True, slots=True)
class _Message:
    payload: bytes
    samples: int
    readings: int


def import_log(
    path: Path,
    *,
    vin: str,
    secret: bytes,
    store: LandingStore | None,
    format: Format,  # noqa: A002 - the word of the command line
    day: date | None,
    time_zone: str,
    received_at: datetime,
    start: datetime | None = None,
    progress: Callable[[int], None] | None = None,
    name_of: Callable[[str], str] = lambda import_id: import_id,
) -> ImportReport:
    """Turn one recorded log into landing objects.

    The file is read to its end and its balance checked before the first object is written. Importing the same file
    with the same options again gives the same messages, byte for byte.

    Args:
        path: the log.
        vin: 17 characters of ISO 3779; goes into payloads only.
        secret: the lake's secret, which keys the digest of the options.
        store: where to land; None only tries the import, and lands nothing.
        format: how to read it.
        day: local day on which it begins, for formats whose times lack a date.
        time_zone: IANA name of the zone of its local times.
        received_at: the present, with its zone; names the objects' day and hour.
        start: instant from which elapsed times count, for a format with such times.
        progress: is called with the number of bytes read so far.
        name_of: the name of an import's objects by its id, where that one is taken.

    Returns:
        What became of every reading.

    Raises:
        LogImportError: nothing could be imported and nothing was landed; the subclasses say why.
    """
    vin = checked_vin(vin)
    tally = Tally(warnings=_option_warnings(vin, format, day, time_zone))
    clock = open_clock(format.time, day=day, time_zone=time_zone, decimal=format.decimal, start=start)
    with open_log(path, format.encoding, format.container) as log:
        readings = read_log(log, path, format, clock, tally, progress)
        device_id = f"import-{log.sha256[:16]}"
    if tally.read == 0:
        raise LogUnreadableError(f"{path} has a header but no reading below it: export the log again")
    samples = _merge(readings, tally)
    del readings
    boot_id = _options_digest(secret, vin, format, day, time_zone, start)
    head = {"schema": "telemetry.v1", "vin": vin, "device_id": device_id, "boot_id": boot_id}
    report = _Report(device_id, boot_id, samples, tally)
    draft = report.draft()
    if store is None:
        return draft
    named = name_of(draft.import_id)
    for part, messages in enumerate(_grouped(_messages(head, samples))):
        name = f"{named}-{part:05d}"
        envelopes = [_envelope(device_id, message, received_at) for message in messages]
        landed = store.land("telemetry", envelopes, at=received_at, name=name)
        report.add(messages, name, landed.key if landed else None)
    return report.final()


class _Report:
    """Gathers what the report says while objects are written."""

    def __init__(self, device_id: str, boot_id: str, samples: _Samples, tally: Tally) -> None:
        self._identity = (device_id, boot_id)
        self._samples = samples
        self._tally = tally
        self._messages = self._sent_samples = self._sent_readings = 0
        self._objects: list[str] = []
        self._present: list[str] = []

    def add(self, messages: list[_Message], name: str, key: str | None) -> None:
        """Count one object; its key is None where it was there before."""
        self._messages += len(messages)
        self._sent_samples += sum(message.samples for message in messages)
        self._sent_readings += sum(message.readings for message in messages)
        if key is None:
            self._present.append(name)
        else:
            self._objects.append(key)

    def draft(self) -> ImportReport:
        """The report as the samples have it, which must balance before anything is written."""
        return self._made(len(self._samples.at), len(self._samples))

    def final(self) -> ImportReport:
        """The report as the messages have it."""
        return self._made(self._sent_readings, self._sent_samples)

    def _made(self, mapped: int, samples: int) -> ImportReport:
        tally, own = self._tally, self._samples
        return ImportReport(
            *self._identity,
            lines=tally.lines,
            read=tally.read,
            mapped=mapped,
            duplicate=tally.duplicate,
            ignored=dict(tally.ignored.most_common()),
            quarantined=dict(tally.quarantined.most_common()),
            signals={SIGNAL_NAMES[index]: count for index, count in sorted(Counter(own.signal).items())},
            samples=samples,
            messages=self._messages,
            objects=tuple(self._objects),
            objects_present=tuple(self._present),
            first_ms=own.at[0] if own.at else None,
            last_ms=own.at[-1] if own.at else None,
            examples=tuple(sorted(tally.examples)),
            warnings=tuple(tally.warnings),
            preview=_preview(own),
        )


def _preview(samples: _Samples) -> tuple[tuple[int, dict[str, float]], ...]:
    """The first samples, without positions."""
    shown = []
    for first, end in pairwise(samples.starts[: _PREVIEW + 1]):
        values = {SIGNAL_NAMES[samples.signal[at]]: samples.value[at] for at in range(first, end)}
        shown.append((samples.at[first], {name: v for name, v in values.items() if name not in PRIVATE}))
    return tuple(shown)


def _merge(readings: Readings, tally: Tally) -> _Samples:
    """Readings of the same millisecond become one sample.

    An equal value of the same signal is a duplicate. Of different ones the first in the file stays, as with
    messages of one identity; nothing tells which is right, and a mean was never measured.
    """
    at, signal, value = readings.at, readings.signal, readings.value
    order: Iterator[int] = iter(range(len(at)))
    if any(at[index] < at[index - 1] for index in range(1, len(at))):
        order = iter(sorted(range(len(at)), key=at.__getitem__))
    merged = _Samples()
    seen: dict[int, float] = {}
    now: int | None = None
    for index in order:
        if at[index] != now:
            now = at[index]
            seen.clear()
            merged.starts.append(len(merged.at))
        known = seen.setdefault(signal[index], value[index])
        if len(seen) > len(merged.at) - merged.starts[-1]:
            merged.at.append(now)
            merged.signal.append(signal[index])
            merged.value.append(value[index])
        elif known == value[index]:
            tally.duplicate += 1
        else:
            tally.reject(readings.line[index], "contradictory", SIGNAL_NAMES[signal[index]])
    merged.starts.append(len(merged.at))
    return merged


def _messages(head: dict[str, str], samples: _Samples) -> Iterator[_Message]:
    """Encode samples in chunks, halved until each message fits."""
    seq = 0
    pending = [
        (first, min(first + SAMPLES_PER_MESSAGE, len(samples)))
        for first in reversed(range(0, len(samples), SAMPLES_PER_MESSAGE))
    ]
    while pending:
        first, end = pending.pop()
        message = _encode(head, samples, first, end, seq)
        if len(message.payload) > MAX_PAYLOAD_BYTES and end - first > 1:
            middle = (first + end) // 2
            pending += [(middle, end), (first, middle)]
            continue
        seq += 1
        yield message


def _encode(head: dict[str, str], samples: _Samples, first: int, end: int, seq: int) -> _Message:
    starts, count = samples.starts, end - first
    columns: dict[int, list[float | None]] = {}
    for position in range(count):
        for index in range(starts[first + position], starts[first + position + 1]):
            column = columns.get(samples.signal[index])
            if column is None:
                column = columns[samples.signal[index]] = [None] * count
            column[position] = samples.value[index]
    message = {
        **head,
        "seq": seq,
        # The collector ran and sampled; crank and rest analysis ask for the phases that only a live edge can know.
        "phase": "running",
        "t": [samples.at[starts[first + position]] for position in range(count)],
        "clock": "synced",
        "signals": {SIGNAL_NAMES[signal]: columns[signal] for signal in sorted(columns)},
    }
    readings = sum(value is not None for column in columns.values() for value in column)
    return _Message(msgspec.json.encode(message), count, readings)


def _grouped(messages: Iterator[_Message]) -> Iterator[list[_Message]]:
    group: list[_Message] = []
    for message in messages:
        group.append(message)
        if len(group) == MESSAGES_PER_OBJECT:
            yield group
            group = []
    if group:
        yield group


def _envelope(device_id: str, message: _Message, received_at: datetime) -> Envelope:
    received_ms = int(received_at.astimezone(UTC).timestamp() * 1000)
    return Envelope(f"vehicle/{device_id}/telemetry", received_ms, message.payload)


def _options_digest(
    secret: bytes, vin: str, form: Format, day: date | None, time_zone: str, start: datetime | None
) -> str:
    # Only what has an effect counts, so that a date which is not needed does not import everything once more.
    options = {
        "algorithm": _ALGORITHM,
        "vin": vin,
        "format": form.effect(),
        "day": day.isoformat() if day and form.time.needs_day else None,
        "time_zone": time_zone if form.time.is_local else None,
    }
    if start is not None and form.time.is_elapsed:
        options["day"], options["start"] = None, start.isoformat()
    content = json.dumps(options, sort_keys=True).encode()
    return hmac.new(secret, _OPTIONS_LABEL + content, hashlib.sha256).hexdigest()[:32]


def checked_vin(vin: str) -> str:
    known = vin.strip().upper()
    if not _VIN.fullmatch(known):
        raise OptionError(
            "the VIN must have 17 characters, digits and capital letters without I, O and Q (ISO 3779); "
            f"the one given has {len(known)}. It stands in the registration papers and behind the windscreen."
        )
    return known


def _option_warnings(vin: str, form: Format, day: date | None, time_zone: str) -> list[str]:
    warnings = []
    # 49 CFR 565.15: the weighted sum of all characters modulo 11 is the ninth, 10 being written X.
    remainder = sum(_VIN_VALUES[char] * weight for char, weight in zip(vin, _VIN_WEIGHTS, strict=True)) % 11
    if vin[8] != "0123456789X"[remainder]:
        warnings.append(
            "the VIN's check digit does not fit: a typing error, or a vehicle not made for North America"
        )
    if day is not None and not form.time.needs_day:
        warnings.append("the date given is not used: the log's times carry their own")
    if time_zone != "UTC" and not form.time.is_local:
        warnings.append("the time zone given is not used: the log's times are in UTC")
    return warnings
