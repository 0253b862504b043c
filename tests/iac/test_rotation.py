"""The rotation of the database's logins: the real handler, a real PostgreSQL, moto's Secrets Manager and ECS."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psycopg
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.secretsmanager.models import secretsmanager_backends
from pydantic import SecretStr
from smartdrive_api import rotation
from smartdrive_api.database import external
from smartdrive_api.rotation import RotationError
from smartdrive_api.secret_values import Login, SecretUnavailableError
from smartdrive_api.settings import Settings
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from api.tests.conftest import fresh_data  # noqa: F401 - the fixture
from tests.iac.database import PROGRAMS, as_login, as_on_rds, owners
from tests.iac.functions import STEPS

SERVICES = {"api": [], "publisher": ["code"], "dagster": ["webserver", "daemon", "code"]}
REGION = "eu-central-1"


@pytest.fixture(scope="module")
def port(fresh_data: Path) -> Iterator[int]:  # noqa: F811 - the fixture
    with as_on_rds(fresh_data) as number:
        yield number


@dataclass(frozen=True)
class World:
    """Secrets and services of an account, and the database.

    Attributes:
        secrets: ARN of each program's secret.
        told: what the function is told of them.
    """

    port: int
    secrets: dict[str, str]
    told: str
    manager: Any

    def login(self, program: str, stage: str = "AWSCURRENT") -> Login:
        answer = self.manager.get_secret_value(SecretId=self.secrets[program], VersionStage=stage)
        return Login.model_validate_json(answer["SecretString"])

    def begin(self, program: str) -> str:
        """What Secrets Manager does before the first step: a version that has a label and no value."""
        secret = self._kept(program)
        token = str(uuid4())
        secret.remove_version_stages_from_old_versions(["AWSPENDING"])
        secret.versions[token] = {"createdate": 0, "version_id": token, "version_stages": ["AWSPENDING"]}
        return token

    def hold(self, program: str, value: str) -> None:
        """Have the secret hold this, and no other version."""
        secret, version = self._kept(program), str(uuid4())
        kept = {"createdate": 0, "version_id": version, "version_stages": ["AWSCURRENT"], "secret_string": value}
        secret.versions = {version: kept}
        secret.set_default_version_id(version)

    def _kept(self, program: str) -> Any:
        return secretsmanager_backends[DEFAULT_ACCOUNT_ID][REGION].secrets[self.secrets[program]]

    def step(self, program: str, step: str, token: str) -> None:
        rotation.handler({"Step": step, "SecretId": self.secrets[program], "ClientRequestToken": token}, None)

    def rotate(self, program: str) -> None:
        token = self.begin(program)
        for step in STEPS:
            self.step(program, step, token)

    def opens(self, login: Login) -> bool:
        database = "dagster" if login.username.startswith("dagster") else "smartdrive"
        try:
            as_login(self.port, login.username, "select 1", database, login.password)
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="module")
def account(port: int) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "emulator")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)  # of another test's S3 service
        boto3.setup_default_session()
        manager, ecs = boto3.client("secretsmanager"), boto3.client("ecs")
        secrets = {name: manager.create_secret(Name=f"smartdrive-test/{name}")["ARN"] for name in PROGRAMS}
        ecs.create_cluster(clusterName="smartdrive-test")
        ecs.register_task_definition(family="x", containerDefinitions=[{"name": "x", "image": "x", "memory": 512}])
        for service in SERVICES["dagster"]:
            ecs.create_service(cluster="smartdrive-test", serviceName=service, taskDefinition="x", desiredCount=1)
        place = f"postgresql://127.0.0.1:{port}"
        databases = {"api": "smartdrive", "publisher": "smartdrive", "dagster": "dagster"}
        told = {
            arn: {"database_url": f"{place}/{databases[program]}", "services": SERVICES[program]}
            for program, arn in secrets.items()
        }
        yield World(port, secrets, json.dumps(told), manager)
        boto3.DEFAULT_SESSION = None


@pytest.fixture
def world(account: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Nothing was rotated yet: `api_a` has the password `of api`, `api_b` has none."""
    monkeypatch.setenv("SMARTDRIVE_ROTATION_CLUSTER", "smartdrive-test")
    monkeypatch.setenv("SMARTDRIVE_ROTATION_SECRETS", account.told)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "emulator")
    with psycopg.connect(owners(account.port), autocommit=True) as owner:
        for program in PROGRAMS:
            owner.execute(f"alter role {program}_a password 'of {program}'")
            owner.execute(f"alter role {program}_b password null")
            first = {"username": f"{program}_a", "password": f"of {program}"}
            account.hold(program, json.dumps(first))
    return account


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_rotation_names_the_other_login_and_the_one_before_works_until_the_next(
    world: World, program: str
) -> None:
    first = world.login(program)
    world.rotate(program)
    second = world.login(program)
    assert (first.username, second.username) == (f"{program}_a", f"{program}_b")
    assert world.opens(first)
    assert world.opens(second)
    world.rotate(program)
    third = world.login(program)
    assert third.username == first.username
    assert third.password not in {first.password, second.password}
    assert not world.opens(first)
    assert world.opens(second)
    assert world.opens(third)


@pytest.mark.parametrize("program", PROGRAMS)
def test_exactly_the_services_that_get_the_login_start_anew(
    world: World, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    made = boto3.client
    monkeypatch.setattr(boto3, "client", lambda name: _heard(made(name), asked))
    world.rotate(program)
    assert [call["service"] for call in asked] == SERVICES[program]
    assert all(call["forceNewDeployment"] and call["cluster"] == "smartdrive-test" for call in asked)


def _heard(client: Any, asked: list[dict[str, Any]]) -> Any:
    """The same client; what is asked of ECS is kept."""
    events = client.meta.events
    events.register("provide-client-params.ecs.UpdateService", lambda params, **_: asked.append(dict(params)))
    return client


def test_a_step_may_be_repeated_and_changes_nothing_then(world: World) -> None:
    token = world.begin("dagster")
    for step in STEPS:
        world.step("dagster", step, token)
        before = (world.login("dagster"), world.login("dagster", "AWSPENDING"))
        for again in STEPS[: STEPS.index(step) + 1]:
            world.step("dagster", again, token)
        assert (world.login("dagster"), world.login("dagster", "AWSPENDING")) == before
    assert world.opens(world.login("dagster"))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_a_step_that_dies_at_its_deed_is_done_by_the_next_attempt(
    world: World, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed directly before or after what it changes, or asks, outside."""

    class KilledError(BaseException):
        pass

    def dying(deed: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if after:
                deed(*arguments, **named)
            raise KilledError

        return call

    first = world.login("dagster")
    token = world.begin("dagster")
    for done in STEPS[: STEPS.index(step)]:
        world.step("dagster", done, token)
    made = boto3.client

    def client(name: str) -> Any:
        one = made(name)
        deed = {"createSecret": "put_secret_value", "finishSecret": "update_secret_version_stage"}.get(step)
        if deed and name == "secretsmanager":
            setattr(one, deed, dying(getattr(one, deed)))
        return one

    with monkeypatch.context() as patch:
        patch.setattr(boto3, "client", client)
        if step in {"setSecret", "testSecret"}:
            deed = "commit" if after else "execute"
            patch.setattr(psycopg.Connection, deed, dying(getattr(psycopg.Connection, deed)))
        with pytest.raises(KilledError):
            world.step("dagster", step, token)
    assert world.opens(world.login("dagster")), "whoever reads the secret now is let in"
    assert world.opens(first)
    for again in STEPS[STEPS.index(step) :]:
        world.step("dagster", again, token)
    assert world.login("dagster").username == "dagster_b"
    assert world.opens(world.login("dagster"))
    assert world.opens(first)


def test_a_login_that_is_refused_ends_the_rotation_and_the_secret_stays(world: World) -> None:
    as_it_was = world.login("api")
    token = world.begin("api")
    world.step("api", "createSecret", token)
    with pytest.raises(RotationError, match="refuses the next login, api_b"):
        world.step("api", "testSecret", token)
    following = world.login("api", "AWSPENDING")
    wrong = {"username": "api_a", "password": "another"}
    world.hold("api", json.dumps(wrong))
    world.manager.put_secret_value(
        SecretId=world.secrets["api"],
        ClientRequestToken=(token := str(uuid4())),
        SecretString=following.model_dump_json(),
        VersionStages=["AWSPENDING"],
    )
    with pytest.raises(RotationError, match="refuses the login in use, api_a") as failure:
        world.step("api", "setSecret", token)
    assert "another" not in str(failure.value)
    assert world.opens(as_it_was)


def test_a_login_without_its_role_is_noticed_before_anybody_gets_it(world: World, port: int) -> None:
    token = world.begin("publisher")
    for step in STEPS[:2]:
        world.step("publisher", step, token)
    with psycopg.connect(owners(port), autocommit=True) as owner:
        owner.execute("alter role publisher_b reset role")
        with pytest.raises(RotationError, match=r"publisher_b acts as publisher_b: run .*roles\.sql"):
            world.step("publisher", "testSecret", token)
        owner.execute("alter role publisher_b set role publisher")
    world.step("publisher", "testSecret", token)


def test_who_may_not_rotate_is_refused(world: World, port: int) -> None:
    with pytest.raises(RotationError, match="is not among the secrets"):
        rotation.handler({"Step": "setSecret", "SecretId": "arn:x", "ClientRequestToken": "x"}, None)
    with pytest.raises(RotationError, match="has no version"):
        world.step("api", "createSecret", str(uuid4()))
    with pytest.raises(RotationError, match="is no step"):
        world.step("api", "dropSecret", world.begin("api"))
    odd = json.dumps({"username": "postgres", "password": "x"})
    world.hold("publisher", odd)
    with pytest.raises(RotationError, match="it has no twin"):
        world.step("publisher", "createSecret", world.begin("publisher"))
    world.hold("publisher", "not JSON: of publisher")
    with pytest.raises(SecretUnavailableError, match="no JSON with username and password") as failure:
        world.step("publisher", "createSecret", world.begin("publisher"))
    assert "of publisher" not in str(failure.value)


def test_a_login_may_change_its_twin_alone_and_never_by_a_password(world: World, port: int) -> None:
    ask = "select rotation.set_password_of_twin({})"
    verifier = "'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy'"
    assert as_login(port, "api_a", ask.format(verifier)) == [("api_b",)]
    for text_ in ("'secret'", "null", "'md5' || repeat('0', 32)"):
        with pytest.raises(psycopg.errors.RaiseException, match="no verifier"):
            as_login(port, "api_a", ask.format(text_))
    with (
        psycopg.connect(owners(port)) as owner,
        pytest.raises(psycopg.errors.RaiseException, match="postgres has no twin"),
    ):
        owner.execute(ask.format(verifier))


def test_the_api_takes_a_rotated_login_up_without_a_restart_and_without_an_error(world: World, port: int) -> None:
    settings = Settings(
        database_url=SecretStr(f"postgresql://127.0.0.1:{port}/smartdrive"),
        database_login=SecretStr(f"secretsmanager:{world.secrets['api']}"),
    )
    engine, first = external(settings), world.login("api")
    who, failed = [], []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            engine.dispose()  # as if nobody had called for long: each request opens a connection
            try:
                with engine.connect() as connection:
                    who.append(connection.scalar(text("select session_user")))
            except OperationalError as error:
                failed.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        for _ in range(2):
            world.rotate("api")
    finally:
        stop.set()
        thread.join()
    assert failed == []
    # It began with a login that opens nothing any more; which of the two it met next is a matter of the moment.
    assert (who[0], world.opens(first)) == ("api_a", False)
    with engine.connect() as connection:
        assert connection.scalar(text("select current_user")) == "api"
    engine.dispose()


def test_a_secret_is_not_asked_for_again_and_again(
    world: World, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        database_url=SecretStr(f"postgresql://127.0.0.1:{port}/smartdrive"),
        database_login=SecretStr(f"secretsmanager:{world.secrets['api']}"),
    )
    engine = external(settings)
    with psycopg.connect(owners(port), autocommit=True) as owner:
        owner.execute("alter role api_a password 'another'")
    asked: list[str] = []
    monkeypatch.setattr(
        "smartdrive_api.secret_values._client", lambda: asked.append("asked") or boto3.client("secretsmanager")
    )
    for _ in range(5):
        with pytest.raises(OperationalError, match="password authentication failed"):
            engine.connect()
    assert asked == ["asked"]
    engine.dispose()
