"""A private certificate authority for a home: one for the broker, one for each lander, one for each device.

A device's common name is its device_id, and that is what the broker lets it write under. Keys are NIST P-256.
Keys are readable by their owner alone. The authority's key signs for whoever has it: keep it off devices.

Needs `cryptography`, of the extra `home`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smartdrive_edge.broker_config import RESERVED_PREFIX
from smartdrive_edge.messages import check_device_id

AUTHORITY_DAYS: Final = 3650
DEVICE_DAYS: Final = 825  # what most TLS stacks accept at most of a private authority
_EARLY: Final = timedelta(minutes=5)  # a clock that runs a little slow shall not refuse a fresh certificate
_KEY_MODE: Final = 0o600
_HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_FOLDER_MODE: Final = 0o700
_TAKEN: Final = frozenset({"ca", "broker"})  # files of these names are the authority's and the broker's


class CertificateError(ValueError):
    """A certificate cannot be issued; the text says why."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Where a certificate and its key lie, and when it ends (UTC)."""

    certificate: Path
    key: Path
    expires_at: datetime


class Authority:
    """Signs certificates; its own and all it issues lie in one folder.

    Args:
        folder: with `ca.crt` and `ca.key`, made by `create`.
        now: UTC.
    """

    def __init__(self, folder: Path, *, now: datetime | None = None) -> None:
        self.certificate_path = folder / "ca.crt"
        self._folder = folder
        self._now = now or datetime.now(UTC)
        self._certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateError(
                f"{folder / 'ca.key'} is no elliptic-curve key: it was not made by this program"
            )
        self._key = key

    @classmethod
    def create(cls, folder: Path, *, days: int = AUTHORITY_DAYS, now: datetime | None = None) -> Authority:
        """Make a new authority.

        Args:
            folder: made where it is missing, for its owner alone.
            days: of validity.
            now: UTC.

        Raises:
            CertificateError: the folder already has one; replacing it would lock out every device it signed. Or
                others may read the folder, and it holds something.
        """
        if (folder / "ca.key").exists() or (folder / "ca.crt").exists():
            raise CertificateError(f"{folder} already has an authority: choose another folder, or keep using it")
        _make_private(folder)
        at = now or datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("SmartDrive home authority")
        builder = _builder(name, name, key.public_key(), key.public_key(), at, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        _write(folder / "ca.key", _pem(key), _KEY_MODE)
        _write(folder / "ca.crt", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return cls(folder, now=at)

    def issue_device(self, device_id: str, *, days: int = DEVICE_DAYS) -> Issued:
        """Issue a client certificate whose common name is the device_id.

        Raises:
            MessageError: the name may not stand in a topic.
            CertificateError: the name is kept for landers, the broker or the authority.
        """
        return self._issue(check_device_name(device_id), ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def issue_lander(self, name: str = RESERVED_PREFIX, *, days: int = DEVICE_DAYS) -> Issued:
        """Issue a lander's client certificate; each lander that runs beside others needs its own.

        Raises:
            CertificateError: the name does not begin with `lander`.
            MessageError: the name may not stand in a topic.
        """
        if not name.startswith(RESERVED_PREFIX):
            raise CertificateError(f"a lander's name begins with {RESERVED_PREFIX!r}")
        return self._issue(check_device_id(name), ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def issue_server(self, names: Sequence[str], *, days: int = DEVICE_DAYS) -> Issued:
        """Issue the broker's certificate.

        Args:
            names: host names and addresses that devices reach it by; the first names the files.
            days: of validity.

        Raises:
            CertificateError: there is no name, or one is no host name and no address.
        """
        if not names:
            raise CertificateError("the broker needs a host name or an address that devices reach it by")
        return self._issue(names[0], ExtendedKeyUsageOID.SERVER_AUTH, days, file_name="broker", reached_by=names)

    def _issue(
        self,
        common_name: str,
        purpose: x509.ObjectIdentifier,
        days: int,
        *,
        file_name: str | None = None,
        reached_by: Sequence[str] = (),
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject, issuer = _name(common_name), self._certificate.subject
        builder = _builder(subject, issuer, key.public_key(), self._key.public_key(), self._now, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if reached_by:
            names = x509.SubjectAlternativeName([_general_name(name) for name in reached_by])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        stem = self._folder / (file_name or common_name)
        issued = Issued(Path(f"{stem}.crt"), Path(f"{stem}.key"), certificate.not_valid_after_utc)
        _write(issued.key, _pem(key), _KEY_MODE)
        _write(issued.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return issued

    def revoke(self, name: str) -> Path:
        """Put a certificate of this folder on the authority's list of revoked ones.

        Brokers read the list when they start.

        Args:
            name: of the files, such as a device_id.

        Returns:
            The list, `ca.crl`, as PEM. It is valid as long as the authority.

        Raises:
            OSError: there is no such certificate.
            CertificateError: it is another authority's, or the authority's own.
        """
        certificate = x509.load_pem_x509_certificate((self._folder / f"{name}.crt").read_bytes())
        if certificate == self._certificate:
            raise CertificateError("an authority cannot be revoked: make another one in another folder")
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise CertificateError(f"{name}.crt is not of this authority") from error
        path = self._folder / "ca.crl"
        known = list(x509.load_pem_x509_crl(path.read_bytes())) if path.exists() else []
        if all(one.serial_number != certificate.serial_number for one in known):
            revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            known.append(revoked.revocation_date(self._now).build())
        builder = x509.CertificateRevocationListBuilder(
            self._certificate.subject, self._now - _EARLY, self._certificate.not_valid_after_utc, [], known
        )
        builder = builder.add_extension(x509.CRLNumber(len(known)), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        _write(path, builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path


def check_device_name(device_id: str) -> str:
    """Give back a device_id that may be a certificate's common name.

    Raises:
        MessageError: it may not stand in a topic.
        CertificateError: it is kept for landers, the broker or the authority.
    """
    if device_id.casefold() in _TAKEN:
        raise CertificateError(f"a device_id must not be {device_id!r}: its files would replace another's")
    if device_id.startswith(RESERVED_PREFIX):
        raise CertificateError(f"a device_id must not begin with {RESERVED_PREFIX!r}: it would read every vehicle")
    return check_device_id(device_id)


def expires_at(certificate: Path) -> datetime:
    """When a certificate ends, UTC."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    at: datetime,
    days: int,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(at - _EARLY).not_valid_after(at + timedelta(days=days))
    # Python 3.13 verifies strictly (RFC 5280) and asks for both identifiers.
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
    return builder.add_extension(authority, critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not _HOST_NAME.fullmatch(name):
            raise CertificateError(f"{name!r} is neither a host name nor an address") from None
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_private(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        raise CertificateError(
            f"others may read {folder}, and it is not empty: `chmod 700 {folder}`, or choose another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(_FOLDER_MODE)


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.unlink(missing_ok=True)  # one that others may read would keep its mode
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
