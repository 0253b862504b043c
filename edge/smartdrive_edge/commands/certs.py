"""`smartdrive-edge certs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from smartdrive_edge.certificates import Authority, Issued

EPILOG = (
    "Examples:\n\n  smartdrive-edge certs init\n\n  smartdrive-edge certs broker home.local 192.168.0.10\n\n"
    "  smartdrive-edge certs device edge-00001\n\n  smartdrive-edge certs lander\n\n"
    "  smartdrive-edge certs revoke edge-00001"
)
_ON_DEVICE: Final = "/etc/smartdrive-edge"
_SOON: Final = timedelta(days=30)

app = typer.Typer(
    help="Make certificates for home: an authority, then one for the broker, each lander and each device.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Option(help="Holds the authority and all that it signed; keep it off devices")]
IfMissing = Annotated[bool, typer.Option("--if-missing", help="Do nothing if it is there already")]
Renew = Annotated[bool, typer.Option("--renew", help="Replace it by a new key and certificate")]


@app.command(epilog="Example:\n\n  smartdrive-edge certs init --folder ~/certificates")
def init(folder: Folder = Path("certificates"), if_missing: IfMissing = False) -> None:
    """Make the authority that signs all others; do this once."""
    with _told():
        from smartdrive_edge.certificates import Authority, CertificateError, expires_at

        certificate = folder / "ca.crt"
        if if_missing and certificate.exists() and (folder / "ca.key").exists():
            _keep(certificate, expires_at(certificate))
            return
        if certificate.exists():
            raise CertificateError(
                f"{certificate} exists: --if-missing keeps it; a new authority, in another folder, "
                "would lock out everything that this one signed"
            )
        authority = Authority.create(folder)
        typer.echo(f"made {certificate} and {folder / 'ca.key'}, until {_day(expires_at(certificate))}")
        typer.echo("ca.key signs for whoever has it: keep a copy offline, and it off devices")
        typer.echo(f"next: smartdrive-edge certs broker HOSTNAME --folder {authority.certificate_path.parent}")


@app.command(epilog="Example:\n\n  smartdrive-edge certs broker home.local 192.168.0.10")
def broker(
    names: Annotated[list[str], typer.Argument(help="Host names and addresses that devices reach the broker by")],
    folder: Folder = Path("certificates"),
    if_missing: IfMissing = False,
    renew: Renew = False,
) -> None:
    """Make the broker's certificate."""
    _make(
        folder,
        "broker",
        lambda authority: authority.issue_server(names),
        if_missing=if_missing,
        renew=renew,
        follows=(
            f"devices and landers must call the broker {' or '.join(names)}; a running one is to be restarted",
            f"next: smartdrive-edge broker --certificates {folder}",
        ),
    )


@app.command(epilog="Example:\n\n  smartdrive-edge certs device edge-00001")
def device(
    device_id: Annotated[str, typer.Argument(metavar="ID", help="The device's name; never a VIN")],
    folder: Folder = Path("certificates"),
    if_missing: IfMissing = False,
    renew: Renew = False,
) -> None:
    """Make a device's certificate; it may write under this name alone."""
    with _told():
        from smartdrive_edge.certificates import check_device_name

        check_device_name(device_id)
    _make(
        folder,
        device_id,
        lambda authority: authority.issue_device(device_id),
        if_missing=if_missing,
        renew=renew,
        follows=(
            f"next: copy {folder}/ca.crt, {device_id}.crt and {device_id}.key to {_ON_DEVICE} on the device, "
            "the key for the collector's user alone",
            "and name them in its configuration: [broker] authority, certificate, key",
        ),
    )


@app.command(epilog="Example:\n\n  smartdrive-edge certs lander lander-2")
def lander(
    name: Annotated[str, typer.Argument(help="Begins with `lander`; each lander needs its own")] = "lander",
    folder: Folder = Path("certificates"),
    if_missing: IfMissing = False,
    renew: Renew = False,
) -> None:
    """Make a lander's certificate; it reads every vehicle."""
    with _told():
        from smartdrive_edge.broker_config import check_lander

        check_lander(name)
    allowed = "" if name == "lander" else f" --lander {name}"
    _make(
        folder,
        name,
        lambda authority: authority.issue_lander(name),
        if_missing=if_missing,
        renew=renew,
        follows=(
            f"next: start the lander with {folder}/ca.crt, {name}.crt and {name}.key, as {name}",
            f"the broker must know it: smartdrive-edge broker --certificates {folder}{allowed}",
        ),
    )


@app.command(epilog="Example:\n\n  smartdrive-edge certs revoke edge-00001")
def revoke(
    name: Annotated[str, typer.Argument(help="Of a device or lander whose key is lost")],
    folder: Folder = Path("certificates"),
) -> None:
    """Revoke a device's or lander's certificate; brokers refuse it from their next start."""
    with _told():
        from smartdrive_edge.certificates import CertificateError
        from smartdrive_edge.messages import check_device_id

        certificate = folder / f"{check_device_id(name)}.crt"
        authority = _authority(folder)
        if not certificate.exists():
            raise CertificateError(f"{certificate} is missing: only a certificate that is here can be revoked")
        typer.echo(f"revoked {name}: its number is in {authority.revoke(name)}")
        typer.echo("next: start the broker anew; it reads the list when it starts")


def _make(
    folder: Path,
    name: str,
    issue: Callable[[Authority], Issued],
    *,
    if_missing: bool,
    renew: bool,
    follows: tuple[str, ...],
) -> None:
    with _told():
        from smartdrive_edge.certificates import CertificateError, expires_at

        if if_missing and renew:
            raise typer.BadParameter("--if-missing and --renew exclude each other")
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        if if_missing and certificate.exists() and key.exists():
            _keep(certificate, expires_at(certificate))
            return
        there = next((file for file in (certificate, key) if file.exists()), None)
        if there and not (renew or if_missing):
            raise CertificateError(f"{there} exists: --if-missing keeps it, --renew replaces it")
        issued = issue(_authority(folder))
        typer.echo(f"made {issued.certificate} and {issued.key}, until {_day(issued.expires_at)}")
        for line in follows:
            typer.echo(line)


def _authority(folder: Path) -> Authority:
    from smartdrive_edge.certificates import Authority, CertificateError

    try:
        return Authority(folder)
    except FileNotFoundError as error:
        raise CertificateError(
            f"{error.filename} is missing: `smartdrive-edge certs init --folder {folder}` makes an authority"
        ) from error


def _keep(certificate: Path, end: datetime) -> None:
    typer.echo(f"kept {certificate}, until {_day(end)}")
    if end - datetime.now(UTC) < _SOON:
        typer.echo(f"{certificate} ends soon or has ended: --renew replaces it", err=True)


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


@contextmanager
def _told() -> Iterator[None]:
    """What a user can mend is said in one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cryptography":
            raise
        typer.echo(
            "smartdrive-edge: certificates need cryptography: install smartdrive-edge with its extra [home]",
            err=True,
        )
        raise typer.Exit(2) from error
    except (ValueError, OSError) as error:
        typer.echo(f"smartdrive-edge: {error}", err=True)
        raise typer.Exit(2) from error
