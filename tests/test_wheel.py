"""The wheel carries all that the code reads: models, contracts, formats."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from smartdrive_dagster.defs.serving import served_tables
from smartdrive_dagster.lake.models import readable_tables

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(directory), str(ROOT)], check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "unpacked")
    return directory / "unpacked"


def test_an_installed_wheel_loads_its_models_formats_and_definitions(unpacked: Path, tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(unpacked)!r})
import smartdrive_dagster
assert smartdrive_dagster.__file__.startswith({str(unpacked)!r}), smartdrive_dagster.__file__
from smartdrive_dagster.lake.models import load_models
from smartdrive_dagster.knowledge.trouble_codes import load_advice, load_book
from smartdrive_dagster.landing.recorded.formats import known_formats
from smartdrive_dagster.definitions import defs
assert load_book().title("P0171").tier == "own" and load_advice()["P0171"]
print(sorted(load_models()), sorted(known_formats()), len(defs().resolve_all_asset_keys()))
"""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shipped = sorted(path.stem for path in (ROOT / "dbt_like_models" / "marts").glob("*.sql"))
    assets = len(readable_tables()) + 1 + len(served_tables()) + 1  # and landing's objects, and trouble codes
    assert done.stdout.strip() == f"{shipped} ['car-scanner', 'envirocar'] {assets}"


def test_the_contracts_are_in_the_wheel(unpacked: Path) -> None:
    shipped = {path.name for path in (unpacked / "smartdrive_dagster" / "contracts").glob("*.json")}
    assert shipped == {path.name for path in (ROOT / "contracts").glob("*.json")}
