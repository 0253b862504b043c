"""What the running collector tells `status` and `doctor`: one small file, replaced whole every few seconds.

It lies in systemd's runtime directory, which is memory, so it is neither synced nor kept. It never holds a VIN.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from smartdrive_edge.redaction import redacted

FRESH_S: Final = 60.0
"""A collector that has written nothing for longer hangs or is gone; it writes every few seconds."""


class StatusUnreadableError(ValueError):
    """There is no status to be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class AdapterStatus:
    """The ELM327.

    Attributes:
        state: `open`; `gone`: its port is not there, or fails; `silent`: the port is there, but nothing answers.
        identity: what `AT I` printed.
        port: as configured.
    """

    state: Literal["open", "gone", "silent"] = "gone"
    identity: str | None = None
    port: str = ""


@dataclass(frozen=True, slots=True)
class CarStatus:
    """The car, as far as it may be told.

    Attributes:
        protocol: name of its protocol; None while none answered.
        pids: how many PIDs of service 01 it supports.
        vin_known: whether samples can be sent at all; the VIN itself never stands here.
    """

    protocol: str | None = None
    pids: int = 0
    vin_known: bool = False


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What waits, and what was lost.

    Attributes:
        messages: in the spool.
        waiting: those of them that wait for the clock to be synced.
        used_bytes: pages in use.
        oldest_age_s: of the oldest message; None when empty.
        drops: messages lost to the limit, a full disk or damage, by kind.
        restarts: of the collector since the spool was made.
        set_aside: files found damaged and renamed since the start.
    """

    messages: int = 0
    waiting: int = 0
    used_bytes: int = 0
    oldest_age_s: float | None = None
    drops: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 0
    set_aside: int = 0


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """The way out.

    Attributes:
        connected: now.
        protocol: `MQTT 5` or `MQTT 3.1.1`, of this or the last connection.
        last_error: of the last attempt that failed.
    """

    connected: bool = False
    protocol: str | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """One look at the running collector.

    Attributes:
        pid: of its process.
        started_at: UTC epoch seconds, as good as the clock was then.
        written_at: likewise.
        written_monotonic_s: `time.monotonic()` at writing: the same for all processes of one start of the machine,
            and not moved by a clock that is synced only now.
        phase: of the policy.
        phase_for_s: since it was entered; None where that is not known.
        ignition: by the line; None without one.
        voltage_v: last reading, calibrated.
        uploading: False after the cut-off.
        adapter: the ELM327.
        car: without its VIN.
        clock_synced: whether samples can be stamped.
        rates_hz: values per second by signal.
        samples: since the start.
        spool: what waits, and what was lost.
        broker: the way out.
        last_error: of the collector itself.
    """

    pid: int
    started_at: float
    written_at: float
    phase: str
    written_monotonic_s: float = field(default_factory=time.monotonic)
    phase_for_s: float | None = None
    ignition: bool | None = None
    voltage_v: float | None = None
    uploading: bool = True
    adapter: AdapterStatus = field(default_factory=AdapterStatus)
    car: CarStatus = field(default_factory=CarStatus)
    clock_synced: bool = False
    rates_hz: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    spool: SpoolStatus = field(default_factory=SpoolStatus)
    broker: BrokerStatus = field(default_factory=BrokerStatus)
    last_error: str | None = None

    def age_s(self, now_monotonic_s: float) -> float | None:
        """Seconds since it was written; None where it stems from an earlier start of the machine.

        Args:
            now_monotonic_s: `time.monotonic()`.
        """
        age_s = now_monotonic_s - self.written_monotonic_s
        return age_s if age_s >= 0 else None

    def is_fresh(self, now_monotonic_s: float) -> bool:
        """Whether it was written lately."""
        age_s = self.age_s(now_monotonic_s)
        return age_s is not None and age_s <= FRESH_S


_STATUS: Final = TypeAdapter(Status)


def write(path: Path, status: Status) -> None:
    """Replace the file: a reader sees the old one or the new one, whole. Readable by its owner alone.

    Args:
        path: in a folder that exists.
        status: anything in it that looks like a VIN, in an error's text for example, is blotted out.

    Raises:
        OSError: the folder cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(redacted(_STATUS.dump_python(status, mode="json")), indent=2)
    try:
        with os.fdopen(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def read(path: Path) -> Status:
    """Read the file; fields of a newer version are passed over.

    Raises:
        StatusUnreadableError: it is missing, may not be read, or is no status.
    """
    try:
        return _STATUS.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise StatusUnreadableError(f"no collector has written {path}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StatusUnreadableError(f"{path} cannot be read ({reason}): ask as the user that runs it") from error
    except ValidationError as error:
        raise StatusUnreadableError(
            f"{path} is no status of this version: {error.error_count()} faults"
        ) from error


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs, whosever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def running(path: Path) -> Status | None:
    """The status of a collector that runs and is well enough to write; None where none does."""
    try:
        status = read(path)
    except StatusUnreadableError:
        return None
    return status if status.is_fresh(time.monotonic()) and is_alive(status.pid) else None
