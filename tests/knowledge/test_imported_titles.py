"""Import of an owner's table of codes: every row is taken or counted with its reason."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartdrive_dagster.domain.dtc import normal_code
from smartdrive_dagster.knowledge.imported_titles import CodeFileError, import_titles, read_imported
from smartdrive_dagster.knowledge.trouble_codes import load_book


def imported(tmp_path: Path, content: str | bytes, language: str = "en"):
    source, target = tmp_path / "source.csv", tmp_path / "deep" / "dtc.csv"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    report = import_titles(source, target, language=language)
    return report, read_imported(target)


def test_rows_are_taken_or_counted_with_their_reason(tmp_path: Path) -> None:
    report, titles = imported(
        tmp_path,
        "code,category,title_en,title_de\n"
        "P2ABC,powertrain,One thing,Ein Ding\n"
        'p2abd ,powertrain,"Two;  \nthings",\n'
        "P2ABC,powertrain,One thing,Ein Ding\n"
        "P2ABC,powertrain,Another thing,\n"
        "P9999,powertrain,No code,\n"
        "P2ABE,powertrain, ,\n"
        f"P2ABF,powertrain,{'x' * 301},\n"
        "P2AC0\n"
        "\n",
    )
    assert titles == {"P2ABC": {"en": "One thing"}, "P2ABD": {"en": "Two; things"}}
    assert (report.rows, report.accepted) == (8, 2)
    assert report.rejected == {"conflict": 1, "no_code": 1, "no_title": 2, "repeated": 1, "title_too_long": 1}
    assert report.accepted + sum(report.rejected.values()) == report.rows
    assert (report.languages, report.ignored_columns) == ({"en": 2}, ("category", "title_de"))


@pytest.mark.parametrize(
    ("content", "language", "title"),
    [
        ("DTC;Description\nP2ABC;Pump, left\n", "en", {"en": "Pump, left"}),
        ("code\ttitle_hu\ttitle_en\nP2ABC\tSzivattyú\tPump\n", "en", {"en": "Pump", "hu": "Szivattyú"}),
        ("Code|Title\r\nP2ABC|Szivattyú\r\n", "hu", {"hu": "Szivattyú"}),
        ("\ufeffcode,title\nP2ABC,Szivattyú\n".encode(), "hu", {"hu": "Szivattyú"}),
        ("code,title\nP2ABC,Szivattyú\n".encode("utf-16"), "hu", {"hu": "Szivattyú"}),
    ],
)
def test_the_common_shapes_of_tables_are_read(
    tmp_path: Path, content: str | bytes, language: str, title: dict[str, str]
) -> None:
    _, titles = imported(tmp_path, content, language)
    assert titles == {"P2ABC": title}


def test_a_public_list_is_imported_whole(tmp_path: Path, recordings: Path) -> None:
    target = tmp_path / "dtc.csv"
    report = import_titles(recordings / "dtc_codes.csv", target)
    assert (report.rows, report.accepted, report.rejected) == (9533, 9533, {})
    book = load_book(target)
    assert book.title("P0171").tier == "own"
    assert book.title("B0001").tier == "imported"
    assert load_book(None).title("B0001").tier == "structure"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "names nothing"),
        (b"code,category\nP2ABC,x\n", "title_en"),
        (b"a,title\nP2ABC,x\n", "one of code, dtc"),
        (b"code,title\nnothing,x\n", "none of its 1 rows"),
        ("code,title\nP2ABC,Szivattyú\n".encode("cp1250"), "not UTF-8"),
        (b'code,title\nP2ABC,"' + b"x" * 200_000, "no row of a table"),
    ],
)
def test_a_table_that_gives_nothing_is_refused_and_changes_nothing(
    tmp_path: Path, content: bytes, words: str
) -> None:
    source, target = tmp_path / "source.csv", tmp_path / "dtc.csv"
    source.write_bytes(content)
    with pytest.raises(CodeFileError, match=words):
        import_titles(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["source.csv"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodeFileError, match="no such file"):
        import_titles(tmp_path / "nowhere.csv", tmp_path / "dtc.csv")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"code,title\n",
        b"code;title_en;title_hu\nP2ABC;;\n",
        b"code;title_en;title_hu\np2abc;x;\n",
        b"\xff\xfe",
    ],
)
def test_a_damaged_configuration_file_is_refused(tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "dtc.csv"
    target.write_bytes(content)
    with pytest.raises(CodeFileError, match="import the table"):
        load_book(target)


CELLS = st.tuples(st.sampled_from(["P2ABC", "p2abd", "U0100", "x", ""]), st.text(max_size=20))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, max_size=6))
def test_whatever_the_titles_hold_what_was_written_is_read_back(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    source, target = tmp_path / "source.csv", tmp_path / "dtc.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("code", "title"), *rows])
    wanted: dict[str, dict[str, str]] = {}
    for code, title in rows:
        if (known := normal_code(code)) and (text := " ".join(title.split())):
            wanted.setdefault(known, {"en": text})
    if not wanted:
        with pytest.raises(CodeFileError):
            import_titles(source, target)
        return
    report = import_titles(source, target)
    assert read_imported(target) == wanted
    assert report.accepted + sum(report.rejected.values()) == report.rows
