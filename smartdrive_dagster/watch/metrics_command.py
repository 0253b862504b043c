"""`smartdrive metrics`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Final

import typer

EPILOG: Final = (
    "Examples:\n\n  smartdrive metrics\n\n  smartdrive metrics --port 9108\n\n"
    "  smartdrive metrics --output /var/lib/prometheus/node-exporter/smartdrive.prom"
)
_DAGSTER_HOME: Final = Path(".smartdrive/dagster")
_HEARTBEAT: Final = Path(".smartdrive/up/lander.json")


def metrics(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /metrics there until Ctrl-C, instead of printing")
    ] = None,
    address: Annotated[str, typer.Option(help="With --port: the address to listen on")] = "127.0.0.1",
    every: Annotated[
        float, typer.Option(min=0, help="With --port: seconds for which what was measured is shown again")
    ] = 30.0,
    output: Annotated[Path | None, typer.Option(help="Replace this file whole, instead of printing")] = None,
    daemon: Annotated[
        bool, typer.Option("--daemon/--no-daemon", help="Look into Dagster's storage, DAGSTER_HOME, too")
    ] = True,
    heartbeat: Annotated[Path, typer.Option(help="The lander's heartbeat file")] = _HEARTBEAT,
) -> None:
    """Write what the lake, Dagster and the lander say of themselves in numbers, as Prometheus reads it."""
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.metrics.exposition import openmetrics
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.watch.measures import measure

    settings = Settings()
    home = Path(os.environ.get("DAGSTER_HOME") or _DAGSTER_HOME).absolute() if daemon else None

    def text() -> str:
        lakehouse, store = Lakehouse(settings.lake_url), LandingStore(settings.landing_url)
        return openmetrics(measure(lakehouse, store, at=datetime.now(UTC), dagster_home=home, heartbeat=heartbeat))

    if port is not None:
        server = MetricsServer((address, port), text, every)
        typer.echo(f"http://{address}:{server.server_port}/metrics")
        with server:
            server.serve_forever()
    elif output is not None:
        fresh = output.with_name(f".{output.name}.{os.getpid()}")
        fresh.write_text(text())
        fresh.replace(output)
    else:
        typer.echo(text(), nl=False)


class MetricsServer(ThreadingHTTPServer):
    """Answers GET /metrics, measuring at most once a while, however many ask.

    Args:
        at: address and port; port 0 for any free one.
        text: measures.
        every_s: seconds for which an answer stays good.
    """

    daemon_threads = True

    def __init__(self, at: tuple[str, int], text: Callable[[], str], every_s: float) -> None:
        super().__init__(at, _Handler)
        self._text, self._every_s = text, every_s
        self._lock = threading.Lock()
        self._last: str | None = None
        self._good_until_s = 0.0

    def text(self) -> str:
        """What was measured last, or now."""
        with self._lock:
            if self._last is None or time.monotonic() >= self._good_until_s:
                self._last = self._text()
                self._good_until_s = time.monotonic() + self._every_s
            return self._last


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0  # who opens a connection and says nothing does not keep a thread

    def do_GET(self) -> None:
        """Answer one scrape; a lake that cannot be looked at is 503, which Prometheus shows as `up 0`."""
        from smartdrive_dagster.metrics.exposition import CONTENT_TYPE

        assert isinstance(self.server, MetricsServer)  # noqa: S101 - who made us
        if self.path != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "not found\n")
            return
        try:
            text = self.server.text()
        except Exception as error:  # an error's own words may hold an address: its name must do
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{type(error).__name__}\n")
            return
        self._answer(HTTPStatus.OK, CONTENT_TYPE, text)

    def _answer(self, status: HTTPStatus, media_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: a scrape a minute is no news."""
