"""The whole of `iac/envs/dev` on an AWS of this machine: applied, planned anew, used by the lake, destroyed.

It takes minutes, so `make iac-apply-local` runs it, and `make test` does not collect a file of this name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.tests.conftest import fresh_data  # noqa: F401 - the fixture
from smartdrive_dagster.landing.store import LandingStore
from tests.iac.conftest import Environment
from tests.iac.database import as_on_rds
from tests.iac.programs import JUSTIFIED, ON_ECS, PROGRAMS, asked, lake, missing, roles, sign_with, unused
from tests.iac.terraform import TerraformError
from tests.messages import OTHER_VIN, land, telemetry

pytestmark = pytest.mark.timeout(1800)

# What moto does not give back as it was told. Any other difference is drift, and fails.
NOT_READ_BACK = {
    ("aws_db_instance", "performance_insights_enabled"),
    ("aws_db_instance", "performance_insights_kms_key_id"),
    ("aws_db_parameter_group", "parameter"),
    ("aws_ecs_service", "availability_zone_rebalancing"),
    ("aws_ecs_service", "enable_execute_command"),
    ("aws_iot_policy", "tags_all"),
    ("aws_iot_thing_type", "tags_all"),
    ("aws_iot_topic_rule", "tags_all"),
    ("aws_lambda_function", "logging_config"),
    # They follow from the line above: a function that changes gets a new version, to which its alias leads.
    ("aws_lambda_function", "qualified_arn"),
    ("aws_lambda_function", "qualified_invoke_arn"),
    ("aws_lambda_function", "version"),
    ("aws_lambda_alias", "function_version"),
    ("aws_vpc_security_group_egress_rule", "description"),
    ("aws_vpc_security_group_ingress_rule", "description"),
}


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


def stays_as_it_is(environment: Environment, tmp_path: Path) -> None:
    target = str(tmp_path / "again.tfplan")
    environment.terraform("plan", "-input=false", "-no-color", f"-out={target}")
    assert differences(environment.terraform.shown(target)) <= NOT_READ_BACK


def a_missing_policy_is_drift(environment: Environment, tmp_path: Path) -> None:
    bucket = environment.outputs["lake_url"].split("/")[2].replace("{layer}", "gold")
    s3 = environment.client("s3")
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


def only_this_machine_is_an_emulator(environment: Environment) -> None:
    with pytest.raises(TerraformError, match=r"on\s+this\s+machine\s+alone"):
        environment.terraform("plan", "-input=false", "-no-color", "-var=aws_endpoint_url=https://aws.example.org")


def the_lake_works_on_its_buckets(environment: Environment, tmp_path: Path) -> None:
    store = LandingStore(environment.outputs["landing_url"])
    now = datetime.now(UTC).replace(microsecond=0)
    land(store, telemetry(1, at=now, samples=60), telemetry(2, at=now, samples=60, vin=OTHER_VIN), at=now)
    lake(environment, tmp_path, "run", "process")
    counted = lake(
        environment, tmp_path, "analyst", "sql", "--format", "json", "select count(*) as n from silver.telemetry"
    )
    assert json.loads(counted) == [{"n": 120}]


@pytest.fixture(scope="module")
def port(fresh_data: Path) -> Iterator[int]:  # noqa: F811 - the fixture
    with as_on_rds(fresh_data) as number:
        yield number


def test_an_environment_is_applied_planned_anew_used_and_destroyed(
    environment: Environment, port: int, subtests: pytest.Subtests, tmp_path: Path
) -> None:
    """One test: it is applied once, whoever of a test run's workers has the turn; the fixture destroys it."""
    with subtests.test("what was applied stays as it is"):
        stays_as_it_is(environment, tmp_path)
    with subtests.test("only this machine is an emulator"):
        only_this_machine_is_an_emulator(environment)
    with subtests.test("a missing policy is drift"):
        a_missing_policy_is_drift(environment, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        with subtests.test("the lake works on its buckets"):
            sign_with(environment, "lander", patch)
            the_lake_works_on_its_buckets(environment, tmp_path)
        calls = asked(environment, tmp_path, port, patch)
    granted = roles(environment)
    for role in PROGRAMS:
        with subtests.test("a role may do what its program does, and nothing else", role=role):
            assert missing(granted[role], calls[role]) == set()
            assert unused(granted[role], calls[role], JUSTIFIED[role]) == set()
            assert calls[role]
            allowed = {action for statement in granted[role] for action in statement["Action"]}
            assert set(JUSTIFIED[role]) <= allowed, "a reason for what is not allowed"
    with subtests.test("a permission taken away and one too many are noticed"):
        less = [statement for statement in granted["run"] if "s3:ListBucket" not in statement["Action"]]
        assert "s3:ListBucket" in {action for action, _ in missing(less, calls["run"])}
        more = [*granted["code"], {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["*"]}]
        assert unused(more, calls["code"], JUSTIFIED["code"]) == {"s3:PutObject"}
        elsewhere = [{**one, "Resource": ["arn:aws:s3:::other/*"]} for one in granted["api"]]
        assert missing(elsewhere, calls["api"]) != set()
    with subtests.test("every role is looked at, or is one of AWS"):
        of_aws = {"dagster_execution", "firehose", "flow_logs", "iot_rule", "scheduler"}
        assert set(granted) - set(PROGRAMS) == of_aws | set(ON_ECS)  # test_dagster_on_ecs.py
