"""Keeps VINs out of what people and machines read beside the messages: logs, status, reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

REDACTED: Final = "[VIN]"

_NEVER_VINS: Final = (bool, int, float, type(None))

# 17 letters and digits without I, O and Q (ISO 3779) that are a word of their own. What stands before may also be
# the end of an escape, since `repr` writes a line end as `\n` and NULs of an adapter as `\x00`. Longer words stay:
# digests and boot numbers are 26 and 64 characters of the same alphabet, and a log without them explains nothing.
_VIN: Final = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"
    r"[A-HJ-NPR-Za-hj-npr-z0-9]{17}(?![A-Za-z0-9])"
)


def redact(text: str) -> str:
    """Replace every word that looks like a VIN, in capitals or not."""
    return _VIN.sub(REDACTED, text)


def redacted(value: object) -> Any:
    """The value as JSON can hold it, with VINs blotted out of every string in it, keys included.

    Numbers stay: 0.30000000000000004 has as many digits behind its point as a VIN has characters.
    """
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, _NEVER_VINS):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(inner) for inner in value]
    return redact(str(value))
