"""The examination: what is looked at, in which order, and what is left alone while a collector runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

from smartdrive_edge.clock import SystemClock, is_disciplined
from smartdrive_edge.config import Config
from smartdrive_edge.doctor.adapter import check_adapter
from smartdrive_edge.doctor.broker import check_broker
from smartdrive_edge.doctor.certificate_files import check_certificates
from smartdrive_edge.doctor.findings import Finding, Verdict, fail, ok, warn
from smartdrive_edge.doctor.running import find_collector, judge
from smartdrive_edge.doctor.serial_port import check_port
from smartdrive_edge.doctor.spool import check_spool
from smartdrive_edge.ignition_line import GpioLine, IgnitionLineError


def examine(config: Config, *, asks_car: bool | None) -> Iterator[Finding]:
    """All findings, each as soon as it is known.

    Args:
        config: of the collector.
        asks_car: whether to ask the car, which wakes its control units; None: only where the engine runs.
    """
    now = datetime.now(UTC)
    if os.geteuid() == 0:
        yield warn(
            "user",
            "root may do everything, so that missing rights are not seen",
            "run it as the collector's user: sudo -u smartdrive-edge smartdrive-edge doctor",
        )
    collector = find_collector(config)
    if collector.status is None:
        yield _clock(config)
    if collector.doubt is not None:
        yield fail(
            "collector",
            f"{collector.doubt}; adapter and broker are left alone",
            "run doctor as the collector's user; where it hangs: sudo systemctl restart smartdrive-edge",
        )
    elif collector.status is not None:
        yield from judge(collector.status)
    else:
        yield ok("collector", "does not run: its adapter and its broker are tried here")
        ports = list(check_port(config.adapter.port))
        yield from ports
        if not any(finding.verdict is Verdict.FAIL for finding in ports):
            yield from check_adapter(config, asks_car=asks_car)
        yield _ignition(config)
    yield from check_certificates(config, now)
    if collector.doubt is None and collector.status is None:
        yield from check_broker(config, now)
    yield from check_spool(config)


def _clock(config: Config) -> Finding:
    says = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if is_disciplined():
        return ok("clock", f"synced, {says}")
    if SystemClock(is_trusted=config.clock.is_trusted).is_synced():
        return ok("clock", f"{says}, believed unasked, as clock.is_trusted says")
    return warn(
        "clock",
        f"not synced ({says}): messages wait until it is",
        "give it a network (`timedatectl timesync-status`); for a battery-backed clock set clock.is_trusted",
    )


def _ignition(config: Config) -> Finding:
    if config.ignition.source == "adapter":
        return ok("ignition", "by the adapter, see above")
    if config.ignition.source == "none":
        return ok("ignition", "no line is configured: starts after a long rest are reported as missed coverage")
    place = f"line {config.ignition.gpio_line} of {config.ignition.gpio_chip}"
    try:
        with GpioLine(
            config.ignition.gpio_chip, config.ignition.gpio_line, is_active_low=config.ignition.is_active_low
        ) as line:
            is_on = line.read()
    except IgnitionLineError as error:
        return fail("ignition", str(error), "edge/docs/acc-line.md")
    if is_on is None:
        return fail("ignition", f"{place} cannot be read", "edge/docs/acc-line.md")
    return ok("ignition", f"{place} says {'ON' if is_on else 'OFF'}; turn the key to see it change")
