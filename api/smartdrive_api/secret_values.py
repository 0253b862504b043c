"""The one seam through which secrets come: AWS Secrets Manager, a file, or the environment.

A setting that holds a secret holds one of these:

- ``secretsmanager:NAME`` or ``secretsmanager:NAME#KEY``: from AWS Secrets Manager, whole or one key of its JSON;
- ``file:PATH``: a file, without the white space around its content;
- anything else: the secret itself.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, Field, SecretStr, ValidationError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MANAGER: Final = "secretsmanager:"
_FILE: Final = "file:"


class SecretUnavailableError(RuntimeError):
    """A secret cannot be had; the message names where it was looked for, and never what it is."""


class Login(BaseModel):
    """Who comes to the database, and by what."""

    username: str = Field(min_length=1)
    password: str = Field(min_length=1, repr=False)

    @classmethod
    def of(cls, text: str, place: str) -> Login:
        """The login that a text holds, as JSON with `username` and `password`.

        Raises:
            SecretUnavailableError: it holds none.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError:  # it would quote
            raise SecretUnavailableError(f"no JSON with username and password in {place}") from None


def read_secret(reference: SecretStr) -> str:
    """The secret that a setting holds or refers to.

    Raises:
        SecretUnavailableError: there is none, it is empty, or the place does not answer.
    """
    text = reference.get_secret_value()
    if text.startswith(_MANAGER):
        return _from_manager(text.removeprefix(_MANAGER))
    if text.startswith(_FILE):
        path = Path(text.removeprefix(_FILE))
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretUnavailableError(f"no secret can be read from {path}: {_reason(error)}") from None
        return _not_empty(secret, str(path))
    return _not_empty(text, "the setting itself")


def read_login(reference: SecretStr) -> Login:
    """The login that a setting holds or refers to.

    Raises:
        SecretUnavailableError: as for `read_secret`, or it is no login.
    """
    text = reference.get_secret_value()
    place = text if text.startswith((_MANAGER, _FILE)) else "the setting itself"
    return Login.of(read_secret(reference), place)


def write_secret(reference: SecretStr, secret: str, *, only_if_new: bool = False) -> None:
    """Replace the secret that a setting refers to, wholly or not at all.

    Args:
        reference: where it lies.
        secret: what is written.
        only_if_new: leave a file alone that is there already: of two processes that make it the first wins.

    Raises:
        SecretUnavailableError: the setting holds the secret itself or one key of a JSON, or the place refuses.
    """
    text = reference.get_secret_value()
    if text.startswith(_FILE):
        _write_file(Path(text.removeprefix(_FILE)), secret, only_if_new=only_if_new)
    elif text.startswith(_MANAGER) and "#" not in text:
        _to_manager(text.removeprefix(_MANAGER), secret)
    else:
        raise SecretUnavailableError(
            "the secret can be replaced only where it is file:PATH or secretsmanager:NAME"
        )


def exists(reference: SecretStr) -> bool:
    """Whether there is something to read; a service that does not answer is an error, not an absence."""
    text = reference.get_secret_value()
    if text.startswith(_FILE):
        return Path(text.removeprefix(_FILE)).exists()
    if text.startswith(_MANAGER):
        from botocore.exceptions import ClientError

        try:
            _client().describe_secret(SecretId=text.removeprefix(_MANAGER).partition("#")[0])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return False
            raise SecretUnavailableError(f"AWS Secrets Manager refuses: {_reason(error)}") from None
    return True


def _from_manager(name: str) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    name, _, key = name.partition("#")
    try:
        secret = _client().get_secret_value(SecretId=name, VersionStage="AWSCURRENT").get("SecretString", "")
    except (BotoCoreError, ClientError) as error:
        raise SecretUnavailableError(f"AWS Secrets Manager gives no {name}: {_reason(error)}") from None
    if key:
        try:
            secret = str(json.loads(secret)[key])
        except (ValueError, KeyError, TypeError):
            raise SecretUnavailableError(f"the secret {name} in AWS Secrets Manager has no key {key}") from None
    return _not_empty(secret.strip(), f"AWS Secrets Manager, {name}")


def _to_manager(name: str, secret: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    client = _client()
    try:
        try:
            client.put_secret_value(SecretId=name, SecretString=secret)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=name, SecretString=secret)
    except (BotoCoreError, ClientError) as error:
        raise SecretUnavailableError(f"AWS Secrets Manager does not take {name}: {_reason(error)}") from None


def _client() -> SecretsManagerClient:
    import boto3  # only where a secret lies in AWS

    return boto3.client("secretsmanager")


def _write_file(path: Path, secret: str, *, only_if_new: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        if only_if_new:
            with suppress(FileExistsError):
                os.link(draft, path)
            os.unlink(draft)
        else:
            os.replace(draft, path)
    except OSError as error:
        os.unlink(draft)
        raise SecretUnavailableError(f"the secret cannot be written to {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What kind of error it was. Messages are left out: they may quote."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", type(error).__name__))
    return getattr(error, "strerror", None) or type(error).__name__


def _not_empty(secret: str, place: str) -> str:
    if not secret:
        raise SecretUnavailableError(f"the secret from {place} is empty")
    return secret
