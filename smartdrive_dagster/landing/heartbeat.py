"""What a running lander says of itself, in one small file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Written every second; who finds an old one knows that the lander is gone or hangs.

    Attributes:
        pid: of the lander's process.
        at: UTC epoch seconds.
        protocol: of the open connection to the broker; None while there is none.
        landed: messages since the start.
        failures: attempts to land that failed in a row.
    """

    pid: int
    at: float
    protocol: str | None
    landed: int
    failures: int

    def write(self, path: Path) -> None:
        """Replace the file whole.

        Raises:
            OSError: the folder is missing or cannot be written.
        """
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(self))
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> Heartbeat:
        """Read what a lander wrote last.

        Raises:
            OSError: there is no such file.
            ValueError: it holds something else.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)
