"""One environment, applied once to an AWS of this machine, for all tests that look at it; destroyed at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.aws_server import running
from tests.iac.terraform import Terraform, binary, copy_of

REGION = "eu-central-1"
DOMAIN = "api.example.org"
DIGEST = "sha256:" + "0" * 64
EMULATORS_BACKEND = 'terraform {\n  backend "local" {}\n}\n'


@dataclass(frozen=True)
class Emulator:
    """An AWS of this machine.

    Attributes:
        endpoint: where it answers.
        record: calls that it was asked, one JSON object a line.
    """

    endpoint: str
    record: Path

    def client(self, service: str) -> Any:
        """Who sets things up."""
        session = boto3.Session("emulator", "emulator", region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def variables(self, key: str) -> dict[str, str]:
        """The AWS_ variables of a program that signs with a key of this id."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": "not'a'secret",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def calls(self, key: str) -> list[dict[str, str]]:
        """What was asked with that key."""
        return [call for line in self.record.read_text().splitlines() if (call := json.loads(line))["key"] == key]


@dataclass(frozen=True)
class Environment(Emulator):
    """An applied environment.

    Attributes:
        terraform: in the root module.
        outputs: of the root module.
    """

    terraform: Terraform
    outputs: dict[str, Any]

    @cached_property
    def modules(self) -> dict[str, list[dict[str, Any]]]:
        """The resources of each module, as they were applied."""
        root = self.terraform.shown()["values"]["root_module"]["child_modules"][0]
        return {module["address"].rpartition(".")[2]: module["resources"] for module in root["child_modules"]}


@contextmanager
def emulator(folder: Path) -> Iterator[Emulator]:
    """An emulator that lives as long; its record and log lie in the folder."""
    record = folder / "calls.jsonl"
    record.touch()
    environment = {"PATH": os.environ["PATH"], "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with running("tests.iac.emulator", folder, environment, str(record)) as endpoint:
        yield Emulator(endpoint, record)


def _certificate() -> dict[str, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return {
        "Certificate": certificate.public_bytes(pem),
        "PrivateKey": key.private_bytes(pem, private, serialization.NoEncryption()),
    }


@contextmanager
def dev(folder: Path) -> Iterator[tuple[Terraform, Emulator]]:
    """`iac/envs/dev`, initialised, before an AWS of this machine."""
    binary()
    copy = copy_of(folder)
    root = copy / "envs" / "dev"
    (root / "backend_override.tf").write_text(EMULATORS_BACKEND)
    with emulator(folder) as aws:
        certificate = aws.client("acm").import_certificate(**_certificate())
        registry = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/smartdrive-dev"
        given = {
            "aws_endpoint_url": aws.endpoint,
            "api_domain": DOMAIN,
            "certificate_arn": certificate["CertificateArn"],
            # What is in the package matters to nobody here: the emulator runs no function.
            "api_package": {
                "filename": str(copy / "build" / "dlq-consumer.zip"),
                "source_code_hash": "0" * 43 + "=",
            },
            "images": {name: f"{registry}/{name}@{DIGEST}" for name in ("dagster", "api")},
            "runbook_url": "https://docs.example.org/respond-to-alarms",
            "repository": "example/smartdrive",
            "state_bucket_arn": "arn:aws:s3:::123456789012-terraform-state",
        }
        (root / "terraform.tfvars.json").write_text(json.dumps(given))
        terraform = Terraform(root, folder)
        terraform("init", "-input=false", "-no-color")
        yield terraform, aws


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """`iac/envs/dev`, applied; at the end it is destroyed, and nothing of it may be left."""
    with dev(tmp_path_factory.mktemp("environment")) as (terraform, aws):
        terraform("apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=20")
        told = json.loads(terraform("output", "-json"))
        yield Environment(aws.endpoint, aws.record, terraform, {name: one["value"] for name, one in told.items()})
        terraform("destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=20")
        assert "values" not in terraform.shown()
        assert aws.client("s3").list_buckets()["Buckets"] == []
