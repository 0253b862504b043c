"""Where the running group keeps its state: a folder that its owner alone may enter."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SOCKET_BYTES: Final = 107 - len(".4194304")  # sun_path of Linux; supervisord binds under its pid and renames


class StateError(Exception):
    """The state folder cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Files:
    """Paths below one folder.

    Attributes:
        folder: absolute.
    """

    folder: Path

    @property
    def lock(self) -> Path:
        """Locked by supervisord as long as it lives."""
        return self.folder / "lock"

    @property
    def configuration(self) -> Path:
        """Of supervisord."""
        return self.folder / "supervisord.conf"

    @property
    def control(self) -> Path:
        """The socket on which supervisord takes orders."""
        return self.folder / "supervisor.sock"

    @property
    def code_server(self) -> Path:
        """The socket on which the code server answers."""
        return self.folder / "code.sock"

    @property
    def workspace(self) -> Path:
        """Leads webserver and daemon to the code server."""
        return self.folder / "workspace.yaml"

    @property
    def plan(self) -> Path:
        """What runs, for the prober."""
        return self.folder / "plan.json"

    @property
    def health(self) -> Path:
        """What the prober found."""
        return self.folder / "health.json"

    @property
    def heartbeat(self) -> Path:
        """What the lander says of itself."""
        return self.folder / "lander.json"

    @property
    def logs(self) -> Path:
        """A log of each program, with rotation."""
        return self.folder / "logs"

    def log(self, program: str) -> Path:
        """The log of one program."""
        return self.logs / f"{program}.log"

    def make(self) -> None:
        """Make the folder, or make an existing one private.

        Raises:
            StateError: the path is too long for a socket, or the folder cannot be made.
        """
        if len(os.fsencode(self.control)) > _SOCKET_BYTES:
            raise StateError(f"{self.control} is too long for a socket: run from a directory with a shorter path")
        try:
            for folder in (self.folder, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise StateError(f"cannot use {self.folder}: {error.strerror}") from error

    def take(self) -> int | None:
        """Lock the folder; the open descriptor, which supervisord inherits, or None where another runs."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_taken(self) -> bool:
        """Whether a group runs on this folder; nothing is written."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def write(path: Path, content: str | bytes) -> None:
    """Replace a file whole, readable by its owner alone.

    Raises:
        OSError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    fresh.replace(path)
