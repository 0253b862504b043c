"""What bodies of requests have in common: strictness, and texts that are texts."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from smartdrive_api.models import MAX_EMAIL, MAX_LABEL

_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


class Body(BaseModel):
    """A body in which nothing unknown stands and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _email(text: str) -> str:
    if len(text) > MAX_EMAIL or not _EMAIL.fullmatch(text):
        raise ValueError("An e-mail address is expected, for example mira@example.org.")
    return text.lower()


def _label(text: str) -> str:
    if not 1 <= len(text) <= MAX_LABEL or not text.isprintable() or text != text.strip():
        raise ValueError(f"1 to {MAX_LABEL} printable characters are expected, without spaces at the ends.")
    return text


Email = Annotated[
    str,
    AfterValidator(_email),
    Field(description="the address; upper and lower case are one", examples=["mira@example.org"]),
]
Label = Annotated[str, AfterValidator(_label), Field(examples=["the blue one"])]
