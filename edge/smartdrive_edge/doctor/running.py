"""A collector that runs, judged by the status that it writes, and how to tell that one runs at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from smartdrive_edge import status_file
from smartdrive_edge.config import Config
from smartdrive_edge.doctor.findings import Finding, fail, ok, warn
from smartdrive_edge.doctor.processes import lock_holders, named
from smartdrive_edge.status_file import BrokerStatus, CarStatus, Status

_JOURNAL: Final = "journalctl -u smartdrive-edge"
_ADAPTER_STEPS: Final = {
    "gone": "its port is not there, or fails: is the adapter plugged in?",
    "silent": "its port is there, but nothing answers: unplug the adapter for 10 s",
}


@dataclass(frozen=True, slots=True)
class Collector:
    """What is known of a collector on this machine.

    Attributes:
        status: what it wrote; None where none runs, or where that is not known.
        doubt: why it may run although it tells nothing; None where that is certain.
    """

    status: Status | None = None
    doubt: str | None = None


def find_collector(config: Config) -> Collector:
    """Whether a collector runs: by its status file, and by its lock on the spool."""
    holders = lock_holders(config.spool_path.with_name(f"{config.spool_path.name}.lock"))
    try:
        status = status_file.read(config.status_path)
    except status_file.StatusUnreadableError as error:
        is_there = holders or not isinstance(error.__cause__, FileNotFoundError)
        return Collector(doubt=f"may run, but {error}") if is_there else Collector()
    if status.is_fresh(time.monotonic()) and status_file.is_alive(status.pid):
        return Collector(status)
    if holders:
        age_s = status.age_s(time.monotonic())
        since = "since the machine started" if age_s is None else f"for {age_s:.0f} s"
        return Collector(doubt=f"hangs: process {named(holders)} holds the spool and has told nothing {since}")
    return Collector()


def judge(status: Status) -> Iterator[Finding]:
    """What a running collector says, judged."""
    text = f"runs as process {status.pid}, phase {status.phase}"
    if status.last_error:
        yield fail("collector", f"{text}; last error: {status.last_error}", _JOURNAL)
    else:
        yield ok("collector", text)
    adapter = status.adapter
    if adapter.state == "open":
        yield ok("adapter", f"{adapter.identity or 'no name'} at {adapter.port}")
    else:
        yield fail("adapter", f"{adapter.port} is {adapter.state}", _ADAPTER_STEPS[adapter.state])
    if status.voltage_v is not None:
        yield ok("voltage", f"{status.voltage_v:.2f} V")
    if status.ignition is not None:
        yield ok("ignition", "ON" if status.ignition else "OFF")
    yield from _judge_car(status.car)
    if status.rates_hz:
        yield ok("rates", f"{sum(status.rates_hz.values()):.1f} values a second of {len(status.rates_hz)} signals")
    if not status.clock_synced:
        yield fail("clock", "not synced: messages wait until it is", "give it a network; timedatectl")
    yield _judge_broker(status.broker, is_uploading=status.uploading)
    if status.spool.set_aside:
        yield fail(
            "spool",
            f"was found damaged {status.spool.set_aside} times since the start, and began afresh",
            "the card may be dying: replace it",
        )


def _judge_car(car: CarStatus) -> Iterator[Finding]:
    if car.protocol is None:
        yield ok("car", "has not answered yet; it is asked with the ignition on")
        return
    yield ok("car", f"answers by {car.protocol}; {car.pids} PIDs supported")
    if not car.vin_known:
        yield fail("VIN", "the car does not tell it, so that nothing can be sent", "set vehicle.vin")


def _judge_broker(broker: BrokerStatus, *, is_uploading: bool) -> Finding:
    if broker.connected:
        return ok("broker", f"connected, {broker.protocol}")
    if not is_uploading:
        return warn("broker", "not connected: uploading has stopped to spare the battery", "charge the battery")
    return fail("broker", f"not connected: {broker.last_error or 'no reason known yet'}", _JOURNAL)
