"""What can be tried without a GPIO chip: gpiod's own answers to what is none. No line was read here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gpiod
import pytest
from smartdrive_edge.ignition_line import GpioLine, IgnitionLineError, line_settings


def test_a_missing_chip_is_named() -> None:
    with pytest.raises(IgnitionLineError, match=r"line 17 of /dev/gpiochip99: no such chip; `gpiodetect`"):
        GpioLine("/dev/gpiochip99", 17)


def test_what_is_no_chip_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gpiochip0"
    file.write_bytes(b"")
    for path in (str(file), "/dev/null"):
        with pytest.raises(IgnitionLineError, match=f"line 4 of {path}: it is no GPIO chip"):
            GpioLine(path, 4)


@pytest.mark.parametrize(("is_active_low", "pull"), [(True, "PULL_UP"), (False, "PULL_DOWN")])
def test_an_open_wire_is_pulled_to_where_the_ignition_is_off(is_active_low: bool, pull: str) -> None:
    settings = line_settings(is_active_low=is_active_low)
    assert settings.direction is gpiod.line.Direction.INPUT
    assert settings.bias is gpiod.line.Bias[pull]
    assert settings.active_low is is_active_low


def test_without_gpiod_the_extra_is_named() -> None:
    program = (
        "import sys\nsys.modules['gpiod'] = None\n"
        "from smartdrive_edge.ignition_line import GpioLine, IgnitionLineError\n"
        "try:\n  GpioLine('/dev/gpiochip0', 17)\nexcept IgnitionLineError as error:\n  print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "extra [gpio]" in done.stdout


def test_gpiod_is_loaded_by_the_line_alone() -> None:
    program = "import sys, smartdrive_edge.ignition_line\nprint('gpiod' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
