"""A door to an object store that sees each request before it goes through.

It runs beside the processes that use it, never in one of them: some calls of delta-rs hold the interpreter's lock
while they wait for an answer, and would wait for ever for a door of their own process.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

_CHUNK: Final = 1 << 16


@contextmanager
def gate(endpoint: str, passes: Callable[[str], bool]) -> Iterator[str]:
    """The URL of a door to the object store at `endpoint`.

    Args:
        endpoint: where the store listens.
        passes: is told the path of each PUT, and says whether it goes through.
    """
    parts = urlsplit(endpoint)
    upstream = (str(parts.hostname), int(parts.port or 80))
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=_accept, args=(listener, upstream, passes), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket, upstream: tuple[str, int], passes: Callable[[str], bool]) -> None:
    with suppress(OSError):  # the door is closed
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(upstream)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pump, args=(client, server, passes), daemon=True).start()
            threading.Thread(target=_pump, args=(server, client, None), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, passes: Callable[[str], bool] | None) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            # No client sends a request before it has the answer to the last: each begins a chunk.
            if passes is not None and chunk.startswith(b"PUT ") and not passes(chunk.split(b" ", 2)[1].decode()):
                break
            target.sendall(chunk)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
