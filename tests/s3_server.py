"""S3 on the loopback: moto behind a server that keeps connections, as S3 does, and looks up its services once.

Beside `moto_server` a commit takes a third of the time. Example: python -m tests.s3_server 5000
"""

from __future__ import annotations

import sys
from functools import cache

import waitress
from moto import backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer


class _Channel(HTTPChannel):  # type: ignore[misc]
    def send_continue(self) -> None:
        """Say that a body may come, where one will: waitress waits for it even if it is empty."""
        if self.request.content_length:
            super().send_continue()


if __name__ == "__main__":
    list_modules = backends.list_of_moto_modules
    backends.list_of_moto_modules = cache(lambda: frozenset(list_modules()))  # type: ignore[assignment]
    BaseWSGIServer.channel_class = _Channel
    waitress.serve(
        DomainDispatcherApplication(create_backend_app), host="127.0.0.1", port=int(sys.argv[1]), threads=16
    )
