"""Write configuration.md from the configuration's own models.

Run as ``.venv/bin/python edge/docs/generate_configuration.py``; a test compares the page with what this makes.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from smartdrive_edge.config import PLACES, Config

PAGE: Final = Path(__file__).with_name("configuration.md")
_NAMES: Final = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}
_BOUNDS: Final = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def page() -> str:
    """The page's text."""
    places = ", then ".join(f"`{place}`" for place in PLACES)
    lines = [
        "# Configuration",
        "",
        "<!-- Made by edge/docs/generate_configuration.py: change the code, not this page. -->",
        "",
        "One TOML file, named by `--config`, else the first that exists of",
        f"{places}. Only `device_id` and the section",
        "`[broker]` are required. [smartdrive-edge.example.toml](../smartdrive-edge.example.toml) is one to begin",
        "with; `smartdrive-edge doctor` says whether what it names works.",
        "",
        "The environment overrides the file: `SMARTDRIVE_EDGE_` and the field's name, a section before its field",
        "with two underscores, as in `SMARTDRIVE_EDGE_ADAPTER__PORT=/dev/rfcomm0`; lists are written as JSON. An",
        "unknown field or variable is an error. Relative paths count from the working directory.",
        "",
        "## At the top",
        "",
        *_table(Config),
    ]
    for name, field in Config.model_fields.items():
        if (section := _section(field)) is not None:
            lines += ["", f"## [{name}]", "", " ".join((section.__doc__ or "").split()), "", *_table(section)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield "| Field | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if _section(field) is None:
            meaning = " ".join((field.description or "").split())
            yield f"| `{name}` | {_type(field.annotation)}{_bounds(field)} | {_default(field)} | {meaning} |"


def _type(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return ", ".join(_type(one) for one in inner if one is not type(None))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if hasattr(kind, "__metadata__"):
        return _type(inner[0])
    return _NAMES[kind]


def _bounds(field: FieldInfo) -> str:
    found = [
        f" {sign} {getattr(one, bound):,}"
        for bound, sign in _BOUNDS
        for one in field.metadata
        if getattr(one, bound, None) is not None
    ]
    return ",".join(found)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    shown = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return f"`{json.dumps(shown)}`"


if __name__ == "__main__":
    main()
