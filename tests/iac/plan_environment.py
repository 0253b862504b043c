"""What `iac/envs/dev` would make, planned against an AWS of this machine and written to build/iac for a reader.

`make iac` runs it; `make test` does not collect a file of this name.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.iac.conftest import dev

BUILD: Final = Path(__file__).parents[2] / "build" / "iac"
pytestmark = pytest.mark.timeout(600)


def counted(plan: dict[str, Any]) -> Counter[str]:
    """How many resources a plan does what with."""
    return Counter(
        "-".join(change["change"]["actions"])
        for change in plan["resource_changes"]
        if change["mode"] == "managed" and change["change"]["actions"] != ["no-op"]
    )


def test_the_dev_environment_can_be_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    target, readable = BUILD / "dev.tfplan", BUILD / "dev.plan.txt"
    with dev(tmp_path) as (terraform, _):
        terraform("plan", "-input=false", "-no-color", f"-out={target}")
        plan = terraform.shown(str(target))
        readable.write_text(terraform("show", "-no-color", str(target)))
    found = counted(plan)
    assert set(found) == {"create"}, "an empty account has nothing to change"
    kinds = Counter(change["type"] for change in plan["resource_changes"] if change["mode"] == "managed")
    assert kinds["aws_secretsmanager_secret_rotation"] == 3
    assert not any(kind.endswith("_secret_version") for kind in kinds), "a value would be in the state"
    with capsys.disabled():
        most = ", ".join(f"{number} {kind.removeprefix('aws_')}" for kind, number in kinds.most_common(5))
        where = readable.relative_to(BUILD.parents[1])
        print(f"\nenvs/dev: {found['create']} to add, nothing to change or destroy ({most}, …): {where}")  # noqa: T201
