"""The `smartdrive-edge` command: it only registers what lies in `commands`, a module each."""

from __future__ import annotations

import sys

import typer

from smartdrive_edge.commands import broker, calibrate, certs, doctor, run, simulate, status

_TOLD = {"SpoolInUseError"}  # by name: importing the class would cost every command its import

app = typer.Typer(
    name="smartdrive-edge",
    help="The collector that runs beside the car.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _commands() -> None:
    """The collector that runs beside the car."""


app.add_typer(certs.app, name="certs")
app.command(epilog=run.EPILOG)(run.run)
app.command(epilog=simulate.EPILOG)(simulate.simulate)
app.command(epilog=doctor.EPILOG)(doctor.doctor)
app.command(epilog=status.EPILOG)(status.status)
app.command(epilog=calibrate.EPILOG)(calibrate.calibrate)
app.command(epilog=broker.EPILOG)(broker.broker)


def main() -> None:
    """Run the command line; what a user can mend is said in one line, without a traceback."""
    try:
        app()
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__name__ not in _TOLD:
            raise
        typer.echo(f"smartdrive-edge: {error}", err=True)
        sys.exit(2)
