"""The whole of `iac/envs/dev` on an AWS of this machine: applied, planned anew, used by the lake, destroyed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from smartdrive_dagster.landing.store import LandingStore
from tests.iac.conftest import Environment
from tests.iac.terraform import Terraform, TerraformError, copy_of
from tests.messages import SECRET, land, telemetry

pytestmark = pytest.mark.timeout(900)

EMULATORS_KEY = {"aws_access_key_id": "emulator", "aws_secret_access_key": "emulator"}
_CLI = "from smartdrive_dagster.cli import main; main()"
# What moto does not give back as it was told. Any other difference is drift, and fails.
NOT_READ_BACK: set[tuple[str, str]] = set()


def differences(plan: dict[str, Any]) -> set[tuple[str, str]]:
    """Type and attribute of all that a plan would change."""
    found: set[tuple[str, str]] = set()
    for change in plan.get("resource_changes", []):
        what = change["change"]
        if what["actions"] in (["no-op"], ["read"]):
            continue
        before, after = what["before"] or {}, what["after"] or {}
        names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        names |= set(what["after_unknown"]) if what["actions"] != ["update"] else set()
        found |= {(change["type"], name) for name in names}
    return found


def test_what_was_applied_stays_as_it_is(environment: Environment, tmp_path: Path) -> None:
    target = str(tmp_path / "again.tfplan")
    environment.terraform("plan", "-input=false", "-no-color", f"-out={target}")
    assert differences(environment.terraform.shown(target)) <= NOT_READ_BACK


def test_another_change_than_those_is_drift(environment: Environment, tmp_path: Path) -> None:
    bucket = environment.outputs["lake_url"].split("/")[2].replace("{layer}", "gold")
    s3 = boto3.client(
        "s3",
        endpoint_url=environment.endpoint,
        region_name="eu-central-1",
        **EMULATORS_KEY,
    )
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    target = str(tmp_path / "drift.tfplan")
    try:
        environment.terraform(
            "plan", "-input=false", "-no-color", "-target=module.smartdrive.module.storage", f"-out={target}"
        )
        found = differences(environment.terraform.shown(target))
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert ("aws_s3_bucket_policy", "policy") in found - NOT_READ_BACK


def test_only_this_machine_is_an_emulator(tmp_path: Path) -> None:
    root = copy_of(tmp_path) / "envs" / "dev"
    (root / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    terraform = Terraform(root, tmp_path)
    terraform.init()
    with pytest.raises(TerraformError, match="on this machine alone"):
        terraform("plan", "-input=false", "-no-color", "-var=aws_endpoint_url=https://emulator.example.org")


def lake(environment: Environment, folder: Path, key: str, *arguments: str, program: str = _CLI) -> str:
    """Run the lake's own command on the buckets that Terraform made."""
    command = [sys.executable, "-c", program, *arguments]
    variables = {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ},
        **environment.variables(key),
        "SMARTDRIVE_LAKE_URL": environment.outputs["lake_url"],
        "SMARTDRIVE_LANDING_URL": environment.outputs["landing_url"],
        "SMARTDRIVE_STATE_URL": environment.outputs["state_url"],
        "SMARTDRIVE_SECRET": SECRET.decode(),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_lake_works_on_the_buckets_that_were_made(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.variables("lander").items():
        monkeypatch.setenv(name, value)
    store = LandingStore(environment.outputs["landing_url"])
    now = datetime.now(UTC).replace(microsecond=0)
    land(store, telemetry(1, at=now, samples=60), at=now)
    lake(environment, tmp_path, "run", "process")
    counted = lake(
        environment, tmp_path, "analyst", "sql", "--format", "json", "select count(*) as n from silver.telemetry"
    )
    assert json.loads(counted) == [{"n": 60}]
