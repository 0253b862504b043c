from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.tests.publisher.broker import Mosquitto


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    try:
        yield broker.start()
    finally:
        broker.kill()
