"""The loop that owns the adapter: it asks what the policy wants, tells the policy what it heard, and keeps it.

One thread, one request at a time. Whatever fails, the loop goes on: an adapter that is gone is opened again, one
that restarted is set up again, a car that is silent is left to the policy.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from smartdrive_edge.adapter.answers import Outcome
from smartdrive_edge.adapter.requests import VOLTAGE, Request
from smartdrive_edge.adapter.transport import DEFAULT_TIMEOUT_S, AdapterGoneError
from smartdrive_edge.adapter.voltage import Calibration
from smartdrive_edge.clock import Clock
from smartdrive_edge.collector.inquiry import AbandonedError, Conversation, Inquiry
from smartdrive_edge.collector.journal import Journal, first_state
from smartdrive_edge.collector.link import AdapterSilentError, Link
from smartdrive_edge.collector.rates import Rates
from smartdrive_edge.collector.schedule import Schedule
from smartdrive_edge.config import Config
from smartdrive_edge.ignition_line import IgnitionLine
from smartdrive_edge.messages import EventType
from smartdrive_edge.policy import (
    ASKING,
    RESTING,
    Action,
    Emit,
    Persist,
    Phase,
    ProbeEcu,
    Reading,
    ResumeUploading,
    Sample,
    State,
    StopPolling,
    StopUploading,
    step,
)
from smartdrive_edge.spool import Spool
from smartdrive_edge.status_file import AdapterStatus, CarStatus, SpoolStatus, Status

REOPEN_S: Final = 2.0
LOOK_S: Final = 0.5
"""Between two looks at the ignition line: 2 Hz."""
LINE_TOLD_S: Final = 10.0
CLOCK_S: Final = 10.0
BEAT_S: Final = 1.0
SETTLE_S: Final = 0.5

_log: Final = logging.getLogger(__name__)


class Uploads(Protocol):
    """What the collector tells whoever sends."""

    def notify(self) -> None:
        """Something was kept that shall not wait."""

    def stop_uploading(self) -> None:
        """Send the last events and nothing more."""

    def resume_uploading(self) -> None:
        """Send everything again."""


class Collector:
    """Collects from one adapter into one spool.

    Args:
        config: all settings.
        spool: where messages are kept.
        uploads: whoever sends them.
        clock: of samples and of all waiting.
        line: the ignition line; None where there is none, or where the adapter has it (`ignition.source`).
        beat: called about once a second while all is well; an exception ends the collector.
    """

    def __init__(
        self,
        config: Config,
        spool: Spool,
        uploads: Uploads,
        clock: Clock,
        *,
        line: IgnitionLine | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._spool = spool
        self._uploads = uploads
        self._clock = clock
        self._line = line
        self._beat = beat
        now = clock.now()
        self._journal = Journal(spool, batch_s=config.sampling.batch_s, configured_vin=config.vehicle.vin)
        self._state: State = first_state(spool)
        self._schedule = Schedule()
        self._schedule.meet(self._journal.known.car)
        self._rates = Rates(now)
        self._inquiry = Inquiry(
            self._schedule,
            self._journal,
            protocol=config.adapter.protocol,
            codes_every_s=config.sampling.codes_every_s,
            now=now,
        )
        self._ignition: bool | None = None
        self._voltage_v: float | None = None
        self._phase_since: float | None = None
        self._look_at = now
        self._line_told_at = float("-inf")
        self._settle_at = now
        self._clock_at = now
        self._beat_at = float("-inf")
        self._health_at = now + config.sampling.health_every_s
        self._is_stamping = False
        self._adapter = AdapterStatus(port=config.adapter.port)
        self._started_ms = clock.wall_ms()
        self._last_error: str | None = None

    @property
    def phase(self) -> Phase:
        """What the policy is doing."""
        return self._state.phase

    @property
    def samples(self) -> int:
        """How many were taken."""
        return self._journal.samples

    def run(self, stop: threading.Event) -> None:
        """Collect until `stop` is set; then keep what is under way."""
        _log.info("collecting from %s, phase %s", self._config.adapter.port, self._state.phase.value)
        self._step(Reading())
        try:
            while not stop.is_set():
                try:
                    self._serve(stop)
                except AdapterGoneError as error:
                    self._lose(error)
                    self._wait_for_adapter(stop)
        finally:
            self._journal.close()

    def status(self) -> Status:
        """One look at it, without the VIN. The way out is for the caller to add."""
        now, health, car = self._clock.now(), self._spool.health(), self._schedule.car
        wall_ms = self._clock.wall_ms()
        return Status(
            pid=0,
            started_at=self._started_ms / 1000,
            written_at=wall_ms / 1000,
            phase=self._state.phase.value,
            phase_for_s=None if self._phase_since is None else round(now - self._phase_since, 1),
            ignition=self._ignition,
            voltage_v=self._voltage_v,
            uploading=self._state.uploading,
            adapter=self._adapter,
            car=CarStatus(
                protocol=car.dialect.name if car else None,
                pids=len(car.supported) if car else 0,
                vin_known=self._journal.knows_vin,
            ),
            clock_synced=self._is_stamping,
            rates_hz=self._rates.hz(now),
            samples=self._journal.samples,
            spool=SpoolStatus(
                messages=health.messages,
                waiting=health.waiting,
                used_bytes=health.used_bytes,
                oldest_age_s=_age_s(health.oldest_ms, wall_ms),
                drops=health.drops,
                restarts=health.restarts,
                set_aside=len(self._spool.set_aside),
            ),
            last_error=self._last_error,
        )

    def _serve(self, stop: threading.Event) -> None:
        adapter = self._config.adapter
        calibration = Calibration(adapter.voltage_offset_v, adapter.voltage_scale)
        with Link(adapter.port, adapter.baud_rate, calibration=calibration, clock=self._clock.now) as link:
            self._greet(link)
            while not stop.is_set():
                self._housekeep()
                if link.needs_set_up:
                    _log.warning("the adapter restarted: it is set up again")
                    link.set_up_again()
                    self._greet(link)
                if not self._turn(link):
                    self._clock.wait(stop, self._idle_s())

    def _greet(self, link: Link) -> None:
        self._adapter = AdapterStatus("open", link.adapter.identity, self._config.adapter.port)
        self._last_error = None
        _log.info("the adapter is %s", link.adapter.identity or "nameless")
        for sign in link.adapter.clone_signs:
            _log.info("the adapter is a clone: %s", sign)
        if self._config.ignition.source == "adapter" and not link.adapter.reads_ignition:
            _log.warning("the adapter does not know AT IGN: starts are seen by the voltage alone")
        self._journal.doubt(self._clock.now())
        self._inquiry.greet(self._clock.now())
        car = self._schedule.car
        if car is not None:
            link.query(Request(f"ATTP{car.dialect.protocol}"))  # the adapter's own setting: the bus is left alone
        if self._state.phase in RESTING:
            self._journal.trust()

    def _lose(self, error: AdapterGoneError) -> None:
        state = "silent" if isinstance(error, AdapterSilentError) else "gone"
        if str(error) != self._last_error:
            _log.warning("%s", error)
        self._adapter = AdapterStatus(state, None, self._config.adapter.port)  # type: ignore[arg-type]
        self._last_error = str(error)

    def _wait_for_adapter(self, stop: threading.Event) -> None:
        until = self._clock.now() + REOPEN_S
        while not stop.is_set() and (now := self._clock.now()) < until:
            self._housekeep()
            if now >= self._look_at:
                self._look(None)
            self._clock.wait(stop, min(LOOK_S, until - now))

    def _turn(self, link: Link) -> bool:
        """One thing that is due, if any."""
        now = self._clock.now()
        if now >= self._look_at and self._state.phase is not Phase.CRANKING:  # a starter drops accessory circuits
            self._look(link)
            return True
        if self._inquiry.is_due(self._state.phase, now):
            with contextlib.suppress(AbandonedError):
                codes = self._inquiry.proceed(self._conversation(link), self._state.phase, now)
                if codes is not None:
                    self._emit("dtc_scan", codes)
            return True
        request = self._schedule.next_request(now)
        if request is not None:
            self._ask(link, request)
            return True
        if now >= self._state.wake_at:
            self._step(Reading())
        return False

    def _conversation(self, link: Link) -> Conversation:
        def pause() -> None:
            self._ask(link, VOLTAGE)
            if self._clock.now() >= self._look_at:
                self._look(link)
            self._housekeep()
            if self._state.phase not in ASKING:
                raise AbandonedError

        return Conversation(partial(self._ask, link), pause, link.has_headers)

    def _look(self, link: Link | None) -> None:
        """The ignition line, where there is one."""
        self._look_at = self._clock.now() + LOOK_S
        ignition: bool | None = None
        if self._line is not None:
            ignition = self._line.read()
        elif self._config.ignition.source == "adapter" and link is not None and link.adapter.reads_ignition:
            ignition = link.ignition()
        now, is_new = self._clock.now(), ignition != self._ignition
        self._ignition = ignition
        # While the car rests, an unchanged line is no news twice a second: the policy forgets it after a minute.
        is_news = is_new or self._state.phase in ASKING or now >= self._line_told_at + LINE_TOLD_S
        if (ignition is not None and is_news) or now >= self._state.wake_at:
            self._line_told_at = now
            self._step(Reading(ignition=ignition))

    def _ask(self, link: Link, request: Request, timeout_s: float = DEFAULT_TIMEOUT_S) -> Outcome:
        heard = link.hear(request, self._schedule.car, timeout_s)
        self._schedule.record(request, heard.outcome.asked_at, heard.outcome.ended_at, heard.values.keys())
        self._rates.count(heard.values)
        self._voltage_v = heard.values.get("ELM_VOLTAGE", self._voltage_v)
        self._step(heard.reading)
        values: dict[str, float] = dict(heard.values)
        if "ELM_VOLTAGE" in values and self._ignition is not None and self._state.phase is not Phase.CRANKING:
            values["IGNITION"] = float(self._ignition)
        self._journal.sample(self._state.phase.value, heard.at, values)
        return heard.outcome

    def _step(self, reading: Reading) -> None:
        before = self._state
        self._state, actions = step(before, reading, self._clock.now())
        if self._state.phase is not before.phase or self._phase_since is None:
            self._enter(before.phase)
        if actions:
            self._carry_out(actions)

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        now = self._clock.now()
        events = [(action.event, action.detail) for action in actions if isinstance(action, Emit)]
        persist = next((action.state for action in actions if isinstance(action, Persist)), None)
        # Before anything is stopped: the last gasp is on the disk when the way out is told to close behind it.
        self._journal.notice(events, now, persist)
        for name, _ in events:
            _log.info("%s", name)
        if events:
            self._uploads.notify()
        for action in actions:
            match action:
                case Sample(plan):
                    self._schedule.follow(plan, now)
                case ProbeEcu():
                    self._inquiry.probe()
                case StopUploading():
                    self._uploads.stop_uploading()
                case ResumeUploading():
                    self._uploads.resume_uploading()
                case Emit() | Persist() | StopPolling():  # leaving the asking phases has ended all polling
                    pass

    def _enter(self, before: Phase) -> None:
        now, phase = self._clock.now(), self._state.phase
        if self._phase_since is not None:
            _log.info("%s → %s after %.0f s", before.value, phase.value, now - self._phase_since)
        if before is Phase.RUNNING and phase is not Phase.RUNNING:
            self._report_health(now)
        self._phase_since = now
        self._rates.begin(now)
        self._inquiry.enter(phase, now)
        self._journal.enter(phase.value)
        if phase in RESTING:
            self._journal.trust()

    def _emit(self, event_type: EventType, detail: dict[str, object]) -> None:
        self._journal.notice([(event_type, detail)], self._clock.now())
        self._uploads.notify()

    def _report_health(self, now: float) -> None:
        self._health_at = now + self._config.sampling.health_every_s
        health = self._spool.health()
        detail: dict[str, object] = {
            "spool_age_s": _age_s(health.oldest_ms, self._clock.wall_ms()) or 0.0,
            "achieved_hz": self._rates.hz(now),
            "restarts": health.restarts,
            "drops": sum(health.drops.values()),
        }
        self._emit("health", detail)

    def _housekeep(self) -> None:
        now = self._clock.now()
        if now >= self._settle_at:
            self._settle_at = now + SETTLE_S
            self._journal.settle(now)
        if now >= self._clock_at:
            self._clock_at = now + CLOCK_S
            self._mind_the_clock()
        if now >= self._health_at:
            self._report_health(now)
        if time.monotonic() >= self._beat_at:  # by the machine's time, however fast a simulated car lives
            self._beat_at = time.monotonic() + BEAT_S
            self._beat()

    def _mind_the_clock(self) -> None:
        """Once the wall clock can be believed, samples can be stamped; a later step of it shifts later samples."""
        if self._clock.is_synced():
            stamped = self._spool.stamp(round(self._clock.wall_ms() - self._clock.now() * 1000))
            if not self._is_stamping:
                _log.info("the clock is synced: %d messages that waited for it were stamped", stamped)
            self._is_stamping = True

    def _idle_s(self) -> float:
        now = self._clock.now()
        if self._state.phase in ASKING:
            at = min(self._settle_at, self._look_at)
        else:
            at = self._look_at if self._has_line else float("inf")
        at = min(at, self._state.wake_at, self._clock_at, now + self._schedule.wait_s(now))
        return max(0.0, at - now)

    @property
    def _has_line(self) -> bool:
        return self._line is not None or self._config.ignition.source == "adapter"


def _age_s(oldest_ms: int | None, wall_ms: int) -> float | None:
    return None if oldest_ms is None else max(0.0, (wall_ms - oldest_ms) / 1000)
