"""One small lake for all tests of this folder; each gets a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_lake import House, copied, filled


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(filled(tmp_path_factory.mktemp("made")).root)


@pytest.fixture
def house(tmp_path: Path, made: Path) -> House:
    return copied(made, str(tmp_path))


@pytest.fixture
def configured(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    configure(house, monkeypatch)
    return house


def configure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line find it."""
    for name in ("lake_url", "landing_url", "secret"):
        monkeypatch.setenv(f"SMARTDRIVE_{name.upper()}", str(getattr(house.settings, name)))
