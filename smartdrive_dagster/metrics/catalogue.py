"""The names. A number is called the same at home and in the cloud, and means the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["Count", "Seconds"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number, without labels.

    Attributes:
        name: of the Prometheus family, and of the metric in CloudWatch.
        kind: a gauge is how it is now; a counter only grows at home, and in the cloud is what was added.
        unit: CloudWatch's word.
        meaning: one sentence, for people.
    """

    name: str
    kind: Literal["gauge", "counter"]
    unit: Unit
    meaning: str


Values = dict[Metric, float]

LANDING_LAG: Final = Metric(
    "smartdrive_lake_landing_lag_seconds",
    "gauge",
    "Seconds",
    "Age of the oldest object that landed in the last 48 hours and is not in the ledger; 0 where there is none",
)
OBJECTS_WAITING: Final = Metric(
    "smartdrive_lake_objects_waiting",
    "gauge",
    "Count",
    "Objects that landed in the last 48 hours and are not in the ledger",
)
NEWEST_MESSAGE_AGE: Final = Metric(
    "smartdrive_lake_newest_message_age_seconds",
    "gauge",
    "Seconds",
    "Time since the newest receipt in Bronze; grows while no car sends",
)
GOLD_DAYS_WAITING: Final = Metric(
    "smartdrive_lake_gold_days_waiting",
    "gauge",
    "Count",
    "Event days, in whole ranges, that Gold and the marts have to compute anew",
)
FAILED_RUNS: Final = Metric(
    "smartdrive_lake_failed_runs", "gauge", "Count", "Dagster runs that failed within the last hour"
)
DAEMON_SILENCE: Final = Metric(
    "smartdrive_lake_daemon_silence_seconds",
    "gauge",
    "Seconds",
    "Time since the last heartbeat of the Dagster daemon that has been silent longest",
)
OBJECTS: Final = Metric("smartdrive_lake_objects", "counter", "Count", "Landing objects taken into Bronze")
LINES: Final = Metric("smartdrive_lake_lines", "counter", "Count", "Landed lines judged")
REJECTED_LINES: Final = Metric(
    "smartdrive_lake_rejected_lines", "counter", "Count", "Landed lines quarantined or in conflict"
)
SAMPLES: Final = Metric("smartdrive_lake_samples", "counter", "Count", "Samples accepted into Silver")
LANDER_CONNECTED: Final = Metric(
    "smartdrive_lander_connected", "gauge", "Count", "1 while the lander is connected to the broker, else 0"
)
LANDER_SILENCE: Final = Metric(
    "smartdrive_lander_silence_seconds", "gauge", "Seconds", "Time since the lander's last heartbeat"
)
LANDER_FAILURES: Final = Metric(
    "smartdrive_lander_failures", "gauge", "Count", "Attempts of the lander to land that failed in a row"
)
LANDER_MESSAGES: Final = Metric(
    "smartdrive_lander_messages", "counter", "Count", "Messages landed since the lander's start"
)

IN_THE_CLOUD: Final = (
    *(LANDING_LAG, OBJECTS_WAITING, NEWEST_MESSAGE_AGE, GOLD_DAYS_WAITING, FAILED_RUNS),
    *(OBJECTS, LINES, REJECTED_LINES, SAMPLES),
)
AT_HOME_ONLY: Final = (DAEMON_SILENCE, LANDER_CONNECTED, LANDER_SILENCE, LANDER_FAILURES, LANDER_MESSAGES)
