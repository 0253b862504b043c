"""When a program counts as healthy, and when it is started again: decided from values, without clock or process.

supervisord itself starts again what ends. What is left to decide here is what it cannot see: a process that hangs,
one that it has given up, and one that has to wait for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from smartdrive_dagster.up.probes import Fault, Process

STARTS_WITHIN_S: Final = 120.0
"""How long a started program may take until it is healthy for the first time."""

_LONGEST_PAUSE_S: Final = 600.0
_STEADY_S: Final = 300.0

State = Literal["waiting", "starting", "healthy", "unhealthy"]
Order = Literal["start", "stop"]


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at a program.

    Attributes:
        state: supervisord's name of it, such as RUNNING; for a program that is only watched always RUNNING.
        process: number and start.
        fault: what the probe found; None is healthy. Of no meaning where nothing runs.
        may_start: whether all that it starts after is healthy.
    """

    state: str
    process: Process
    fault: Fault | None
    may_start: bool = True


@dataclass(slots=True)
class Watch:
    """What is known of one program.

    Attributes:
        name: of the program.
        patience_s: how long it may be unhealthy before it is started again.
        state: in words.
        reason: why it is not healthy.
        pid: of its process, 0 where there is none.
        restarts: how often it was started again since the prober began.
        left_behind: process groups of ended processes, whose other members may still live.
        said: lines for the terminal since they were last taken.
    """

    name: str
    patience_s: float
    state: State = "waiting"
    reason: str = ""
    pid: int = 0
    restarts: int = 0
    left_behind: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _mended: int = 0
    _since_s: float = 0.0
    _bad_since_s: float | None = None
    _was_healthy: bool = False
    _started: bool = False
    _start_at_s: float = 0.0
    _ordered: str = ""

    def see(self, sight: Sight, now_s: float) -> Order | None:
        """Take in one look.

        Args:
            sight: what was seen.
            now_s: of a clock that does not jump.

        Returns:
            What supervisord is to do.
        """
        if sight.process.pid != self.pid:
            self._change_process(sight.process.pid, now_s)
        if sight.state in {"STOPPED", "EXITED", "FATAL"}:
            return self._at_rest(sight, now_s)
        if sight.state not in {"RUNNING", "STARTING"}:
            if sight.state == "BACKOFF":
                self._become("unhealthy", "ends as soon as it starts; its log says why")
            return None
        self._started = True
        if sight.fault is None:
            self._become("healthy", "")
            if not self._was_healthy:
                self._was_healthy, self._since_s = True, now_s
            if now_s - self._since_s >= _STEADY_S:
                self._mended = 0
            self._bad_since_s = None
            return None
        return self._at_fault(sight.fault, now_s)

    def take_said(self) -> Sequence[str]:
        """Lines since the last call."""
        taken, self.said = self.said, []
        return taken

    def _change_process(self, pid: int, now_s: float) -> None:
        if self.pid:
            self.left_behind.append(self.pid)
        if pid and self._started:
            self.restarts += 1
            self.said.append(f"{self.name}: restarted, {self._ordered or 'its process had ended'}")
            self.state, self.reason, self._ordered = "starting", "", ""
        self.pid, self._since_s, self._bad_since_s, self._was_healthy = pid, now_s, None, False

    def _at_rest(self, sight: Sight, now_s: float) -> Order | None:
        if not sight.may_start and not self._started:
            self._become("waiting", "")
            return None
        if sight.state != "STOPPED":
            self._become("unhealthy", "ends as soon as it starts; its log says why")
            if not self._start_at_s:
                self._start_at_s = now_s + self._pause_s()
        if now_s < self._start_at_s:
            return None
        self._start_at_s = 0.0
        return "start"

    def _at_fault(self, fault: Fault, now_s: float) -> Order | None:
        if not self._was_healthy and now_s - self._since_s < STARTS_WITHIN_S:
            self._become("starting", fault.reason)
            return None
        self._become("unhealthy", fault.reason)
        if not fault.mend:
            self._bad_since_s = None
            return None
        if self._bad_since_s is None:
            self._bad_since_s = now_s if self._was_healthy else self._since_s
        bad_s = now_s - self._bad_since_s
        if bad_s < self._pause_s() or not self.pid:
            return None
        self._mended += 1
        self._ordered = f"{fault.reason.replace('does not', 'did not')} for {bad_s:.0f} s"
        return "stop"

    def _pause_s(self) -> float:
        return min(max(self.patience_s, _LONGEST_PAUSE_S), self.patience_s * 2.0 ** min(self._mended, 32))

    def _become(self, state: State, reason: str) -> None:
        if state != self.state and state in {"healthy", "unhealthy"}:
            self.said.append(f"{self.name}: {state}{', ' if reason else ''}{reason}")
        self.state, self.reason = state, reason
