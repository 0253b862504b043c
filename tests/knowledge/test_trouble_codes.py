"""The tables of trouble codes as they ship: complete in both languages, covering, and honest about their tier."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from smartdrive_dagster.domain.dtc_knowledge import CodeBook, Severity, severity_of_episode
from smartdrive_dagster.knowledge.trouble_codes import load_advice, load_book, load_level_texts

ROOT = Path(__file__).parents[2]
LATIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,.:;/()+-'\u2212\u2013")
HUNGARIAN = LATIN | set("áéíóöőúüűÁÉÍÓÖŐÚÜŰ„”%")
ENGLISH = LATIN | set('“”"')


@pytest.fixture(scope="module")
def book() -> CodeBook:
    return load_book()


def texts(book: CodeBook, language: str) -> list[str]:
    advice = [text for a in load_advice().values() for said in (a.causes, a.actions) for text in said[language]]
    return [
        *(said[language] for said in book.titles.values()),
        *(said[language] for said in book.words.values()),
        *(rule.why[language] for rule in book.rules),
        *(said[language] for said in load_level_texts().values()),
        *advice,
    ]


def test_our_own_table_holds_the_codes_that_matter(book: CodeBook) -> None:
    own = [code for code in book.titles if code.startswith("P")]
    assert len(own) >= 400
    assert {"P0171", "P0300", "P0420", "P0455", "P2135", "P20EE"} <= set(own)


def test_nine_tenths_of_the_p0_codes_of_a_public_list_have_a_title_of_ours(
    book: CodeBook, recordings: Path
) -> None:
    with (recordings / "dtc_codes.csv").open(encoding="utf-8") as file:
        listed = [row["code"] for row in csv.DictReader(file)]
    p0 = [code for code in listed if code.startswith("P0")]
    tiers = Counter(book.title(code).tier for code in p0)
    assert tiers["own"] >= 0.9 * len(p0)
    page = (ROOT / "docs" / "explanation" / "trouble-codes.md").read_text(encoding="utf-8")
    own = Counter(book.title(code).tier for code in listed)["own"]
    assert f"{tiers['own']:,} of its {len(p0):,} P0 codes" in page
    assert f"{own:,} of all {len(listed):,}" in page


def test_no_title_is_that_of_a_public_list(book: CodeBook, recordings: Path) -> None:
    with (recordings / "dtc_codes.csv").open(encoding="utf-8") as file:
        foreign = {row["code"]: row["title_en"].casefold() for row in csv.DictReader(file)}
    same = [code for code, said in book.titles.items() if said["en"].casefold() == foreign.get(code)]
    assert same == []


def test_every_text_is_there_in_both_languages_and_reads_cleanly(book: CodeBook) -> None:
    for language, alphabet in (("en", ENGLISH), ("hu", HUNGARIAN)):
        for text in texts(book, language):
            assert text, language
            assert text == text.strip()
            assert "  " not in text
            assert unicodedata.normalize("NFC", text) == text
            assert set(text) <= alphabet, (text, set(text) - alphabet)
            assert text[0].isupper() or text[0] in "„“" or text[0].isdigit() or text in _lower(book, language), (
                text
            )


def _lower(book: CodeBook, language: str) -> set[str]:
    return {said[language] for said in book.words.values()}


def test_hungarian_texts_are_hungarian(book: CodeBook) -> None:
    """Long vowels that a wrong code page or a keyboard without accents would lose."""
    said = " ".join(texts(book, "hu"))
    assert all(letter in said for letter in "áéíóöőúüűÁÉÖÜŰ".replace("Ű", ""))
    assert "õ" not in said
    assert "û" not in said
    different = [code for code, title in book.titles.items() if title["en"] == title["hu"]]
    assert different == []
    for word, right in (("homerseklet", "hőmérséklet"), ("uzemanyag", "üzemanyag"), ("fesze", "feszültség")):
        assert word not in said.lower()
        assert right in said.lower()


def test_titles_of_different_codes_differ(book: CodeBook) -> None:
    for language in ("en", "hu"):
        counted = Counter(said[language] for said in book.titles.values())
        repeated = {text for text, count in counted.items() if count > 1}
        assert repeated == set()


def test_every_code_that_can_be_written_has_a_severity_and_a_title(book: CodeBook) -> None:
    for letters in product("PCBU", "0123", "0123456789ABCDEF", "0F"):
        code = "".join(letters) + "5"
        assert book.severity(code).rule in book.rules_by_name
        for language in ("en", "hu"):
            assert book.title(code, language).text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "level", "rule"),
    [
        ("P0524", "critical", "oil_pressure"),
        ("P0217", "critical", "engine_overheating"),
        ("P0AA6", "critical", "high_voltage"),
        ("P0301", "warning", "misfire"),
        ("P030A", "warning", "powertrain"),
        ("P0420", "warning", "powertrain"),
        ("P0455", "info", "fuel_vapour"),
        ("P044A", "warning", "powertrain"),
        ("P0562", "warning", "powertrain"),
        ("P057A", "warning", "powertrain"),
        ("P0565", "info", "comfort"),
        ("P1234", "warning", "manufacturer"),
        ("P3123", "warning", "manufacturer"),
        ("P3401", "warning", "powertrain"),
        ("B0001", "warning", "restraints"),
        ("B0300", "info", "body"),
        ("B1300", "warning", "manufacturer"),
        ("C0035", "warning", "chassis"),
        ("U0100", "warning", "network"),
    ],
)
def test_the_first_rule_that_applies_names_the_severity(book: CodeBook, code: str, level: str, rule: str) -> None:
    assert book.severity(code) == Severity(level, rule)  # type: ignore[arg-type]


def test_every_rule_decides_some_code(book: CodeBook) -> None:
    for rule in book.rules:
        firsts = [token.partition("-")[0].ljust(5, "0") for token in rule.codes]
        assert rule.name in {
            book.severity(code).rule for code in (*firsts, *(f"{code[0]}0FFF" for code in firsts))
        }


def test_a_pending_code_only_informs_unless_it_tells_the_driver_to_stop() -> None:
    warning, critical = Severity("warning", "misfire"), Severity("critical", "oil_pressure")
    assert severity_of_episode(warning, is_confirmed=False) == Severity("info", "not_confirmed")
    assert severity_of_episode(warning, is_confirmed=True) == warning
    assert severity_of_episode(critical, is_confirmed=False) == critical
    assert severity_of_episode(Severity("info", "body"), is_confirmed=False) == Severity("info", "body")


def test_a_hundred_codes_have_causes_and_actions_in_both_languages(book: CodeBook) -> None:
    advice = load_advice()
    assert len(advice) >= 100
    for code, said in advice.items():
        assert code in book.titles
        for part in (said.causes, said.actions):
            assert len(part["en"]) == len(part["hu"]) >= 2, code


@pytest.mark.parametrize(
    ("code", "language", "library", "tier", "spoken", "text"),
    [
        ("P0171", "en", "Library says", "own", "en", "Mixture too lean, bank 1"),
        ("P0171", "hu", "Library says", "own", "hu", "Túl szegény keverék, 1. hengersor"),
        ("P2ABC", "hu", "Library says", "library", "en", "Library says"),
        ("P2ABC", "hu", None, "imported", "hu", "Behozott"),
        ("P2ABC", "en", None, "imported", "hu", "Behozott"),
        ("P2ABD", "hu", "", "imported", "en", "Brought in"),
        (
            "P1345",
            "en",
            None,
            "structure",
            "en",
            "Powertrain, manufacturer's own code: ignition and misfires, fault number 45",
        ),
        ("C3001", "hu", None, "structure", "hu", "Futómű, ki nem osztott kód: hibaszám: 01"),
    ],
)
def test_a_title_comes_from_the_first_tier_that_has_one_and_says_which(
    book: CodeBook, code: str, language: str, library: str | None, tier: str, spoken: str, text: str
) -> None:
    imported = {"P2ABC": {"hu": "Behozott"}, "P2ABD": {"en": "Brought in"}, "P0171": {"en": "Not shown"}}
    title = CodeBook(book.titles, book.rules, book.words, imported).title(code, language, library=library)  # type: ignore[arg-type]
    assert (title.tier, title.language, title.text) == (tier, spoken, text)


def test_what_is_no_code_has_no_title(book: CodeBook) -> None:
    with pytest.raises(ValueError, match="no trouble code"):
        book.title("P017")


def test_the_imported_digest_changes_with_the_table(book: CodeBook) -> None:
    digests = {
        CodeBook(book.titles, book.rules, book.words, imported).imported_digest
        for imported in ({}, {"P2ABC": {"en": "a"}}, {"P2ABC": {"en": "b"}}, {"P2ABC": {"hu": "a"}})
    }
    assert len(digests) == 4
