"""What a certificate carries and what its figures are, as `contracts/certificate.v1.json` says."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["text", "int", "float", "bool", "date"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CarriedColumn(_Part):
    """A column of the rows.

    Attributes:
        kind: of its values; a date of an instant is its UTC day.
        of: the published column, where its name is another.
    """

    kind: Kind
    of: str | None = None


class CarriedTable(_Part):
    """A table of which the certificate carries the vehicle's rows.

    Attributes:
        source: the lake's table.
        words: what its rows are.
        order: published columns by which the rows are ordered; the first says when a row began.
        columns: by name; the first is the day that the lake's table is partitioned by.
    """

    source: str
    words: str
    order: tuple[str, ...]
    columns: dict[str, CarriedColumn]


class Figure(_Part):
    """One value.

    Attributes:
        section: where it stands.
        words: what it is.
        kind: of the value.
        unit: of the value; empty for a number of things.
        decimals: that are shown.
        how: how it is found, where the words do not say it.
        absent: what is shown where there is no value.
        sql: one SELECT of one value over the carried tables.
    """

    section: str
    words: str
    kind: Kind
    unit: str = ""
    decimals: int = 0
    how: str = ""
    absent: str = "unknown"
    sql: str


class Contract(_Part):
    """The whole of it.

    Attributes:
        name: of this version of certificates.
        digest: SHA-256 of the file, in hexadecimal.
    """

    name: str = Field(alias="schema")
    description: str
    attachment: str
    tables: dict[str, CarriedTable]
    figures: dict[str, Figure]
    sections: dict[str, str]
    distance_by_month: str
    digest: str


@cache
def contract() -> Contract:
    """The contract: beside the code in an installed wheel, at the repository's root in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "contracts"
    folder = inside if inside.is_dir() else package.parents[1] / "contracts"
    text = (folder / "certificate.v1.json").read_bytes()
    return Contract.model_validate(json.loads(text) | {"digest": hashlib.sha256(text).hexdigest()})


def canonical(value: Any) -> bytes:
    """JSON of which a digest can be taken: sorted, without white space, UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()
