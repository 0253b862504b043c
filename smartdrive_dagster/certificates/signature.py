"""The signature of a certificate: whose it is, and that it covers every byte of the file."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from smartdrive_dagster.certificates.contract import CertificateError

if TYPE_CHECKING:
    from pyhanko.pdf_utils.reader import PdfFileReader

MAX_BYTES: Final = 32 * 1024 * 1024


def genuine(data: bytes, authority: bytes, attachment: str, now: datetime) -> bytes:
    """What a genuine certificate carries.

    Args:
        data: the PDF.
        authority: X.509 certificate of who vouches for it, in PEM or DER.
        attachment: name of what it carries.
        now: the time.

    Raises:
        CertificateError: it is not signed, not by the authority, not any more, or was changed since; or pyHanko is
            not installed.
    """
    try:
        from pyhanko.pdf_utils.reader import PdfFileReader
        from pyhanko.sign.validation import validate_pdf_signature
        from pyhanko.sign.validation.status import SignatureCoverageLevel
        from pyhanko_certvalidator import ValidationContext
    except ModuleNotFoundError as error:
        raise CertificateError(
            f"signatures cannot be checked without {error.name}: pip install 'smartdrive[verify]'"
        ) from None
    if len(data) > MAX_BYTES:
        raise CertificateError(f"the file is larger than {MAX_BYTES >> 20} MB, which no certificate is")
    trusted = _certificate(authority)
    try:
        reader = PdfFileReader(BytesIO(data))
        signatures = list(reader.embedded_signatures)
        if len(signatures) != 1:
            found = "no signature" if not signatures else f"{len(signatures)} signatures"
            raise CertificateError(f"the file has {found}: a certificate has one")
        (one,) = signatures
        signer = one.signer_cert
        if one.compute_integrity_info() or one.coverage != SignatureCoverageLevel.ENTIRE_FILE:
            raise CertificateError("something was added to the file after it was signed")
        context = ValidationContext(trust_roots=[trusted], moment=now, allow_fetching=False)
        status = validate_pdf_signature(one, signer_validation_context=context)
        if not (status.intact and status.valid):
            raise CertificateError("the file was changed after it was signed")
    except CertificateError:
        raise
    except Exception as error:  # what others wrote into a file can fail anywhere in it
        raise CertificateError(f"the file cannot be read as a signed PDF ({type(error).__name__})") from None
    validity = signer["tbs_certificate"]["validity"]
    if signer.issuer != trusted.subject or signer.authority_key_identifier != trusted.key_identifier:
        raise CertificateError(
            f"the file was signed under another authority ({signer.issuer.native.get('common_name', 'unnamed')}) "
            f"than the one that you trust ({trusted.subject.native.get('common_name', 'unnamed')})"
        )
    if now > validity["not_after"].native:
        raise CertificateError(
            f"the certificate was valid until {validity['not_after'].native:%Y-%m-%d}: ask for a new one"
        )
    if now < validity["not_before"].native:
        raise CertificateError(
            f"the certificate is valid from {validity['not_before'].native:%Y-%m-%d %H:%M} UTC: "
            "is this clock right?"
        )
    if not status.bottom_line:
        raise CertificateError("the signature does not lead to the authority that you trust")
    return _attached(reader, attachment)


def _attached(reader: PdfFileReader, name: str) -> bytes:
    try:
        names = reader.root["/Names"]["/EmbeddedFiles"]["/Names"]
        files: dict[str, Any] = {str(names[at]): names[at + 1] for at in range(0, len(names), 2)}
        return bytes(files[name]["/EF"]["/F"].data)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise CertificateError(f"the file is signed, and carries no {name}: it is no certificate") from None


def _certificate(data: bytes) -> Any:
    from asn1crypto import pem, x509

    try:
        der = pem.unarmor(data)[2] if pem.detect(data) else data
        found = x509.Certificate.load(der, strict=True)
        found.native  # noqa: B018 - it is parsed only when it is looked at
    except (ValueError, TypeError) as error:
        raise CertificateError(f"the authority is no X.509 certificate in PEM or DER ({error})") from None
    return found
