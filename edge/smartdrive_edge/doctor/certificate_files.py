"""The PEM files, read without a library for certificates: the Pi has none, but every Python has OpenSSL.

A handshake with itself in memory makes OpenSSL take a certificate apart: the side that asks for the other's
certificate trusts exactly that one, whenever it ended, and is then told what stands in it.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from smartdrive_edge.config import BrokerSection, Config
from smartdrive_edge.doctor.findings import Finding, fail, ok, warn

SOON: Final = timedelta(days=30)
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python's ssl gives no name
_TURNS: Final = 10
_RENEW: Final = "issue a new one where the authority's key is: smartdrive-edge certs device"


class CertificateUnreadableError(ValueError):
    """The files are no certificate and key that belong together; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What stands in a certificate.

    Attributes:
        common_name: of its subject; "" where it has none.
        begins_at: UTC.
        ends_at: UTC.
    """

    common_name: str
    begins_at: datetime
    ends_at: datetime


def read_certificate(certificate: Path, key: Path) -> Certificate:
    """Read a client's certificate, expired or not, and see that the key belongs to it.

    Raises:
        CertificateUnreadableError: they cannot be used by a client.
    """
    try:
        asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        asking.load_cert_chain(certificate, key, password=_no_password)
        asking.load_verify_locations(certificate)
        asking.verify_mode = ssl.CERT_REQUIRED
        asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        asking.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        showing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        showing.check_hostname, showing.verify_mode = False, ssl.CERT_NONE
        showing.load_cert_chain(certificate, key, password=_no_password)
        return _certificate(_shown(asking, showing))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise CertificateUnreadableError(f"{certificate} with {key}: {_reason(error)}") from error


def read_authorities(path: Path) -> list[Certificate]:
    """The authorities in a file.

    Raises:
        CertificateUnreadableError: there is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise CertificateUnreadableError(f"{path}: {_reason(error)}") from error
    found = [_certificate(dict(one)) for one in context.get_ca_certs()]
    if not found:
        raise CertificateUnreadableError(f"{path}: it is a certificate, but no authority's")
    return found


def check_certificates(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at the three files; nothing where the broker is reached insecurely.

    Args:
        config: of the collector.
        now: UTC, as good as the clock.
    """
    files = config.broker
    if files.authority is None or files.certificate is None or files.key is None:
        return
    missing = [path for path in (files.authority, files.certificate, files.key) if not os.access(path, os.R_OK)]
    for path in missing:
        why = "cannot be read by this user" if _exists(path) else "is not there"
        yield fail(
            "certificate", f"{path} {why}", "edge/docs/run-on-a-pi.md says where the files go and whose they are"
        )
    if missing:
        return
    yield from _key_mode(files.key)
    try:
        own = read_certificate(files.certificate, files.key)
    except CertificateUnreadableError as error:
        yield fail("certificate", str(error), "copy certificate and key again, as they were issued together")
    else:
        yield _term("certificate", files.certificate, own, now, _RENEW)
        yield from _name(config.device_id, own, files)
    try:
        authorities = read_authorities(files.authority)
    except CertificateUnreadableError as error:
        yield fail("authority", str(error), "copy the certificate of the authority that signed the broker's")
    else:
        last = max(authorities, key=lambda one: one.ends_at)
        yield _term("authority", files.authority, last, now, "make a new authority, and issue all anew")


def judge_term(check: str, what: str, ends_at: datetime, now: datetime, next_step: str) -> Finding:
    """A finding on when a certificate ends."""
    end = f"{what} ends on {ends_at:%Y-%m-%d}"
    if now >= ends_at:
        return fail(check, f"{what} ended on {ends_at:%Y-%m-%d}", next_step)
    return warn(check, end, next_step) if ends_at - now < SOON else ok(check, end)


def instant(text: str) -> datetime:
    """An instant as `getpeercert` writes it, UTC."""
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _term(check: str, path: Path, found: Certificate, now: datetime, next_step: str) -> Finding:
    if now < found.begins_at:
        text = f"{path} begins only on {found.begins_at:%Y-%m-%d %H:%M}, and the clock says {now:%Y-%m-%d %H:%M}"
        return fail(check, text, "set the clock: timedatectl")
    return judge_term(check, str(path), found.ends_at, now, next_step)


def _key_mode(key: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield fail("key", f"{key} may be read by others (mode {mode:04o})", f"chmod 600 {key}")
    else:
        yield ok("key", f"{key} is its owner's alone (mode {mode:04o})")


def _name(device_id: str, own: Certificate, files: BrokerSection) -> Iterator[Finding]:
    # AWS IoT Core names every certificate alike and binds topics by a policy instead.
    if files.has_lander and own.common_name != device_id:
        yield fail(
            "certificate",
            f"its common name is {own.common_name or 'missing'}, not {device_id}: the broker goes by it",
            "set device_id to the certificate's name, or have one issued for this device",
        )


def _shown(asking: ssl.SSLContext, showing: ssl.SSLContext) -> dict[str, Any]:
    """Let both sides shake hands; what the one that asks was shown."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = asking.wrap_bio(there, back, server_side=True)
    client = showing.wrap_bio(back, there)
    for _ in range(_TURNS):
        is_done = True
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                is_done = False
        if is_done:
            return dict(server.getpeercert() or {})
    raise ValueError("the handshake with itself does not end")


def _certificate(told: dict[str, Any]) -> Certificate:
    names = [value for part in told.get("subject", ()) for key, value in part if key == "commonName"]
    return Certificate(names[0] if names else "", instant(told["notBefore"]), instant(told["notAfter"]))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True


def _no_password() -> str:
    return ""  # else OpenSSL asks the terminal


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    known = {
        "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
        "NO_START_LINE": "no PEM file",
        "BAD_DECRYPT": "the key has a password: the collector cannot type one",
    }
    verdict = getattr(error, "verify_message", "")
    return known.get(str(reason), f"{reason} {verdict}".strip())
