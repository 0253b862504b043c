"""The generated reference pages say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", DOCS / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(generator: ModuleType) -> None:
    stale = [name for name, text in generator.pages().items() if (DOCS / "reference" / name).read_text() != text]
    assert stale == [], "run .venv/bin/python docs/generate_reference.py"


def test_every_command_has_its_help_in_the_reference(generator: ModuleType) -> None:
    from typer.main import get_command

    from smartdrive_dagster.cli import app

    assert sorted(generator._COMMANDS) == sorted(get_command(app).commands)  # type: ignore[attr-defined]
