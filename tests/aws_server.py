"""An AWS on the loopback: moto behind a server that keeps connections, as AWS does, and looks services up once.

Beside `moto_server` a commit on S3 takes a third of the time. Example: python -m tests.aws_server 5000
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

Application: TypeAlias = Callable[..., Iterable[bytes]]
ROOT: Final = Path(__file__).parents[1]


@contextmanager
def running(module: str, folder: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[str]:
    """Run a module that serves on a port, its first argument, as long as the block; the URL.

    Args:
        module: such as this one.
        folder: where it works, and writes server.log.
        environment: its variables.
        arguments: its further ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", module, str(port), *arguments]
    variables = {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])}
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=variables, cwd=folder)
    try:
        _wait_for(port, server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with socket.socket() as client:
            client.settimeout(1)
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"the server did not open its port: {log.read_text()}")


def serve(port: int, around: Callable[[Application], Application] = lambda app: app) -> None:
    """Serve moto until the process is ended.

    Args:
        port: on the loopback.
        around: sees each request before moto does.
    """
    import waitress
    from moto import backends
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from waitress.channel import HTTPChannel
    from waitress.server import BaseWSGIServer

    class Channel(HTTPChannel):  # type: ignore[misc]
        def send_continue(self) -> None:
            """Say that a body may come, where one will: waitress waits for it even if it is empty."""
            if self.request.content_length:
                super().send_continue()

    list_modules = backends.list_of_moto_modules
    modules: Any = cache(lambda: frozenset(list_modules()))
    backends.list_of_moto_modules = modules
    BaseWSGIServer.channel_class = Channel
    waitress.serve(
        around(DomainDispatcherApplication(create_backend_app)),
        host="127.0.0.1",
        port=port,
        threads=16,
        connection_limit=10_000,  # the pools of a few processes hold its 100, and the next one waits minutes
        asyncore_use_poll=True,  # select() ends at 1,024
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
