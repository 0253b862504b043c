"""The operator's commands, and the real program once: it serves, and stops its database with itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from smartdrive_api.cli import app, main
from smartdrive_api.database import HEAD
from smartdrive_api.embedded import embedded_postgres
from typer.main import get_command

from api.tests.calling import PASSWORD, Api
from api.tests.conftest import copied, open_directory

PROGRAM = str(Path(sys.executable).with_name("smartdrive-api"))
VIN = "1M8GDM9AXKP042788"
Run = Callable[..., str]


@pytest.fixture
def run(api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command as the program does, on this module's database; what it said on both outputs."""
    monkeypatch.setenv("SMARTDRIVE_API_DATABASE_URL", api.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("SMARTDRIVE_API_SIGNING_KEYS", f"file:{tmp_path}/keys.json")

    def done(*command: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["smartdrive-api", *command])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert (end.value.code or 0) == code, said.err
        return said.out + said.err

    return done


def test_the_operator_confirms_accounts_and_vehicles(api: Api, run: Run) -> None:
    registration = api.register("mira@example.org").json()["registration_id"]
    assert f"{registration}  mira@example.org" in run("accounts", "pending")
    assert run("accounts", "confirm", registration) == "mira@example.org can sign in.\n"
    assert "no such registration" in run("accounts", "confirm", registration, code=1)
    again = api.register("mira@example.org", "a wholly new phrase").json()["registration_id"]
    assert "say --replace-password" in run("accounts", "confirm", again, code=1)
    run("accounts", "confirm", again, "--replace-password")
    token = api.sign_in("mira@example.org", "a wholly new phrase").json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    vehicle = api.client.post("/v1/vehicles", json={"vin": VIN}, headers=headers).json()["id"]
    assert f"{vehicle}  {VIN}  mira@example.org" in run("vehicles", "pending")
    assert run("vehicles", "confirm", vehicle) == "mira@example.org owns it.\n"
    assert "no such registration waits" in run("vehicles", "confirm", vehicle, code=1)
    assert api.client.get(f"/v1/vehicles/{vehicle}", headers=headers).json()["status"] == "confirmed"
    assert run("vehicles", "pending") == run("accounts", "pending") == ""
    assert run("migrate") == f"The database is at migration {HEAD}.\n"
    assert run("tidy").endswith("deleted.\n")


def test_keys_are_rotated(run: Run, tmp_path: Path) -> None:
    assert [len(run("keys", "rotate", *more).splitlines()) for more in ((), (), ("--at-once",))] == [1, 2, 1]
    assert len(json.loads((tmp_path / "keys.json").read_text())["keys"]) == 1


@pytest.mark.parametrize(
    ("change", "command", "said"),
    [
        ({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/x"}, ("migrate",), "the database refuses"),
        ({"ACCESS_TOKEN_S": "hunter2"}, ("migrate",), "SMARTDRIVE_API_ACCESS_TOKEN_S: "),
        ({"DATABASE_URL": "file:/nowhere"}, ("migrate",), "no secret can be read from /nowhere"),
        ({"SIGNING_KEYS": "secret itself hunter2"}, ("keys", "rotate", "--at-once"), "can be replaced only where"),
        ({}, ("accounts", "confirm", "hunter2"), "an id looks like"),
        ({}, ("vehicles", "confirm", "x", "--also", "--instead"), "exclude each other"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_line_without_secrets(
    run: Run, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], command: tuple[str, ...], said: str
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(f"SMARTDRIVE_API_{name}", value)
    output = run(*command, code=1)
    assert said in output
    assert output.startswith("smartdrive-api: ")
    assert len(output.splitlines()) == 1
    assert "hunter2" not in output


def test_the_document_is_printed(run: Run) -> None:
    assert json.loads(run("openapi"))["openapi"].startswith("3.")


def test_every_command_has_an_example() -> None:
    commands = dict(get_command(app).commands.items())  # type: ignore[attr-defined]
    groups = {name: command for name, command in commands.items() if hasattr(command, "commands")}
    every = {name: command for name, command in commands.items() if name not in groups} | {
        f"{group} {name}": command for group, made in groups.items() for name, command in made.commands.items()
    }
    assert len(every) == 10
    for name, command in every.items():
        assert f"For example: smartdrive-api {name}" in (command.help or "")


def test_the_program_serves_and_stops_its_database_with_itself(fresh_data: Path) -> None:
    with _serving(fresh_data) as (server, url, home):
        answer = httpx.get(f"{url}/v1/vehicles/{VIN}", headers={"authorization": PASSWORD})
        assert answer.status_code == 401
        assert "server" not in answer.headers
        assert (home / "pg" / "postmaster.pid").exists()
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
        log = (home / "server.log").read_text()
        assert server.returncode == 0, log
        assert not (home / "pg" / "postmaster.pid").exists()
        assert VIN not in log


def test_workers_answer_and_count_as_one_and_end_with_whoever_started_them(fresh_data: Path) -> None:
    with _serving(fresh_data, "--workers", "2") as (server, url, home):
        first = _workers(server)
        assert len(first) == 2
        for _ in range(30):  # each on a connection of its own, which either may take
            assert httpx.get(f"{url}/healthz").status_code == 200
        counted = 'smartdrive_api_requests_total{method="GET",route="/healthz",status="2xx"} 30.0'
        assert counted in httpx.get(f"{url}/metrics").text

        first[0].kill()
        _wait_until(lambda: len(set(_workers(server)) - set(first)) == 1, home)
        _wait_until(lambda: httpx.get(f"{url}/readyz", timeout=20).status_code == 200, home)
        assert counted in httpx.get(f"{url}/metrics").text

        second = _workers(server)
        server.kill()
        _wait_until(lambda: not any(worker.is_running() for worker in second), home)


@contextmanager
def _serving(fresh_data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """The program, which is ready, its URL, and the directory with its database (`pg`) and its log."""
    with open_directory() as home, socket.socket() as probe:
        copied(fresh_data, home / "pg")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = {
            "PATH": os.environ["PATH"],
            "SMARTDRIVE_API_DATABASE_DIRECTORY": str(home / "pg"),
            "SMARTDRIVE_API_SIGNING_KEYS": f"file:{home}/keys.json",
            "SMARTDRIVE_API_ARGON2_MEMORY_KIB": "8",
        }
        with (home / "server.log").open("w") as output:
            command = [PROGRAM, "serve", "--port", str(port), *options]
            server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until(lambda: httpx.get(f"{url}/readyz", timeout=20).status_code == 200, home, server)
            yield server, url, home
        finally:
            server.terminate()
            server.wait(timeout=60)
            if (home / "pg" / "postmaster.pid").exists():  # of one that was killed
                with embedded_postgres(home / "pg"):
                    pass


def _workers(server: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [child for child in psutil.Process(server.pid).children() if "spawn_main" in " ".join(child.cmdline())]


def _wait_until(true: Callable[[], bool], home: Path, server: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 120
    while True:
        with suppress(httpx.TransportError, psutil.Error):
            if true():
                return
        said = (home / "server.log").read_text()
        assert server is None or server.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
