"""Signing keys: JWKS, rotation with overlap, and instances that share a ring."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import jwt
import pytest
from moto import mock_aws
from pydantic import SecretStr
from smartdrive_api.identity.access_tokens import Access, AccessTokens, InvalidTokenError
from smartdrive_api.identity.keys import KeyStore, Ring, dump, load, next_ring
from smartdrive_api.secret_values import SecretUnavailableError
from smartdrive_api.settings import Settings

from api.tests.calling import Api, Clock

NOW = datetime(2025, 6, 1, tzinfo=UTC)
LIFE, LEAD = timedelta(seconds=930), timedelta(hours=1)
ACCESS = Access(*[__import__("uuid").uuid4() for _ in range(2)])


def kids(ring: Ring, now: datetime) -> list[str]:
    return [key.kid for key in ring.verifying(now, LIFE)]


def test_a_new_key_is_published_before_it_signs_and_the_old_one_outlives_its_last_token() -> None:
    first = next_ring(None, NOW, lead=LEAD, life=LIFE)
    (old,) = first.keys
    assert first.signing(NOW) == old
    ring = load(dump(next_ring(first, NOW, lead=LEAD, life=LIFE)))
    new = ring.keys[1]
    assert kids(ring, NOW) == [old.kid, new.kid]
    assert ring.signing(NOW + LEAD - timedelta(seconds=1)) == old
    assert ring.signing(NOW + LEAD) == new
    assert kids(ring, NOW + LEAD + LIFE - timedelta(seconds=1)) == [old.kid, new.kid]
    assert kids(ring, NOW + LEAD + LIFE) == [new.kid]
    later = next_ring(ring, NOW + LEAD + LIFE, lead=LEAD, life=LIFE)
    assert [key.kid for key in later.keys][:1] == [new.kid], "what verifies nothing is thrown away"
    assert len(later.keys) == 2


def test_the_public_keys_verify_what_the_api_signs_and_hold_no_private_number(api: Api) -> None:
    keys = api.client.get("/.well-known/jwks.json").json()["keys"]
    assert all(set(key) == {"kty", "use", "alg", "kid", "n", "e"} for key in keys)
    token = api.services.access_tokens.issue(ACCESS)
    ours = jwt.PyJWKSet.from_dict({"keys": keys})[jwt.get_unverified_header(token)["kid"]]
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = jwt.decode(
        token,
        ours.key,
        ["RS256"],
        audience="smartdrive-api",
        issuer="https://api.test",
        options=options,  # type: ignore[arg-type]
    )
    assert claims["exp"] - claims["iat"] == 900


class Instances:
    """Two instances of the API over one ring."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(NOW)
        self.settings = Settings(signing_keys=SecretStr(f"file:{folder}/deep/ring.json"))
        self.stores = [KeyStore(self.settings, self.clock) for _ in range(2)]
        self.tokens = [AccessTokens(self.settings, store, self.clock) for store in self.stores]


@pytest.fixture
def two(tmp_path: Path) -> Instances:
    return Instances(tmp_path)


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def test_a_rotation_reaches_every_instance_and_breaks_no_token(two: Instances) -> None:
    assert two.tokens[1].read(two.tokens[0].issue(ACCESS)) == ACCESS
    two.stores[0].rotate()
    two.clock.move(seconds=61)
    assert len(two.stores[1].jwks()) == 2
    two.clock.move(minutes=58)
    before = two.tokens[1].issue(ACCESS)
    two.clock.move(minutes=2)
    after = two.tokens[1].issue(ACCESS)
    assert kid(before) != kid(after)
    for tokens in two.tokens:
        assert tokens.read(before) == tokens.read(after) == ACCESS
    two.clock.move(minutes=20)
    assert len(two.stores[1].jwks()) == 1


def test_a_key_that_leaked_verifies_nothing_any_more(two: Instances) -> None:
    token = two.tokens[0].issue(ACCESS)
    two.stores[0].rotate(at_once=True)
    assert two.tokens[0].read(two.tokens[0].issue(ACCESS)) == ACCESS
    with pytest.raises(InvalidTokenError):
        two.tokens[0].read(token)
    two.clock.move(seconds=61)
    with pytest.raises(InvalidTokenError):
        two.tokens[1].read(token)


def test_the_ring_is_for_its_owner_alone_and_shown_nowhere(two: Instances) -> None:
    token = two.tokens[0].issue(ACCESS)
    path = Path(two.settings.signing_keys.get_secret_value().removeprefix("file:"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ring = load(path.read_text())
    assert "PRIVATE" not in f"{ring} {ring.keys} {two.settings!r}"
    assert kid(token) == ring.keys[0].kid


def test_a_store_that_is_away_for_a_while_stops_nothing(two: Instances) -> None:
    token = two.tokens[0].issue(ACCESS)
    path = Path(two.settings.signing_keys.get_secret_value().removeprefix("file:"))
    path.write_text("{")
    two.clock.move(seconds=61)
    assert two.tokens[0].read(token) == ACCESS
    with pytest.raises(SecretUnavailableError, match="keys rotate"):
        two.tokens[1].issue(ACCESS)


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"keys": []}), json.dumps({"keys": [{"kid": "x"}]})])
def test_what_is_no_ring_is_refused(text: str) -> None:
    with pytest.raises(SecretUnavailableError, match="smartdrive-api keys rotate"):
        load(text)


def test_a_ring_in_aws_is_read_by_one_kind_of_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "emulator")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    asked: set[str] = set()
    with mock_aws():
        boto3.setup_default_session()
        ring = dump(next_ring(None, NOW, lead=LEAD, life=LIFE))
        boto3.client("secretsmanager").create_secret(Name="ring", SecretString=ring)
        assert boto3.DEFAULT_SESSION is not None
        boto3.DEFAULT_SESSION.events.register(
            "before-call.secretsmanager", lambda model, **_: asked.add(model.name)
        )
        store = KeyStore(Settings(signing_keys=SecretStr("secretsmanager:ring")), lambda: NOW)
        assert len(store.jwks()) == 1
    boto3.DEFAULT_SESSION = None
    assert asked == {"GetSecretValue"}, "the function's role allows no other"
