"""Passwords: which are taken, and how they are kept (Argon2id, OWASP's parameters)."""

from __future__ import annotations

import threading
from functools import cache, cached_property
from importlib.resources import files
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from smartdrive_api.settings import Settings

MIN_LENGTH: Final = 8  # characters, OWASP ASVS 5.0, 6.2.1
MAX_LENGTH: Final = 128  # characters: the longest is hashed as quickly as the shortest
_AT_ONCE: Final = 4  # hashes; each takes the configured memory


def objection(password: str, email: str) -> str | None:
    """Why a password is not taken; None where it is. Neither is quoted."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        return f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters."
    if any(0xD800 <= ord(character) <= 0xDFFF for character in password):  # noqa: PLR2004 - the surrogates
        return "A password consists of Unicode characters."
    folded = password.casefold()
    if folded in _commonest() or folded.strip("0123456789!.") in _commonest() or len(set(folded)) < 3:  # noqa: PLR2004
        return "This password is among those that are guessed first."
    name = email.casefold().partition("@")[0]
    if folded in {email.casefold(), name} or "smartdrive" in folded:
        return "A password is not made of the address or of the name of this service."
    return None


@cache
def _commonest() -> frozenset[str]:
    """Some 11,600 of passwords that leaked (zxcvbn's), and ours in the languages that these hardly hold."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # a tenth of a second, which only a new password costs

    text = files("smartdrive_api.identity").joinpath("common_passwords.txt").read_text(encoding="utf-8")
    leaked = (word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_LENGTH)
    return frozenset([*text.split(), *leaked])


class Passwords:
    """Hashes and verifies, a few at once, so that a burst of sign-ins does not take the machine's memory."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            type=Type.ID,
        )
        self._room = threading.BoundedSemaphore(_AT_ONCE)

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("the password of nobody")

    def hash(self, password: str) -> str:
        """The hash that is kept, with its parameters and its salt."""
        with self._room:
            return self._hasher.hash(password)

    def verify(self, password: str, kept: str | None) -> bool:
        """Whether it is the password; takes as long where there is no account (`kept` is None)."""
        with self._room:
            try:
                self._hasher.verify(kept or self._nobodys, password)
            except (VerificationError, InvalidHashError, UnicodeEncodeError):
                return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether the parameters have changed since it was made."""
        return self._hasher.check_needs_rehash(kept)
