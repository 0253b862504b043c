from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recorded_pairs() -> list[tuple[str, str]]:
    """Requests and answers of real adapters, which are not part of the repository."""
    place = os.environ.get("SMARTDRIVE_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data"
    path = Path(place) / "elm327_pairs.json"
    if not path.is_file():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing; set SMARTDRIVE_SHARED_DATA")
        pytest.skip(f"{path} is missing; set SMARTDRIVE_SHARED_DATA")
    return [(request, answer) for request, answer in json.loads(path.read_text())["pairs"]]
