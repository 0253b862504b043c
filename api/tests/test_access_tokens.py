"""A matrix of forged and stale access tokens: each is a 401 problem, and none is a 5xx."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from smartdrive_api.identity.access_tokens import Access

from api.tests.calling import Api, Person

Claims = dict[str, Any]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def raw(header: object, claims: object, signature: bytes = b"") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.{b64(signature)}"


class Forge:
    """A good token of a good person, and what an attacker makes of it."""

    def __init__(self, api: Api, person: Person) -> None:
        self.api, self.person = api, person
        self.kid, self.key = api.services.keys.signing()
        self.good = person.access
        self.header: Claims = jwt.get_unverified_header(self.good)
        self.claims: Claims = jwt.decode(self.good, options={"verify_signature": False})
        self.now = int(api.clock().timestamp())

    def signed(
        self,
        claims: object = None,
        header: Claims | None = None,
        key: Any = None,
        header_text: bytes | None = None,
    ) -> str:
        """Signed with our own key, or another: so that the signature is not what is wrong."""
        head = header_text or _text(self.header if header is None else header)
        text = f"{b64(head)}.{b64(_text(self.claims if claims is None else claims))}"
        return f"{text}.{b64(_sign(text, key or self.key))}"

    def with_claims(self, **changed: object) -> str:
        return self.signed(self.claims | changed)

    def without(self, claim: str) -> str:
        return self.signed({name: value for name, value in self.claims.items() if name != claim})

    def with_header(self, **changed: object) -> str:
        return self.signed(header=self.header | changed)

    def hmac_with_public_key(self, form: serialization.PublicFormat, encoding: serialization.Encoding) -> str:
        secret = self.key.public_key().public_bytes(encoding, form)
        text = raw(self.header | {"alg": "HS256"}, self.claims).rpartition(".")[0]
        return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    def flipped(self, part: int, position: int) -> str:
        """One bit of one part's text, in its first, middle or last character."""
        parts = self.good.split(".")
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        at = [0, len(parts[part]) // 2, len(parts[part]) - 1][position]
        other = alphabet[alphabet.index(parts[part][at]) ^ 1]
        parts[part] = parts[part][:at] + other + parts[part][at + 1 :]
        return ".".join(parts)


def _sign(text: str, key: Any) -> bytes:
    signature: bytes = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return signature


def _text(claims: object) -> bytes:
    return claims if isinstance(claims, bytes) else json.dumps(claims).encode()


OTHER = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
NEVER = "11111111-1111-4111-8111-111111111111"

FORGED: dict[str, Callable[[Forge], str]] = {
    "no token": lambda f: "",
    "rubbish": lambda f: "rubbish",
    "two parts": lambda f: self_parts(f, 2),
    "four parts": lambda f: f"{f.good}.x",
    "five parts, as of a JWE": lambda f: f"{f.good}.x.y",
    "dots": lambda f: "..",
    "spaces inside": lambda f: f.good.replace(".", ". "),
    "not base64": lambda f: "!!!." + f.good.partition(".")[2],
    "padding": lambda f: f.good + "==",
    "not ASCII": lambda f: f.good[:-1] + "é",
    "header is no JSON": lambda f: b64(b"{") + "." + f.good.partition(".")[2],
    "header is a list": lambda f: raw([], f.claims, b"x"),
    "header is null": lambda f: raw(None, f.claims, b"x"),
    "header nests deeply": lambda f: b64(b"[" * 2000) + "." + f.good.partition(".")[2],
    **{
        f"alg {alg!r}": (lambda f, alg=alg: raw(f.header | {"alg": alg}, f.claims))
        for alg in ("none", "None", "NONE", "nOnE", "none ", "", None, 0, ["RS256"], {"RS256": 1}, True)
    },
    "alg none, with our signature": lambda f: f.with_header(alg="none"),
    "alg missing": lambda f: f.signed(header={"kid": f.kid, "typ": "at+jwt"}),
    "alg rs256": lambda f: f.with_header(alg="rs256"),
    "alg PS256, with our key": lambda f: jwt.encode(
        f.claims, f.key, "PS256", headers={"kid": f.kid, "typ": "at+jwt"}
    ),
    "alg RS512, with our key": lambda f: jwt.encode(
        f.claims, f.key, "RS512", headers={"kid": f.kid, "typ": "at+jwt"}
    ),
    "alg ES256": lambda f: jwt.encode(f.claims, CURVE, "ES256", headers={"kid": f.kid, "typ": "at+jwt"}),
    "HS256 with the public key as PEM": lambda f: f.hmac_with_public_key(
        serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.PEM
    ),
    "HS256 with the public key as DER": lambda f: f.hmac_with_public_key(
        serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER
    ),
    "HS256 with the public key as PKCS 1": lambda f: f.hmac_with_public_key(
        serialization.PublicFormat.PKCS1, serialization.Encoding.PEM
    ),
    "HS256 with nothing": lambda f: jwt.encode(f.claims, "x" * 32, "HS256", headers=f.header | {"alg": "HS256"}),
    "another's key": lambda f: f.signed(key=OTHER),
    "another's key, given along as jwk": lambda f: f.signed(
        header=f.header | {"jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER.public_key()))}, key=OTHER
    ),
    "a place of keys, jku": lambda f: f.signed(header=f.header | {"jku": "http://127.0.0.1:9/jwks"}, key=OTHER),
    "a place of keys, x5u": lambda f: f.signed(header=f.header | {"x5u": "http://127.0.0.1:9/x"}, key=OTHER),
    "certificates, x5c": lambda f: f.signed(header=f.header | {"x5c": ["x"]}, key=OTHER),
    "jku beside our own signature": lambda f: f.with_header(jku="http://127.0.0.1:9/jwks"),
    "crit": lambda f: f.with_header(crit=["exp"]),
    "b64 false": lambda f: f.with_header(b64=False, crit=["b64"]),
    "compressed": lambda f: f.with_header(zip="DEF"),
    **{
        f"kid {kid!r}": (lambda f, kid=kid: f.with_header(kid=kid))
        for kid in (
            *("../../../../dev/null", "/etc/passwd", "' or '1'='1", "x'; drop table accounts; --", "", "unknown"),
            *("\x00", "a" * 3000, None, 7, ["x"], {"x": 1}, True),
        )
    },
    "kid missing": lambda f: f.signed(header={"alg": "RS256", "typ": "at+jwt"}),
    **{
        f"typ {typ!r}": (lambda f, typ=typ: f.with_header(typ=typ))
        for typ in ("JWT", "jwt", "AT+JWT", "application/at+jwt", "rt+jwt", "", None, 1, ["at+jwt"])
    },
    "typ missing": lambda f: f.signed(header={"alg": "RS256", "kid": f.kid}),
    "header field twice": lambda f: f.signed(header_text=_text(f.header)[:-1] + b', "alg": "RS256"}'),
    **{
        f"{claim} missing": (lambda f, claim=claim: f.without(claim))
        for claim in ("iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp")
    },
    "aud of another": lambda f: f.with_claims(aud="another-api"),
    "aud a list with ours": lambda f: f.with_claims(aud=["another-api", f.claims["aud"]]),
    "aud in capitals": lambda f: f.with_claims(aud=str(f.claims["aud"]).upper()),
    "aud empty": lambda f: f.with_claims(aud=""),
    "aud null": lambda f: f.with_claims(aud=None),
    "iss of another": lambda f: f.with_claims(iss="https://evil.test"),
    "iss with a slash": lambda f: f.with_claims(iss=f.claims["iss"] + "/"),
    "iss a list": lambda f: f.with_claims(iss=[f.claims["iss"]]),
    "sub of nobody": lambda f: f.with_claims(sub=NEVER),
    "sub empty": lambda f: f.with_claims(sub=""),
    "sub SQL": lambda f: f.with_claims(sub="' or 1=1 --"),
    "sub a number": lambda f: f.with_claims(sub=1),
    "sub in capitals": lambda f: f.with_claims(sub=str(f.claims["sub"]).upper()),
    "sid of nothing": lambda f: f.with_claims(sid=NEVER),
    "sid null": lambda f: f.with_claims(sid=None),
    "a claim more": lambda f: f.with_claims(admin=True),
    "claims twice, the latter good": lambda f: f.signed(
        b'{"sub": "' + NEVER.encode() + b'", ' + _text(f.claims)[1:]
    ),
    "claims twice, the former good": lambda f: f.signed(_text(f.claims)[:-1] + b', "exp": 99999999999}'),
    "claims a list": lambda f: f.signed([f.claims]),
    "claims a text": lambda f: f.signed("x"),
    "claims no JSON": lambda f: f.signed(b"{"),
    "claims no UTF-8": lambda f: f.signed(b'{"\xff": 1}'),
    "expired long ago": lambda f: f.with_claims(iat=f.now - 9000, nbf=f.now - 9000, exp=f.now - 8100),
    "expired beyond the leeway": lambda f: f.with_claims(iat=f.now - 930, nbf=f.now - 930, exp=f.now - 30),
    "not yet, beyond the leeway": lambda f: f.with_claims(nbf=f.now + 31),
    "issued in the future": lambda f: f.with_claims(iat=f.now + 31, exp=f.now + 600),
    "lives too long": lambda f: f.with_claims(exp=f.now + 901),
    "lives for ever": lambda f: f.with_claims(exp=2**63),
    "ends before it begins": lambda f: f.with_claims(exp=f.claims["iat"]),
    "exp a text": lambda f: f.with_claims(exp=str(f.now + 900)),
    "exp a fraction": lambda f: f.with_claims(exp=f.now + 899.5),
    "exp true": lambda f: f.with_claims(exp=True),
    "exp null": lambda f: f.with_claims(exp=None),
    "exp infinite": lambda f: f.signed(_text(f.claims).replace(str(f.claims["exp"]).encode(), b"Infinity")),
    "exp not a number": lambda f: f.signed(_text(f.claims).replace(str(f.claims["exp"]).encode(), b"NaN")),
    "exp 1e999": lambda f: f.signed(_text(f.claims).replace(str(f.claims["exp"]).encode(), b"1e999")),
    "exp of 5,000 digits": lambda f: f.signed(_text(f.claims).replace(str(f.claims["exp"]).encode(), b"9" * 5000)),
    "nbf a list": lambda f: f.with_claims(nbf=[0]),
    "iat an object": lambda f: f.with_claims(iat={}),
    "a refresh token": lambda f: f.person.refresh,
    "signature missing": lambda f: self_parts(f, 2) + ".",
    "signature cut": lambda f: f.good[:-20],
    "signature of zeros": lambda f: f"{self_parts(f, 2)}.{b64(bytes(256))}",
    "signature too long": lambda f: f"{self_parts(f, 2)}.{b64(unb64(f.good.split('.')[2]) + bytes(1))}",
    "claims of another session, our signature": lambda f: ".".join(
        [f.good.split(".")[0], b64(_text(f.claims | {"sid": NEVER})), f.good.split(".")[2]]
    ),
    "oversize": lambda f: f.with_claims(jti="x" * 5000),
    "oversize rubbish": lambda f: "x." * 20_000,
    **{
        f"bit flipped in part {part}, place {place}": (lambda f, part=part, place=place: f.flipped(part, place))
        for part in range(3)
        for place in range(3)
    },
}


def self_parts(forge: Forge, count: int) -> str:
    return ".".join(forge.good.split(".")[:count])


@pytest.fixture(scope="module")
def forge(api: Api) -> Forge:
    return Forge(api, api.person("mira@example.org"))


def status(forge: Forge, token: str) -> int:
    answer = forge.api.client.get("/v1/sessions", headers={"authorization": f"Bearer {token}".encode()})
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "invalid_token"
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    return answer.status_code


def test_the_good_token_is_good_and_so_is_one_that_the_forge_signs_alike(forge: Forge) -> None:
    assert status(forge, forge.good) == status(forge, forge.signed()) == 200
    assert status(forge, forge.with_claims(jti="another")) == 200, (
        "the forge can make good ones: what follows is no accident"
    )


def test_there_are_enough_of_them() -> None:
    assert len(FORGED) >= 100


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_or_stale_token_is_refused(forge: Forge, name: str) -> None:
    assert status(forge, FORGED[name](forge)) == 401


def test_the_leeway_is_thirty_seconds(forge: Forge) -> None:
    assert status(forge, forge.with_claims(iat=forge.now - 929, nbf=forge.now - 929, exp=forge.now - 29)) == 200
    assert status(forge, forge.with_claims(nbf=forge.now + 30)) == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "bearer", "Basic bWlyYTp4", "Token x", "Bearer\tx", ", ,", "\x7f"]
)
def test_another_scheme_is_refused(api: Api, header: str) -> None:
    assert api.client.get("/v1/sessions", headers={"authorization": header}).status_code == 401


def test_two_tokens_at_once_are_refused_and_the_scheme_has_no_case(forge: Forge) -> None:
    client = forge.api.client
    two = [("authorization", f"Bearer {forge.good}")] * 2
    assert client.get("/v1/sessions", headers=two).status_code == 401
    assert client.get("/v1/sessions", headers={"authorization": f"bEaReR {forge.good}"}).status_code == 200
    assert client.get(f"/v1/sessions?access_token={forge.good}").status_code == 401
    assert client.get("/v1/sessions", cookies={"access_token": forge.good}).status_code == 401


def test_an_access_token_is_no_refresh_token(forge: Forge) -> None:
    answer = forge.api.post("/v1/refresh", {"refresh_token": forge.good})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_refresh_token")


def test_a_token_says_no_more_than_it_has_to(forge: Forge) -> None:
    assert set(forge.header) == {"alg", "kid", "typ"}
    assert forge.person.email not in json.dumps(forge.claims)


def test_a_token_of_a_session_that_has_ended_is_refused_although_its_signature_is_good(api: Api) -> None:
    person = api.person("ended@example.org")
    assert api.client.post("/v1/logout", headers=person.headers).status_code == 204
    assert api.client.get("/v1/sessions", headers=person.headers).status_code == 401


def test_a_session_of_another_account_is_refused(api: Api, forge: Forge) -> None:
    other = api.person("other@example.org")
    sub = jwt.decode(other.access, options={"verify_signature": False})["sub"]
    assert status(forge, forge.with_claims(sub=sub)) == 401


def test_what_is_issued_is_read_back(api: Api, forge: Forge) -> None:
    access = api.services.access_tokens.read(forge.good)
    assert isinstance(access, Access)
    assert str(access.account_id) == forge.claims["sub"]
