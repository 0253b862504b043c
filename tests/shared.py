"""What takes long to make and is only read: made by the first worker of a test run that asks, for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A directory that `make` fills once in a test run, however many workers it has.

    Args:
        factory: pytest's, of this worker.
        name: of the directory.
        make: fills the directory, which is there and empty. Where it fails, the next one who asks tries anew.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(root / f"{name}.lock"):
        made = root / f"{name}.made"
        attempt = 0
        while not made.exists():
            directory = root / f"{name}-{attempt}"
            try:
                directory.mkdir()
            except FileExistsError:
                attempt += 1
                continue
            make(directory)
            made.write_text(str(directory))
        return Path(made.read_text())
