"""The docs' own commands, run page by page over a small demo lake, and their links."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest

from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import gold

ROOT = Path(__file__).parents[2]
RUN = [
    "README.md",
    "docs/tutorial.md",
    "edge/README.md",
    *sorted(
        str(path.relative_to(ROOT))
        for where in ("docs/how-to", "edge/docs")
        for path in ROOT.glob(f"{where}/*.md")
    ),
]
BLOCK = re.compile(r"(?P<marker><!-- not run: [^\n]+ -->\n)?```sh\n(?P<commands>.*?)\n```", re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
REGISTRY = re.compile(r"pypi\.org|files\.pythonhosted|registry\.npmjs", re.IGNORECASE)


def markdown() -> list[Path]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def commands(text: str) -> list[str]:
    """The `sh` blocks of a page, but for those that say why they are not run."""
    return [block["commands"] for block in BLOCK.finditer(text) if not block["marker"]]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SMARTDRIVE_", "DAGSTER_"))}
    path = f"{home}/.venv/bin:{kept['PATH']}"  # the edge's pages are for an installed smartdrive-edge
    return kept | {"HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1", "PATH": path}


def run(script: str, home: Path) -> str:
    """Run a page's commands; what they leave in the background ends with them."""
    command = ["bash", "-euo", "pipefail", "-c", script]
    process = subprocess.Popen(
        command,
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = process.communicate(timeout=600)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{script}\n{said}\n{errors}"
    return said


@pytest.mark.timeout(900)  # the first one makes the demo, and a page may run the whole road several times
@pytest.mark.parametrize("page", RUN)
def test_every_command_of_a_page_runs(page: str, clone: Path) -> None:
    blocks = commands((ROOT / page).read_text())
    if page != "docs/how-to/use-s3.md" and not page.startswith("edge/docs/"):
        assert blocks
    run("\n".join(blocks), clone)
    if page == "docs/tutorial.md":
        trips = Lakehouse(str(clone / "lake")).scan(gold.TRIPS)
        day = trips.filter(pl.col("event_date") == pl.date(2025, 12, 1)).collect()
        trip = day.select("duration_s", pl.col("distance_km").round(6), "max_speed_kmh").rows()
        assert trip == [(600.0, 10.0, 60.0)]


def test_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    broken = "# A page\n\n```sh\nfalse | true\necho not reached\n```\n"
    with pytest.raises(AssertionError, match="not reached"):
        run("\n".join(commands(broken)), tmp_path)


def test_a_block_is_left_out_only_where_a_reason_stands_right_before_it() -> None:
    page = "<!-- not run: a reason -->\n```sh\nleft out\n```\n<!-- not run: far away -->\n\n```sh\nkept\n```\n"
    assert commands(page) == ["kept"]


def test_make_demo_and_make_test_are_what_the_pages_say() -> None:
    def dry(target: str) -> str:
        # -o: the venv counts as installed already
        done = subprocess.run(
            ["make", "--no-print-directory", "-n", "-o", ".venv/.installed", target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert dry("demo").strip() == ".venv/bin/smartdrive demo"
    assert "pytest" in dry("test")


def anchors(text: str) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for target in LINK.findall(FENCE.sub("", text)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve()
        if (path and not found.exists()) or (
            anchor and anchor not in anchors(found.read_text() if path else text)
        ):
            broken.append(target)
    return broken


def test_every_relative_link_resolves() -> None:
    broken = {str(page.relative_to(ROOT)): broken_links(page, page.read_text()) for page in markdown()}
    assert {page: links for page, links in broken.items() if links} == {}


def test_a_dead_link_and_a_dead_anchor_are_noticed() -> None:
    text = "# One\n[a](nowhere.md) [b](#two) [c](#one) [d](README.md#no-such-heading) [e](https://example.org)"
    assert broken_links(ROOT / "page.md", text) == ["nowhere.md", "#two", "README.md#no-such-heading"]


def test_no_page_names_a_package_registry() -> None:
    assert REGISTRY.search("https://PyPI" + ".org/simple")
    assert [str(page) for page in markdown() if REGISTRY.search(page.read_text())] == []
