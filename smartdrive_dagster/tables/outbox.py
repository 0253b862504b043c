"""What was told to whom: state beside the lake, which no rebuild brings back and none may lose."""

from smartdrive_dagster.tables.table import Column, Table

STATES = ("claimed", "sent", "failed", "suppressed", "superseded", "opened", "resolved")

NOTIFICATIONS = Table(
    layer="outbox",
    name="notifications",
    description="One step in the life of a notification: of one episode over one channel.",
    columns=(
        Column("episode_id", "string", "The alert, or the fault of the pipeline, that it tells of", required=True),
        Column("channel", "string", "Where it goes: the channel's name; empty for all of them", required=True),
        Column(
            "attempt", "integer", "Number of the attempt, from 1; 0 where nothing was to be sent", required=True
        ),
        Column("state", "string", "What has become of it", required=True, accepted=STATES),
        Column("at", "timestamp", "When", required=True, statistics=True),
        Column("at_date", "date", "UTC day of `at`", required=True, statistics=True),
        Column("detail", "string", "Why an attempt failed; never the message"),
    ),
    key=("episode_id", "channel", "attempt", "state"),
    partition_by="at_date",
)
