"""What the policy remembers, and what of it outlives a restart."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from smartdrive_edge.policy.values import ASKING, Phase, Plan

VERSION: Final = 1
_SENT: Final = re.compile(r'"last_gasp_sent"\s*:\s*true')


@dataclass(frozen=True, slots=True)
class State:
    """The policy's memory. Times are seconds of its own clock, which never runs backwards (see `machine.step`).

    Attributes:
        phase: what the collector is doing.
        ignition: the ignition as last told by the line or inferred from the ECU; None before the first word.
        uploading: whether uploading is allowed; once stopped, only `resume_v` allows it again.
        last_gasp_sent: whether this cut-off's one event is out; cleared at `resume_v`.
        low_voltage_sent: whether the soft tier has spoken since the battery was last charged.
        low_readings: consecutive engine-off readings at or below `cut_off_v`, as far as they count.
        wake_at: the caller's clock, s: call `step` again no later than this.
        plan: the plan last handed out; None before the first step of a process.
        clock: the policy's own time; None before the first step of a process.
        offset: the caller's clock minus `clock`.
        since: when the phase began.
        due: when the next single reading is due, in a resting phase.
        line_at: when the line last said anything.
        off_since: since when the line says OFF in `ready` without being believed yet.
        ecu_at: when the ECU last answered.
        turning_at: when the engine or the vehicle was last measured to move.
        quiet_since: the last moment in `ready` with ignition or a turning engine, or its beginning.
        cut_off_since: since when the voltage is continuously at or below `cut_off_v` with the engine off.
        low_at: when a reading was last added to `low_readings`.
        low_since: since when the voltage is continuously at or below `low_v`.
        low_sentinel_readings: consecutive sentinel readings at or below `low_v`.
        last_v: the last voltage, V, to see a change against.
        recent_v: (time, V) of the readings that the median is taken of.
        confirmed: whether rpm > 0 was measured in this `cranking`.
    """

    phase: Phase = Phase.READY
    ignition: bool | None = None
    uploading: bool = True
    last_gasp_sent: bool = False
    low_voltage_sent: bool = False
    low_readings: int = 0
    wake_at: float = 0.0
    plan: Plan | None = None
    clock: float | None = None
    offset: float = 0.0
    since: float = 0.0
    due: float = 0.0
    line_at: float | None = None
    off_since: float | None = None
    ecu_at: float | None = None
    turning_at: float | None = None
    quiet_since: float = 0.0
    cut_off_since: float | None = None
    low_at: float | None = None
    low_since: float | None = None
    low_sentinel_readings: int = 0
    last_v: float | None = None
    recent_v: tuple[tuple[float, float], ...] = ()
    confirmed: bool = False

    @property
    def time(self) -> float:
        """The policy's own time, s."""
        return self.clock if self.clock is not None else 0.0

    def durable(self) -> dict[str, bool | int | str | None]:
        """What outlives a restart: facts, never times, since a monotonic clock begins anew at boot."""
        return {
            "last_gasp_sent": self.last_gasp_sent,
            "version": VERSION,
            "phase": self.phase.value,
            "ignition": self.ignition,
            "uploading": self.uploading,
            "low_voltage_sent": self.low_voltage_sent,
            "low_readings": self.low_readings,
        }


def to_json(state: State) -> str:
    """The facts that outlive a restart, as one JSON object with a version."""
    return json.dumps(state.durable())


def from_json(text: str | bytes | None) -> State:
    """The state with which a process begins.

    A process that stopped in an asking phase begins in `ready`, since it cannot know what happened meanwhile.

    Args:
        text: what `to_json` wrote; None where nothing was ever stored.

    Returns:
        The stored state. Of text that is damaged or of another version, only the word that the last gasp is out
        is believed: the state is then `suspended` with uploading stopped, one voltage reading due at once, and
        it takes `resume_v` or the ignition to leave it.
    """
    if text is None:
        return State()
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        stored = json.loads(decoded)
        return _restored(stored)
    except (ValueError, TypeError, KeyError, RecursionError):
        remains = text.decode(errors="replace") if isinstance(text, bytes) else text
        return State(phase=Phase.SUSPENDED, uploading=False, last_gasp_sent=bool(_SENT.search(remains)))


def _restored(stored: object) -> State:
    if not isinstance(stored, dict) or stored["version"] != VERSION:
        raise ValueError("neither an object nor this version")
    ignition, readings = stored["ignition"], stored["low_readings"]
    flags = [stored[name] for name in ("uploading", "last_gasp_sent", "low_voltage_sent")]
    if not all(isinstance(flag, bool) for flag in flags) or not (ignition is None or isinstance(ignition, bool)):
        raise TypeError("a flag is no boolean")
    if type(readings) is not int or readings < 0:
        raise TypeError("low_readings is no count")
    phase = Phase(stored["phase"])
    uploading, last_gasp_sent, low_voltage_sent = flags
    if uploading and (last_gasp_sent or phase is Phase.SUSPENDED):
        raise ValueError("uploading within the cut-off")
    return State(
        phase=Phase.READY if phase in ASKING else phase,
        ignition=ignition,
        uploading=uploading,
        last_gasp_sent=last_gasp_sent,
        low_voltage_sent=low_voltage_sent,
        low_readings=readings,
    )
