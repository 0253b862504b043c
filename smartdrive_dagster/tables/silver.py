"""Silver: typed, deduplicated, judged. What could not be accepted is in the quarantine with its reason."""

from smartdrive_dagster.tables.bronze import CHANNEL, LANDING_DATE, LINE_NO, OBJECT_KEY
from smartdrive_dagster.tables.signals import SIGNALS
from smartdrive_dagster.tables.table import Column, Table

PHASES = ("ready", "cranking", "running", "post_drive", "sentinel", "suspended")
EVENT_TYPES = (
    "ignition_on",
    "ignition_off",
    "external_drain",
    "power_saving",
    "low_voltage",
    "resumed",
    "dtc_scan",
    "health",
)
DTC_STATUSES = ("stored", "pending", "permanent")
VERDICTS = ("accepted", "duplicate", "quarantined", "erased", "conflict")

# Reason codes. The text is what `docs/reference` shows and what `smartdrive status` prints.
REASONS: dict[str, str] = {
    "envelope_malformed": "the landed line is not an envelope of topic, received_at and payload",
    "line_too_large": "the landed line exceeds what is kept of one; it is in the landing object only",
    "object_too_large": "the landing object exceeds the bound on its expanded size or on its lines",
    "object_truncated": "the compressed object ends early; what could be read before is kept",
    "object_corrupt": "the object's compression cannot be read",
    "payload_too_large": "the message exceeds the contract's size limit",
    "not_utf8": "the message is not UTF-8",
    "not_json": "the message is not one JSON object of finite numbers",
    "schema_unknown": "the message names a schema that this version does not know",
    "schema_violated": "the message does not fit its schema",
    "channel_unsupported": "this version has no table for the channel",
    "vin_invalid": "the VIN is not 17 characters of ISO 3779",
    "length_mismatch": "a signal's list is not as long as the list of times",
    "clock_unsynced": "the device's clock was not synchronised and could not be corrected",
    "clock_ahead": "the time lies more than 5 minutes after the receipt",
    "clock_before_2008": "the time lies before 2008-01-01",
    "conflict": "the identity was accepted before with other content",
}

VEHICLE_ID = Column(
    "vehicle_id", "string", "Pseudonym of the vehicle: keyed hash of its VIN, base32", required=True
)
MESSAGE_ID = Column(
    "message_id", "string", "128-bit hash of the message's identity at its sender, base32", required=True
)
CONTENT_DIGEST = Column(
    "content_digest", "string", "128-bit digest of the message's content, base32", required=True
)
EVENT_AT = Column("event_at", "timestamp", "When it happened", required=True, statistics=True)
EVENT_DATE = Column("event_date", "date", "UTC day of event_at", required=True, statistics=True)
RECEIVED_AT = Column("received_at", "timestamp", "When the lander received the message", statistics=True)

_PROVENANCE = (OBJECT_KEY, LINE_NO, LANDING_DATE, RECEIVED_AT)
_PROVENANCE_NAMES = tuple(column.name for column in _PROVENANCE)

TELEMETRY = Table(
    layer="silver",
    name="telemetry",
    description="One sample, wide: known signals typed, unknown ones in extra_signals; null was not measured.",
    columns=(
        VEHICLE_ID,
        EVENT_AT,
        EVENT_DATE,
        MESSAGE_ID,
        Column("sample", "integer", "Position of the sample in its message, from 0", required=True),
        Column("device_id", "string", "The sender, as it names itself; null for telemetry.v0"),
        Column("phase", "string", "State of the collector while sampling", accepted=PHASES),
        *SIGNALS,
        Column("extra_signals", "map<string,double>", "Signals without a column of their own, by their names"),
        CONTENT_DIGEST,
        *_PROVENANCE,
    ),
    key=("message_id", "sample"),
    partition_by="event_date",
    provenance=_PROVENANCE_NAMES,
)

EVENTS = Table(
    layer="silver",
    name="events",
    description="One event that a device reported.",
    columns=(
        VEHICLE_ID,
        EVENT_AT,
        EVENT_DATE,
        MESSAGE_ID,
        Column("device_id", "string", "The sender, as it names itself", required=True),
        Column("type", "string", "Kind of event", required=True, accepted=EVENT_TYPES),
        Column("detail", "string", "The event's own fields, as JSON"),
        CONTENT_DIGEST,
        *_PROVENANCE,
    ),
    key=("message_id",),
    partition_by="event_date",
    provenance=_PROVENANCE_NAMES,
)

DTC_READINGS = Table(
    layer="silver",
    name="dtc_readings",
    description="One diagnostic trouble code in one scan.",
    columns=(
        VEHICLE_ID,
        EVENT_AT,
        EVENT_DATE,
        MESSAGE_ID,
        Column("dtc_code", "string", "Trouble code, for example P0171", required=True, vss="Vehicle.OBD.DTCList"),
        Column("status", "string", "Service that listed it", required=True, accepted=DTC_STATUSES),
        Column("title", "string", "Title that the device's library knows"),
        *_PROVENANCE,
    ),
    key=("message_id", "dtc_code", "status"),
    partition_by="event_date",
    provenance=_PROVENANCE_NAMES,
)

QUARANTINE = Table(
    layer="silver",
    name="quarantine",
    description="One rejected line, or one rejected sample of an otherwise accepted message.",
    columns=(
        OBJECT_KEY,
        LINE_NO,
        Column("sample", "integer", "The rejected sample; -1 where the whole line is rejected", required=True),
        LANDING_DATE,
        RECEIVED_AT,
        CHANNEL,
        Column("reason", "string", "Reason code", required=True, accepted=tuple(REASONS)),
        Column("detail", "string", "Where and what, without any value of the message"),
        Column("samples", "long", "Decoded samples that this row stands for", required=True),
        Column(
            "payload_digest",
            "string",
            "128-bit digest of the payload as it landed, base32; of the object's stored bytes where Bronze holds "
            "no payload",
        ),
    ),
    key=("object_key", "line_no", "sample"),
    partition_by="landing_date",
    provenance=(OBJECT_KEY.name, LINE_NO.name, LANDING_DATE.name, RECEIVED_AT.name),
)

MESSAGES = Table(
    layer="silver",
    name="messages",
    description="The ledger: what became of each Bronze line. Written last, so that it proves the rest is there.",
    columns=(
        OBJECT_KEY,
        LINE_NO,
        LANDING_DATE,
        CHANNEL,
        Column("message_id", "string", "Identity of the message; null where it has none"),
        Column("device_id", "string", "The sender, as it names itself; null where the line names none"),
        Column("boot_id", "string", "The sender's boot in which the message was made; null as device_id"),
        Column("seq", "long", "The message's number among those of its boot; null as device_id"),
        Column("content_digest", "string", "Digest of the content; null where it could not be decoded"),
        Column("verdict", "string", "What became of the line", required=True, accepted=VERDICTS),
        Column(
            "samples",
            "long",
            "Decoded samples; an event, a correction, a profile or a telemetry.v0 message counts as one, of "
            "weather each hour",
            required=True,
        ),
        Column("samples_accepted", "long", "Samples that this line brought into Silver", required=True),
        Column("samples_duplicate", "long", "Samples that another line had brought before", required=True),
        Column("samples_quarantined", "long", "Samples that were rejected", required=True),
        Column("samples_expired", "long", "Of the accepted samples, those that Silver's retention has deleted"),
        Column(
            "touched",
            "array<struct<event_date:date,vehicle_id:string>>",
            "The event days and vehicles whose Silver rows this line changed",
        ),
        Column(
            "batch",
            "long",
            "This table's commit count when the line was entered",
            required=True,
            statistics=True,
        ),
    ),
    key=("object_key", "line_no"),
    partition_by="landing_date",
    provenance=("batch", "samples_expired"),
)
