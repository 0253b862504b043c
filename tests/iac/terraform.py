"""Terraform as the tests call it, with the provider that lies on this machine where one does."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
IAC: Final = ROOT / "iac"
PLUGINS: Final = Path(os.environ.get("TF_PLUGIN_DIR", "/opt/tf-plugins"))
_ASK: Final = (
    "Terraform 1.11 or later is not on the PATH: install it as developer.hashicorp.com/terraform/install says"
)


class TerraformError(AssertionError):
    """Terraform failed; the message ends with what it said."""


def binary() -> str:
    """Where Terraform is; without it tests are skipped, and fail in CI."""
    found = shutil.which("terraform")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(_ASK)
        pytest.skip(_ASK)
    return found


def copy_of(target: Path) -> Path:
    """A copy of `iac/` that may be initialised and changed, with the package that its plans look at."""
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "build")
    copy = Path(shutil.copytree(IAC, target / "iac", ignore=ignored))
    runpy.run_path(str(IAC / "package_consumer.py"))["package"](copy / "build" / "dlq-consumer.zip")
    return copy


class Terraform:
    """Terraform in one directory.

    Args:
        folder: with the root module.
        home: where its configuration is written.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self._binary = binary()
        config = home / "terraform.rc"
        found = f'filesystem_mirror {{\n path = "{PLUGINS}"\n }}\n' if PLUGINS.is_dir() else "direct {}\n"
        config.write_text(f"provider_installation {{\n {found}}}\n")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        # Few attempts: what an emulator does not know shall fail and not be asked for again for minutes.
        self._environment = kept | {
            "TF_CLI_CONFIG_FILE": str(config),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "AWS_MAX_ATTEMPTS": "3",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __call__(self, *arguments: str, accept: tuple[int, ...] = (0,), timeout_s: int = 900) -> str:
        """Run one command; returns what it wrote.

        Raises:
            TerraformError: it ended otherwise than accepted.
        """
        done = subprocess.run(
            [self._binary, f"-chdir={self.folder}", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if done.returncode not in accept:
            said = f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
            raise TerraformError(f"terraform {' '.join(arguments)} ended with {done.returncode}: {said}")
        return done.stdout

    def init(self) -> None:
        """Fetch modules, and link the provider where it lies."""
        self("init", "-backend=false", "-input=false", "-no-color")

    def shown(self, *what: str) -> dict[str, Any]:
        """A plan, or the state, as JSON."""
        shown: dict[str, Any] = json.loads(self("show", "-json", "-no-color", *what))
        return shown
