"""The commands of compose, run for real from wheels in a venv of their own; only the engine is missing.

Paths, ports and the addresses of other services are put in place of those inside containers; the services that are
not ours are a PostgreSQL, a server that speaks S3, and Mosquitto.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
import pytest
import requests
from smartdrive_api.embedded import embedded_postgres

from tests.containers.reading import OURS, ROOT, compose, stages
from tests.messages import telemetry
from tests.object_store import object_store

SERVICES: dict[str, Any] = compose()["services"]
SCRIPTS = ("dagster", "dagster-daemon", "dagster-webserver")
LISTENS_ON = {"broker": "8883", "api": "8000", "code": "4000", "webserver": "3000", "metrics": "9108"}
INSIDE = ("3000", "4000", "8000", "8883", "9108")


def installed(folder: Path) -> Path:
    """A venv with our three wheels; what they need lies beside it, and none of it is ours."""
    wheels, venv = folder / "wheels", folder / "venv"
    for source in (ROOT, ROOT / "api", ROOT / "edge"):
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
        subprocess.run(build, cwd=source, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--quiet"]
    subprocess.run([*pip, *map(str, wheels.glob("*.whl"))], check=True, capture_output=True)
    (packages,) = venv.glob("lib/python3.*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    # Appended, so that what is installed here counts first; .pth files there, of editable installs, are not read.
    (packages / "others.pth").write_text("\n".join(others))
    for script in entry_points(group="console_scripts"):
        if script.name in SCRIPTS:
            file = venv / "bin" / script.name
            file.write_text(
                f"#!{python}\nimport sys\nfrom {script.module} import {script.attr} as main\nsys.exit(main())"
            )
            file.chmod(0o755)
    return venv


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Home:
    """What runs, as compose says."""

    def __init__(self, folder: Path, endpoint: str, database: str) -> None:
        self.folder, self._endpoint, self._database = folder, endpoint, database
        self.venv = installed(folder)
        self.ports = {inside: free_port() for inside in INSIDE}
        self._running: list[subprocess.Popen[bytes]] = []
        for name in ("dagster", "api", "broker", "run", "work"):
            (folder / name).mkdir()
        shutil.copy(ROOT / "dagster.yaml", folder / "dagster")
        workspace = (ROOT / "containers/workspace.yaml").read_text()
        (folder / "workspace.yaml").write_text(self.put_in_place(workspace))

    def put_in_place(self, text: str) -> str:
        """Paths and ports of this machine for those inside a container."""
        paths = {
            "/opt/smartdrive": str(self.folder),
            "/run/secrets": str(self.folder / "secrets"),
            "/run/certificates": str(self.folder / "secrets/certificates"),
            "/run/smartdrive": str(self.folder / "run"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - inside a container, and never here
        }
        for inside, here in paths.items():
            text = text.replace(inside, here)
        return re.sub(rf"\b({'|'.join(INSIDE)})\b", lambda port: self.ports[port[0]], text)

    def environment(self, service: str) -> dict[str, str]:
        given = SERVICES[service].get("environment", {}) | {"HOME": str(self.folder), "LANG": "C.UTF-8"}
        told = {
            name: self.put_in_place(re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)) for name, value in given.items()
        }
        elsewhere = {
            "AWS_ENDPOINT_URL": self._endpoint,
            "SMARTDRIVE_API_DATABASE_URL": self._database,
            "SMARTDRIVE_SERVING_URL": self._database,
            "SMARTDRIVE_CODE_HOST": "127.0.0.1",
        }
        return {
            **told,
            **{name: value for name, value in elsewhere.items() if name in told},
            "PATH": f"{self.venv}/bin:{os.environ['PATH']}",
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def command(self, service: str) -> list[str]:
        told = SERVICES[service].get("command") or stages(OURS[SERVICES[service]["image"]])[-1].exec_form("CMD")
        if service == "broker":
            return [*map(self.put_in_place, told), "--port", self.ports["8883"]]
        if service == "lander":
            told = ["localhost" if part == "broker" else part for part in told]
            return [*map(self.put_in_place, told), "--port", self.ports["8883"]]
        return [self.put_in_place(part) for part in told]

    def run(self, service: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command or self.command(service),
            cwd=self.folder / "work",
            env=self.environment(service),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self, service: str) -> None:
        with (self.folder / f"{service}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(service),
                cwd=self.folder / "work",
                env=self.environment(service),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)

    def is_healthy(self, service: str) -> bool:
        """Whether the service's own health check says so."""
        kind, *told = SERVICES[service]["healthcheck"]["test"]
        command = [self.put_in_place(part) for part in told]
        return self.run(service, ["sh", "-c", *command] if kind == "CMD-SHELL" else command).returncode == 0

    def wait_for(self, service: str) -> None:
        """Wait until it is healthy: its check costs seconds of importing, so it is asked when the port is open."""
        if service in LISTENS_ON:
            self.wait_until(lambda: self._is_open(self.ports[LISTENS_ON[service]]), service)
        self.wait_until(lambda: self.is_healthy(service), service)

    @staticmethod
    def _is_open(port: str) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", int(port))) == 0

    def wait_until(self, is_so: Callable[[], bool], service: str) -> None:
        deadline = time.monotonic() + 120
        while not is_so():
            assert time.monotonic() < deadline, (self.folder / f"{service}.log").read_text()
            time.sleep(0.5)

    def stop(self) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _open(folder: Path) -> Path:
    """The folder, which PostgreSQL's user can enter now: it does not run as root."""
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """Secrets and certificates as `containers/make-secrets` makes them, a bucket, and the tables of the API."""
    if os.geteuid() != 0:
        pytest.skip("containers/make-secrets gives files to the users of containers, which only root can")
    with (
        tempfile.TemporaryDirectory(prefix="sd-", ignore_cleanup_errors=True) as name,
        object_store(Path(name) / "s3") as endpoint,
        embedded_postgres(_open(Path(name)) / "postgres") as database,
    ):
        folder = Path(name)
        made = Home(folder, endpoint, database)
        environment = {"PATH": f"{made.venv}/bin:{os.environ['PATH']}", "HOME": str(folder)}
        script = ["sh", str(ROOT / "containers/make-secrets"), "127.0.0.1"]
        for _ in range(2):  # the second time it changes nothing
            subprocess.run(script, cwd=folder, env=environment, check=True, capture_output=True)
            kept = {path: path.read_bytes() for path in (folder / "secrets").rglob("*") if path.is_file()}
        assert all(path.read_bytes() == content for path, content in kept.items())
        try:
            for service in ("bucket", "migrate"):
                done = made.run(service)
                assert done.returncode == 0, done.stderr
            yield made
        finally:
            made.stop()


@pytest.mark.timeout(400)
def test_a_cars_message_comes_through_broker_and_lander_into_the_bucket_and_is_measured(home: Home) -> None:
    home.start("broker")
    home.wait_for("broker")
    home.start("lander")
    home.wait_for("lander")
    certificates = home.folder / "secrets/certificates"
    device = [home.venv / "bin/smartdrive-edge", "certs", "device", "edge-00001", "--folder", certificates]
    subprocess.run(device, check=True, capture_output=True)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="edge-00001")
    client.tls_set(
        str(certificates / "ca.crt"),
        str(certificates / "edge-00001.crt"),
        str(certificates / "edge-00001.key"),
        tls_version=ssl.PROTOCOL_TLS_CLIENT,
    )
    client.connect("localhost", int(home.ports["8883"]))
    client.loop_start()
    client.publish("vehicle/edge-00001/telemetry", telemetry(1), qos=1).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()
    listing = (
        "import boto3; found = boto3.client('s3').list_objects_v2(Bucket='smartdrive').get('Contents', []); "
        "print(*[one['Key'] for one in found])"
    )
    home.wait_until(lambda: "landing/telemetry/" in home.run("lander", ["python", "-c", listing]).stdout, "lander")
    home.start("metrics")
    home.wait_for("metrics")
    found = requests.get(f"http://127.0.0.1:{home.ports['9108']}/metrics", timeout=60).text
    assert "smartdrive_lake_objects_waiting 1\n" in found
    assert "smartdrive_lander_connected 1\n" in found


@pytest.mark.timeout(400)
def test_the_api_is_ready_on_a_database_that_was_migrated(home: Home) -> None:
    home.start("api")
    home.wait_for("api")
    answer = requests.get(f"http://127.0.0.1:{home.ports['8000']}/readyz", timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    smoke = [str(ROOT / ".github/deploy/smoke")]
    done = home.run("api", [*smoke, f"http://127.0.0.1:{home.ports['8000']}"])
    assert done.returncode == 0, done.stderr
    assert (
        home.run("api", [*smoke, f"http://127.0.0.1:{home.ports['4000']}"]).returncode == 1
    )  # nobody is there yet
    assert (home.folder / "api/signing-keys.json").stat().st_mode & 0o077 == 0


@pytest.mark.timeout(400)
@pytest.mark.nightly
def test_webserver_and_daemon_find_the_code_location_in_another_process(home: Home) -> None:
    home.start("code")
    home.wait_for("code")
    for service in ("daemon", "webserver"):
        home.start(service)
    home.wait_for("webserver")
    entries = "locationEntries { name loadStatus locationOrLoadError { __typename } }"
    query = f"{{ workspaceOrError {{ ... on Workspace {{ {entries} }} }} }}"
    answer = requests.post(
        f"http://127.0.0.1:{home.ports['3000']}/graphql", json={"query": query}, timeout=60
    ).json()
    (entry,) = answer["data"]["workspaceOrError"]["locationEntries"]
    assert (entry["name"], entry["loadStatus"]) == ("smartdrive", "LOADED")
    assert entry["locationOrLoadError"] == {"__typename": "RepositoryLocation"}
    home.wait_for("daemon")


def test_what_runs_comes_from_the_wheels(home: Home) -> None:
    names = ("smartdrive_dagster", "smartdrive_api", "smartdrive_edge")
    program = f"import {', '.join(names)}; print({', '.join(f'{name}.__file__' for name in names)})"
    done = home.run("code", ["python", "-c", program])
    assert done.stdout.count(str(home.venv)) == 3, done.stdout + done.stderr


def test_passwords_are_the_same_wherever_they_stand(home: Home) -> None:
    secrets = home.folder / "secrets"
    assert (secrets / "pgpass").read_text().rstrip().endswith((secrets / "database_password").read_text())
    assert (secrets / "s3_password").read_text() in (secrets / "s3_credentials").read_text()
    for name, mode in (("pgpass", 0o600), ("lake_secret", 0o600), ("database_password", 0o640)):
        assert (secrets / name).stat().st_mode & 0o777 == mode
        assert (secrets / name).stat().st_uid == 10001
    assert (secrets / "certificates/ca.key").stat().st_uid == 0
    with psycopg.connect(home.environment("api")["SMARTDRIVE_API_DATABASE_URL"]) as connection:
        assert connection.execute("select count(*) from alembic_version").fetchone() == (1,)
