"""`smartdrive up` as a home runs it: real programs on loopback, killed and stopped in every way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import silver
from smartdrive_dagster.up.programs import script
from tests.messages import telemetry

PROGRAMS = ["broker", "lander", "code-server", "daemon", "webserver", "api"]
STOPS_WITHIN_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(reached: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


class Home:
    """A directory in which `smartdrive up` runs."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="up"))  # short: a socket lies below
        self.directory.chmod(0o755)  # root's PostgreSQL runs as another
        self.ui, self.broker, self.api = free_port(), free_port(), free_port()
        self.certificates = self.directory / ".smartdrive" / "certificates"
        self.output = self.directory / "output"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        outside = ("SMARTDRIVE_", "DAGSTER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
        return kept | {"HOME_OF_THE_TEST": str(self.directory)}

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script("smartdrive"), "up", *options],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, **environment: str) -> None:
        command = [script("smartdrive"), "up", "--port", str(self.ui), "--broker-port", str(self.broker)]
        command += ["--api-port", str(self.api)]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--patience", "5"],
                cwd=self.directory,
                env=self.environment | environment,
                stdout=output,
                stderr=output,
            )

    def health(self) -> dict[str, dict[str, Any]]:
        """What was written last, by program."""
        try:
            written = json.loads((self.directory / ".smartdrive" / "up" / "health.json").read_bytes())
        except FileNotFoundError:
            return {}
        return {one["name"]: one for one in written["programs"]} if time.time() - written["at"] < 10 else {}

    def are_healthy(self, *names: str) -> bool:
        health = self.health()
        return bool(health) and all(health[name]["state"] == "healthy" for name in names or PROGRAMS)

    def processes(self) -> set[int]:
        """All processes that `smartdrive up` has begun, by their environment."""
        mark = f"HOME_OF_THE_TEST={self.directory}".encode()
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.add(int(folder.name))
            except OSError:
                continue
        return found

    def database(self) -> list[int]:
        """The PostgreSQL of the API, if it runs; it has an environment of its own."""
        try:
            pid = int(
                (self.directory / ".smartdrive" / "api" / "postgres" / "postmaster.pid").read_text().split()[0]
            )
        except (FileNotFoundError, IndexError):
            return []
        return [pid] if Path(f"/proc/{pid}").exists() else []

    def prober(self) -> int:
        (pid,) = [pid for pid in self.processes() if b"up.prober" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return pid

    def said(self) -> list[str]:
        return self.output.read_text().splitlines()

    def logs(self) -> str:
        folder = self.directory / ".smartdrive" / "up" / "logs"
        return "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in sorted(folder.glob("*.log")))

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pid in [*self.processes(), *self.database()]:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """A running group that tests share; none of them ends it, and each leaves it healthy."""
    home = Home()
    try:
        home.start()
        deadline = time.monotonic() + 90
        while not home.are_healthy() and home.supervisor.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert home.are_healthy(), f"{home.output.read_text()}\n{home.logs()}"
        yield home
    finally:
        home.end()


@pytest.fixture
def empty_home() -> Iterator[Home]:
    home = Home()
    try:
        yield home
    finally:
        home.end()


def publish(home: Home, payload: bytes) -> None:
    command = [script("smartdrive-edge"), "certs", "device", "edge-00001", "--folder", str(home.certificates)]
    subprocess.run([*command, "--if-missing"], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=home.certificates / "ca.crt")
    context.load_cert_chain(home.certificates / "edge-00001.crt", home.certificates / "edge-00001.key")
    client = Client(CallbackAPIVersion.VERSION2, "edge-00001", protocol=MQTTProtocolVersion.MQTTv311)
    client.tls_set_context(context)
    client.connect("127.0.0.1", home.broker)
    client.loop_start()
    client.publish("vehicle/edge-00001/telemetry", payload, qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def landed(home: Home) -> list[bytes | None]:
    store = LandingStore(str(home.directory / "landing"))
    return [line.payload for entry in store.list().objects for line in read_lines(store, entry)]


def test_the_terminal_names_each_program_once_it_is_healthy(home: Home) -> None:
    for name in PROGRAMS:
        assert f"{name}: healthy" in home.said()
    until(lambda: any(line.startswith("all healthy after") for line in home.said()), "the last line")


def test_the_state_is_the_owners_alone_and_no_port_takes_orders(home: Home) -> None:
    state = home.directory / ".smartdrive" / "up"
    assert state.stat().st_mode & 0o777 == 0o700
    configuration = (state / "supervisord.conf").read_text()
    assert "inet_http_server" not in configuration
    assert "[unix_http_server]" in configuration


def test_the_ui_answers_and_has_loaded_the_code(home: Home) -> None:
    query = b'{"query": "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"}'
    request = urllib.request.Request(
        f"http://127.0.0.1:{home.ui}/graphql", query, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        assert json.load(answer)["data"]["repositoriesOrError"]["nodes"] != []


def test_a_message_of_a_device_lands_and_reaches_silver(home: Home) -> None:
    payload = telemetry(1, at=datetime.now(UTC) - timedelta(minutes=20), samples=60)
    publish(home, payload)
    until(lambda: landed(home) == [payload], "the message")
    lakehouse = Lakehouse(str(home.directory / "lake"))
    until(lambda: lakehouse.open(silver.TELEMETRY).count() == 60, "the samples", 90)


def test_what_gold_makes_of_it_is_published_to_the_api(home: Home) -> None:
    (published,) = home.database()
    data = home.directory / ".smartdrive" / "api" / "postgres"
    assert published
    with psycopg.connect(host=str(data), user="smartdrive", dbname="postgres", autocommit=True) as connection:

        def trips() -> int:
            counted = connection.execute("select count(*) from serving.trips").fetchone()
            return counted[0] if counted else 0

        until(lambda: trips() == 1, "the trip in the API's database", 180)


def test_status_is_zero_while_all_is_healthy(home: Home) -> None:
    until(home.are_healthy, "health")
    assert home.up("--status").returncode == 0
    told = json.loads(home.up("--status", "--json").stdout)
    assert (told["running"], told["healthy"]) == (True, True)
    assert [one["name"] for one in told["programs"]] == PROGRAMS


def test_a_second_start_says_that_it_runs_already_and_where(home: Home) -> None:
    second = home.up("--port", str(free_port()), "--broker-port", str(free_port()))
    assert second.returncode == 1
    assert "runs already" in second.stderr
    assert f"http://127.0.0.1:{home.ui}" in second.stderr
    assert home.supervisor.poll() is None


def test_a_program_that_hangs_is_noticed_and_one_that_is_killed_comes_back(home: Home) -> None:
    hung = home.health()["lander"]["pid"]
    os.kill(hung, signal.SIGSTOP)
    for name in [one for one in PROGRAMS if one != "lander"]:
        killed = home.health()[name]["pid"]
        os.kill(killed, signal.SIGKILL)
        until(lambda name=name, killed=killed: home.health().get(name, {}).get("pid", killed) != killed, name)
        until(lambda name=name: home.are_healthy(name), f"{name} to be healthy again")
        assert f"{name}: restarted, its process had ended" in home.said()
    until(lambda: home.health()["lander"]["pid"] not in {0, hung}, "another lander")
    until(home.are_healthy, "health")
    (why,) = [line for line in home.said() if line.startswith("lander: restarted")]
    assert why.startswith("lander: restarted, did not answer for")
    os.kill(home.health()["lander"]["pid"], signal.SIGKILL)
    until(lambda: "lander: restarted, its process had ended" in home.said(), "the lander's restart")
    until(home.are_healthy, "health")


def test_the_prober_comes_back_too(home: Home) -> None:
    before = {name: one["pid"] for name, one in home.health().items()}
    os.kill(home.prober(), signal.SIGKILL)
    health = home.directory / ".smartdrive" / "up" / "health.json"
    at = json.loads(health.read_bytes())["at"]
    until(lambda: json.loads(health.read_bytes())["at"] > at + 0.5, "a new look")
    until(home.are_healthy, "health")
    assert {name: one["pid"] for name, one in home.health().items()} == before


def test_sigterm_ends_all_in_order_and_leaves_nothing(empty_home: Home) -> None:
    home = empty_home
    home.start()
    until(home.are_healthy, "a healthy group", 90)
    home.supervisor.terminate()
    home.supervisor.wait(STOPS_WITHIN_S)
    log = (home.directory / ".smartdrive" / "up" / "logs" / "supervisord.log").read_text()
    ending = log[log.rindex("received SIGTERM") :]
    order = [line.split("stopped: ")[1].split()[0] for line in ending.splitlines() if "stopped: " in line]
    assert order == ["health", *reversed(PROGRAMS)]
    assert home.processes() == set()
    assert home.database() == []
    assert home.up("--status").returncode == 2


@pytest.mark.parametrize("without", ["setpriv", "the prober"])
def test_nothing_is_left_when_supervisord_is_killed(empty_home: Home, without: str) -> None:
    empty_home.start(**({"PATH": ""} if without == "setpriv" else {}))
    until(lambda: empty_home.are_healthy("broker", "lander"), "the first two programs")
    if without == "the prober":
        os.kill(empty_home.prober(), signal.SIGKILL)
    empty_home.supervisor.kill()
    empty_home.supervisor.wait()
    until(lambda: empty_home.processes() == set(), "all processes to end", 60)


def test_a_taken_port_is_named_before_anything_starts(empty_home: Home) -> None:
    for option in ("--port", "--broker-port", "--api-port"):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
            free = {"--port": str(empty_home.ui), "--broker-port": str(empty_home.broker)}
            free |= {"--api-port": str(empty_home.api)} | {option: port}
            refused = empty_home.up(*[text for pair in free.items() for text in pair])
        assert refused.returncode == 1
        assert f"127.0.0.1:{port}" in refused.stderr
        assert option in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    assert not (empty_home.directory / ".smartdrive" / "certificates").exists()


def test_a_broker_elsewhere_needs_a_certificate_for_the_lander(empty_home: Home) -> None:
    refused = empty_home.up("--no-broker", "--broker-host", "broker.home", "--port", str(empty_home.ui))
    assert refused.returncode == 1
    assert "lander.key missing" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_directory_too_deep_for_a_socket_is_named(empty_home: Home) -> None:
    deep = empty_home.directory / ("d" * 90)
    deep.mkdir()
    command = [script("smartdrive"), "up"]
    refused = subprocess.run(
        command, cwd=deep, env=empty_home.environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "shorter path" in refused.stderr


def test_nothing_runs_where_nothing_was_started(empty_home: Home) -> None:
    assert empty_home.up("--status").returncode == 2
    assert json.loads(empty_home.up("--status", "--json").stdout)["running"] is False
    assert list(empty_home.directory.iterdir()) == []
