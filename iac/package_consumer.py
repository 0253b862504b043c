"""Write iac/build/dlq-consumer.zip, the package of what lands dead letters: equal bytes from an equal source."""

from __future__ import annotations

import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "smartdrive_dagster" / "landing" / "dead_letters.py"
PACKAGE = ROOT / "iac" / "build" / "dlq-consumer.zip"


def package(target: Path = PACKAGE) -> Path:
    """Zip the one file without its date, owner or anything else of this machine."""
    target.parent.mkdir(parents=True, exist_ok=True)
    entry = zipfile.ZipInfo(SOURCE.name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(entry, SOURCE.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return target


if __name__ == "__main__":
    package()
