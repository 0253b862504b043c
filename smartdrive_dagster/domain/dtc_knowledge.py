"""What is known of a code beyond its structure: title, severity, causes; each answer says where it comes from.

Pure: the tables are handed in. `smartdrive_dagster.knowledge` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from smartdrive_dagster.domain.dtc import decode_structure
from smartdrive_dagster.domain.identity import digest

Language = Literal["en", "hu"]
Tier = Literal["own", "library", "imported", "structure"]
Level = Literal["critical", "warning", "info"]

TIERS: Final = ("own", "library", "imported", "structure")
LEVELS: Final = ("critical", "warning", "info")
UNCONFIRMED_RULE: Final = "not_confirmed"

_LIBRARY_LANGUAGE: Final = "en"  # python-OBD's table


@dataclass(frozen=True, slots=True)
class Title:
    """A code's title.

    Attributes:
        text: what to show.
        language: of the text; not always the one that was asked for.
        tier: where it comes from: our own table, the title that the device's library sent, a table that the
            owner imported, or the code's structure.
    """

    text: str
    language: Language
    tier: Tier


@dataclass(frozen=True, slots=True)
class Severity:
    """How urgent a code is, and the name of the rule that says so. Editorial: no standard ranks codes."""

    level: Level
    rule: str


@dataclass(frozen=True, slots=True)
class SeverityRule:
    """A rule of severity.

    Attributes:
        name: its name.
        level: how urgent its codes are.
        codes: codes (P0217), ranges (P0300-P0312) and beginnings (B00).
        why: the reason, by language.
    """

    name: str
    level: Level
    codes: tuple[str, ...]
    why: Mapping[str, str]

    def applies_to(self, code: str) -> bool:
        """Whether it says something about a code."""
        return any(_covers(token, code) for token in self.codes)


@dataclass(frozen=True, slots=True)
class Advice:
    """Likely causes and what to do, by language; the likeliest and the cheapest to check come first."""

    causes: Mapping[str, tuple[str, ...]]
    actions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class CodeBook:
    """All that titles and severities are looked up in.

    Attributes:
        titles: our own, by code and language.
        rules: the first that applies decides; one must apply to every code.
        words: the names of systems, origins and subsystems, by term and language.
        imported: titles that the owner imported, by code and language.
    """

    titles: Mapping[str, Mapping[str, str]]
    rules: tuple[SeverityRule, ...]
    words: Mapping[str, Mapping[str, str]]
    imported: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def title(self, code: str, language: Language = "en", *, library: str | None = None) -> Title:
        """The title of a code from the first tier that has one.

        Args:
            code: a code in capitals.
            language: the language that is asked for; the library's titles are English.
            library: the title that the device sent, if any.

        Raises:
            ValueError: it is no code.
        """
        if code in self.titles:
            return Title(self.titles[code][language], language, "own")
        if library:
            return Title(library, _LIBRARY_LANGUAGE, "library")
        if found := self.imported.get(code):
            spoken: Language = language if language in found else ("en" if "en" in found else "hu")
            return Title(found[spoken], spoken, "imported")
        return Title(self.structure_title(code, language), language, "structure")

    def structure_title(self, code: str, language: Language = "en") -> str:
        """What the structure alone says, in words.

        Raises:
            ValueError: it is no code.
        """
        structure = decode_structure(code)
        if structure is None:
            raise ValueError(f"{code!r} is no trouble code")
        terms = (structure.system, structure.origin, structure.subsystem or "fault_number", "fault_number")
        system, origin, subsystem, number = (self.words[term][language] for term in terms)
        place = f"{subsystem}, " if structure.subsystem else ""
        return f"{system}, {origin}: {place}{number} {structure.fault}"

    def severity(self, code: str) -> Severity:
        """How urgent a code is, by the first rule that applies.

        Raises:
            LookupError: no rule applies.
        """
        for rule in self.rules:
            if rule.applies_to(code):
                return Severity(rule.level, rule.name)
        raise LookupError(f"no rule of severity applies to {code}")

    @cached_property
    def imported_digest(self) -> str:
        """Eight characters that change with the imported table."""
        entries = sorted(
            (code, language, text) for code, said in self.imported.items() for language, text in said.items()
        )
        return digest(repr(entries).encode())[:8]

    @cached_property
    def rules_by_name(self) -> dict[str, SeverityRule]:
        """The rules by their names."""
        return {rule.name: rule for rule in self.rules}


def severity_of_episode(severity: Severity, *, is_confirmed: bool) -> Severity:
    """The severity of a code that was found: one that was only ever pending is not confirmed, so it only informs.

    A pending code that would tell the driver to stop keeps doing so: waiting for a second driving cycle, as SAE
    J1979 has it, is no comfort when the oil pressure may be gone.
    """
    if is_confirmed or severity.level != "warning":
        return severity
    return Severity("info", UNCONFIRMED_RULE)


def matching(tokens: Iterable[str], codes: Iterable[str]) -> list[str]:
    """Those of the codes that any of the tokens (codes, ranges, beginnings) covers."""
    wanted = tuple(tokens)
    return [code for code in codes if any(_covers(token, code) for token in wanted)]


def _covers(token: str, code: str) -> bool:
    first, dash, last = token.partition("-")
    return first <= code <= last if dash else code.startswith(first)
