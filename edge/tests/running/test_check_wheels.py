"""The parts that need no package index; the check itself asks one, and is run by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge import check_wheels


def test_every_base_requirement_is_checked() -> None:
    names = {requirement.partition("=")[0].rstrip(">") for requirement in check_wheels.requirements()}
    assert {"obd", "paho-mqtt", "pydantic-settings", "pyserial", "structlog", "typer"} <= names
    assert check_wheels.requirements("gpio") == ["gpiod>=2.2"]


def test_the_table_names_what_is_missing_where() -> None:
    checks = [
        check_wheels.Check("gpiod>=2.2", "aarch64", None),
        check_wheels.Check("gpiod>=2.2", "armv7l", "gpiod"),
    ]
    assert check_wheels.table(checks).splitlines()[-1] == "| `gpiod>=2.2` | wheels | none for gpiod |"


def test_the_last_package_that_pip_complains_of_is_the_missing_one() -> None:
    complaint = "ERROR: No matching distribution found for cffi>=1.14\nERROR: No matching distribution found for x"
    assert check_wheels._missing(complaint) == "x"
    assert check_wheels._missing("    cryptography 45 depends on cffi>=1.14; python_version > '3'\n") == "cffi"
    assert check_wheels._missing("the network is down") == "the network is down"


def test_the_page_shows_the_table_of_all_base_requirements() -> None:
    page = (Path(__file__).parents[2] / "docs" / "run-on-a-pi.md").read_text(encoding="utf-8")
    missing = [
        one
        for one in [*check_wheels.requirements(), *check_wheels.requirements("gpio")]
        if f"| `{one}` |" not in page
    ]
    assert missing == [], "run .venv/bin/python edge/check_wheels.py --extra gpio --extra home"


def test_the_commands_need_none_of_what_a_32_bit_pi_lacks() -> None:
    program = (
        "import sys\n"
        "for name in ('cryptography', 'gpiod', 'amqtt'): sys.modules[name] = None\n"
        "import smartdrive_edge.doctor, smartdrive_edge.doctor.certificate_files\n"
        "from smartdrive_edge.commands import calibrate, doctor, status\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
