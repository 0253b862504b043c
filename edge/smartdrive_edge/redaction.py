"""Keeps VINs out of what people and machines read beside the messages: logs, status, reports."""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "[VIN]"

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
