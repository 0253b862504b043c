"""How long the REST API takes to answer at a fixed rate of arrivals, and how long its cold start in Lambda takes.

Open loop, from a second process: a request begins when it is due, whether or not earlier ones have been answered,
and its latency counts from that instant. So a server that stalls is charged with everybody who had to wait. The
server is `smartdrive-api serve` as at home, with a PostgreSQL of its own that is as durable as ever.

Run with `make bench-api`. What the requests are says `api_routes.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from smartdrive_api.database import database
from smartdrive_api.services import Services, utc_now
from smartdrive_api.settings import Settings
from smartdrive_api.vehicles.vin import vehicle_id
from sqlalchemy import Engine

from benchmarks.api_figures import published
from benchmarks.api_routes import ROUTES, Call, Owner, Route, filled

_WARM_UP_S: Final = 3.0
_COLD_STARTS: Final = 5
_PATIENCE_S: Final = 30.0
_READY_S: Final = 120
EPILOG: Final = """examples:
  python -m benchmarks.api_load                          100 requests a second for 30 s
  python -m benchmarks.api_load --workers 1              one process, as without --workers at home
  python -m benchmarks.api_load --rate 300 --seconds 10  more, for a shorter time
  python -m benchmarks.api_load --only /v1/vehicles      one route alone
"""


@dataclass(slots=True)
class Measured:
    """What was seen of one route; latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Serve, load, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (default 100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for how long (default 30)")
    parser.add_argument("--days", type=int, default=365, help="of figures of each vehicle (default 365)")
    parser.add_argument("--workers", type=int, default=2, help="processes that answer (default 2)")
    parser.add_argument("--only", metavar="ROUTE", help="routes whose template this is")
    arguments = parser.parse_args()
    routes = [route for route in ROUTES if arguments.only in {None, route.name}]
    if not routes:
        parser.error(f"no route is called {arguments.only}; there are {', '.join(one.name for one in ROUTES)}")
    console = Console()
    # Not pytest's nor a user's temporary directory: the database's user has to be able to enter it.
    with tempfile.TemporaryDirectory(prefix="sd-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)
        settings = settings_below(home)
        with served(home, settings, arguments.workers) as url, database(settings) as engine:
            services = Services.of(settings, engine, utc_now)
            with engine.begin() as connection:
                owners = filled(connection, services, utc_now())
            console.print(f"{_figures(engine, owners, settings, arguments.days):,} rows of figures are published")
            asyncio.run(load(url, owners, routes, arguments.rate, _WARM_UP_S))
            measured, took_s = asyncio.run(load(url, owners, routes, arguments.rate, arguments.seconds))
            console.print(load_table(measured, arguments.rate, took_s))
            cold = [
                cold_start(settings, owners[0], engine.url.render_as_string(hide_password=False))
                for _ in range(_COLD_STARTS)
            ]
    console.print(cold_table(cold))


def _figures(engine: Engine, owners: list[Owner], settings: Settings, days: int) -> int:
    """Publish figures of the last days for all cars; how many rows."""
    secret = settings.lake_key()
    vehicles = [vehicle_id(vin, secret) for owner in owners for vin in owner.vins]
    first = utc_now().date() - timedelta(days=days - 1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return published(connection, vehicles, first, days)


def settings_below(home: Path) -> Settings:
    """Settings of a server whose files are all below one directory."""
    secret = home / "lake-secret"
    secret.write_text("a secret of a lake for measuring")
    return Settings(
        database_directory=home / "postgres",
        signing_keys=SecretStr(f"file:{home}/keys.json"),
        lake_secret=SecretStr(f"file:{secret}"),
        landing_url=str(home / "landing"),
        trusted_proxies="127.0.0.0/8",  # type: ignore[arg-type]  # separated by commas, as in the environment
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """What a process needs to have these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMARTDRIVE_")}
    return kept | {
        "SMARTDRIVE_API_DATABASE_DIRECTORY": str(settings.database_directory),
        "SMARTDRIVE_API_SIGNING_KEYS": settings.signing_keys.get_secret_value(),
        "SMARTDRIVE_API_LAKE_SECRET": settings.lake_secret.get_secret_value(),
        "SMARTDRIVE_API_LANDING_URL": settings.landing_url,
        "SMARTDRIVE_API_TRUSTED_PROXIES": ",".join(map(str, settings.trusted_proxies)),
    }


@contextmanager
def served(home: Path, settings: Settings, workers: int) -> Iterator[str]:
    """The URL of a server that is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", home / "server.log"
    program = str(Path(sys.executable).with_name("smartdrive-api"))
    with log.open("w") as output:
        server = subprocess.Popen(  # noqa: S603
            [program, "serve", "--port", str(port), "--workers", str(workers)],
            env=environment_of(settings),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + _READY_S
        while not _is_ready(url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server does not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=20).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


async def load(
    url: str, owners: list[Owner], routes: list[Route], rate: float, seconds: float
) -> tuple[dict[str, Measured], float]:
    """Send requests at a rate; what was seen of each route, and the seconds until the last answer."""
    chance = random.Random(1)  # noqa: S311 - the same load each time
    chosen = chance.choices(routes, [route.share for route in routes], k=round(rate * seconds))
    planned = [(route, route.make(chance.choice(owners), chance)) for route in chosen]
    measured: dict[str, Measured] = defaultdict(Measured)
    connections = _Connections(url)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, (route, call) in enumerate(planned):
            due = began + number / rate
            await asyncio.sleep(due - time.perf_counter())
            group.create_task(_sent(connections, route, call, due, measured[f"{route.method} {route.name}"]))
    took_s = time.perf_counter() - began
    connections.close()
    return measured, took_s


async def _sent(connections: _Connections, route: Route, call: Call, due: float, seen: Measured) -> None:
    try:
        status = await asyncio.wait_for(connections.answered(route.method, call), _PATIENCE_S)
    except (OSError, EOFError, TimeoutError) as error:
        seen.wrong[type(error).__name__] += 1
        return
    seen.latencies.append(time.perf_counter() - due)
    if status != call.expected:
        seen.wrong[str(status)] += 1


class _Connections:
    """HTTP/1.1 over connections that are kept, in a tenth of the time that a client for all cases takes.

    The server shares the machine: what the load costs is missing there.
    """

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def answered(self, method: str, call: Call) -> int:
        """Send a request and read its answer; the status."""
        kept = self._kept() or await asyncio.open_connection(self._host, self._port)
        reader, writer = kept
        headers = {"host": self._host, "content-length": str(len(call.content))} | call.headers
        lines = [
            f"{method} {call.path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode() + call.content)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"\r\ncontent-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        self._idle.append(kept)
        return int(head.split(" ", 2)[1])

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # the server closes what is idle for long
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Close what is idle."""
        for _, writer in self._idle:
            writer.close()


def cold_start(settings: Settings, owner: Owner, database_url: str) -> dict[str, float]:
    """What a fresh process needs for its first request; see `api_cold_start.py`."""
    environment = environment_of(settings) | {
        "SMARTDRIVE_API_DATABASE_URL": database_url,
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
        ),
        "AWS_LAMBDA_FUNCTION_NAME": "smartdrive-api",
        "ACCESS_TOKEN": owner.access_token,
    }
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.api_cold_start"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"process": time.perf_counter() - began}


def load_table(measured: dict[str, Measured], rate: float, took_s: float) -> Table:
    """Latencies in milliseconds, by route and of all."""
    every = [latency for one in measured.values() for latency in one.latencies]
    table = Table(
        title=f"{len(every):,} requests, {rate:g}/s asked for, {len(every) / took_s:.1f}/s answered",
        title_justify="left",
    )
    table.add_column("route")
    for column in ("requests", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors"):
        table.add_column(column, justify="right")
    wrong: Counter[str] = sum((one.wrong for one in measured.values()), Counter())
    rows = [(name, one.latencies, one.wrong) for name, one in sorted(measured.items())]
    for name, latencies, errors in [*rows, ("all", every, wrong)]:
        figures = [f"{1000 * percentile(latencies, share):.1f}" for share in (0.5, 0.95, 0.99, 1.0)]
        said = ", ".join(f"{count} x {what}" for what, count in errors.items()) or "0"
        table.add_row(name, f"{len(latencies):,}", *figures, said)
    return table


def cold_table(cold: list[dict[str, float]]) -> Table:
    """Seconds of cold starts, as milliseconds: the median and the worst."""
    table = Table(title=f"Cold start of the Lambda handler, {len(cold)} fresh processes", title_justify="left")
    table.add_column("what")
    for column in ("median ms", "worst ms"):
        table.add_column(column, justify="right")
    meanings = {
        "imported": "import of the handler, which makes the app",
        "first": "first answer",
        "second": "second answer",
        "process": "the process from its start to its end",
    }
    for name, meaning in meanings.items():
        found = [one[name] for one in cold]
        table.add_row(meaning, f"{1000 * percentile(found, 0.5):.0f}", f"{1000 * max(found):.0f}")
    return table


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else float("nan")


if __name__ == "__main__":
    main()
