"""`smartdrive-edge broker`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from smartdrive_edge.broker_config import BrokerConfig

EPILOG = (
    "Examples:\n\n  smartdrive-edge broker\n\n"
    "  smartdrive-edge broker --address 192.168.0.10 --certificates ~/certificates --folder ~/broker\n\n"
    "  smartdrive-edge broker --kind embedded --lander lander --lander lander-2"
)
_READY_WITHIN_S: Final = 30.0
_SYSTEM_FOLDERS: Final = (
    "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"  # where Mosquitto lies, off many users' PATH
)


class Kind(StrEnum):
    """Which broker."""

    AUTO = "auto"
    MOSQUITTO = "mosquitto"
    EMBEDDED = "embedded"


def broker(
    folder: Annotated[Path, typer.Option(help="For Mosquitto's configuration and stored sessions")] = Path(
        "broker"
    ),
    certificates: Annotated[Path, typer.Option(help="What `smartdrive-edge certs` made")] = Path("certificates"),
    address: Annotated[str, typer.Option(help="To listen on; loopback unless another is given")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="To listen on")] = 8883,
    kind: Annotated[Kind, typer.Option(help="auto: Mosquitto where it is installed, else embedded")] = Kind.AUTO,
    lander: Annotated[list[str] | None, typer.Option(help="A lander's name; may be given again")] = None,
) -> None:
    """Run an MQTT broker for home until Ctrl-C: TLS 1.3, a client certificate for everyone, no other way in."""
    from smartdrive_edge.broker_config import BrokerConfig

    program = _mosquitto()
    if kind is Kind.MOSQUITTO and program is None:
        _stop("mosquitto is not installed: `apt install mosquitto`, or --kind embedded")
    try:
        config = BrokerConfig.from_certificates(
            folder, certificates, address=address, port=port, landers=lander or ["lander"]
        )
        _check_free(config)
        if program is not None and kind is not Kind.EMBEDDED:
            _run_mosquitto(program, config)
        else:
            _run_embedded(config)
    except (ValueError, OSError) as error:
        _stop(str(error))


def _run_mosquitto(program: str, config: BrokerConfig) -> NoReturn:
    """Become Mosquitto: signals and the exit code are its own."""
    file = config.write()
    _say("mosquitto", config)
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the child below is nobody's to wait for; exec keeps this
    parent = os.getpid()
    if os.fork() == 0:
        try:
            _say_when_listening("mosquitto", config, parent)
        finally:
            os._exit(0)
    os.execv(program, [program, "-c", str(file)])  # noqa: S606 - no shell, our own file


def _say_when_listening(kind: str, config: BrokerConfig, parent: int) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and os.getppid() == parent:
        try:
            socket.create_connection((_reachable(config.address), config.port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            _say_listening(kind, config)
            return


def _run_embedded(config: BrokerConfig) -> None:
    import logging

    try:
        from smartdrive_edge.embedded_broker import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "amqtt":
            raise
        _stop(
            "the embedded broker needs amqtt: install smartdrive-edge with its extra [home], "
            "or `apt install mosquitto`"
        )
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("amqtt", "transitions", "asyncio"):  # what they warn of, we have said in our own words
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _say("embedded", config)
    server.run(config, lambda: _say_listening("embedded", config))
    typer.echo("broker ended")


def _say(kind: str, config: BrokerConfig) -> None:
    typer.echo(f"{kind} broker for {_place(config)}: TLS 1.3, no entry without a client certificate")
    revoked = f", except those revoked in {config.revoked}" if config.revoked else ""
    typer.echo(f"lets in certificates of {config.authority}{revoked}")
    typer.echo(f"landers, which read all vehicles: {', '.join(config.landers)}; all others are devices")
    typer.echo("a device writes vehicle/ITS NAME/telemetry and /events and reads its /ack, nothing else")


def _say_listening(kind: str, config: BrokerConfig) -> None:
    """The line that programs wait for."""
    typer.echo(f"listening on {_place(config)} ({kind})")
    sys.stdout.flush()


def _place(config: BrokerConfig) -> str:
    return f"[{config.address}]:{config.port}" if ":" in config.address else f"{config.address}:{config.port}"


def _reachable(address: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound


def _check_free(config: BrokerConfig) -> None:
    """Another program on the port would look like the broker.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
    try:
        socket.create_server((config.address, config.port), family=family).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"cannot listen on {_place(config)}: {why}") from error


def _mosquitto() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}")


def _stop(why: str) -> NoReturn:
    typer.echo(f"smartdrive-edge: {why}", err=True)
    raise typer.Exit(2)
