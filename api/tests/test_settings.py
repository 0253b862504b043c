from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from pydantic import SecretStr, ValidationError
from smartdrive_api.secret_values import SecretUnavailableError, exists, read_secret, write_secret
from smartdrive_api.settings import Settings

from tests.object_store import object_store

SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_store(tmp_path_factory.mktemp("moto")) as url:
        client = boto3.client("secretsmanager")
        client.create_secret(Name="api/whole", SecretString=SECRET)
        client.create_secret(Name="api/rds", SecretString=json.dumps({"username": "u", "password": SECRET}))
        yield url


@pytest.mark.usefixtures("manager")
def test_a_secret_comes_from_aws_whole_or_as_one_key_of_its_json() -> None:
    assert read_secret(SecretStr("secretsmanager:api/whole")) == SECRET
    assert read_secret(SecretStr("secretsmanager:api/rds#password")) == SECRET


@pytest.mark.usefixtures("manager")
def test_what_aws_does_not_have_is_an_error_that_names_the_place_and_quotes_nothing() -> None:
    with pytest.raises(SecretUnavailableError, match="gives no api/none: ResourceNotFoundException"):
        read_secret(SecretStr("secretsmanager:api/none"))
    with pytest.raises(SecretUnavailableError, match="has no key pin") as failure:
        read_secret(SecretStr("secretsmanager:api/rds#pin"))
    with pytest.raises(SecretUnavailableError, match="has no key password"):
        read_secret(SecretStr("secretsmanager:api/whole#password"))
    assert SECRET not in str(failure.getrepr())


@pytest.mark.usefixtures("manager")
def test_a_secret_in_aws_is_replaced_or_made() -> None:
    for name in ("secretsmanager:api/ring", "secretsmanager:api/ring"):
        before = exists(SecretStr(name))
        write_secret(SecretStr(name), f"ring, {before}")
        assert read_secret(SecretStr(name)) == f"ring, {before}"
    assert not exists(SecretStr("secretsmanager:api/never"))


def test_a_service_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SecretUnavailableError, match="EndpointConnectionError"):
        read_secret(SecretStr("secretsmanager:api/whole"))


def test_a_file_and_the_setting_itself_will_do_too(tmp_path: Path) -> None:
    reference = SecretStr(f"file:{tmp_path}/deep/secret")
    assert not exists(reference)
    with pytest.raises(SecretUnavailableError, match="no secret can be read from"):
        read_secret(reference)
    write_secret(reference, f"{SECRET}\n")
    assert read_secret(reference) == SECRET == read_secret(SecretStr(SECRET))
    assert stat.S_IMODE((tmp_path / "deep" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["secret"]


@pytest.mark.parametrize("text", ["the secret itself", "secretsmanager:name#key"])
def test_what_cannot_be_replaced_is_refused(text: str) -> None:
    with pytest.raises(SecretUnavailableError, match="can be replaced only where"):
        write_secret(SecretStr(text), SECRET)


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_PASSWORD", "DATABASE_LOGIN", "SIGNING_KEYS", "LAKE_SECRET"):
        monkeypatch.setenv(f"SMARTDRIVE_API_{name}", f"postgresql://u:{SECRET}@h/d")
    settings = Settings()
    assert settings.lake_key() == f"postgresql://u:{SECRET}@h/d".encode()
    assert SECRET not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_setting_that_is_refused_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTDRIVE_API_LANDING_URL", f"https://{SECRET}")
    with pytest.raises(ValidationError, match="neither a local path") as failure:
        Settings()
    assert SECRET not in str(failure.value)


def test_networks_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTDRIVE_API_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8")
    assert [str(network) for network in Settings().trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]


def test_a_short_secret_of_the_lake_is_refused() -> None:
    with pytest.raises(SecretUnavailableError, match="shorter than 16 bytes"):
        Settings(lake_secret=SecretStr("short")).lake_key()
