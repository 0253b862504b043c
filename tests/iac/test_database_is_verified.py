"""Who the database is: RDS's authorities in the repository, and what each client does where it is another.

The embedded PostgreSQL speaks no TLS, so something in front of it does; the clients are the real ones.
"""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import psycopg
import psycopg2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from smartdrive_api.database import external
from smartdrive_api.rotation import Rotation
from smartdrive_api.secret_values import Login
from smartdrive_api.settings import Settings
from sqlalchemy.exc import OperationalError

from api.tests.conftest import fresh_data  # noqa: F401 - the fixture
from smartdrive_dagster.serving.database import ServingError, serving
from tests.iac.database import as_on_rds

ROOT = Path(__file__).parents[2]
AUTHORITIES = ROOT / "iac/database/rds-ca-rsa2048-g1.pem"
PEM = serialization.Encoding.PEM


def test_each_authority_is_rds_own_root_for_years_and_nothing_else_is_in_the_file() -> None:
    text = AUTHORITIES.read_text()
    regions = []
    for certificate in x509.load_pem_x509_certificates(text.encode()):
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = re.fullmatch(r"Amazon RDS ([a-z]+-[a-z]+-\d) Root CA RSA2048 G1", str(name.value))
        assert found, name
        regions.append(found[1])
        certificate.verify_directly_issued_by(certificate)
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=5 * 365)
        assert f"\n# {found[1]}\n{certificate.public_bytes(PEM).decode()}" in text
    assert regions == sorted(set(regions))
    assert {"eu-central-1", "us-east-1"} <= set(regions)
    rest = re.sub(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", "", text, flags=re.DOTALL)
    assert all(line.startswith("#") for line in rest.splitlines() if line)


def test_where_terraform_says_that_they_are_images_and_package_put_them() -> None:
    said = (ROOT / "iac/modules/compute/main.tf").read_text()
    places = re.search(r'container = "(\S+)", function = "/var/task/(\S+)"', said)
    assert places
    for name in ("api", "dagster"):
        final = (ROOT / f"containers/{name}.Dockerfile").read_text().rpartition("\nFROM ")[2]
        assert f"COPY {AUTHORITIES.relative_to(ROOT)} {places[1]}\n" in final
    assert f"!{AUTHORITIES.relative_to(ROOT)}" in (ROOT / ".dockerignore").read_text().splitlines()
    assert f'{{"{places[2]}": RDS_AUTHORITIES}}' in (ROOT / "api/package_lambda.py").read_text()


class Authority:
    """A certificate authority of one's own."""

    def __init__(self, folder: Path) -> None:
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _name("an authority")
        self._folder = folder
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._certificate(self._name, self._key.public_key(), None).public_bytes(PEM))

    def server(self, host: str) -> ssl.SSLContext:
        """TLS 1.3 alone, with a certificate for a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(_name(host), key.public_key(), host)
        both = self._folder / "server.pem"
        private = serialization.PrivateFormat.PKCS8
        both.write_bytes(
            certificate.public_bytes(PEM) + key.private_bytes(PEM, private, serialization.NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(both)
        return context

    def _certificate(
        self, name: x509.Name, public: ec.EllipticCurvePublicKey, host: str | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(self._name, name, public, x509.random_serial_number())
        made = made.not_valid_before(now).not_valid_after(now + timedelta(days=1))
        made = made.add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        if host is not None:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return made.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """The port of a server that speaks TLS as PostgreSQL does, and hands on to the one on `port`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):  # closed: the end
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_serve, args=(client, port, context), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with client, suppress(OSError):
        if client.recv(8)[4:] != b"\x04\xd2\x16\x2f":  # SSLRequest
            return
        client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as outer,
            socket.create_connection(("127.0.0.1", port)) as inner,
        ):
            while True:
                ready = [outer] if outer.pending() else select.select([outer, inner], [], [])[0]
                for one in ready:
                    said = one.recv(65536)
                    if not said:
                        return
                    (inner if one is outer else outer).sendall(said)


@pytest.fixture(scope="module")
def port(fresh_data: Path) -> Iterator[int]:  # noqa: F811 - the fixture
    with as_on_rds(fresh_data) as number:
        yield number


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("right"))


@pytest.fixture(scope="module")
def secured(port: int, right: Authority) -> Iterator[int]:
    with tls_before(port, right.server("localhost")) as number:
        yield number


def api(host: str, port: int, authority: Path) -> None:
    url = f"postgresql://{host}:{port}/smartdrive?sslmode=verify-full&sslrootcert={authority}"
    login = json.dumps({"username": "api_a", "password": "of api"})
    engine = external(Settings(database_url=SecretStr(url), database_login=SecretStr(login)))
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def rotation(host: str, port: int, authority: Path) -> None:
    url = f"postgresql://{host}:{port}/smartdrive?sslmode=verify-full&sslrootcert={authority}"
    login = Login.model_validate({"username": "api_a", "password": "of api"})
    Rotation(None, "", "", url)._connect(login).close()  # type: ignore[arg-type]


def publisher(host: str, port: int, authority: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", "publisher_a")
        patch.setenv("PGPASSWORD", "of publisher")
        url = f"postgresql://{host}:{port}/smartdrive?sslmode=verify-full&sslrootcert={authority}"
        with serving(url):
            pass


def dagster(host: str, port: int, authority: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSSLMODE", "verify-full")
        patch.setenv("PGSSLROOTCERT", str(authority))
        psycopg2.connect(f"postgresql://dagster_a:of dagster@{host}:{port}/dagster").close()


REFUSED = (OperationalError, psycopg.OperationalError, psycopg2.OperationalError, ServingError)
CLIENTS = [api, rotation, publisher, dagster]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_speaks_to_the_database_and_to_no_other(
    client: Callable[[str, int, Path], None], port: int, secured: int, right: Authority, tmp_path: Path
) -> None:
    client("localhost", secured, right.file)
    wrong = Authority(tmp_path)  # of the same name
    with pytest.raises(REFUSED, match="signature failure"):
        client("localhost", secured, wrong.file)
    with pytest.raises(REFUSED, match=r"does not match host name|certificate verify failed"):
        client(str(ip_address("127.0.0.1")), secured, right.file)
    with pytest.raises(REFUSED, match="server does not support SSL"):
        client("localhost", port, right.file)
    with pytest.raises(REFUSED, match=r"certificate verify failed"):
        client("localhost", secured, AUTHORITIES)
