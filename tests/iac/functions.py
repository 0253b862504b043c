"""The functions of the API's package as Lambda runs them: their handlers, told what Terraform tells them.

In RDS's place stands a PostgreSQL of this machine with the logins that the secrets name.
"""

from __future__ import annotations

import base64
import importlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import boto3
import pytest
from smartdrive_api import aws, rotation
from smartdrive_api.database import connect
from smartdrive_api.identity import registrations
from smartdrive_api.identity.keys import KeyStore
from smartdrive_api.services import utc_now
from smartdrive_api.settings import Settings
from smartdrive_api.vehicles import garage
from smartdrive_api.vehicles.vin import vehicle_id

from api.tests.calling import PASSWORD
from api.tests.certified import history, publish
from api.tests.test_aws import alb
from tests.iac.conftest import Environment
from tests.iac.database import PROGRAMS, owners
from tests.messages import SECRET, VIN

STEPS: Final = ("createSecret", "setSecret", "testSecret", "finishSecret")
SECRETS: Final = dict(zip(("app", "serving", "dagster"), PROGRAMS, strict=True))
_EMAIL: Final = "mira@example.org"


def first_values(folder: Path) -> dict[str, str]:
    """What an operator writes into the secrets at the start."""
    ring = f"file:{folder}/signing-keys.json"
    KeyStore(Settings.model_validate({"signing_keys": ring}), utc_now).rotate()
    logins = {
        f"database-{secret}": json.dumps({"username": f"{program}_a", "password": f"of {program}"})
        for secret, program in SECRETS.items()
    }
    return {"lake-secret": SECRET.decode(), "signing-keys": Path(ring[5:]).read_text(), **logins}


def told(environment: Environment, function: str, port: int) -> dict[str, str]:
    """The environment of a function; the database is the one on this port."""
    compute = environment.modules["compute"]
    (made,) = [one["values"] for one in compute if one["address"].endswith(f".aws_lambda_function.{function}")]
    module, _, name = made["handler"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    return {
        name: value if "postgresql://" not in value else _here(value, port)
        for name, value in made["environment"][0]["variables"].items()
    }


def _here(text: str, port: int) -> str:
    """The same URLs, of the database on this port, which speaks no TLS."""
    if text.startswith("{"):
        told = json.loads(text)
        for one in told.values():
            one["database_url"] = _here(one["database_url"], port)
        return json.dumps(told)
    return urlsplit(text)._replace(netloc=f"127.0.0.1:{port}", query="").geturl()


def api(environment: Environment, port: int, patch: pytest.MonkeyPatch) -> None:
    """Somebody registers, signs in, registers a car, sends a batch and has a certificate made."""
    for name, value in told(environment, "api", port).items():
        patch.setenv(name, value)
    aws._mangum.cache_clear()
    owner = connect(owners(port))
    try:
        number = _call("POST", "/v1/register", {"email": _EMAIL, "password": PASSWORD})["registration_id"]
        with owner.begin() as connection:
            registrations.confirm(connection, UUID(number), utc_now(), replace_password=False)
        token = _call("POST", "/v1/token", {"email": _EMAIL, "password": PASSWORD})["access_token"]
        device = _call("GET", "/v1/account", token=token)["device_id"]
        car = _call("POST", "/v1/vehicles", {"vin": VIN}, token=token)["id"]
        with owner.begin() as connection:
            garage.confirm(connection, UUID(car), utc_now())
        publish(owner, vehicle_id(VIN, SECRET), history())
        now = int(datetime.now(UTC).timestamp() * 1000)
        message = {
            "schema": "telemetry.v1",
            "vin": VIN,
            "device_id": device,
            "boot_id": "boot-1",
            "seq": 1,
            "phase": "running",
            "clock": "synced",
            "t": [now - 1000],
            "signals": {"RPM": [812.0]},
        }
        _call("POST", "/v1/telemetry/ingest", [message], token=token)
        assert _call("GET", f"/v1/vehicles/{car}/certificate", token=token).startswith(b"%PDF")
    finally:
        owner.dispose()
        aws._mangum.cache_clear()


def _call(method: str, path: str, body: object = None, token: str | None = None) -> Any:
    content = "" if body is None else json.dumps(body)
    headers = {"content-type": "application/json"} if content else {}
    if token:
        headers["authorization"] = f"Bearer {token}"
    answer = aws.handler(alb(method, path, headers, content), None)  # type: ignore[arg-type]
    said = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    assert answer["statusCode"] < 300, (method, path, answer["statusCode"], said)
    return said if said.startswith(b"%PDF") else json.loads(said)


def rotate(environment: Environment, port: int, sign: Any, patch: pytest.MonkeyPatch) -> None:
    """Each login is rotated once.

    Args:
        environment: the applied one.
        port: of the database.
        sign: has clients sign as somebody.
        patch: undoes it.
    """
    for name, value in told(environment, "rotation", port).items():
        patch.setenv(name, value)
    for secret in json.loads(told(environment, "rotation", port)["SMARTDRIVE_ROTATION_SECRETS"]):
        token = str(uuid4())
        sign("administrator")
        boto3.client("secretsmanager").rotate_secret(SecretId=secret, ClientRequestToken=token)
        sign("rotation")
        for step in STEPS:
            rotation.handler({"Step": step, "SecretId": secret, "ClientRequestToken": token}, None)
