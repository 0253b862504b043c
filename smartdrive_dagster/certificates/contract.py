"""What a certificate carries and what its figures are, by `contracts/certificate.v1.json`; and what one says."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

Kind = Literal["text", "int", "float", "bool", "date"]
Value = str | int | float | bool | None
Rows = dict[str, list[list[Value]]]

_MANY: Final = 60_000  # rows of a table; the API carries at most 50,000


class CertificateError(ValueError):
    """A file that is no genuine certificate, or none that can be checked here; the text says why."""


class CarriedColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of the rows.

    Attributes:
        kind: of its values; a date of an instant is its UTC day.
        of: the column of the lake's table, where its name is another.
    """

    kind: Kind
    of: str | None = None


class CarriedTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of which a certificate carries the vehicle's rows.

    Attributes:
        source: the lake's table.
        words: what its rows are.
        order: columns of the lake's table by which the rows are ordered; the first says when a row began.
        columns: by name; the first is the day that the lake's table is partitioned by.
    """

    source: str
    words: str
    order: tuple[str, ...]
    columns: dict[str, CarriedColumn]


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value: where it stands, what it is, how it is shown, and the SELECT that gives it."""

    section: str
    words: str
    kind: Kind
    sql: str
    unit: str = ""
    decimals: int = 0
    how: str = ""
    absent: str = "unknown"


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contract; `digest` is the SHA-256 of its file, in hexadecimal."""

    schema: str
    description: str
    attachment: str
    tables: dict[str, CarriedTable]
    figures: dict[str, Figure]
    sections: dict[str, str]
    distance_by_month: str
    digest: str = ""


class Pins(msgspec.Struct, frozen=True):
    """What of the lake's table the rows were published from.

    Attributes:
        published_at: when the newest of its days was; None where none is known.
        content: digest of the marks of what was published.
        days: Delta version by day.
    """

    published_at: datetime | None
    content: str
    days: dict[str, int]


class Said(msgspec.Struct, frozen=True):
    """What a certificate says: the JSON in its attachment."""

    schema: str
    contract: str
    number: str
    issuer: str
    issued_at: datetime
    valid_until: datetime
    vin: str
    name: str | None
    data_from: datetime | None
    digest: str
    pins: dict[str, Pins]
    rows: Rows
    figures: dict[str, Value]
    distance_by_month: list[tuple[str, float | None]]


@cache
def contract() -> Contract:
    """The contract: beside the code in an installed wheel, at the repository's root in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "contracts"
    folder = inside if inside.is_dir() else package.parent / "contracts"
    text = (folder / "certificate.v1.json").read_bytes()
    known = msgspec.json.decode(text, type=Contract)
    return msgspec.structs.replace(known, digest=hashlib.sha256(text).hexdigest())


def read(agreed: Contract, attached: bytes) -> Said:
    """What an attachment says.

    Raises:
        CertificateError: it is of another kind, or at odds with itself.
    """
    try:
        loose = json.loads(attached)
        said = msgspec.convert(loose, Said)
    except (ValueError, RecursionError) as error:  # msgspec's own are such
        raise CertificateError(f"what the file carries is no {agreed.schema}: {error}") from None
    if said.schema != agreed.schema:
        raise CertificateError(f"the certificate is a {said.schema!r}, and this SmartDrive checks {agreed.schema}")
    if said.contract != agreed.digest:
        raise CertificateError(
            f"the certificate was made with another edition of {agreed.schema} than this SmartDrive has: "
            "check it with the version that issued it"
        )
    if said.digest != hashlib.sha256(_canonical(loose["rows"])).hexdigest():
        raise CertificateError("the certificate's rows are not those that its digest names")
    for name, table in agreed.tables.items():
        rows = said.rows.get(name)
        if rows is None or len(rows) > _MANY or any(len(row) != len(table.columns) for row in rows):
            raise CertificateError(f"the certificate's rows of {name} are not as {agreed.schema} has them")
    return said


def worded(figure: Figure, value: Any) -> str:
    """A figure's value as the certificate prints it."""
    if value is None:
        return figure.absent
    if figure.kind == "float":
        text = f"{value:,.{figure.decimals}f}"
    else:
        text = f"{value:,}" if figure.kind == "int" else str(value)
    return f"{text} {figure.unit}".rstrip()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
