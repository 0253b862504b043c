"""What no file of the repository says: where packages were fetched from, or on which machine it was written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "a package registry": re.compile(rb"(?i)pypi\.org|files\.pythonhosted|registry\.npmjs"),
    "an index that is not the default": re.compile(rb"--(?:extra-)?index-url|--find-link[s]"),
    "the author's own directories": re.compile(rb"/work/(?:main|shared)|/opt/pyp[i]|/home/[a-z]+/"),
    "a real-looking key": re.compile(rb"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}


def findings(content: bytes) -> list[str]:
    return [what for what, pattern in FORBIDDEN.items() if pattern.search(content)]


def test_no_file_names_what_it_should_not() -> None:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-coz", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): findings(path.read_bytes()) for path in files}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "text",
    [
        "https://" + "pypi" + ".org/simple",
        "--index" + "-url x",
        "/wor" + "k/main/README.md",
        "AKIA" + "ABCDEFGHIJKLMNOP",
    ],
)
def test_each_of_these_is_noticed(text: str) -> None:
    assert findings(text.encode()) != []


def test_the_continuous_integration_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)
