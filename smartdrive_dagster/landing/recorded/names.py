"""What a column of an unknown log is called, and which signal that means.

The names that other software uses are in `names.yml`. A name that is not known there is nobody's.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Final

import yaml

from smartdrive_dagster.landing.recorded.formats import load_format
from smartdrive_dagster.landing.recorded.units import UNIT_OF_SIGNAL, UnitError, parse_unit
from smartdrive_dagster.tables.signals import SIGNALS

_BRACKETS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")
_WORD_UNITS: Final = {
    "kmh": "km/h",
    "kph": "km/h",
    "mph": "mph",
    "mps": "m/s",
    "rpm": "rpm",
    "pct": "%",
    "percent": "%",
    "degc": "°C",
    "celsius": "°C",
    "c": "°C",
    "degf": "°F",
    "fahrenheit": "°F",
    "f": "°F",
    "deg": "°",
    "kpa": "kPa",
    "psi": "psi",
    "bar": "bar",
    "mbar": "mbar",
    "hpa": "hPa",
    "inhg": "inHg",
    "v": "V",
    "volt": "V",
    "volts": "V",
    "mv": "mV",
    "gps": "g/s",
    "gs": "g/s",
    "gsec": "g/s",
    "lph": "L/h",
    "km": "km",
    "mi": "mi",
    "miles": "mi",
    "m": "m",
    "s": "s",
    "sec": "s",
    "secs": "s",
    "seconds": "s",
    "ms": "ms",
    "millis": "ms",
    "min": "min",
}
_COMPUTED_ELSEWHERE: Final = frozenset({"Fuel/Air commanded equivalence ratio"})  # scaled, by its one app


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name says.

    Attributes:
        signal: of the contract; None where the name is known for something that is not imported, or not at all.
        unit: as the name gives it; None where it gives none.
        reason: why it is not imported; empty where it is a signal's.
        is_second_choice: to be taken only where nothing else gives the signal.
    """

    signal: str | None
    unit: str | None = None
    reason: str = ""
    is_second_choice: bool = False


def split_unit(name: str) -> tuple[str, str | None]:
    """Take the unit off a name: ``Speed (OBD)(km/h)`` is ``Speed (OBD)`` in km/h."""
    for match in reversed(list(_BRACKETS.finditer(name))):
        if is_unit(match[1]):
            return (name[: match.start()] + name[match.end() :]).strip(" _-,:"), match[1].strip()
    return name.strip(), None


@lru_cache(maxsize=1024)
def is_unit(text: str) -> bool:
    """Whether a text is a unit of measure."""
    try:
        return bool(text.strip()) and parse_unit(text) is not None
    except UnitError:
        return False


def squash(name: str) -> str:
    """A name as it is compared: without case, accents and everything but letters and digits."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(char for char in plain if char.isalnum())


def meaning_of(column: str) -> Meaning:
    """Which signal a column or PID of this name is, and in which unit."""
    known, (name, unit) = _known(), split_unit(column)
    if found := known.get(squash(name)):
        return Meaning(found.signal, unit or found.unit, found.reason, found.is_second_choice)
    words = [word for word in re.split(r"[\s_,.:/-]+", name) if word]
    for count in (1, 2):
        head, tail = " ".join(words[:-count]), "".join(words[-count:]).casefold()
        if (found := known.get(squash(head))) and (word_unit := _unit_of_word(tail, name)):
            return Meaning(found.signal, unit or word_unit, found.reason, found.is_second_choice)
    return Meaning(None, unit, "no signal of the contract is known under this name")


def _unit_of_word(word: str, name: str) -> str | None:
    if word in _WORD_UNITS:
        return _WORD_UNITS[word]
    text = name.rsplit(None, 1)[-1]
    return text if is_unit(text) and not text.isalnum() else None  # `Speed km/h`, `Coolant °C`


@cache
def _known() -> dict[str, Meaning]:
    text = (resources.files("smartdrive_dagster.landing.recorded") / "names.yml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    known: dict[str, Meaning] = {}
    for reason, names in table["ignored"].items():
        known.update({squash(name): Meaning(None, reason=reason) for name in names})
    for signal, names in table["second_choice"].items():
        known.update({squash(name): Meaning(signal, is_second_choice=True) for name in names})
    for signal, names in table["signals"].items():
        for name in names:
            known.setdefault(squash(name), Meaning(signal))
    for unit in ("km/h", "kmh", "kph", "mph"):
        known[squash(unit)] = Meaning("SPEED", unit)
    for signal in UNIT_OF_SIGNAL:
        known.setdefault(squash(signal), Meaning(signal))
    for column in SIGNALS:
        known.setdefault(squash(column.name), Meaning(column.signal, column.unit or ""))
    built_in = load_format("car-scanner")
    for name, mapping in built_in.pids.items():
        if name not in _COMPUTED_ELSEWHERE:
            known.setdefault(squash(name), Meaning(mapping.signal))
    for name, reason in built_in.ignore.items():
        known.setdefault(squash(name), Meaning(None, reason=reason))
    return known
