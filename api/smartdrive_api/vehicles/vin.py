"""Vehicle identification numbers: their form, their check digit, and the pseudonym that the lake knows them by."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final, Literal

_FORM: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")  # ISO 3779: no I, O, Q
_VALUES: Final = {
    **{str(digit): digit for digit in range(10)},
    **dict(zip("ABCDEFGH", range(1, 9), strict=True)),
    **dict(zip("JKLMN", range(1, 6), strict=True)),
    "P": 7,
    "R": 9,
    **dict(zip("STUVWXYZ", range(2, 10), strict=True)),
}
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_POSITION: Final = 8
_PRESCRIBED: Final = "12345L"  # North America (49 CFR 565.15) and China (GB 16735)
_PSEUDONYM_BYTES: Final = 16

CheckDigit = Literal["valid", "invalid", "not_used"]


def is_vin(text: str) -> bool:
    """Whether a text has the form of a vehicle identification number (ISO 3779)."""
    return _FORM.fullmatch(text) is not None


def check_digit(vin: str) -> CheckDigit:
    """What the ninth character says. One that does not fit is wrong only where the law prescribes it.

    Args:
        vin: 17 characters of ISO 3779.
    """
    rest = sum(_VALUES[character] * weight for character, weight in zip(vin, _WEIGHTS, strict=True)) % 11
    if vin[_POSITION] == "0123456789X"[rest]:
        return "valid"
    return "invalid" if vin[0] in _PRESCRIBED else "not_used"


def vehicle_id(vin: str, secret: bytes) -> str:
    """The pseudonym as the lake makes it: HMAC-SHA256 under the lake's secret, 128 bits in lower-case base32."""
    digest = hmac.new(secret, vin.encode("ascii"), hashlib.sha256).digest()
    return base64.b32encode(digest[:_PSEUDONYM_BYTES]).decode("ascii").rstrip("=").lower()
