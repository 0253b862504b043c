"""Values as one line of the log, of which CloudWatch makes metrics (embedded metric format)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from smartdrive_dagster.metrics.catalogue import Values

NAMESPACE: Final = "SmartDrive"
SERVICE: Final = "smartdrive-lake"


def emf(values: Values, at: datetime) -> str:
    """The line, without its end; its one dimension is the service.

    Args:
        values: at most 100, which is what one line may hold.
        at: of the values, UTC.
    """
    head = {
        "Timestamp": int(at.timestamp() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["service"]],
                "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric in values],
            }
        ],
    }
    numbers = {metric.name: value for metric, value in values.items()}
    return json.dumps({"_aws": head, "service": SERVICE, **numbers}, separators=(",", ":"))
