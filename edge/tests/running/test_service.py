from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from smartdrive_edge.service import Service


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """What NOTIFY_SOCKET would say, and the socket behind it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@smartdrive-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listening.settimeout(5)
        yield name, listening


def test_each_state_reaches_the_supervisor_as_one_datagram(supervisor: tuple[str, socket.socket]) -> None:
    name, listening = supervisor
    service = Service({"NOTIFY_SOCKET": name})
    service.ready("sentinel,\n12.4 V")
    service.alive()
    service.status("running")
    service.stopping()
    told = [listening.recv(4096) for _ in range(4)]
    assert told == [b"READY=1\nSTATUS=sentinel, 12.4 V", b"WATCHDOG=1", b"STATUS=running", b"STOPPING=1"]


def test_no_vin_is_told(supervisor: tuple[str, socket.socket]) -> None:
    name, listening = supervisor
    Service({"NOTIFY_SOCKET": name}).status("car WVWZZZ1JZXW000001")
    assert listening.recv(4096) == b"STATUS=car [VIN]"


def test_nothing_happens_without_a_supervisor() -> None:
    service = Service({})
    service.ready()
    service.alive()
    service.status("running")
    service.stopping()
    assert service.watchdog_period_s is None
    assert not service.is_supervised


def test_a_supervisor_that_does_not_listen_does_no_harm(tmp_path: Path) -> None:
    service = Service({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000"})
    service.ready("starting")
    service.alive()
    assert service.is_supervised


@pytest.mark.parametrize(
    ("environment", "period_s"),
    [
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "60000000"}, 60.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "/run/x"}, None),
        ({"WATCHDOG_USEC": "60000000"}, None),
    ],
)
def test_the_watchdogs_period_is_for_the_process_that_it_names(
    environment: dict[str, str], period_s: float | None
) -> None:
    assert Service(environment, pid=7).watchdog_period_s == period_s


def test_the_own_environment_is_the_default(
    monkeypatch: pytest.MonkeyPatch, supervisor: tuple[str, socket.socket]
) -> None:
    name, listening = supervisor
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    service = Service()
    service.alive()
    assert (listening.recv(64), service.watchdog_period_s) == (b"WATCHDOG=1", 2.0)
