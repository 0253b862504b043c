from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.tests.broker.home import Home


@pytest.fixture(params=["mosquitto", "embedded"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Everything asked of one broker is asked of the other."""
    made = Home(tmp_path, request.param)
    try:
        yield made.start()
    finally:
        made.kill()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path, "embedded")
    try:
        yield made.start()
    finally:
        made.kill()
