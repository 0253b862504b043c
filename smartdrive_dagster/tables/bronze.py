"""Bronze: landed bytes, verbatim. Nothing is judged here and nothing is left out."""

from smartdrive_dagster.tables.table import Column, Table

OBJECT_KEY = Column(
    "object_key",
    "string",
    "Key of the landing object, below the landing root",
    required=True,
    statistics=True,
)
LINE_NO = Column(
    "line_no",
    "long",
    "Line in the landing object, from 1; 0 stands for the object as a whole when it could not be read",
    required=True,
    statistics=True,
)
LANDING_DATE = Column(
    "landing_date",
    "date",
    "UTC day of arrival: the `dt=` of the object's key",
    required=True,
    statistics=True,
)
CHANNEL = Column("channel", "string", "Landing channel: the first part of the object's key", required=True)

MESSAGES = Table(
    layer="bronze",
    name="messages",
    description="One landed line. The payload is kept byte for byte, malformed lines too.",
    columns=(
        OBJECT_KEY,
        LINE_NO,
        LANDING_DATE,
        CHANNEL,
        Column("topic", "string", "MQTT topic of the message; null where the line is no envelope"),
        Column("received_at", "timestamp", "When the lander received the message", statistics=True),
        Column(
            "payload",
            "binary",
            "The message's bytes; the whole line where it is no envelope; null for an object that could not be "
            "read and for a line too large to keep",
        ),
        Column(
            "fault",
            "string",
            "Why the line is no envelope or the object could not be read (a reason code of silver.quarantine); "
            "erased where its vehicle was",
        ),
    ),
    key=("object_key", "line_no"),
    partition_by="landing_date",
)

OBJECTS = Table(
    layer="bronze",
    name="objects",
    description="One landing object, empty ones too. Written after its lines, so that it proves they are there.",
    columns=(
        OBJECT_KEY,
        LANDING_DATE,
        CHANNEL,
        Column("size_bytes", "long", "Size of the object as stored", unit="bytes", required=True),
        Column("lines", "long", "Rows that it has in bronze.messages", required=True),
        Column("payload_bytes", "long", "Bytes of its payloads", unit="bytes", required=True),
        Column("first_received_at", "timestamp", "Earliest receipt among its lines", statistics=True),
        Column("last_received_at", "timestamp", "Latest receipt among its lines", statistics=True),
        Column(
            "object_digest",
            "string",
            "128-bit digest of its stored bytes, base32 (SHA-256, cut; beyond 16 GiB of the first 16 GiB)",
        ),
    ),
    key=("object_key",),
    partition_by="landing_date",
)
