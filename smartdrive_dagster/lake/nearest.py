"""The name that somebody who mistyped one probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_FEW = 12


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence: the nearest known name, else all of them where they are few, else nothing."""
    known = sorted(set(names))
    if close := get_close_matches(name.lower(), known, n=1, cutoff=0.5):
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(known)}" if 0 < len(known) <= _FEW else ""
