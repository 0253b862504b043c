"""A real PostgreSQL with the API's tables, and a lake to publish from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from smartdrive_api.database import connect
from smartdrive_api.migrations import upgrade

from api.tests.conftest import empty_database, fresh_data, postgres  # noqa: F401 - fixtures


@pytest.fixture
def database(empty_database: Callable[[], str]) -> str:  # noqa: F811 - the fixture
    """The URL of a new database with all tables."""
    url = empty_database()
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    return url
