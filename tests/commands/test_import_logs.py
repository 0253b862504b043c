"""`smartdrive import` as a user meets it: what it shows, writes, refuses and takes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.commands.import_logs import ImportFailedError
from smartdrive_dagster.defs.retraction import RetractionError
from smartdrive_dagster.landing.recorded.errors import AmbiguousLogError, OptionError
from smartdrive_dagster.landing.store import LandingStore

VIN = "1M8GDM9AXKP042788"
LOG = "time,rpm,Speed (mph),Latitude\n" + "".join(f"20:27:{s:02d},{800 + s},{s},52.51234\n" for s in range(9))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024-05-01.csv").write_text(LOG)


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["import", *arguments])


def landed() -> list[str]:
    return [entry.key for entry in LandingStore("landing").list().objects]


def test_a_dry_run_shows_how_a_log_is_read_and_writes_nothing(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = call("2024-05-01.csv", "--dry-run", "--timezone", "Europe/Berlin")
    assert result.exit_code == 0
    for shown in (
        "utf-8, separated by comma, header in line 1",
        "'time': time of day, first day 2024-05-01, zone Europe/Berlin",
        "km/h = 1.60934 x value",
        "from 2024-05-01 18:27:00.000 UTC (2024-05-01 20:27:00 Europe/Berlin)",
        "nothing was written",
    ):
        assert shown in result.output
    assert "52.5" not in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_is_imported_but_for_the_file_that_cannot_be(tmp_path: Path) -> None:
    folder = tmp_path / "drives"
    folder.mkdir()
    (folder / "2024-05-02.csv").write_text(LOG)
    (folder / "bad.csv").write_text("time,rpm,speed\n20:27:44,800,3\n")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    result = call("drives", "2024-05-01.csv", "--vin", VIN, "--no-process")
    assert isinstance(result.exception, ImportFailedError)
    assert "1 of 3 files" in str(result.exception)
    assert "bad.csv can be read in more than one way" in result.output
    assert "1 files are not looked at" in result.output
    assert len(landed()) == 2


def test_an_import_is_taken_back_by_its_file_or_where_there_are_several_by_its_id() -> None:
    for day in ("2024-05-01", "2024-05-02"):
        assert call("2024-05-01.csv", "--vin", VIN, "--date", day, "--no-process").exit_code == 0
    result = call("--undo", "2024-05-01.csv", "--no-process")
    assert isinstance(result.exception, RetractionError)
    ids = [word for word in str(result.exception).split() if word.startswith("import-")]
    assert len(ids) == 2
    assert "taken back" in call("--undo", ids[0], "--no-process").output
    assert ids[1] in call("--undo", "2024-05-01.csv", "--no-process").output
    assert "taken back before" in call("--undo", "2024-05-01.csv", "--no-process").output
    assert len(landed()) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["2024-05-01.csv"], OptionError, "--vin is missing"),
        (["--undo", "2024-05-01.csv"], RetractionError, "never imported"),
        (["--undo", "nothing.csv"], RetractionError, "neither a file nor an import's id"),
        (["2024-05-01.csv", "--dry-run", "--column", "rpm"], OptionError, "write NAME=SIGNAL"),
        (["2024-05-01.csv", "--dry-run", "--decimal", ";"], OptionError, "--decimal"),
        (["2024-05-01.csv", "--dry-run", "--column", "Speed (mph)=SPEED:kPa"], OptionError, "does not measure"),
        (["x.csv", "--dry-run"], AmbiguousLogError, "carry no date"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, arguments: list[str], error: type[Exception], text: str
) -> None:
    (tmp_path / "x.csv").write_text(LOG)
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert text in str(result.exception)
