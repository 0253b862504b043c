"""What goes into the policy and what comes out of it: readings, thresholds, sampling plans and actions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from smartdrive_edge.policy.state import State

EventType: TypeAlias = Literal[
    "ignition_on", "ignition_off", "external_drain", "power_saving", "low_voltage", "resumed"
]
"""The types of events.v1 that the policy decides on."""


class Phase(StrEnum):
    """`phase` of telemetry.v1."""

    READY = "ready"
    CRANKING = "cranking"
    RUNNING = "running"
    POST_DRIVE = "post_drive"
    SENTINEL = "sentinel"
    SUSPENDED = "suspended"


ASKING: Final = (Phase.READY, Phase.CRANKING, Phase.RUNNING)
"""The phases that may ask the ECU."""
RESTING: Final = (Phase.POST_DRIVE, Phase.SENTINEL, Phase.SUSPENDED)
"""The phases of single voltage readings, in which the ECU is left alone."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Every number of the policy.

    "Specified" numbers are SmartDrive's own product rules; "chosen" ones fill what the rules leave open.

    Attributes:
        cut_off_v: V. Vampire-drain cut-off, at or below. Specified.
        cut_off_readings: readings at or below `cut_off_v` with the engine off. Specified.
        cut_off_spacing_s: s between two readings that count in `ready`, where the voltage runs free and three
            readings would be one short dip. Chosen: the time that a crank has to be confirmed.
        cut_off_key_on_s: s continuously at or below `cut_off_v` with the ignition on and no start. Specified.
        resume_v: V. The cut-off ends and uploading resumes, at or above; `low_voltage` is armed again. Specified.
        low_v: V. Soft tier, at or below. Specified.
        low_s: s continuously at or below `low_v`. Specified.
        low_sentinel_readings: consecutive sentinel readings at or below `low_v`. Specified.
        change_v: V between two readings that suggests the ignition where there is no line. Chosen: three steps of
            the 0.1 V that an ELM327's `AT RV` resolves.
        dip_v: V under the median that is a suspected crank. Specified.
        median_s: s of that median. Specified.
        crank_confirm_s: s within which rpm > 0 confirms the crank. Specified.
        crank_limit_s: s after which a confirmed crank that never became `running` ends. Chosen: starter motors are
            rated for bursts shorter than that.
        running_rpm: 1/min. `running`, at or above. Specified.
        ready_s: s in `ready` without a start and without ignition. Specified.
        post_drive_s: s that `post_drive` lasts. Specified.
        fast_voltage_s: s between voltage requests in `ready` and `cranking`: 10 Hz scheduled. Specified.
        ready_rpm_s: s between RPM requests in `ready`. Specified.
        cranking_rpm_nth: RPM is each n-th request in `cranking`. Specified.
        running_core_s: s between requests of SPEED, and of RPM, in `running`. Specified.
        running_rotation_s: s, the least between two requests of any other PID in `running`. Specified.
        post_drive_voltage_s: s between readings in `post_drive`. Specified.
        sentinel_voltage_s: s between readings in `sentinel`. Specified.
        suspended_voltage_s: s between readings in `suspended`. Specified.
        line_off_s: s that an OFF of the line has to last in `ready`. Chosen: accessory circuits are dropped while
            the starter turns.
        line_lost_s: s after which a line that gave nothing counts as not known. Chosen.
        ecu_silence_s: s without an answer after which, without a line, the ignition counts as off, and without
            rpm > 0 or speed > 0 the engine as not running. Chosen: longer than any single deadline of a request.
        retry_s: s between attempts at a single reading that is due, and by which one may come early. Chosen.
        patience_s: s for which a due reading is attempted, and by which a call may be late before the clock counts
            as having jumped. Chosen.
    """

    cut_off_v: float = 11.5
    cut_off_readings: int = 3
    cut_off_spacing_s: float = 5.0
    cut_off_key_on_s: float = 60.0
    resume_v: float = 13.0
    low_v: float = 12.2
    low_s: float = 300.0
    low_sentinel_readings: int = 2
    change_v: float = 0.3
    dip_v: float = 0.8
    median_s: float = 2.0
    crank_confirm_s: float = 5.0
    crank_limit_s: float = 30.0
    running_rpm: float = 600.0
    ready_s: float = 300.0
    post_drive_s: float = 1800.0
    fast_voltage_s: float = 0.1
    ready_rpm_s: float = 1.0
    cranking_rpm_nth: int = 20
    running_core_s: float = 1.0
    running_rotation_s: float = 5.0
    post_drive_voltage_s: float = 60.0
    sentinel_voltage_s: float = 600.0
    suspended_voltage_s: float = 600.0
    line_off_s: float = 2.0
    line_lost_s: float = 60.0
    ecu_silence_s: float = 30.0
    retry_s: float = 1.0
    patience_s: float = 10.0

    def resting_period_s(self, phase: Phase) -> float | None:
        """Seconds between the single readings of a resting phase; None in the others."""
        return {
            Phase.POST_DRIVE: self.post_drive_voltage_s,
            Phase.SENTINEL: self.sentinel_voltage_s,
            Phase.SUSPENDED: self.suspended_voltage_s,
        }.get(phase)


THRESHOLDS: Final = Thresholds()


@dataclass(frozen=True, slots=True)
class Reading:
    """What was just measured. None is "not measured" or "not known", never 0 and never OFF.

    Attributes:
        voltage_v: calibrated adapter voltage, V.
        rpm: engine speed, 1/min (SAE J1979 PID 0C).
        speed_kmh: vehicle speed, km/h (PID 0D).
        ignition: the ignition line (GPIO or `AT IGN`); None where there is none or it could not be read.
        ecu_answered: whether the ECU answered a request; None where none was made.
    """

    voltage_v: float | None = None
    rpm: float | None = None
    speed_kmh: float | None = None
    ignition: bool | None = None
    ecu_answered: bool | None = None

    def finite(self) -> Reading:
        """The same reading, in which what is no finite number counts as not measured."""
        return replace(
            self, voltage_v=_finite(self.voltage_v), rpm=_finite(self.rpm), speed_kmh=_finite(self.speed_kmh)
        )

    @property
    def turning(self) -> bool:
        """Whether the engine, or the vehicle, was measured to move."""
        return (self.rpm is not None and self.rpm > 0) or (self.speed_kmh is not None and self.speed_kmh > 0)

    @property
    def heard(self) -> bool:
        """Whether the ECU answered: it said so, or a value of it is there."""
        return self.ecu_answered is True or self.rpm is not None or self.speed_kmh is not None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask of the adapter and the ECU until the next plan; None means "do not ask".

    Attributes:
        voltage_every_s: s between voltage requests; as fast as the adapter can where that is slower.
        voltage_at: one voltage reading at this time of the caller's monotonic clock, s.
        rpm_every_s: s between RPM requests.
        rpm_every_nth: RPM is each n-th request.
        speed_every_s: s between SPEED requests.
        rotation_every_s: every other supported PID in turn, each at most this often, s.
    """

    voltage_every_s: float | None = None
    voltage_at: float | None = None
    rpm_every_s: float | None = None
    rpm_every_nth: int | None = None
    speed_every_s: float | None = None
    rotation_every_s: float | None = None

    @property
    def asks_ecu(self) -> bool:
        """Whether the plan holds any request to the ECU; the adapter's voltage is none."""
        asked = (self.rpm_every_s, self.rpm_every_nth, self.speed_every_s, self.rotation_every_s)
        return any(value is not None for value in asked)


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample after this plan from now on; it replaces the previous one at once, whatever that was waiting for."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Emit:
    """Write an event of events.v1. `external_drain` and `power_saving` are also sent before uploading stops."""

    event: EventType
    detail: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class StopPolling:
    """Abandon every request that is waiting or under way; only the plan's single readings remain."""


@dataclass(frozen=True, slots=True)
class StopUploading:
    """Send nothing more once the events of the same step are out; the spool keeps the rest."""


@dataclass(frozen=True, slots=True)
class ResumeUploading:
    """Upload again."""


@dataclass(frozen=True, slots=True)
class ProbeEcu:
    """Ask the ECU for RPM once, and report whether it answered in `Reading.ecu_answered`."""


@dataclass(frozen=True, slots=True)
class Persist:
    """Store `to_json(state)`, in one transaction with the events of the same step."""

    state: State


Action: TypeAlias = Sample | Emit | StopPolling | StopUploading | ResumeUploading | ProbeEcu | Persist
