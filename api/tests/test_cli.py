"""The operator's way, from nothing to a shown vehicle, with the real command and a real server on the loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.tests.conftest import open_directory

PROGRAM = str(Path(sys.executable).with_name("smartdrive-api"))
PASSWORD = "three words and 1 number"
VIN = "1M8GDM9AXKP042788"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with open_directory() as made:
        yield made


@pytest.fixture(scope="module")
def environment(home: Path) -> dict[str, str]:
    (home / "secret").write_text("a secret of a lake for tests")
    return {
        "PATH": os.environ["PATH"],
        "SMARTDRIVE_API_DATABASE_DIRECTORY": str(home / "pg"),
        "SMARTDRIVE_API_SIGNING_KEYS": f"file:{home}/keys.json",
        "SMARTDRIVE_API_LAKE_SECRET": f"file:{home}/secret",
        "SMARTDRIVE_API_ARGON2_MEMORY_KIB": "8",
    }


@pytest.fixture(scope="module")
def url(home: Path, environment: dict[str, str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen([PROGRAM, "serve", "--port", port], env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            assert server.poll() is None, (home / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.send_signal(signal.SIGTERM)
    server.wait(timeout=30)
    assert not (home / "pg" / "postmaster.pid").exists(), "the database is stopped with the server"
    assert VIN not in (home / "server.log").read_text()


def run(environment: dict[str, str], *command: str, code: int = 0) -> str:
    done = subprocess.run([PROGRAM, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_from_a_registration_to_a_confirmed_vehicle(url: str, environment: dict[str, str]) -> None:
    person = {"email": "mira@example.org", "password": PASSWORD}
    registration = httpx.post(f"{url}/v1/register", json=person).json()["registration_id"]
    assert f"{registration}  mira@example.org" in run(environment, "accounts", "pending")
    assert run(environment, "accounts", "confirm", registration) == "mira@example.org can sign in.\n"
    assert "no such registration" in run(environment, "accounts", "confirm", registration, code=1)
    token = httpx.post(f"{url}/v1/token", json=person).json()["access_token"]
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}) as client:
        vehicle = client.post("/v1/vehicles", json={"vin": VIN}).json()["id"]
        assert f"{vehicle}  {VIN}  mira@example.org" in run(environment, "vehicles", "pending")
        assert run(environment, "vehicles", "confirm", vehicle) == "mira@example.org owns it.\n"
        assert client.get(f"/v1/vehicles/{vehicle}").json()["status"] == "confirmed"
    assert run(environment, "tidy").endswith("deleted.\n")


def test_keys_are_rotated_while_the_server_runs(url: str, environment: dict[str, str], home: Path) -> None:
    said = run(environment, "keys", "rotate").splitlines()
    ring = [key["kid"] for key in json.loads((home / "keys.json").read_text())["keys"]]
    assert [line.split()[0] for line in said] == ring
    assert len(ring) == 2
    assert len(run(environment, "keys", "rotate", "--at-once").splitlines()) == 1
    assert httpx.get(f"{url}/.well-known/jwks.json").status_code == 200


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
    environment: dict[str, str], change: dict[str, str], command: tuple[str, ...], said: str
) -> None:
    changed = environment | {f"SMARTDRIVE_API_{name}": value for name, value in change.items()}
    output = run(changed, *command, code=1)
    assert said in output
    assert output.startswith("smartdrive-api: ")
    assert len(output.splitlines()) == 1
    assert "hunter2" not in output


def test_the_document_is_printed_without_a_database(environment: dict[str, str]) -> None:
    assert json.loads(run(environment, "openapi"))["openapi"].startswith("3.")


def test_every_command_shows_an_example(environment: dict[str, str]) -> None:
    assert shutil.which(PROGRAM)
    plain = environment | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    for command in ("serve", "migrate", "tidy", "openapi", "keys rotate", "accounts confirm", "vehicles pending"):
        text = re.sub(r"\s+", " ", run(plain, *command.split(), "--help"))
        assert f"For example: smartdrive-api {command}" in text
