"""`smartdrive-edge doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from smartdrive_edge.doctor import Finding

EPILOG = (
    "Examples:\n\n  smartdrive-edge doctor\n\n"
    "  sudo -u smartdrive-edge smartdrive-edge doctor --config /etc/smartdrive-edge/config.toml\n\n"
    "  smartdrive-edge doctor --car\n\n"
    "  smartdrive-edge doctor --json\n\n"
    "It reads, and changes nothing. With the engine off the car itself is asked only with --car, since that wakes "
    "its control units. Exit code: 0 where all is ok or warn, 1 where anything is FAIL."
)
_WIDTH = 20


def doctor(
    config: Annotated[
        Path | None, typer.Option(help="TOML file; else ./smartdrive-edge.toml or the one in /etc")
    ] = None,
    car: Annotated[
        bool | None,
        typer.Option("--car/--no-car", help="Ask the car, or do not; by default only while its engine runs"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text")] = False,
) -> None:
    """Look at adapter, car, clock, certificates, broker and spool; say what is wrong and what to do next."""
    from smartdrive_edge.config import ConfigError, load
    from smartdrive_edge.doctor import Finding, Verdict, examine

    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _print(finding)

    try:
        loaded = load(config)
    except ConfigError as error:
        tell(Finding("configuration", Verdict.FAIL, str(error), "edge/docs/configuration.md lists every field"))
    else:
        tell(Finding("configuration", Verdict.OK, f"device {loaded.device_id}, state in {loaded.state_dir}"))
        for finding in examine(loaded, asks_car=car):
            tell(finding)
    worst = max((finding.verdict for finding in findings), key=list(Verdict).index)
    if as_json:
        _print_json(findings, worst)
    raise typer.Exit(1 if worst is Verdict.FAIL else 0)


def _print(finding: Finding) -> None:
    typer.echo(f"{finding.verdict:<5} {finding.check:<{_WIDTH}} {finding.text}")
    if finding.next_step:
        typer.echo(f"{'':<5} {'':<{_WIDTH}} -> {finding.next_step}")


def _print_json(findings: list[Finding], worst: str) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps({"verdict": worst, "findings": [asdict(one) for one in findings]}, indent=2))
