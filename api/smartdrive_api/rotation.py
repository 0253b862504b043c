"""New passwords for the database's logins: `smartdrive_api.rotation.handler` is what AWS Secrets Manager calls.

A program has two logins, `NAME_a` and `NAME_b` (iac/database/roles.sql), and a secret that names one of them as
JSON with `username` and `password`. A rotation gives the other one a password and names that: whoever read the
secret before is let in until the next rotation.

Secrets Manager calls with four steps, and again where one failed. Each may be repeated or die anywhere: what it
does follows from the secret and the database, and is done once.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict

import psycopg
from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from smartdrive_api.secret_values import Login

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

PASSWORD_BYTES: Final = 32
_CURRENT: Final = "AWSCURRENT"
_PENDING: Final = "AWSPENDING"
_TWIN: Final = {"a": "b", "b": "a"}


class RotationError(RuntimeError):
    """A step cannot be done; the message says what to do, and shows no password."""


class Rotated(BaseModel):
    """Whose login a secret holds."""

    database_url: str = Field(description="postgresql://host:port/name, without a login")
    services: tuple[str, ...] = Field(default=(), description="ECS services that get the login when they start")


class Settings(BaseSettings):
    """Read from the environment with the prefix ``SMARTDRIVE_ROTATION_``."""

    model_config = SettingsConfigDict(env_prefix="SMARTDRIVE_ROTATION_", frozen=True)

    cluster: str = Field(description="The ECS cluster of the services")
    secrets: dict[str, Rotated] = Field(description="By ARN: what is rotated, as JSON")


class Event(TypedDict):
    """What Secrets Manager asks for."""

    Step: str
    SecretId: str
    ClientRequestToken: str


def handler(event: Event, _: object) -> None:
    """Do one step of a rotation.

    Raises:
        RotationError: it cannot be done.
    """
    import boto3

    settings = Settings()
    secret = event["SecretId"]
    if secret not in settings.secrets:
        raise RotationError(f"{secret} is not among the secrets that this function rotates")
    rotated = settings.secrets[secret]
    rotation = Rotation(boto3.client("secretsmanager"), secret, event["ClientRequestToken"], rotated.database_url)
    match event["Step"]:
        case "createSecret":
            rotation.create()
        case "setSecret":
            rotation.set()
        case "testSecret":
            rotation.test()
        case "finishSecret":
            rotation.finish()
            for service in rotated.services:
                boto3.client("ecs").update_service(
                    cluster=settings.cluster, service=service, forceNewDeployment=True
                )
        case step:
            raise RotationError(f"{step} is no step of a rotation")


@dataclass(frozen=True, slots=True)
class Rotation:
    """One rotation of one secret.

    Attributes:
        manager: the client.
        secret: ARN.
        token: which version of the secret the rotation makes.
        database_url: without a login.
    """

    manager: SecretsManagerClient
    secret: str
    token: str
    database_url: str

    def create(self) -> None:
        """Write down which login comes next, with a new password; once it is written, nothing."""
        if self._is_over() or self._has_value():
            return
        username = twin_of(self._login(_CURRENT).username)
        following = Login(username=username, password=secrets.token_hex(PASSWORD_BYTES))
        self.manager.put_secret_value(
            SecretId=self.secret,
            ClientRequestToken=self.token,
            SecretString=following.model_dump_json(),
            VersionStages=[_PENDING],
        )

    def set(self) -> None:
        """Have the login in use give the next one its password; nothing where it has it."""
        if self._is_over():
            return
        following = self._login(_PENDING)
        try:
            self._connect(following).close()
        except psycopg.OperationalError:
            pass
        else:
            return
        current = self._login(_CURRENT)
        try:
            connection = self._connect(current)
        except psycopg.OperationalError as error:
            raise RotationError(f"the database refuses the login in use, {current.username}: {error}") from None
        with connection:
            verifier = connection.pgconn.encrypt_password(
                following.password.encode(), following.username.encode(), b"scram-sha-256"
            )
            asked = connection.execute("select rotation.set_password_of_twin(%s)", [verifier.decode()])
            (whose,) = asked.fetchone() or (None,)
            if whose != following.username:  # raised within the transaction, which then did nothing
                raise RotationError(f"{current.username} cannot set the password of {following.username}")

    def test(self) -> None:
        """See that the next login is let in and acts as its program.

        Raises:
            RotationError: it is not, or does not.
        """
        if self._is_over():
            return
        following = self._login(_PENDING)
        try:
            with self._connect(following) as connection:
                (acts_as,) = connection.execute("select current_user").fetchone() or ("",)
        except psycopg.OperationalError as error:
            raise RotationError(f"the database refuses the next login, {following.username}: {error}") from None
        if acts_as != following.username[:-2]:
            raise RotationError(f"{following.username} acts as {acts_as}: run iac/database/roles.sql anew")

    def finish(self) -> None:
        """Name the next login to all who ask from now on."""
        stages = self._stages()
        if _CURRENT in stages[self.token]:
            return
        before = next(version for version, names in stages.items() if _CURRENT in names)
        self.manager.update_secret_version_stage(
            SecretId=self.secret,
            VersionStage=_CURRENT,
            MoveToVersionId=self.token,
            RemoveFromVersionId=before,
        )

    def _stages(self) -> dict[str, list[str]]:
        stages = self.manager.describe_secret(SecretId=self.secret).get("VersionIdsToStages", {})
        if self.token not in stages:
            raise RotationError(f"{self.secret} has no version {self.token}: this rotation is not of it")
        return stages

    def _is_over(self) -> bool:
        return _CURRENT in self._stages()[self.token]

    def _has_value(self) -> bool:
        try:
            self._login(_PENDING)
        except self.manager.exceptions.ResourceNotFoundException:
            return False
        return True

    def _login(self, stage: str) -> Login:
        which = {"VersionId": self.token} if stage == _PENDING else {}
        answer = self.manager.get_secret_value(SecretId=self.secret, VersionStage=stage, **which)
        return Login.of(answer.get("SecretString", ""), f"{self.secret}, {stage}")

    def _connect(self, login: Login) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.database_url, user=login.username, password=login.password, connect_timeout=5)


def twin_of(username: str) -> str:
    """The other login of the same program.

    Raises:
        RotationError: it has none.
    """
    if not re.fullmatch(r"[a-z]+_[ab]", username):
        raise RotationError(f"{username} is no login of iac/database/roles.sql, as api_a is: it has no twin")
    return username[:-1] + _TWIN[username[-1]]
