"""The UI as a person sees it: the lineage page of a demo lake, in a real browser."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "take_screenshot.py"


def test_the_lineage_page_shows_every_layer_with_its_checks_passed(clone: Path, tmp_path: Path) -> None:
    """The script waits for the nodes of all tables before it takes the picture, and fails without them."""
    if shutil.which("chromium") is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: apt-get install chromium")
        pytest.skip("no chromium on the PATH")
    picture = tmp_path / "lineage.png"
    command = [sys.executable, str(SCRIPT), "--home", str(clone), "--output", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    body = picture.read_bytes()
    assert body.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", body[16:24])
    assert width > 1200
    assert height > 600
    assert len(body) > 60_000, "an almost empty page"
