"""Write docs/costs.md: what a month on AWS costs, from the prices, measurements and assumptions of prices.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[1] / "docs" / "costs.md"
FLEETS: Final = (1, 100, 10_000, 1_000_000)

_DAYS: Final = 30.4
_HOURS: Final = 24 * _DAYS
_GB: Final = 1e9
_SERVICES: Final = {"cpu": 1.5, "gb": 4.0}  # webserver, daemon and code location, as the module compute sizes them
_RUN: Final = {"cpu": 1.0, "gb": 4.0}
_RECORD_GB: Final = 5e-6  # Firehose rounds every record up to 5 KB
_REQUESTS_PER_UNIT: Final = 25.0  # new connections a second that one load balancer capacity unit takes


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the bill: so much of what has this price."""

    group: str
    price: str
    quantity: float


def items(vehicles: int, inputs: Mapping[str, Any]) -> list[Item]:
    """What a fleet uses in a month.

    Args:
        vehicles: how many cars.
        inputs: as prices.toml holds them.
    """
    measured, assumed = inputs["measured"], inputs["assumed"]
    samples = vehicles * assumed["driven_h_per_day"] * 3600 * _DAYS
    messages = samples / measured["samples_per_message"]
    landed_gb = samples * measured["landing_bytes"] / _GB
    kept_gb = samples * sum(measured[f"{layer}_bytes"] for layer in ("bronze", "silver", "gold")) / _GB
    driving_h = vehicles * assumed["driven_h_per_day"] * _DAYS
    objects = max(min(assumed["objects_per_day"] * _DAYS, driving_h * 12), landed_gb * 1000 / assumed["object_mb"])
    work_h = samples / measured["samples_per_cpu_s"] / 3600 * (1 + assumed["gold_share"])
    run_h = max(min(_HOURS, driving_h), work_h) + assumed["run_overhead_h_per_day"] * _DAYS
    requests = vehicles * assumed["api_requests_per_day"] * _DAYS
    database = next(one for one in inputs["database"] if vehicles <= one["vehicles"])
    log_gb = assumed["log_gb_per_day"] * _DAYS + requests * assumed["log_bytes_per_request"] / _GB
    return [
        Item("From the cars to landing", "iot_connection", driving_h * 60),
        Item("From the cars to landing", "iot_message", messages),
        Item("From the cars to landing", "iot_rule", messages),
        Item("From the cars to landing", "firehose", messages * _RECORD_GB),
        Item("Storage", "s3_storage", landed_gb * assumed["landing_months"] + kept_gb * assumed["months"]),
        Item("Storage", "s3_write", objects * (1 + assumed["writes_per_object"])),
        Item("Storage", "s3_read", objects * assumed["reads_per_object"]),
        Item("Dagster", "fargate_cpu", _SERVICES["cpu"] * _HOURS + _RUN["cpu"] * run_h),
        Item("Dagster", "fargate_memory", _SERVICES["gb"] * _HOURS + _RUN["gb"] * run_h),
        Item("API", "lambda_request", requests),
        Item("API", "lambda_gbs", requests * assumed["api_s"] * assumed["api_gb"]),
        Item("API", "load_balancer", _HOURS),
        Item("API", "load_balancer_unit", _HOURS * max(0.1, requests / _HOURS / 3600 / _REQUESTS_PER_UNIT)),
        Item("Database", database["price"], _HOURS),
        Item("Database", "rds_storage", database["storage_gb"]),
        Item("Network", "nat_hour", _HOURS * assumed["nat_gateways"]),
        Item("Network", "nat_gb", assumed["nat_gb"]),
        Item("Network", "endpoint", _HOURS * assumed["endpoints"]),
        Item("Watching, keys, secrets", "logs", log_gb),
        Item("Watching, keys, secrets", "metric", assumed["metrics"]),
        Item("Watching, keys, secrets", "alarm", assumed["alarm_metrics"]),
        Item("Watching, keys, secrets", "dashboard", 1),
        Item("Watching, keys, secrets", "key", assumed["keys"]),
        Item("Watching, keys, secrets", "secret", assumed["secrets"]),
    ]


def costs(vehicles: int, inputs: Mapping[str, Any]) -> dict[str, float]:
    """Money a month by group."""
    found: dict[str, float] = {}
    for item in items(vehicles, inputs):
        found[item.group] = found.get(item.group, 0.0) + item.quantity * inputs["prices"][item.price][0]
    return found


def page(inputs: Mapping[str, Any]) -> str:
    """The text of docs/costs.md."""
    source, measured, assumed = inputs["list"], inputs["measured"], inputs["assumed"]
    fleets = [costs(vehicles, inputs) for vehicles in FLEETS]
    totals = [sum(fleet.values()) for fleet in fleets]
    lines = [
        *(_row(group, [f"{fleet[group]:,.0f}" for fleet in fleets]) for group in fleets[0]),
        _row("**a month**", [f"**{total:,.0f}**" for total in totals]),
        _row("a vehicle and month", [_small(total / n) for total, n in zip(totals, FLEETS, strict=True)]),
    ]
    head = _row(f"{source['currency']} a month", [f"{n:,} vehicle{'s' if n > 1 else ''}" for n in FLEETS])
    rule = "|---|" + "---:|" * len(FLEETS)
    used = {item.price for vehicles in FLEETS for item in items(vehicles, inputs)}
    prices = [
        f"| {page} | {price:.8f}".rstrip("0").rstrip(".") + f" | {unit} |"
        for name, (price, unit, page) in inputs["prices"].items()
        if name in used
    ]
    messages = assumed["driven_h_per_day"] * 3600 / measured["samples_per_message"]
    layers = sum(measured[f"{layer}_bytes"] for layer in ("bronze", "silver", "gold"))
    hours, per_day = assumed["driven_h_per_day"], assumed["api_requests_per_day"]
    return f"""# What it costs on AWS

<!-- Made by iac/costs/estimate.py from iac/costs/prices.toml: change those, not this page. -->

An **estimate**, not a bill: nothing of this has run in an AWS account. The prices are inputs,
{source["name"]}; compared with the list: **{source["checked"]}**.
They were written down from memory: check each for your region before you rely on it.

{head}
{rule}
{chr(10).join(lines)}

At home, one machine runs all of it for its electricity.

## How it comes about

- A vehicle drives {hours:g} h a day, at one sample a second: {hours * 3600:,.0f} samples in
  {ceil(messages):,} messages.
- The month is the one after {assumed["months"]} months of keeping Bronze, Silver and Gold; landing's objects end
  after {assumed["landing_months"]}.
- Measured here, on the demo's fleet: {measured["landing_bytes"]:g} bytes a sample in landing, {layers:.1f} in
  Bronze, Silver and Gold together, {measured["samples_per_message"]:g} samples a message. The ingestion benchmark:
  {measured["samples_per_cpu_s"]:,} samples a second of one core, landing to ledger.
- Assumed, not measured: {per_day} requests to the API a vehicle and day, of {assumed["api_s"]:g} s; what Gold
  takes; requests to S3 for each landing object; sizes of the database. All are in `iac/costs/prices.toml`.
- For few vehicles nearly all is what stands there idle: network, database, Dagster. For many it is the
  messages: IoT Core and Firehose count each as 5 KB, whatever its size, so that larger batches cost less.
- **A million vehicles were never tried.** The column assumes that the work is spread over as many runs as it
  needs, and that nothing else gets in the way.

Another region, another fleet: edit the file, then

```text
python iac/costs/estimate.py
```

## Prices that were put in

| Page of the list | {source["currency"]} | for each |
|---|---:|---|
{chr(10).join(prices)}
"""


def _row(first: str, rest: list[str]) -> str:
    return f"| {first} | {' | '.join(rest)} |"


def _small(value: float) -> str:
    return f"{value:,.2f}"


def inputs() -> dict[str, Any]:
    """What prices.toml holds."""
    return tomllib.loads((HERE / "prices.toml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(inputs()), encoding="utf-8")
