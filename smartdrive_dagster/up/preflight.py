"""What must hold before anything starts, and what is made where it is missing.

Each fault is one line that says what to do.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from smartdrive_dagster.up.programs import Home, script

if TYPE_CHECKING:
    from smartdrive_dagster.settings import Settings

_DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"


class PreflightError(Exception):
    """Something that the group needs is missing; the text says what to do."""


def check(home: Home) -> None:
    """Whether ports are free and programs there.

    Raises:
        PreflightError: one is not.
    """
    if home.broker is not None:
        require_edge()
        _require_free(home.broker_address, home.broker_port, "--broker-port")
    _require_free("127.0.0.1", home.ui_port, "--port")
    if home.api_port is not None:
        _require_free("127.0.0.1", home.api_port, "--api-port")


def require_edge() -> str:
    """Path of the command that runs the broker and makes certificates.

    Raises:
        PreflightError: it is not installed.
    """
    command = script("smartdrive-edge")
    if not os.access(command, os.X_OK):
        raise PreflightError(
            "smartdrive-edge, which runs the broker, is not installed: run `pip install './edge[home]'`, or name "
            "a broker that runs already with --no-broker --broker-host"
        )
    return command


def has_api(wanted: bool | None) -> bool:
    """Whether the REST API is run: as the owner wants, and otherwise where it is installed.

    Raises:
        PreflightError: it is wanted, and not installed.
    """
    is_there = os.access(script("smartdrive-api"), os.X_OK)
    if wanted and not is_there:
        raise PreflightError("smartdrive-api is not installed: run `pip install './api[home]'`, or say --no-api")
    return is_there if wanted is None else wanted


def api_environment(settings: Settings, folder: Path) -> dict[str, str]:
    """What tells the REST API and the lake of one another; what the owner has set counts more.

    Args:
        settings: of the lake.
        folder: where the API keeps its state.
    """
    data = folder / "postgres"
    embedded = f"postgresql://smartdrive@/postgres?host={quote(str(data), safe='')}"
    return {
        "SMARTDRIVE_API_DATABASE_DIRECTORY": str(data),
        "SMARTDRIVE_API_LANDING_URL": settings.landing_url,
        "SMARTDRIVE_SERVING_URL": os.environ.get("SMARTDRIVE_API_DATABASE_URL", embedded),
    }


def issue_certificates(home: Home, names: Sequence[str]) -> None:
    """Make the authority, and certificates of the broker and the lander, where they are missing.

    Args:
        home: with a broker of its own.
        names: host names and addresses under which devices reach the broker.

    Raises:
        PreflightError: `smartdrive-edge certs` refused.
    """
    folder = ("--folder", str(home.certificates), "--if-missing")
    for arguments in (("init",), ("broker", *names), ("lander", home.lander)):
        command = [require_edge(), "certs", *arguments, *folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
            raise PreflightError(f"certificates in {home.certificates}: {said[-1]}")


def require_certificates(home: Home) -> None:
    """Whether the lander can show who it is.

    Raises:
        PreflightError: a file is missing.
    """
    needed = [home.certificates / name for name in ("ca.crt", f"{home.lander}.crt", f"{home.lander}.key")]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        raise PreflightError(
            f"{' and '.join(missing)} missing: copy the broker's authority and a lander's certificate there, or "
            "name their folder with --certificates and the lander with --lander"
        )


def prepare_dagster(directory: Path) -> None:
    """Make DAGSTER_HOME; the configuration that the checkout ships is linked into an empty one."""
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "dagster.yaml"
    if configuration.is_symlink() and not configuration.exists():
        configuration.unlink()  # the checkout it led to has moved
    if not configuration.exists() and _DAGSTER_YAML.exists():
        configuration.symlink_to(_DAGSTER_YAML)


def names_of_this_machine() -> list[str]:
    """Names under which devices in this home are likely to reach it."""
    host = socket.gethostname().split(".")[0]
    return [*dict.fromkeys([host, f"{host}.local", "localhost", "127.0.0.1"])]


def has_setpriv() -> bool:
    """Whether programs can be bound to supervisord's life."""
    return shutil.which("setpriv") is not None


def _require_free(address: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise PreflightError(
                f"cannot listen at {address}:{port} ({error.strerror}): stop what listens there, or choose "
                f"another with {option}"
            ) from error
