"""The authority that vouches for certificates: one RSA key, in a secret or in AWS KMS, and what follows from it.

Its own X.509 certificate is a function of the key and of when that was made: nothing else has to be kept, and each
instance gives out the same bytes. It signs no document. For each one it certifies a key that signs once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from smartdrive_api.secret_values import SecretUnavailableError, exists, read_secret, write_secret

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_KMS: Final = "kms:"
_BITS: Final = 3072
_LIFE: Final = timedelta(days=3650)
_CLOCKS: Final = timedelta(minutes=5)  # a verifier's clock may be behind
_USAGE: Final = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


@dataclass(frozen=True, slots=False, repr=False)
class Authority:
    """A key that certifies others.

    Attributes:
        key: RSA; it signs with PKCS #1 v1.5, which gives the same signature each time.
        made_at: when the key was made: ten years later it ends.
    """

    key: rsa.RSAPrivateKey
    made_at: datetime

    @cached_property
    def certificate(self) -> x509.Certificate:
        """What a verifier trusts."""
        public = self.key.public_key()
        digest = hashlib.sha256(_der(public)).digest()
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(int.from_bytes(digest[:16]) >> 1)
            .not_valid_before(self.made_at)
            .not_valid_after(self.made_at + _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**_USAGE | {"key_cert_sign": True, "crl_sign": True}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """Its certificate, as verifiers keep it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate, as OpenSSL writes it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def certify(self, public: CertificatePublicKeyTypes, number: int, now: datetime, until: datetime) -> Any:
        """The X.509 certificate of a key that signs one document.

        Args:
            public: the key.
            number: of the document.
            now: the time.
            until: when the document ends to be valid.

        Raises:
            SecretUnavailableError: the authority itself ends earlier, or is not valid yet.
        """
        if now < self.made_at:
            raise SecretUnavailableError(
                "the authority of certificates was made later than now: is this clock right?"
            )
        if until > self.made_at + _LIFE:
            raise SecretUnavailableError(
                "the authority of certificates ends within a year: `smartdrive-api certificates authority --new`"
            )
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named("SmartDrive certificate"))
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(number)
            .not_valid_before(max(self.made_at, now - _CLOCKS))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(**_USAGE | {"digital_signature": True, "content_commitment": True}), critical=True
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        return builder.sign(self.key, hashes.SHA256())

    @property
    def _name(self) -> x509.Name:
        return _named(f"SmartDrive authority {hashlib.sha256(_der(self.key.public_key())).hexdigest()[:8]}")


class AuthorityStore:
    """The authority as its secret or AWS KMS has it, read once.

    Args:
        reference: a secret, or ``kms:KEY`` with the id, the ARN or the alias of a key in AWS KMS.
        now: the clock.
    """

    def __init__(self, reference: SecretStr, now: Callable[[], datetime]) -> None:
        self._reference, self._now = reference, now
        self._known: Authority | None = None

    def authority(self) -> Authority:
        """The authority; made where its secret is a file that is not there yet.

        Raises:
            SecretUnavailableError: there is none, or it cannot be had.
        """
        if self._known is None:
            self._known = self._read()
        return self._known

    def renew(self) -> Authority:
        """Make a new key in place of the one that is there.

        Raises:
            SecretUnavailableError: the place cannot be written, as AWS KMS.
        """
        if self._reference.get_secret_value().startswith(_KMS):
            raise SecretUnavailableError("a key in AWS KMS is made there: name the new one in the setting")
        write_secret(self._reference, _dump(_made(self._now())))
        self._known = None
        return self.authority()

    def _read(self) -> Authority:
        text = self._reference.get_secret_value()
        if text.startswith(_KMS):
            return _of_kms(text.removeprefix(_KMS))
        if text.startswith("file:") and not exists(self._reference):
            write_secret(self._reference, _dump(_made(self._now())), only_if_new=True)
        return _load(read_secret(self._reference))


class KmsKey(rsa.RSAPrivateKey):
    """An RSA key that stays in AWS KMS and signs there. It does nothing else.

    Args:
        client: of KMS.
        key_id: id, ARN or alias.
    """

    def __init__(self, client: KMSClient, key_id: str) -> None:
        self._client, self._key_id = client, key_id
        public = serialization.load_der_public_key(client.get_public_key(KeyId=key_id)["PublicKey"])
        if not isinstance(public, rsa.RSAPublicKey):
            raise SecretUnavailableError(f"the key {key_id} in AWS KMS is no RSA key: make one for SIGN_VERIFY")
        self._public = public

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """Sign at most 4,096 bytes, which KMS hashes: PKCS #1 v1.5 with SHA-256."""
        answer = self._client.sign(
            KeyId=self._key_id,
            Message=data,
            MessageType="RAW",
            SigningAlgorithm="RSASSA_PKCS1_V1_5_SHA_256",
        )
        return answer["Signature"]

    def public_key(self) -> rsa.RSAPublicKey:
        """Its public half."""
        return self._public

    @property
    def key_size(self) -> int:
        """Bits of the modulus."""
        return self._public.key_size

    def decrypt(self, ciphertext: bytes, padding: Any) -> bytes:
        """Never."""
        raise NotImplementedError

    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        """Never."""
        raise NotImplementedError

    def private_bytes(self, *_: Any) -> bytes:
        """Never."""
        raise NotImplementedError

    def __copy__(self) -> KmsKey:
        return self

    def __deepcopy__(self, memo: object) -> KmsKey:
        return self


def _of_kms(key_id: str) -> Authority:
    import boto3  # only where the key lies in AWS
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = boto3.client("kms")
        key = KmsKey(client, key_id)
        made_at = client.describe_key(KeyId=key_id)["KeyMetadata"]["CreationDate"]
    except (BotoCoreError, ClientError) as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
        raise SecretUnavailableError(f"AWS KMS gives no key {key_id}: {code}") from None
    return Authority(key, made_at.astimezone(UTC).replace(microsecond=0))


def _made(now: datetime) -> Authority:
    return Authority(rsa.generate_private_key(public_exponent=65_537, key_size=_BITS), now.replace(microsecond=0))


def _dump(authority: Authority) -> str:
    pem = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps({"made_at": authority.made_at.isoformat(), "private_pem": pem.decode()})


def _load(text: str) -> Authority:
    try:
        known = json.loads(text)
        key = serialization.load_pem_private_key(known["private_pem"].encode(), password=None)
        made_at = datetime.fromisoformat(known["made_at"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError, AttributeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SecretUnavailableError(
            "the authority of certificates is not what `smartdrive-api certificates authority --new` writes"
        )
    return Authority(key, made_at)


def _named(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SmartDrive"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def _der(public: rsa.RSAPublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
