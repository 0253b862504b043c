"""The collector as a program: spool, publisher, collector and status put together, from start to end."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from typing import Final, NamedTuple

from smartdrive_edge import status_file
from smartdrive_edge.broker_connection import Broker, TlsFiles
from smartdrive_edge.clock import Clock
from smartdrive_edge.collector.collector import Collector
from smartdrive_edge.collector.journal import first_state
from smartdrive_edge.config import Config
from smartdrive_edge.ignition_line import IgnitionLine
from smartdrive_edge.publisher import Pace, Publisher
from smartdrive_edge.service import Service
from smartdrive_edge.spool import Spool
from smartdrive_edge.status_file import BrokerStatus

STATUS_EVERY_S: Final = 5.0
SIMULATED_STATUS_EVERY_S: Final = 1.0
_LAST_WORDS_S: Final = 3.0
_DRAIN_S: Final = 30.0
_log: Final = logging.getLogger(__name__)


class Ended(NamedTuple):
    """How a collector ended.

    Attributes:
        left: messages that stay in the spool.
        dropped: messages, and samples that never became one, that it dropped and counted.
        samples: that it took.
        why: what last hindered the way out; None where nothing did.
    """

    left: int
    dropped: int
    samples: int
    why: str | None


def collect(
    config: Config, clock: Clock, line: IgnitionLine | None, stop: threading.Event, *, is_simulated: bool = False
) -> Ended:
    """Collect until `stop` is set; then keep what is under way, and send what can be sent quickly.

    Args:
        config: all settings.
        clock: of the samples.
        line: the ignition line, where there is one.
        stop: ends it.
        is_simulated: the clock is a scenario's, which begins anew with every process; at the end the spool is
            given half a minute to empty itself.

    Raises:
        SpoolInUseError: another collector runs.
        OSError: the state directory cannot be used.
    """
    service = Service()
    spool = _open_spool(config, clock, is_simulated=is_simulated)
    drops_before = sum(spool.health().drops.values())
    for path in spool.set_aside:
        _log.error("the spool was damaged and is set aside as %s; a fresh one is used", path)
    publisher = publisher_of(config, spool, uploading=first_state(spool).uploading)
    is_over = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(is_over,), name="publisher", daemon=True)
    beat = _Beat(config, publisher, thread, service)
    beat.every_s = SIMULATED_STATUS_EVERY_S if is_simulated else STATUS_EVERY_S
    collector = Collector(config, spool, publisher, clock, line=line, beat=beat)
    beat.collector = collector
    thread.start()
    service.ready("collecting")
    try:
        collector.run(stop)
    finally:
        service.stopping()
        publisher.notify()
        _drain(spool, publisher, _DRAIN_S if is_simulated else _LAST_WORDS_S)
        is_over.set()
        thread.join(_LAST_WORDS_S)
        health = spool.health()
        _log.info("stopped; %d messages stay in the spool", health.messages)
        spool.close()
        config.status_path.unlink(missing_ok=True)
    dropped = sum(health.drops.values()) - drops_before
    return Ended(health.messages, dropped, collector.samples, publisher.connectivity.last_error)


def publisher_of(config: Config, spool: Spool, *, uploading: bool = True) -> Publisher:
    """The publisher that the configuration describes."""
    where, upload = config.broker, config.upload
    tls = None
    if where.authority is not None and where.certificate is not None and where.key is not None:
        tls = TlsFiles(where.authority, where.certificate, where.key)
    pace = Pace(
        flush_period_s=upload.flush_period_s,
        publishes_per_s=upload.publishes_per_s,
        in_flight=upload.in_flight,
    )
    broker = Broker(where.host, where.port, tls, insecure=where.is_insecure, alpn=where.alpn)
    return Publisher(spool, broker, pace=pace, lander=where.has_lander, uploading=uploading)


def _open_spool(config: Config, clock: Clock, *, is_simulated: bool) -> Spool:
    try:
        config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        config.status_path.parent.mkdir(parents=True, exist_ok=True)
        return Spool(
            config.spool_path,
            config.device_id,
            limit_bytes=round(config.spool.limit_mb * 1_000_000),
            machine_boot=f"simulated-{os.getpid()}-{time.time_ns()}" if is_simulated else None,
            wall_ms=clock.wall_ms,
        )
    except OSError as error:
        raise OSError(
            f"state_dir {config.state_dir} cannot be used: {error}; give it to the collector's user"
        ) from error


class _Beat:
    """What is done about once a second while the collector is well."""

    collector: Collector | None = None
    every_s = STATUS_EVERY_S

    def __init__(self, config: Config, publisher: Publisher, thread: threading.Thread, service: Service) -> None:
        self._config = config
        self._publisher = publisher
        self._thread = thread
        self._service = service
        self._written_at = float("-inf")
        self._is_failing = False

    def __call__(self) -> None:
        """Tell the watchdog, and write the status every few seconds.

        Raises:
            RuntimeError: nothing is sent any more: better to begin anew.
        """
        if not self._thread.is_alive():
            raise RuntimeError("the publisher has ended: see the log above")
        self._service.alive()
        if self.collector is None or time.monotonic() < self._written_at + self.every_s:
            return
        self._written_at = time.monotonic()
        out = self._publisher.connectivity
        broker = BrokerStatus(out.is_connected, out.protocol, out.last_error)
        try:
            status_file.write(
                self._config.status_path, replace(self.collector.status(), pid=os.getpid(), broker=broker)
            )
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:  # once: a full disk lasts
                _log.warning("the status cannot be written: %s", error)
            self._is_failing = True


def _drain(spool: Spool, publisher: Publisher, at_most_s: float) -> None:
    deadline = time.monotonic() + at_most_s
    while time.monotonic() < deadline and publisher.connectivity.is_connected and spool.health().messages:
        time.sleep(0.1)
