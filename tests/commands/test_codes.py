"""`smartdrive dtc` and `smartdrive import-dtc` on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smartdrive_dagster import cli

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(*arguments: str) -> str:
    result = RUNNER.invoke(cli.app, list(arguments))
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_a_code_is_explained_with_its_tier_its_rule_causes_and_actions() -> None:
    answer = said("dtc", "p0171")
    for words in (
        "P0171 Mixture too lean, bank 1",
        "[our own table]",
        "Powertrain, standard code: fuel and air metering",
        "WARNING: Have it looked at within 500 km.",
        "rule powertrain; our judgement, not the standard's",
        "Likely causes",
        "What to do",
    ):
        assert words in answer


def test_the_answer_is_hungarian_where_that_is_asked_for() -> None:
    answer = said("dtc", "P0217", "--language", "hu")
    for words in (
        "Túlmelegedett a motor",
        "[saját táblázat]",
        "KRITIKUS: Álljon meg",
        "Valószínű okok",
        "Teendők",
    ):
        assert words in answer


def test_a_code_that_nobody_outside_knows_says_so() -> None:
    answer = said("dtc", "P1345")
    assert answer.count("manufacturer's own code: ignition and misfires") == 1
    assert "only the structure of the code is known" in answer
    assert "Likely causes" not in answer


def test_several_codes_come_as_json() -> None:
    first, second = json.loads(said("dtc", "P0301", "U0100", "--json"))
    assert (first["title"]["tier"], first["severity"]["rule"], len(first["causes"])) == ("own", "misfire", 4)
    assert (second["structure"]["subsystem"], second["structure"]["origin"]) == ("communication_lost", "generic")


def test_a_text_that_is_no_code_is_refused_with_an_example() -> None:
    result = RUNNER.invoke(cli.app, ["dtc", "P017"])
    assert result.exit_code == 2
    assert "like P0171" in " ".join(result.output.split())


def test_an_imported_title_is_shown_from_then_on(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code,title\nB1234,Left seat heater\nnonsense,x\n")
    report = said("import-dtc", "codes.csv")
    assert "2 rows: 1 accepted (1 en titles) into .smartdrive/dtc.csv" in report
    assert "1 rejected: no_code" in report
    answer = said("dtc", "B1234")
    assert "B1234 Left seat heater [the imported table]" in answer


def test_a_table_that_cannot_be_read_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["smartdrive", "import-dtc", "nowhere.csv"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.strip().endswith("nowhere.csv: no such file")
