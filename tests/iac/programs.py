"""Each role is held against the calls that its program makes: nothing missing, nothing over but what is justified.

Calls are those that the emulator was asked, each program signing with a key of its own. An emulator checks no
permission and encrypts nothing: what AWS does in a role's name is in the list, with its reason.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import boto3
import pytest
from pydantic import SecretStr
from smartdrive_api.certificates.authority import KmsKey
from smartdrive_api.secret_values import read_secret, write_secret

from smartdrive_dagster.landing import dead_letters
from smartdrive_dagster.landing.store import LandingStore
from tests.iac import functions
from tests.iac.conftest import REGION, Environment
from tests.messages import SECRET, VIN

_CLI: Final = "from smartdrive_dagster.cli import main; main()"

_KMS: Final = "S3, SQS, Lambda and Secrets Manager use the key in the caller's name; an emulator encrypts nothing"
_LAMBDA: Final = "Lambda does it in the function's name"
_QUEUE: Final = "Lambda polls the queue in the function's name"
_FUNCTION_IN_THE_VPC: Final = {
    "kms:Decrypt": _KMS,
    "kms:GenerateDataKey": _KMS,
    "logs:CreateLogStream": _LAMBDA,
    "logs:PutLogEvents": _LAMBDA,
    "ec2:AssignPrivateIpAddresses": _LAMBDA,
    "ec2:CreateNetworkInterface": _LAMBDA,
    "ec2:DeleteNetworkInterface": _LAMBDA,
    "ec2:DescribeNetworkInterfaces": _LAMBDA,
    "ec2:DescribeSubnets": _LAMBDA,
    "ec2:UnassignPrivateIpAddresses": _LAMBDA,
}
# What a role may do though no program was seen doing it here.
JUSTIFIED: Final[dict[str, dict[str, str]]] = {
    "api": _FUNCTION_IN_THE_VPC,
    "rotation": _FUNCTION_IN_THE_VPC,
    "dlq_consumer": {
        "kms:Decrypt": _KMS,
        "kms:GenerateDataKey": _KMS,
        "logs:CreateLogStream": _LAMBDA,
        "logs:PutLogEvents": _LAMBDA,
        "sqs:DeleteMessage": _QUEUE,
        "sqs:GetQueueAttributes": _QUEUE,
        "sqs:ReceiveMessage": _QUEUE,
    },
    "code": {"kms:Decrypt": _KMS},
    "run": {
        "kms:Decrypt": _KMS,
        "kms:GenerateDataKey": _KMS,
        "s3:AbortMultipartUpload": "an upload of many parts that failed is taken back; no file here is so large",
    },
    "operator": {
        "kms:Decrypt": _KMS,
        "kms:GenerateDataKey": _KMS,
    },
}
# The same of what only an ECS launcher calls (test_dagster_on_ecs.py).
ON_ECS: Final[dict[str, dict[str, str]]] = {
    "daemon": {
        "ecs:TagResource": "ECS asks for it when a task is started with tags",
        "iam:PassRole": "ECS asks for it when a task is started with roles",
        "ecs:StopTask": "run monitoring ends a run that takes too long, as the webserver is seen to do",
    },
    "webserver": {
        f"ssmmessages:{verb}{channel}Channel": "the agent of ECS Exec carries an operator's tunnel"
        for verb in ("Create", "Open")
        for channel in ("Control", "Data")
    },
}
_SERVICES: Final = {
    "secretsmanager": "secretsmanager",
    "TrentService": "kms",
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "Logs_20140328": "logs",
}
PROGRAMS: Final = tuple(JUSTIFIED)


def action_of(call: dict[str, str]) -> tuple[str, str]:  # noqa: PLR0911 - a table, one line for each call
    """A call's IAM action, and the bucket and key that it names (empty for what is no S3)."""
    if call["target"]:
        service, _, verb = call["target"].partition(".")
        return f"{_SERVICES[service]}:{verb}", ""
    if call["form"]:
        return f"{call['service']}:{call['form']}", ""
    query = parse_qs(call["query"], keep_blank_values=True)
    bucket, _, key = call["path"].lstrip("/").partition("/")
    place = f"{bucket}/{key}" if key else bucket
    match (call["method"], bool(key)):
        case ("GET", False):
            return "s3:ListBucketVersions" if "versions" in query else "s3:ListBucket", place
        case ("POST", False) if "delete" in query:
            return "s3:DeleteObjectVersion", f"{bucket}/*"  # by version: smartdrive_dagster/lake/removal.py
        case ("GET" | "HEAD", True):
            return "s3:GetObjectVersion" if "versionId" in query else "s3:GetObject", place
        case ("PUT" | "POST", True):
            return "s3:PutObject", place
        case ("DELETE", True) if "uploadId" in query:
            return "s3:AbortMultipartUpload", place
        case ("DELETE", True):
            return "s3:DeleteObjectVersion" if "versionId" in query else "s3:DeleteObject", place
    raise AssertionError(f"no action is known for {call}")


def allows(statements: list[dict[str, Any]], action: str, place: str) -> bool:
    """Whether one statement allows an action on a bucket or object (or, without a place, on anything)."""
    return any(
        action in statement["Action"]
        and (not place or any(fnmatchcase(f"arn:aws:s3:::{place}", one) for one in statement["Resource"]))
        for statement in statements
        if statement["Effect"] == "Allow"
    )


def missing(statements: list[dict[str, Any]], calls: list[dict[str, str]]) -> set[tuple[str, str]]:
    """What was asked and is not allowed."""
    return {one for one in map(action_of, calls) if not allows(statements, *one)}


def unused(statements: list[dict[str, Any]], calls: list[dict[str, str]], reasons: dict[str, str]) -> set[str]:
    """What is allowed, was not asked and has no reason."""
    allowed = {
        action for statement in statements if statement["Effect"] == "Allow" for action in statement["Action"]
    }
    return allowed - {action for action, _ in map(action_of, calls)} - set(reasons)


def roles(environment: Environment) -> dict[str, list[dict[str, Any]]]:
    """Statements of each role, as they were applied."""
    return {
        one["index"]: json.loads(one["values"]["policy"])["Statement"]
        for one in environment.modules["security"]
        if one["type"] == "aws_iam_role_policy"
    }


def _run(environment: Environment, folder: Path) -> None:
    """Runs: of ingestion, Gold and marts before this, an erasure that meets an older version, and what expires."""
    bucket = environment.outputs["landing_url"].removeprefix("s3://")
    for body in (VIN.encode() + b"\n", b"{}\n"):
        boto3.client("s3").put_object(Bucket=bucket, Key="events/dt=2026-01-01/hr=00/older.jsonl", Body=body)
    (folder / "vin").write_text(VIN)
    lake(environment, folder, "run", "erase", "--vin-file", "vin", "--yes")


def _code(environment: Environment, folder: Path) -> None:
    """The code location: its sensors, each asked once."""
    program = (
        "import dagster as dg\n"
        "from smartdrive_dagster.definitions import definitions\n"
        "from smartdrive_dagster.defs.resources import LakeResource\n"
        "from smartdrive_dagster.settings import Settings\n"
        "settings = Settings()\n"
        "house = definitions(settings)\n"
        "for sensor in house.sensors:\n"
        "    if type(sensor) is not dg.SensorDefinition:\n"
        "        continue  # it waits for failed runs\n"
        "    with dg.DagsterInstance.ephemeral() as instance:\n"
        "        sensor.evaluate_tick(dg.build_sensor_context(instance=instance,\n"
        "            repository_def=house.get_repository_def(), resources={'lake': LakeResource.of(settings)}))\n"
    )
    lake(environment, folder, "code", program=program)


def _operator() -> None:
    """The API's commands: a signing key is rotated, the authority is looked at."""
    from smartdrive_api.secret_values import exists

    ring = SecretStr("secretsmanager:smartdrive-dev/signing-keys")
    assert exists(ring)
    write_secret(ring, read_secret(ring))
    kms = boto3.client("kms")
    KmsKey(kms, "alias/smartdrive-dev/certificate").sign(b"certificate", None, None)
    kms.describe_key(KeyId="alias/smartdrive-dev/certificate")


def _dlq_consumer(environment: Environment) -> None:
    body = {"topic": "vehicle/edge-00001/events", "base64OriginalPayload": base64.b64encode(b"{}").decode()}
    record = {"messageId": "1", "body": json.dumps(body), "attributes": {"SentTimestamp": "1767225600000"}}
    s3 = boto3.client("s3")
    assert dead_letters.land([record], s3, environment.outputs["landing_url"]) == {"batchItemFailures": []}


def sign_with(environment: Environment, key: str, patch: pytest.MonkeyPatch) -> None:
    """Have clients of this process sign with a key of this id."""
    for name, value in environment.variables(key).items():
        patch.setenv(name, value)
    boto3.setup_default_session()


def asked(
    environment: Environment, folder: Path, port: int, patch: pytest.MonkeyPatch
) -> dict[str, list[dict[str, str]]]:
    """Have each program work; what it asked. On the port answers a database with all logins."""
    sign_with(environment, "administrator", patch)
    secrets = boto3.client("secretsmanager", region_name=REGION)
    for secret, value in functions.first_values(folder).items():
        secrets.put_secret_value(SecretId=f"smartdrive-dev/{secret}", SecretString=value)
    _run(environment, folder)
    sign_with(environment, "run", patch)
    LandingStore(environment.outputs["landing_url"]).delete("events/dt=2026-01-01/hr=00/older.jsonl")
    _code(environment, folder)
    sign_with(environment, "api", patch)
    functions.api(environment, port, patch)
    functions.rotate(environment, port, lambda key: sign_with(environment, key, patch), patch)
    sign_with(environment, "operator", patch)
    _operator()
    sign_with(environment, "dlq_consumer", patch)
    _dlq_consumer(environment)
    boto3.DEFAULT_SESSION = None
    return {program: environment.calls(program) for program in PROGRAMS}


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
