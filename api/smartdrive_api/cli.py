"""The `smartdrive-api` command: serve, and what an operator does."""

from __future__ import annotations

import json
import signal
import sys
from functools import partial
from typing import Annotated, NoReturn
from uuid import UUID

import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from smartdrive_api.database import database
from smartdrive_api.embedded import EmbeddedPostgresError
from smartdrive_api.identity.registrations import RefusedError
from smartdrive_api.secret_values import SecretUnavailableError
from smartdrive_api.services import utc_now
from smartdrive_api.settings import Settings
from smartdrive_api.workers import worker_environment

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they show local variables, secrets among them
    help="The SmartDrive REST API. Settings come from SMARTDRIVE_API_… variables.",
)
keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The keys that sign access tokens.")
accounts = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who may have an account.")
vehicles = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Whose a vehicle is.")
certificates = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who vouches for certificates.")
_GROUPS = {"keys": keys, "accounts": accounts, "vehicles": vehicles, "certificates": certificates}
for _name, _group in _GROUPS.items():
    app.add_typer(_group, name=_name)

_Id = Annotated[str, typer.Argument(help="The id that the person was given")]


def main() -> None:
    """Run the command; what a user can mend is said in one line."""
    try:
        app()
    except (RefusedError, SecretUnavailableError, EmbeddedPostgresError) as error:
        print(f"smartdrive-api: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except ValidationError as error:  # of the settings
        for one in error.errors(include_input=False):
            setting = f"SMARTDRIVE_API_{str(one['loc'][0]).upper()}"
            print(f"smartdrive-api: {setting}: {one['msg']}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except SQLAlchemyError as error:
        print(  # noqa: T201
            f"smartdrive-api: the database refuses ({type(error).__name__}): is its URL right, and has "
            "`smartdrive-api migrate` been run?",
            file=sys.stderr,
        )
        sys.exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on. TLS is for a proxy before it")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer: one fills one core")] = 1,
) -> None:
    """Serve the API, with a PostgreSQL of its own unless SMARTDRIVE_API_DATABASE_URL names one.

    For example: smartdrive-api serve --port 8080 --workers 2
    """
    import uvicorn

    from smartdrive_api.app import create_app
    from smartdrive_api.upkeep import tidy

    settings = Settings()
    # uvicorn raises the signal that ended it once more: it has to lead out by way of stopping the database.
    signal.signal(signal.SIGTERM, _leave)
    with database(settings) as engine:
        made = create_app(settings, engine)
        made.state.services.keys.jwks()  # a ring that cannot be read is said now, and not to the first caller
        if settings.database_url is None:
            tidy(engine, utc_now())
        # No access log: it would hold paths with ids. X-Forwarded-For is read by the app, from trusted proxies.
        serving = partial(
            uvicorn.run, host=host, port=port, access_log=False, proxy_headers=False, server_header=False
        )
        if workers == 1:
            serving(made)
            return
        engine.dispose()
        with worker_environment(settings, engine):
            serving("smartdrive_api.workers:app", factory=True, workers=workers)


@app.command()
def migrate() -> None:
    """Bring the tables up to this version. The embedded database does so by itself.

    For example: smartdrive-api migrate
    """
    from smartdrive_api.database import HEAD
    from smartdrive_api.migrations import upgrade

    with database(Settings()) as engine:
        upgrade(engine)
    typer.echo(f"The database is at migration {HEAD}.")


@app.command()
def tidy() -> None:
    """Delete ended sessions, registrations that nobody confirmed, and idle limits: once a day, from cron.

    For example: smartdrive-api tidy
    """
    from smartdrive_api import upkeep

    with database(Settings()) as engine:
        gone = upkeep.tidy(engine, utc_now())
    typer.echo(", ".join(f"{count} {what}" for what, count in gone.items()) + " deleted.")


@app.command()
def openapi() -> None:
    """Print the OpenAPI document.

    For example: smartdrive-api openapi > openapi.json
    """
    from sqlalchemy import create_engine

    from smartdrive_api.app import create_app

    nowhere = create_engine("postgresql+psycopg://")  # connects to nothing
    typer.echo(json.dumps(create_app(Settings(), nowhere).openapi(), indent=2))


@keys.command("rotate")
def rotate_keys(
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="A key has leaked: throw all others away. Everybody has to refresh")
    ] = False,
) -> None:
    """Add a signing key: published now, it signs after SMARTDRIVE_API_KEY_LEAD_S, and the old one ends.

    For example: smartdrive-api keys rotate
    """
    from smartdrive_api.identity.keys import KeyStore

    ring = KeyStore(Settings(), utc_now).rotate(at_once=at_once)
    for key in ring.keys:
        typer.echo(f"{key.kid}  signs from {key.signs_from.isoformat(timespec='seconds')}")


@certificates.command("authority")
def certificate_authority(
    *,
    new: Annotated[
        bool,
        typer.Option("--new", help="Make a new key first: certificates of the old one need the old authority"),
    ] = False,
) -> None:
    """Print the authority that vouches for certificates (X.509, PEM), which whoever checks one has to trust.

    For example: smartdrive-api certificates authority > certificate-authority.pem
    """
    from smartdrive_api.certificates.authority import AuthorityStore

    store = AuthorityStore(Settings().certificate_authority, utc_now)
    authority = store.renew() if new else store.authority()
    typer.echo(f"SHA-256: {authority.fingerprint}", err=True)
    typer.echo(authority.pem, nl=False)


@accounts.command("pending")
def pending_accounts() -> None:
    """List the registrations that wait to be confirmed.

    For example: smartdrive-api accounts pending
    """
    from smartdrive_api.identity import registrations

    with database(Settings()) as engine, engine.connect() as connection:
        for one in registrations.pending(connection, utc_now()):
            typer.echo(f"{one.registration_id}  {one.email}  until {one.expires_at.isoformat(timespec='minutes')}")


@accounts.command("confirm")
def confirm_account(
    registration_id: _Id,
    *,
    replace_password: Annotated[
        bool, typer.Option("--replace-password", help="The address has an account, whose password is forgotten")
    ] = False,
) -> None:
    """Make an account of a registration, once you know that the address is the person's.

    For example: smartdrive-api accounts confirm 7d7f6f0e-5a44-4b7e-9a70-1f6c5a0f9c11
    """
    from smartdrive_api.identity import registrations

    with database(Settings()) as engine, engine.begin() as connection:
        email = registrations.confirm(
            connection, _identity(registration_id), utc_now(), replace_password=replace_password
        )
    typer.echo(f"{email} can sign in.")


@vehicles.command("pending")
def pending_vehicles() -> None:
    """List the vehicles that wait to be confirmed, with VIN, account, and the lake's vehicle_id.

    For example: smartdrive-api vehicles pending
    """
    from smartdrive_api.vehicles import garage

    with database(Settings()) as engine, engine.connect() as connection:
        for one in garage.pending(connection):
            typer.echo(f"{one.registration_id}  {one.vin}  {one.email}  {one.vehicle_id}")


@vehicles.command("confirm")
def confirm_vehicle(
    registration_id: _Id,
    *,
    also: Annotated[bool, typer.Option("--also", help="Beside who owns it already")] = False,
    instead: Annotated[bool, typer.Option("--instead", help="In place of who owns it: it was sold")] = False,
) -> None:
    """Confirm that a vehicle is the account's, which may then see what it sent.

    For example: smartdrive-api vehicles confirm 0c2b3a55-9d3e-4a44-9b1c-1f7b7c3f2a10
    """
    from smartdrive_api.vehicles import garage

    if also and instead:
        raise RefusedError("--also and --instead exclude each other")
    with database(Settings()) as engine, engine.begin() as connection:
        email = garage.confirm(connection, _identity(registration_id), utc_now(), also=also, instead=instead)
    typer.echo(f"{email} owns it.")


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _identity(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise RefusedError("an id looks like 7d7f6f0e-5a44-4b7e-9a70-1f6c5a0f9c11") from None
