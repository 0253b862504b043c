"""Values as OpenMetrics text, which Prometheus scrapes."""

from __future__ import annotations

from typing import Final

from smartdrive_dagster.metrics.catalogue import Values

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def openmetrics(values: Values) -> str:
    """One family a value, ended as OpenMetrics asks."""
    lines: list[str] = []
    for metric, value in values.items():
        sample = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        lines += [
            f"# HELP {metric.name} {metric.meaning}.",
            f"# TYPE {metric.name} {metric.kind}",
            *([f"# UNIT {metric.name} seconds"] if metric.unit == "Seconds" else []),
            f"{sample} {value:g}" if value == int(value) and abs(value) < 1e6 else f"{sample} {value!r}",  # noqa: PLR2004
        ]
    return "\n".join([*lines, "# EOF", ""])
