"""Formats of recorded logs: small declarative mappings, validated before a byte of the log is read.

The built-in ones are the YAML files in the directory `formats` beside this module.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from smartdrive_dagster.landing.recorded.errors import FormatError
from smartdrive_dagster.landing.recorded.format_model import Format, ReadingColumns, SignalMapping, TimeColumn
from smartdrive_dagster.landing.recorded.units import nearest

_EXAMPLE = "docs/formats/drive-recorder.yml"
_MAX_BYTES = 1 << 20

__all__ = ["Format", "known_formats", "load_format", "parse_format"]


def known_formats() -> dict[str, str]:
    """Names of the built-in formats with their titles."""
    return {name: _built_in(name).title for name in _built_in_names()}


def load_format(name_or_path: str | Path) -> Format:
    """Load a built-in format by its name, or a mapping file by its path.

    Raises:
        FormatError: there is neither such a format nor such a file, or its content is not valid; the text gives
            file and field, what is wrong, and the nearest known name.
    """
    name = str(name_or_path)
    if name in _built_in_names():
        return _built_in(name)
    path = Path(name_or_path)
    try:
        if not path.is_file():
            raise FormatError(
                f"{name}: neither a built-in format ({', '.join(_built_in_names())}) nor a mapping file"
                f"{nearest(name, _built_in_names())}. A mapping file describes any other log: see {_EXAMPLE}."
            )
        if path.stat().st_size > _MAX_BYTES:
            raise FormatError(f"{name}: larger than 1 MiB, so it is no mapping file (is it the log itself?)")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError, ValueError) as error:
        raise FormatError(f"{name[:200]!r}: the mapping file cannot be read ({type(error).__name__})") from error
    return parse_format(text, source=name)


def parse_format(text: str, *, source: str) -> Format:
    """Parse and validate one mapping.

    Args:
        text: YAML.
        source: what to call it in an error.

    Raises:
        FormatError: the text is no YAML mapping or does not describe a format.
    """
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError(f"{source}: no valid YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(content, dict):
        raise FormatError(f"{source}: a mapping of field names to values is expected; see {_EXAMPLE}")
    try:
        return Format.model_validate(content)
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(fault)}" for fault in error.errors())
        raise FormatError(f"{source}: the mapping is not valid:\n{faults}") from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which PyYAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {key!r} must stand in quotes", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _built_in_names() -> tuple[str, ...]:
    directory = resources.files("smartdrive_dagster.landing.recorded") / "mappings"
    return tuple(
        sorted(entry.name.removesuffix(".yml") for entry in directory.iterdir() if entry.name.endswith(".yml"))
    )


@cache
def _built_in(name: str) -> Format:
    entry = resources.files("smartdrive_dagster.landing.recorded") / "mappings" / f"{name}.yml"
    return parse_format(entry.read_text(encoding="utf-8"), source=f"built-in format {name}")


def _explain(fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    where = ".".join(path) or "format"
    if fault["type"] == "extra_forbidden":
        fields = {
            name for model in (Format, TimeColumn, ReadingColumns, SignalMapping) for name in model.model_fields
        }
        return f"{where}: no such field{nearest(path[-1], fields)}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}" if message[:1].isalpha() else f"{where}: {message}"
