"""Take the picture of a lineage page: a demo lake, Dagster's UI, headless Chromium.

Run as ``.venv/bin/python docs/take_screenshot.py`` from anywhere; writes ``docs/images/lineage.png``. Nothing but
that file is left behind.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

ROOT: Final = Path(__file__).resolve().parents[1]
BIN: Final = Path(sys.executable).parent
PICTURE: Final = ROOT / "docs" / "images" / "lineage.png"
# One mart with all that it comes from: the graph of all tables is too tall for a picture that can be read.
PATH: Final = "/assets/marts/vehicle_daily?view=lineage&lineageScope=upstream&lineageDepth=6"
# The graph shows its nodes in full in a wide window only; the picture is that window, made smaller.
WINDOW: Final = (2200, 960)
SCALE: Final = 0.7
_PATIENCE_S: Final = 120.0
CHROMIUM: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def main() -> None:
    """Make a lake, serve it, and photograph its lineage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PICTURE, help=f"the PNG to write (default {PICTURE})")
    parser.add_argument("--home", type=Path, help="where `smartdrive demo` ran (default: a small one runs now)")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium on the PATH: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="smartdrive-screenshot-") as name:
        scratch = Path(name)
        home: Path = given.home or scratch
        if given.home is None:
            demo = (
                BIN / "smartdrive",
                "demo",
                "--cars",
                "1",
                "--days",
                "1",
                "--road",
                "0",
            )  # every table, few rows
            subprocess.run(demo, cwd=home, env=_environment(home), check=True, capture_output=True)  # noqa: S603
        port = free_port()
        server = (BIN / "dagster-webserver", "-w", ROOT / "workspace.yaml", "-h", "127.0.0.1", "-p", str(port))
        profile = scratch / "chromium"
        browser = [chromium, *CHROMIUM, f"--user-data-dir={profile}", "about:blank"]
        with running(server, scratch, _environment(home)), running(browser, scratch, os.environ):
            _wait_for_port(port, scratch / "dagster-webserver.log")
            with connect(page_socket(profile), max_size=None) as socket_:
                given.output.parent.mkdir(exist_ok=True)
                given.output.write_bytes(_photograph(Page(socket_), f"http://127.0.0.1:{port}{PATH}"))
    sys.stdout.write(f"{given.output}: {given.output.stat().st_size:,} bytes\n")


class Page:
    """One tab, spoken to through the DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0

    def call(self, method: str, **parameters: object) -> Any:
        """Call one method and return its result; events in between are passed over."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=_PATIENCE_S))
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page never came to: {expression}")
            time.sleep(0.5)


def _photograph(page: Page, url: str) -> bytes:
    page.call("Page.enable")
    width, height = WINDOW
    page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=SCALE, mobile=False
    )
    page.call("Page.navigate", url=url)
    page.wait_until("!!document.body && document.body.innerText.includes('bronze')")
    page.evaluate(_PLAIN_BACKGROUND)
    page.wait_until("(document.body.innerText.match(/Passed/g) || []).length >= 5")
    time.sleep(3)  # the health of the assets arrives in several answers
    return base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"])


# A dotted background doubles the size of the file.
_PLAIN_BACKGROUND: Final = """
[...document.querySelectorAll('div')].filter(d => d.offsetWidth > 1000)
  .forEach(d => d.style.setProperty('background-image', 'none', 'important'))
"""


def _environment(home: Path) -> Mapping[str, str]:
    own = {
        "DAGSTER_HOME": str(home / ".smartdrive" / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "SMARTDRIVE_LAKE_URL": str(home / "lake"),
        "SMARTDRIVE_LANDING_URL": str(home / "landing"),
        "SMARTDRIVE_SECRET_FILE": str(home / ".smartdrive" / "secret"),
    }
    return {**os.environ, **own}


@contextmanager
def running(command: Sequence[str | Path], home: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A process and all its children, which end with the block."""
    with (home / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_port() -> int:
    """A port that nobody listens on, on the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise TimeoutError(f"dagster-webserver did not open its port: {log.read_text()[-2000:]}")


def page_socket(profile: Path) -> str:
    """The WebSocket address of the browser's first tab."""
    announced = profile / "DevToolsActivePort"
    deadline = time.monotonic() + _PATIENCE_S
    while not announced.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("chromium did not open its DevTools port")
        time.sleep(0.2)
    port = announced.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
        tabs = json.load(answer)
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))


if __name__ == "__main__":
    main()
