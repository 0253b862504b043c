"""Titles of trouble codes, written as families: which part, what is wrong with it, and how often it is there.

SAE J2012 numbers its codes in runs: a sensor's circuit, then its range, low, high and intermittent faults,
for each bank, cylinder or letter. The table says such a run in one line, so that a title is always a subject and a
fault in our own words. This module turns the lines into titles; it reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LANGUAGES: Final = ("en", "hu")

_CODE: Final = re.compile(r"[PCBU][0-3][0-9A-F]{3}")
_PLACE: Final = re.compile(r"\{(Az|az)?(\d)\}")
_SKIPPED: Final = "-"
# Hungarian's article before a numeral or the name of a letter: "az" where its pronunciation begins with a vowel.
_VOWEL_NUMERALS: Final = frozenset({"1", "5"})
_VOWEL_LETTERS: Final = frozenset("AEFILMNORSUXY")


class TitleTableError(ValueError):
    """A line of the title table cannot be meant: the text says which and why."""


@dataclass(frozen=True, slots=True)
class Family:
    """One line of the title table.

    Attributes:
        source: what to call the line in an error.
        codes: first codes, separated by blanks; ``P0201-P0209`` stands for each code of that range.
        faults: faults of the codes that follow each first code, separated by blanks; ``-`` leaves a code out.
            Empty: `titles` are whole titles, of the first codes alone.
        titles: subject by language. ``{0}`` and ``{1}`` stand for the parts of a value; ``{az0}`` and ``{Az0}``
            for the Hungarian article before it.
        values: one value per first code, separated by commas, its parts by ``/``; ``1-12`` and ``A-F`` count.
    """

    source: str
    codes: str
    faults: str
    titles: Mapping[str, str]
    values: str = ""


def expand(families: Iterable[Family], faults: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Write out the titles of all codes.

    Args:
        families: lines of the table.
        faults: by abbreviation and language, what is wrong with a subject.

    Returns:
        By code and language, its title: ``subject: fault``, or the line's text where it names no fault.

    Raises:
        TitleTableError: a line names no code, an unknown fault, another number of values than of first codes, or
            a code that has a title already.
    """
    titles: dict[str, dict[str, str]] = {}
    for family in families:
        for code, title in _family_titles(family, faults):
            if code in titles:
                raise TitleTableError(f"{family.source}: {code} has a title already")
            titles[code] = title
    return titles


def _family_titles(
    family: Family, faults: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, dict[str, str]]]:
    first_codes = list(_first_codes(family))
    values = list(_values(family.values)) or [()] * (1 if len(first_codes) == 1 else 0)
    if len(values) != len(first_codes):
        raise TitleTableError(f"{family.source}: {len(first_codes)} codes but {len(values)} values")
    for code, value in zip(first_codes, values, strict=True):
        subject = {language: _filled(family, language, value) for language in LANGUAGES}
        if not family.faults:
            yield code, subject
        for offset, fault in enumerate(family.faults.split()):
            if fault == _SKIPPED:
                continue
            if fault not in faults:
                raise TitleTableError(f"{family.source}: unknown fault {fault}")
            said = {language: f"{subject[language]}: {faults[fault][language]}" for language in LANGUAGES}
            yield _following(code, offset), said


def _first_codes(family: Family) -> Iterator[str]:
    for part in family.codes.split():
        first, _, last = part.partition("-")
        last = last or first
        if not (_CODE.fullmatch(first) and _CODE.fullmatch(last)):
            raise TitleTableError(f"{family.source}: {part} is no code")
        yield from (_following(first, offset) for offset in range(int(last[1:], 16) - int(first[1:], 16) + 1))


def _following(code: str, offset: int) -> str:
    return f"{code[0]}{int(code[1:], 16) + offset:04X}"


def _values(text: str) -> Iterator[tuple[str, ...]]:
    for item in filter(None, text.split(",")):
        first, dash, last = item.partition("-")
        if dash and first.isdigit() and last.isdigit():
            yield from ((str(number),) for number in range(int(first), int(last) + 1))
        elif dash and len(first) == len(last) == 1:
            yield from ((chr(letter),) for letter in range(ord(first), ord(last) + 1))
        else:
            yield tuple(item.split("/"))


def _filled(family: Family, language: str, value: Sequence[str]) -> str:
    def fill(place: re.Match[str]) -> str:
        article, number = place[1], int(place[2])
        if number >= len(value):
            raise TitleTableError(f"{family.source}: no value for {place[0]}")
        return f"{article[0]}{_article(value[number])}" if article else value[number]

    return _PLACE.sub(fill, family.titles[language])


def _article(value: str) -> str:
    """The rest of Hungarian's article, after its a."""
    return "z" if value in _VOWEL_NUMERALS or value in _VOWEL_LETTERS else ""
