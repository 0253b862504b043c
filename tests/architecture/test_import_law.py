"""The import law and the size of modules, read from the source: nothing is imported here.

tables ← {domain, landing, lake} ← defs ← {cli, commands, demo, processing, status, screens}
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "smartdrive_dagster"
MAX_LINES = 400

# What each part of the package may import of the others. A part that is not named here is not allowed.
FOUNDATION = {"tables", "settings"}
READING = FOUNDATION | {"domain", "landing", "lake", "knowledge"}
COMMANDS = {"cli", "commands", "demo", "processing", "status", "screens", "definitions"}
MAY_IMPORT: dict[str, set[str]] = {
    "tables": set(),
    "settings": set(),
    "domain": {"tables"},
    "knowledge": {"tables", "domain"},  # reads files for domain's pure functions
    "landing": {"tables"},
    "lake": {"tables"},
    "fleet": {"tables"},  # and landing.envelope, below
    "metrics": set(),
    "alerting": {"tables", "settings", "lake"},
    "serving": {"tables", "lake"},
    "certificates": {"tables", "lake"},
    "defs": READING | {"alerting", "metrics", "serving"},
    "definitions": {"defs", "settings", "tables"},
    "dagster_storage": set(),
    "up": {"settings", "landing"},
    "road": {"landing", "up"},
    "watch": READING | {"alerting", "defs", "metrics", "screens", "status", "up"},
    **{
        name: READING | COMMANDS | {"alerting", "certificates", "defs", "fleet", "road", "serving", "up", "watch"}
        for name in ("cli", "commands", "demo", "processing", "status", "screens")
    },
    "__init__": {"lake", "settings", "tables"},  # connect()
}
MAY_IMPORT_DAGSTER = {"defs", "definitions", "processing", "dagster_storage"}
EXCEPTIONS = {("fleet", "landing.envelope")}

# Within defs, the two roads do not meet: downstream names upstream by its table.
ROADS = ({"ingest", "ingestion"}, {"gold", "recomputation", "computations"})


def part_of(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.").split(".")[0] if module != PACKAGE else "__init__"


def imports(source: str, module: str) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it, relative imports included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, *([base] if base else [])])
            # `from package import name` may name a module
            yield from (f"{base}.{alias.name}" for alias in node.names)


def breaches(source: str, module: str) -> list[str]:
    """How a module of the lake breaks the law."""
    part = part_of(module)
    if part not in MAY_IMPORT:
        return [f"{part} has no place in the import law yet: give it one in MAY_IMPORT"]
    found = []
    for name in imports(source, module):
        top = name.split(".")[0]
        if top == "obd":
            found.append(f"{name}: only the edge imports obd")
        elif top.startswith("dagster") and part not in MAY_IMPORT_DAGSTER:
            found.append(f"{name}: {part} does not know Dagster")
        elif top in {"edge", "smartdrive_edge", "api", "smartdrive_api", "tests", "docs"}:
            found.append(f"{name}: another distribution")
        elif top == PACKAGE:
            found += _breaches_within(part, module, name.removeprefix(f"{PACKAGE}."))
    return found


def _breaches_within(part: str, module: str, name: str) -> Iterator[str]:
    target = name.split(".", maxsplit=1)[0]
    if target != part and target in MAY_IMPORT and target not in MAY_IMPORT[part]:
        if not any(part == who and name.startswith(what) for who, what in EXCEPTIONS):
            yield f"{name}: {part} does not import {target}"
    elif target not in MAY_IMPORT and target != "connect":
        yield f"{name}: {target} has no place in the import law yet"
    if part == target == "defs":
        own, other = module.rsplit(".", maxsplit=1)[-1], name.split(".")[1]
        for here, there in (ROADS, ROADS[::-1]):
            if own in here and other in there:
                yield f"{name}: {own} and {other} lie on different roads"


def edge_breaches(source: str, module: str) -> list[str]:
    """What the edge may not import: the lake, and what would make it too heavy for its computer."""
    heavy = {PACKAGE, "smartdrive_api", "dagster", "polars", "deltalake", "duckdb"}
    return [name for name in imports(source, module) if name.split(".")[0] in heavy]


def api_breaches(source: str, module: str) -> list[str]:
    """What the API may not import: the lake, its engines, and the edge."""
    heavy = {PACKAGE, "smartdrive_edge", "dagster", "polars", "deltalake", "duckdb", "obd"}
    return [name for name in imports(source, module) if name.split(".")[0] in heavy]


def listed(*patterns: str) -> list[Path]:
    """Files that are committed or could be."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", *patterns]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in sorted(set(found.stdout.splitlines())) if (ROOT / name).is_file()]


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name if path.name != "__init__.py" or path.parent.name == PACKAGE else name.removesuffix(".__init__")


def too_long(paths: Iterable[Path]) -> list[str]:
    lengths = {path: len(path.read_text().splitlines()) for path in paths}
    return [f"{path.name}: {length} lines" for path, length in lengths.items() if length > MAX_LINES]


LAKE = listed(f"{PACKAGE}/**.py", f"{PACKAGE}/*.py")
API = listed("api/smartdrive_api/**.py", "api/smartdrive_api/*.py")


def test_there_is_something_to_look_at() -> None:
    assert {part_of(module_name(path)) for path in LAKE} >= {"tables", "domain", "landing", "lake", "defs", "cli"}


@pytest.mark.parametrize("path", LAKE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_the_import_law(path: Path) -> None:
    assert breaches(path.read_text(), module_name(path)) == []


def test_the_edge_imports_nothing_of_the_lake() -> None:
    found = {str(path): edge_breaches(path.read_text(), module_name(path)) for path in listed("edge/**.py")}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_api_imports_nothing_of_the_lake_and_nothing_heavy() -> None:
    found = {str(path): api_breaches(path.read_text(), module_name(path)) for path in API}
    assert {path: names for path, names in found.items() if names} == {}
    assert len(API) > 5


def test_nothing_outside_the_edge_imports_obd() -> None:
    outside = [path for path in listed("*.py") if "edge" not in path.relative_to(ROOT).parts[:2]]
    importing = [
        str(path)
        for path in outside
        if any(name.split(".")[0] == "obd" for name in imports(path.read_text(), module_name(path)))
    ]
    assert importing == []


def test_no_module_is_too_long() -> None:
    assert too_long([*LAKE, *API]) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tables.gold", "from smartdrive_dagster.lake.frames import conform"),
        ("domain.trips", "from smartdrive_dagster.lake.lakehouse import Lakehouse"),
        ("domain.trips", "import dagster as dg"),
        ("domain.trips", "def f():\n    from dagster import asset"),
        ("domain.trips", "from smartdrive_dagster import landing"),
        ("domain.trips", "from ..lake import frames"),
        ("domain.trips", "if TYPE_CHECKING:\n    from smartdrive_dagster.landing.store import LandingStore"),
        ("lake.frames", "from smartdrive_dagster.domain.trips import segment_trips"),
        ("lake.frames", "import smartdrive_dagster.landing.reader"),
        ("landing.store", "from smartdrive_dagster.lake import lakehouse"),
        ("landing.store", "from smartdrive_dagster.settings import Settings"),
        ("fleet.drive", "from smartdrive_dagster.landing.store import LandingStore"),
        ("defs.gold", "from smartdrive_dagster.cli import app"),
        ("defs.gold", "from smartdrive_dagster.defs.ingest import bronze_and_silver"),
        ("defs.gold", "from smartdrive_dagster.defs import ingest"),
        ("defs.ingestion", "from smartdrive_dagster.defs.recomputation import stale"),
        ("definitions", "from smartdrive_dagster.processing import process"),
        ("status", "import dagster"),
        ("watch.facts", "import dagster"),
        ("screens", "import dagster_webserver"),
        ("domain.dtc", "from smartdrive_dagster.knowledge.trouble_codes import load_book"),
        ("knowledge.trouble_codes", "from smartdrive_dagster.settings import Settings"),
        ("landing.units", "import obd"),
        ("landing.units", "from smartdrive_edge.spool import Spool"),
        ("billing.app", "import json"),
        ("defs.gold", "from smartdrive_dagster.billing import app"),
    ],
)
def test_a_breach_is_noticed(module: str, source: str) -> None:
    assert breaches(source, f"{PACKAGE}.{module}") != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fleet.drive", "from smartdrive_dagster.landing.envelope import Envelope"),
        ("domain.trips", "from smartdrive_dagster import tables\nimport polars as pl"),
        ("defs.gold", "import dagster as dg\nfrom smartdrive_dagster.defs.specs import key"),
        ("defs.jobs", "from smartdrive_dagster.defs import gold, ingest"),
    ],
)
def test_what_the_law_allows_is_allowed(module: str, source: str) -> None:
    assert breaches(source, f"{PACKAGE}.{module}") == []


def test_an_edge_that_imports_the_lake_is_noticed() -> None:
    assert edge_breaches("from smartdrive_dagster.tables import signals", "edge.smartdrive_edge.spool") != []


@pytest.mark.parametrize(
    "source", ["import dagster", "def f():\n    from smartdrive_dagster.domain import identity"]
)
def test_an_api_that_imports_the_lake_is_noticed(source: str) -> None:
    assert api_breaches(source, "api.smartdrive_api.vehicles.vin") != []


def test_a_long_module_is_noticed(tmp_path: Path) -> None:
    long, short = tmp_path / "long.py", tmp_path / "short.py"
    long.write_text("x = 1\n" * (MAX_LINES + 1))
    short.write_text("x = 1\n" * MAX_LINES)
    assert too_long([long, short]) == [f"long.py: {MAX_LINES + 1} lines"]
