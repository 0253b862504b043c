"""What compose and the Dockerfiles say, read for the tests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
OURS: Final = {
    f"smartdrive-{name}": ROOT / f"containers/{name}.Dockerfile" for name in ("dagster", "api", "broker")
}


def compose() -> dict[str, Any]:
    """docker-compose.yml, with its merges made."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@dataclass(frozen=True)
class Stage:
    """One stage of a Dockerfile: its instructions, each with its text."""

    base: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]

    def exec_form(self, instruction: str) -> list[str]:
        """The arguments of the last CMD or HEALTHCHECK."""
        text = self.all(instruction)[-1]
        arguments: list[str] = json.loads(text[text.index("[") :])
        return arguments


def stages(dockerfile: Path) -> list[Stage]:
    """The stages, with build arguments before the first of them put in."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    given: dict[str, str] = {}
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base = rest.split()[0]
            found.append((re.sub(r"\$\{(\w+)\}", lambda name: given[name[1]], base), []))
        elif not found:
            name, _, value = rest.partition("=")
            given[name] = value
        else:
            found[-1][1].append((instruction, rest.strip()))
    return [Stage(base, tuple(steps)) for base, steps in found]
