"""The collector's status as numbers, in the text format that Prometheus and its node exporter read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from smartdrive_edge.status_file import Status

_ADAPTER_OPEN: Final = "open"

Sample = tuple[str, str, str, tuple[tuple[str, float], ...]]
"""Name, type, meaning, and values by what stands in braces behind the name."""


def prometheus(status: Status | None) -> str:
    """All numbers of a running collector; of none only that there is none.

    Names and kinds are the collector's own words; no VIN and no position is among them.
    """
    lines: list[str] = []
    for name, kind, meaning, values in samples(status):
        lines += [f"# HELP {name} {meaning}.", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value!r}" for labels, value in values]
    return "\n".join([*lines, ""])


def samples(status: Status | None) -> Iterator[Sample]:
    """What is written, in order."""
    yield _one("smartdrive_edge_up", "gauge", "1 while a collector runs and writes its status", status is not None)
    if status is None:
        return
    spool, broker = status.spool, status.broker
    yield _one("smartdrive_edge_spool_messages", "gauge", "Messages that have not landed yet", spool.messages)
    yield _one("smartdrive_edge_spool_bytes", "gauge", "Pages of the spool in use", spool.used_bytes)
    yield _one(
        "smartdrive_edge_spool_age_seconds",
        "gauge",
        "Age of the oldest message; 0 for none",
        spool.oldest_age_s or 0,
    )
    drops = tuple((f'{{kind="{kind}"}}', float(count)) for kind, count in sorted(spool.drops.items()))
    yield (
        "smartdrive_edge_dropped_messages_total",
        "counter",
        "Messages lost to the spool's limit or damage",
        drops,
    )
    yield _one("smartdrive_edge_restarts_total", "counter", "Starts since the spool was made", spool.restarts)
    yield _one("smartdrive_edge_samples_total", "counter", "Samples taken since the start", status.samples)
    yield _one("smartdrive_edge_broker_connected", "gauge", "1 while connected to the broker", broker.connected)
    yield _one("smartdrive_edge_uploading", "gauge", "0 while uploads rest to spare the battery", status.uploading)
    yield _one(
        "smartdrive_edge_adapter_open",
        "gauge",
        "1 while the adapter answers",
        status.adapter.state == _ADAPTER_OPEN,
    )
    yield _one("smartdrive_edge_clock_synced", "gauge", "1 while samples can be stamped", status.clock_synced)
    if status.voltage_v is not None:
        yield _one("smartdrive_edge_battery_volts", "gauge", "The last voltage, calibrated", status.voltage_v)
    rate = sum(status.rates_hz.values())
    yield _one("smartdrive_edge_values_per_second", "gauge", "Achieved rate of all signals together", rate)


def _one(name: str, kind: str, meaning: str, value: float) -> Sample:
    return name, kind, meaning, (("", float(value)),)
