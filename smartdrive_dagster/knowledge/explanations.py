"""All that is known of a trouble code in one answer, and the fewest answers that cover every code there can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from smartdrive_dagster.domain.dtc import SYSTEMS, decode_structure
from smartdrive_dagster.domain.dtc_knowledge import CodeBook, Language
from smartdrive_dagster.knowledge.trouble_codes import load_advice, load_level_texts

_FAMILY: Final = 3  # characters
_FAULTS: Final = 256  # of a family


def explain(code: str, language: Language, book: CodeBook) -> dict[str, Any]:
    """All that is known of a code.

    Args:
        code: a code in capitals.
        language: of the answer, where a text of that language is there.
        book: titles and rules.

    Raises:
        ValueError: it is no code.
    """
    structure = decode_structure(code)
    if structure is None:
        raise ValueError(f"{code!r} is no trouble code")
    severity = book.severity(code)
    advice = load_advice().get(code)
    return {
        "code": code,
        "title": asdict(book.title(code, language)),
        "structure": asdict(structure) | {"text": book.structure_title(code, language)},
        "severity": asdict(severity)
        | {
            "why": book.rules_by_name[severity.rule].why[language],
            "action": load_level_texts()[severity.level][language],
        },
        "causes": list(advice.causes[language]) if advice else [],
        "actions": list(advice.actions[language]) if advice else [],
    }


def explained_codes(book: CodeBook) -> Iterator[tuple[str, str]]:
    """Codes whose explanations cover all 65,536, each with what it stands for.

    Yields:
        ``(code, code)`` for a code of which something particular is known, and ``(family, code)`` for the others
        of a family of 256: what is said of the one is said of them all, but for the fault's number, which ends
        the texts of the structure.
    """
    particular = {*book.titles, *book.imported, *load_advice(), *_ruled(book)}
    for family in (f"{letter}{digit}{third:X}" for letter in SYSTEMS for digit in "0123" for third in range(16)):
        codes = [f"{family}{fault:02X}" for fault in range(_FAULTS)]
        yield from ((code, code) for code in codes if code in particular)
        yield from [(family, code) for code in codes if code not in particular][:1]


def _ruled(book: CodeBook) -> set[str]:
    """Codes that a rule of severity names one by one or in a range within a family."""
    found: set[str] = set()
    for rule in book.rules:
        for token in rule.codes:
            first, _, last = token.partition("-")
            if len(token) > _FAMILY:
                numbers = range(int(first[1:], 16), int((last or first)[1:], 16) + 1)
                found.update(f"{first[0]}{number:04X}" for number in numbers)
    return found
