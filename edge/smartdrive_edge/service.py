"""What systemd is told: ready, still alive, stopping, and one line for `systemctl status` (sd_notify(3)).

Without systemd (no `NOTIFY_SOCKET`) all of it does nothing, so that the collector runs by hand, too.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from smartdrive_edge.redaction import redact

_MICROSECONDS: Final = 1_000_000
_SEND_S: Final = 1.0


class Service:
    """This process as a unit of systemd of `Type=notify`.

    A datagram that cannot be delivered is lost without an error: the collector must go on where its supervisor
    does not listen, and a supervisor that misses what it waits for restarts the collector.

    Args:
        environment: `NOTIFY_SOCKET` and, where a watchdog is asked for, `WATCHDOG_USEC` and `WATCHDOG_PID`.
        pid: of this process.

    Attributes:
        watchdog_period_s: `alive` is awaited at least so often, else systemd kills the process; call it twice as
            often. None where nobody watches.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, *, pid: int | None = None) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        own_pid = str(os.getpid() if pid is None else pid)
        is_watched = self._address is not None and environment.get("WATCHDOG_PID", own_pid) == own_pid
        self.watchdog_period_s = _period_s(environment.get("WATCHDOG_USEC", "")) if is_watched else None

    @property
    def is_supervised(self) -> bool:
        """Whether there is anybody to tell."""
        return self._address is not None

    def ready(self, text: str = "") -> None:
        """The start is over; what depends on this unit may start."""
        self._tell("READY=1", *_status(text))

    def alive(self) -> None:
        """The watchdog may wait another period. Only to be called by what would be missed if it hung."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What `systemctl status` shows, one line; never a VIN."""
        self._tell(*_status(text))

    def stopping(self) -> None:
        """The end has begun, by intention."""
        self._tell("STOPPING=1")

    def _tell(self, *facts: str) -> None:
        if self._address is None or not facts:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(_SEND_S)
                out.sendto("\n".join(facts).encode(), self._address)
        except OSError:
            return


def _address(name: str) -> str | None:
    """The socket's address; a name that begins with `@` lies in Linux's abstract namespace."""
    if name.startswith("/"):
        return name
    return f"\0{name[1:]}" if name.startswith("@") else None


def _period_s(microseconds: str) -> float | None:
    return int(microseconds) / _MICROSECONDS if microseconds.isdecimal() and int(microseconds) else None


def _status(text: str) -> list[str]:
    line = redact(" ".join(text.split()))
    return [f"STATUS={line}"] if line else []
