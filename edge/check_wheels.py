"""Whether a Raspberry Pi can install the collector without a compiler: a wheel for each thing it needs.

    .venv/bin/python edge/check_wheels.py [--python 3.11] [--extra gpio]

Asks pip's own index, as pip is configured, to resolve each requirement of `edge/pyproject.toml`, with all that it
needs in turn, from wheels alone. Nothing is installed. Exit code 1 where a base requirement has no wheel.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).with_name("pyproject.toml")
_GLIBC: Final = range(17, 37)  # Debian 12, on which Raspberry Pi OS stands, has glibc 2.36
MACHINES: Final = {"aarch64": "64-bit Raspberry Pi OS", "armv7l": "32-bit Raspberry Pi OS"}


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement on one machine.

    Attributes:
        requirement: as `pyproject.toml` has it.
        machine: as `uname -m` says.
        missing: the first package without a wheel; None where all have one.
    """

    requirement: str
    machine: str
    missing: str | None


def requirements(extra: str | None = None) -> list[str]:
    """The base requirements of the collector, or those of an extra."""
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    found: list[str] = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return found


def check(requirement: str, machine: str, python: str) -> Check:
    """Let pip resolve a requirement from wheels for another machine."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(_GLIBC)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
        command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", f"--dest={folder}"]
        command += [f"--platform={platform}" for platform in platforms]
        done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)  # noqa: S603
    return Check(requirement, machine, None if done.returncode == 0 else _missing(done.stdout + done.stderr))


def table(checks: list[Check]) -> str:
    """Markdown: a row for each requirement, a column for each machine."""
    by_requirement: dict[str, dict[str, Check]] = {}
    for one in checks:
        by_requirement.setdefault(one.requirement, {})[one.machine] = one
    rows = [f"| Requirement | {' | '.join(f'{name}, {machine}' for machine, name in MACHINES.items())} |"]
    rows.append("|---" * (1 + len(MACHINES)) + "|")
    for requirement, found in by_requirement.items():
        cells = [
            f"none for {one.missing}" if (one := found[machine]).missing else "wheels" for machine in MACHINES
        ]
        rows.append(f"| `{requirement}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.11", help="version of CPython")
    parser.add_argument("--extra", action="append", default=[], help="check this extra too; may be repeated")
    options = parser.parse_args()
    base = [check(one, machine, options.python) for one in requirements() for machine in MACHINES]
    extras = [one for extra in options.extra for one in requirements(extra)]
    print(table(base + [check(one, machine, options.python) for one in extras for machine in MACHINES]))  # noqa: T201
    sys.exit(any(one.missing for one in base))


def _missing(errors: str) -> str:
    """The package that pip found no wheel for, as its last complaint says."""
    found = re.findall(r"(?:No matching distribution found for|depends on) ([A-Za-z0-9._-]+)", errors)
    return found[-1] if found else (errors.strip().splitlines() or ["an unknown reason"])[-1]


if __name__ == "__main__":
    main()
