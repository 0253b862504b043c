"""What the prober found, in one file that `smartdrive up --status` reads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import msgspec

from smartdrive_dagster.up.files import write

FRESH_S: Final = 30.0
"""The prober writes every second or two, and spends up to 5 s on a program that does not answer."""


class ProgramHealth(msgspec.Struct, frozen=True):
    """One program.

    Attributes:
        name: as in the table of programs.
        state: waiting (for another), starting, healthy or unhealthy.
        reason: why it is not healthy; empty when it is.
        pid: of its process; 0 where there is none, or it is not ours.
        restarts: since the prober began.
        log: path of its log; empty where it is not ours.
    """

    name: str
    state: str
    reason: str
    pid: int
    restarts: int
    log: str


class Health(msgspec.Struct, frozen=True):
    """All programs at one moment.

    Attributes:
        at: UTC epoch seconds.
        supervisor: process number of supervisord; a SIGTERM to it ends everything in order.
        summary: where to find what.
        programs: in the order of their start.
    """

    at: float
    supervisor: int
    summary: str
    programs: tuple[ProgramHealth, ...]

    @property
    def is_healthy(self) -> bool:
        """All are healthy, and somebody looked lately."""
        return self.is_fresh and all(program.state == "healthy" for program in self.programs)

    @property
    def is_fresh(self) -> bool:
        """Somebody looked lately."""
        return abs(time.time() - self.at) < FRESH_S

    def write(self, path: Path) -> None:
        """Replace the file whole.

        Raises:
            OSError: it cannot be written.
        """
        write(path, msgspec.json.encode(self))

    @classmethod
    def read(cls, path: Path) -> Health | None:
        """What was written last; None where there is nothing, or nothing of this kind."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, ValueError):
            return None
