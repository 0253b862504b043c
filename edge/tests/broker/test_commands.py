from __future__ import annotations

import shutil
import signal
import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from smartdrive_edge.broker_config import BrokerConfig
from smartdrive_edge.certificates import Authority, CertificateError, expires_at
from smartdrive_edge.commands import broker as broker_command
from smartdrive_edge.commands import certs
from typer.testing import CliRunner, Result

from edge.tests.broker.home import COMMAND, Guest, Home

broker_app = typer.Typer()
broker_app.command()(broker_command.broker)


def run_certs(*arguments: str, folder: Path) -> Result:
    return CliRunner().invoke(certs.app, [*arguments, "--folder", str(folder)])


def ran(command: list[str], *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_certificates_of_a_home_are_made_and_say_what_is_next(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    made = run_certs("init", folder=folder)
    assert made.exit_code == 0, made.output
    assert str(folder / "ca.crt") in made.stdout
    assert f"until {expires_at(folder / 'ca.crt'):%Y-%m-%d}" in made.stdout
    assert f"next: smartdrive-edge certs broker HOSTNAME --folder {folder}" in made.stdout
    for arguments, files in (
        (["broker", "home.local", "192.168.0.10", "::1"], "broker"),
        (["device", "edge-1"], "edge-1"),
        (["lander"], "lander"),
        (["lander", "lander-2"], "lander-2"),
    ):
        made = run_certs(*arguments, folder=folder)
        assert made.exit_code == 0, made.output
        assert f"made {folder / files}.crt and {folder / files}.key, until " in made.stdout
        assert "next:" in made.stdout
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(key.stat().st_mode) for key in folder.glob("*.key")} == {0o600}
    assert len(list(folder.glob("*.key"))) == 5


@pytest.mark.parametrize("arguments", [["init"], ["broker", "localhost"], ["device", "edge-1"], ["lander"]])
def test_what_exists_is_kept_or_refused_never_replaced(tmp_path: Path, arguments: list[str]) -> None:
    folder = tmp_path / "certificates"
    for each in (["init"], ["broker", "localhost"], ["device", "edge-1"], ["lander"]):
        assert run_certs(*each, folder=folder).exit_code == 0
    before = {file: file.read_bytes() for file in folder.iterdir()}
    refused = run_certs(*arguments, folder=folder)
    assert refused.exit_code == 2
    assert "exists: --if-missing keeps it" in refused.stderr
    kept = run_certs(*arguments, "--if-missing", folder=folder)
    assert kept.exit_code == 0
    assert "kept" in kept.stdout
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_renewed_certificate_is_another_one_of_the_same_authority(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    Authority.create(folder)
    run_certs("device", "edge-1", folder=folder)
    before = (folder / "edge-1.crt").read_bytes(), (folder / "edge-1.key").read_bytes()
    assert run_certs("device", "edge-1", "--renew", folder=folder).exit_code == 0
    after = (folder / "edge-1.crt").read_bytes(), (folder / "edge-1.key").read_bytes()
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert run_certs("device", "edge-1", "--renew", "--if-missing", folder=folder).exit_code == 2


def test_a_kept_certificate_that_ends_soon_is_pointed_out(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    Authority.create(folder)
    Authority(folder, now=datetime.now(UTC) - timedelta(days=810)).issue_device("edge-1")
    kept = run_certs("device", "edge-1", "--if-missing", folder=folder)
    assert kept.exit_code == 0
    assert "ends soon" in kept.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["device", "ca"], "replace another's"),
        (["device", "Broker", "--if-missing"], "replace another's"),
        (["device", "lander-9"], "must not begin"),
        (["device", "WVWZZZ1JZXW000001"], "looks like a VIN"),
        (["device", "../edge"], "letters, digits"),
        (["lander", "edge-1"], "begins with 'lander'"),
        (["broker", "a b"], "neither a host name nor an address"),
        (["revoke", "edge-1"], "edge-1.crt is missing"),
        (["revoke", "ca"], "cannot be revoked"),
    ],
)
def test_a_name_that_would_do_harm_is_refused_in_one_line(tmp_path: Path, arguments: list[str], why: str) -> None:
    folder = tmp_path / "certificates"
    Authority.create(folder)
    before = sorted(folder.iterdir()), (folder / "ca.key").read_bytes()
    refused = run_certs(*arguments, folder=folder)
    assert refused.exit_code == 2
    assert why in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert (sorted(folder.iterdir()), (folder / "ca.key").read_bytes()) == before


def test_a_folder_that_others_read_holds_no_authority_unless_it_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "something").touch()
    with pytest.raises(CertificateError, match="chmod 700"):
        Authority.create(folder)
    (folder / "something").unlink()
    Authority.create(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_an_authority_it_says_how_to_make_one(tmp_path: Path) -> None:
    refused = run_certs("device", "edge-1", folder=tmp_path / "nowhere")
    assert refused.exit_code == 2
    assert f"smartdrive-edge certs init --folder {tmp_path / 'nowhere'}" in refused.stderr


@pytest.mark.parametrize("arguments", [["init"], ["device", "edge-1"], ["lander"], ["revoke", "edge-1"]])
def test_without_cryptography_one_line_says_what_to_install(tmp_path: Path, arguments: list[str]) -> None:
    code = "import sys; sys.modules['cryptography'] = None; from smartdrive_edge.commands.certs import app; app()"
    ended = ran([sys.executable, "-c", code, *arguments], folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == (
        "smartdrive-edge: certificates need cryptography: install smartdrive-edge with its extra [home]\n"
    )


def test_without_cryptography_mosquitto_still_runs_and_without_amqtt_one_line_says_what_to_install(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path, "mosquitto")
    home.command[2] = f"import sys; sys.modules['cryptography'] = sys.modules['amqtt'] = None; {COMMAND}"
    home.start()
    home.stop()
    home.command[4] = "embedded"
    ended = ran(home.command)
    assert ended.returncode == 2
    assert "with its extra [home]" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_it_is_and_ends_in_an_orderly_way(home: Home, end: signal.Signals) -> None:
    guest = Guest(home, "edge-1")
    assert home.stop(end) == 0
    assert guest.lost.wait(5)
    said = home.said()
    assert f"{home.kind} broker for 127.0.0.1:{home.port}: TLS 1.3" in said
    assert "landers, which read all vehicles: lander" in said
    assert f"listening on 127.0.0.1:{home.port} ({home.kind})\n" in said
    assert "Traceback" not in said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", home.port), 1)


def test_auto_takes_mosquitto_where_it_is_installed_and_the_embedded_one_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, "auto")
    home.start()
    expected = "mosquitto" if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") else "embedded"
    assert f"({expected})" in home.said()
    home.kill()
    nowhere = "import smartdrive_edge.commands.broker as b; b._SYSTEM_FOLDERS = '/nowhere'; "
    home.command[2] = nowhere + COMMAND
    monkeypatch.setenv("PATH", "/nowhere")
    home.start()
    assert "(embedded)" in home.said()
    home.kill()
    home.command[4] = "mosquitto"
    ended = ran(home.command)
    assert ended.returncode == 2
    assert "mosquitto is not installed" in ended.stderr


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
def test_what_keeps_it_from_starting_is_said_in_one_line(tmp_path: Path, kind: str) -> None:
    home = Home(tmp_path, kind)
    with socket.create_server(("127.0.0.1", home.port)):
        ended = ran(home.command)
    assert ended.returncode == 2
    assert "in use" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "listening" not in ended.stdout
    (home.certificates / "broker.key").unlink()
    ended = ran(home.command)
    assert ended.returncode == 2
    assert f"broker.key is missing: `smartdrive-edge certs broker HOSTNAME --folder {home.certificates}`" in (
        ended.stderr
    )
    refused = CliRunner().invoke(broker_app, ["--certificates", str(home.certificates), "--lander", "edge-1"])
    assert refused.exit_code == 2
    assert "begins with 'lander'" in refused.stderr


def test_there_is_no_way_to_run_it_without_certificates() -> None:
    told = CliRunner().invoke(broker_app, ["--help"], env={"COLUMNS": "200"}).output
    options = {word for word in told.split() if word.startswith("--")}
    assert options >= {"--folder", "--certificates", "--address", "--port", "--kind", "--lander"}
    assert not [option for option in options if "insecure" in option or "tls" in option or "anonymous" in option]


def test_it_listens_on_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    Authority.create(folder).issue_server(["localhost"])
    config = BrokerConfig.from_certificates(tmp_path, folder, address="127.0.0.1", port=1, landers=["lander"])
    assert "listener 1 127.0.0.1\n" in config.write().read_text()
    told = CliRunner().invoke(broker_app, ["--help"], env={"COLUMNS": "200"}).output
    assert "[default: 127.0.0.1]" in told
