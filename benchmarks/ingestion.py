"""How fast landing becomes Silver, against a plain reader of the same objects in the same run.

The peer decompresses the same landing objects, parses every message with the standard library and makes one row a
sample: no schema, no check, no deduplication, no table. The ratio is the price of what SmartDrive does beyond it.

Run with `make bench`; `--samples` sets the size.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import silver

BEGAN = datetime(2025, 12, 1, tzinfo=UTC)
SAMPLES_A_MESSAGE = 60
MESSAGES_AN_OBJECT = 60
SIGNALS = ("RPM", "SPEED", "ENGINE_LOAD", "COOLANT_TEMP", "INTAKE_TEMP", "MAF", "THROTTLE_POS", "ELM_VOLTAGE")


def land(store: LandingStore, samples: int) -> int:
    """Land a fleet's day: messages of 60 samples of 8 signals, 60 messages an object; returns the samples."""
    objects = max(1, samples // (SAMPLES_A_MESSAGE * MESSAGES_AN_OBJECT))
    for number in track(range(objects), "landing", console=Console(stderr=True)):
        at = BEGAN + timedelta(seconds=number)
        envelopes = [
            Envelope(f"vehicle/edge-{number % 50:05d}/telemetry", ms(at) + 86_000_000, payload(number, message))
            for message in range(MESSAGES_AN_OBJECT)
        ]
        store.land("telemetry", envelopes, at=at)
    return objects * SAMPLES_A_MESSAGE * MESSAGES_AN_OBJECT


def payload(number: int, message: int) -> bytes:
    """One telemetry.v1 message."""
    began = ms(BEGAN) + message * SAMPLES_A_MESSAGE * 1000
    return msgspec.json.encode(
        {
            "schema": "telemetry.v1",
            "vin": f"WVWZZZ1JZXW{number % 50:06d}",
            "device_id": f"edge-{number % 50:05d}",
            "boot_id": "bench",
            "seq": number * MESSAGES_AN_OBJECT + message,
            "phase": "running",
            "t": [began + 1000 * i for i in range(SAMPLES_A_MESSAGE)],
            "clock": "synced",
            "signals": {
                name: [round(20.0 + (7 * i + 13 * n + number) % 97, 1) for i in range(SAMPLES_A_MESSAGE)]
                for n, name in enumerate(SIGNALS)
            },
        }
    )


def ms(at: datetime) -> int:
    """UTC epoch milliseconds."""
    return round(at.timestamp() * 1000)


def read_plainly(directory: Path) -> int:
    """The peer: one dictionary a sample, kept until the end."""
    rows: list[dict[str, object]] = []
    for path in sorted(directory.rglob("*.gz")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            message = json.loads(json.loads(line)["payload"])
            for i, t in enumerate(message["t"]):
                rows.append({"t": t, **{name: values[i] for name, values in message["signals"].items()}})
    return len(rows)


def ingest(home: Path) -> int:
    """SmartDrive: landing to Bronze, Silver and the ledger; returns the samples in Silver."""
    ingestion = Ingestion(Lakehouse(str(home / "lake")), LandingStore(str(home / "landing")), b"b" * 32)
    while ingestion.advance(BEGAN.date(), Progress()):
        pass
    return ingestion.lakehouse.open(silver.TELEMETRY).count()


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """A result and the CPU seconds it took: these machines are shared, wall time says little."""
    before = time.process_time()
    return work(), time.process_time() - before


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500_000, help="samples to ingest (default 500,000)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        samples = land(LandingStore(str(home / "landing")), arguments.samples)
        read, peer_s = timed(lambda: read_plainly(home / "landing"))
        held, ours_s = timed(lambda: ingest(home))
        landed = sum(path.stat().st_size for path in (home / "landing").rglob("*.gz"))
        stored = sum(path.stat().st_size for path in (home / "lake/silver/telemetry").rglob("*.parquet"))
    if not samples == read == held:
        raise SystemExit(f"landed {samples}, the peer read {read}, Silver holds {held}")
    table = Table(title=f"Ingestion of {samples:,} samples", title_justify="left")
    for column in ("what", "CPU s", "samples per CPU s", "ratio to the peer"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("plain reader (json, gzip)", f"{peer_s:.2f}", f"{read / peer_s:,.0f}", "1.00")
    table.add_row("landing to ledger", f"{ours_s:.2f}", f"{held / ours_s:,.0f}", f"{ours_s / peer_s:.2f}")
    console = Console()
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(
        f"landing {landed / samples:.1f} bytes a sample, silver.telemetry {stored / samples:.1f}; "
        f"peak memory of both together {peak:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
