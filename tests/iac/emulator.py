"""An AWS of this machine: moto in a process of its own, with the calls of AWS IoT that it lacks, and a record.

`python -m tests.iac.emulator PORT RECORD` serves until it is ended, and writes each call that was signed to the
file RECORD: one JSON object a line with key (the access key's id), service, method, path, query, target and form
(the action of a form).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.aws_server import Application, serve

_SIGNED = re.compile(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/")


def _give_iot_tags() -> None:
    """Terraform asks for the tags of all it made; moto's IoT knows none, and fails instead of saying so."""
    from moto.core.responses import ActionResult
    from moto.iot.responses import IoTResponse

    def nothing(_: IoTResponse) -> ActionResult:
        return ActionResult({})

    def none(_: IoTResponse) -> ActionResult:
        return ActionResult({"tags": []})

    calls: dict[str, Any] = {
        "list_tags_for_resource": none,
        "tag_resource": nothing,
        "untag_resource": nothing,
    }
    for name, call in calls.items():
        setattr(IoTResponse, name, call)


def _leave_out_conditions() -> None:
    """Moto takes a bucket policy's statement as if it had no condition: what is refused without TLS, always."""
    from moto.s3.models import FakeBucket

    asked = FakeBucket.get_permission

    def get_permission(bucket: FakeBucket, action: str, resource: str) -> Any:
        whole = bucket.policy
        if whole:
            policy = json.loads(whole)
            policy["Statement"] = [one for one in policy["Statement"] if "Condition" not in one]
            bucket.policy = json.dumps(policy).encode() if policy["Statement"] else None
        try:
            return asked(bucket, action, resource)
        finally:
            bucket.policy = whole

    FakeBucket.get_permission = get_permission


def _let_markers_go() -> None:
    """Emptying a bucket of versions fails on a marker of a deletion: moto disposes of contents it has not."""
    from moto.s3.models import FakeDeleteMarker

    def dispose(_: FakeDeleteMarker) -> None:
        """A marker has no content."""

    FakeDeleteMarker.dispose = dispose


def _let_rotation_be_set_up() -> None:
    """Setting a rotation up, moto calls the function at once, and fails where the secret has no value yet.

    Here it is set up, and begun where somebody asks for it by a token: who asked calls the function.
    """
    from moto.secretsmanager.models import SecretsManagerBackend

    def rotate_secret(
        backend: SecretsManagerBackend,
        secret_id: str,
        client_request_token: str | None = None,
        rotation_lambda_arn: str | None = None,
        rotation_rules: dict[str, Any] | None = None,
        rotate_immediately: bool = True,
    ) -> str:
        secret = backend.secrets[secret_id]
        if rotation_lambda_arn and rotation_rules:
            secret.rotation_lambda_arn = rotation_lambda_arn
            secret.auto_rotate_after_days = rotation_rules["AutomaticallyAfterDays"]
            secret.rotation_requested = secret.rotation_enabled = True
        if rotate_immediately and client_request_token:
            pending = {"createdate": 0, "version_id": client_request_token, "version_stages": ["AWSPENDING"]}
            secret.versions[client_request_token] = pending
        return str(secret.to_short_dict())

    SecretsManagerBackend.rotate_secret = rotate_secret


def _action(environ: dict[str, Any]) -> str:
    """The action that a form names, as EC2's calls do; empty where it is no form. The body can be read again."""
    if not environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return ""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return parse_qs(body.decode()).get("Action", [""])[0]


def _recording(app: Application, record: Path) -> Application:
    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if signed := _SIGNED.search(environ.get("HTTP_AUTHORIZATION", "")):
            call = {
                "key": signed[1],
                "service": signed[2],
                "form": _action(environ),
                "method": environ["REQUEST_METHOD"],
                "path": environ["PATH_INFO"],
                "query": environ.get("QUERY_STRING", ""),
                "target": environ.get("HTTP_X_AMZ_TARGET", ""),
            }
            with record.open("a") as file:
                file.write(json.dumps(call) + "\n")
        return app(environ, start)

    return answer


if __name__ == "__main__":
    _give_iot_tags()
    _leave_out_conditions()
    _let_markers_go()
    _let_rotation_be_set_up()
    serve(int(sys.argv[1]), lambda app: _recording(app, Path(sys.argv[2])))
