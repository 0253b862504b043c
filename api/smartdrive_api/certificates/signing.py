"""From pages to a signed file: the rows go in as an attachment, and one signature closes it to any change."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from typing import Final
from uuid import UUID

from smartdrive_api.certificates.authority import Authority

FIELD: Final = "SmartDrive"
_RESERVED: Final = 16_384  # bytes for the signature with its two X.509 certificates, with room


def signed(
    pages: bytes,
    attached: bytes,
    authority: Authority,
    *,
    name: str,
    number: UUID,
    now: datetime,
    until: datetime,
) -> bytes:
    """A PDF with an attachment, signed by a key that is made for it and forgotten.

    Args:
        pages: a PDF.
        attached: JSON that it is to carry.
        authority: who certifies the key.
        name: of the attachment.
        number: of the document.
        now: the time.
        until: when the document ends to be valid.

    Raises:
        SecretUnavailableError: the authority ends earlier, or does not answer.
    """
    from asn1crypto import keys, x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from pyhanko.pdf_utils import embed, generic
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    private = ec.generate_private_key(ec.SECP256R1())
    certified = authority.certify(private.public_key(), number.int >> 1, now, until)
    trusted = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    trusted.register(x509.Certificate.load(authority.certificate.public_bytes(serialization.Encoding.DER)))
    signer = signers.SimpleSigner(
        signing_cert=x509.Certificate.load(certified.public_bytes(serialization.Encoding.DER)),
        signing_key=keys.PrivateKeyInfo.load(
            private.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        ),
        cert_registry=trusted,
    )
    writer = IncrementalPdfFileWriter(BytesIO(pages))
    carried = embed.EmbeddedFileObject.from_file_data(
        writer, attached, params=embed.EmbeddedFileParams(), mime_type="application/json"
    )
    spec = embed.FileSpec(
        name,
        file_name=name,
        embedded_data=carried,
        description="The rows and figures of this certificate",
        af_relationship=generic.pdf_name("/Source"),
    )
    embed.embed_file(writer, spec)
    meta = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        name="SmartDrive",
        reason="Figures as published by the lake",
        subfilter=fields.SigSeedSubFilter.PADES,
        certify=True,
        docmdp_permissions=fields.MDPPerm.NO_CHANGES,
    )
    closed = signers.PdfSigner(meta, signer).sign_pdf(writer, bytes_reserved=_RESERVED)
    return bytes(closed.getbuffer())
