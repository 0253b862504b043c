"""What an owner should know: one row per episode, with a beginning and, when it is over, an end."""

from smartdrive_dagster.tables.gold import ALGO_VERSION
from smartdrive_dagster.tables.silver import VEHICLE_ID
from smartdrive_dagster.tables.table import Column, Table

KINDS = ("battery", "drain", "trouble_code", "incident", "low_voltage", "winter_risk")
SEVERITIES = ("info", "warning", "critical")

ALERTS = Table(
    layer="gold",
    name="alerts",
    description="One alert, on the day that it opened. What has become worse is an alert of its own.",
    columns=(
        Column(
            "alert_id", "string", "128-bit hash of vehicle, kind, subject, severity and opening", required=True
        ),
        VEHICLE_ID,
        Column("kind", "string", "What it is about", required=True, accepted=KINDS),
        Column("subject", "string", "The trouble code, where it is about one"),
        Column("severity", "string", "How urgent it is", required=True, accepted=SEVERITIES),
        Column("state", "string", "Whether it is over", required=True, accepted=("open", "resolved")),
        Column("opened_at", "timestamp", "When it began", required=True, statistics=True),
        Column("event_date", "date", "UTC day of opened_at", required=True, statistics=True),
        Column("updated_at", "timestamp", "Last sign of it", required=True, statistics=True),
        Column("resolved_at", "timestamp", "When it was over; null while it is open"),
        Column("title", "string", "What it is, in one line", required=True),
        Column("text", "string", "What it means and what to do", required=True),
        Column("source_table", "string", "The table that shows it", required=True),
        Column("source_id", "string", "The row there: its id, or the day where the key is vehicle and day"),
        ALGO_VERSION,
    ),
    key=("alert_id",),
    partition_by="event_date",
)
