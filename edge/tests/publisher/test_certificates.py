from __future__ import annotations

import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from smartdrive_edge.broker_config import BrokerConfig, access_list
from smartdrive_edge.broker_connection import Broker, TlsFiles
from smartdrive_edge.certificates import Authority, CertificateError, Issued, expires_at
from smartdrive_edge.messages import MessageError

from edge.tests.publisher.broker import Mosquitto

CONNECT = bytes.fromhex("100f00044d515454050200000000026162")


def answer(
    broker: Mosquitto, files: TlsFiles | None, *, sent: bytes = b"", newest: ssl.TLSVersion | None = None
) -> bytes:
    """The broker's first bytes; in TLS 1.3 the refusal of a certificate shows at the first read, not before."""
    context = ssl.create_default_context(cafile=str(broker.authority.certificate_path))
    if newest is not None:
        context.maximum_version = newest
    if files is not None:
        context.load_cert_chain(str(files.certificate), str(files.key))
    with (
        socket.create_connection(("127.0.0.1", broker.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(sent)
        return secure.recv(2)


def test_a_device_of_our_authority_is_let_in_over_tls_1_3(mosquitto: Mosquitto) -> None:
    files = mosquitto.tls(mosquitto.authority.issue_device("edge-1"))
    assert answer(mosquitto, files, sent=CONNECT)[:1] == b"\x20"


def test_tls_1_2_is_refused(mosquitto: Mosquitto) -> None:
    files = mosquitto.tls(mosquitto.authority.issue_device("edge-1"))
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        answer(mosquitto, files, newest=ssl.TLSVersion.TLSv1_2)


def test_a_client_without_a_certificate_is_refused(mosquitto: Mosquitto) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        answer(mosquitto, None)


def test_an_expired_certificate_is_refused(mosquitto: Mosquitto, tmp_path: Path) -> None:
    long_ago = Authority(tmp_path / "certificates", now=datetime.now(UTC) - timedelta(days=3))
    expired = long_ago.issue_device("edge-1", days=1)
    assert expires_at(expired.certificate) == expired.expires_at < datetime.now(UTC)
    with pytest.raises(ssl.SSLError, match=r"(?i)expired"):
        answer(mosquitto, mosquitto.tls(expired))


def test_a_certificate_of_another_authority_is_refused(mosquitto: Mosquitto, tmp_path: Path) -> None:
    foreign = Authority.create(tmp_path / "foreign").issue_device("edge-1")
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca|decrypt"):
        answer(mosquitto, mosquitto.tls(foreign))


def test_the_brokers_own_certificate_is_no_clients(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    server = Issued(folder / "broker.crt", folder / "broker.key", datetime.now(UTC))
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        answer(mosquitto, mosquitto.tls(server))


def test_our_side_verifies_the_brokers_name_and_offers_nothing_older_than_tls_1_3(mosquitto: Mosquitto) -> None:
    context = mosquitto.tls(mosquitto.authority.issue_device("edge-1")).context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    with (
        socket.create_connection(("127.0.0.1", mosquitto.port), 5) as plain,
        pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname"),
    ):
        context.wrap_socket(plain, server_hostname="elsewhere.example")


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    keys = [authority.issue_device("edge-1").key, authority.issue_server(["::1"]).key, tmp_path / "ca.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_an_authority_is_not_replaced(tmp_path: Path) -> None:
    Authority.create(tmp_path)
    with pytest.raises(CertificateError, match="already has"):
        Authority.create(tmp_path)


def test_a_device_cannot_be_named_as_a_lander_or_by_a_vin(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    with pytest.raises(CertificateError, match="must not begin"):
        authority.issue_device("lander-2")
    with pytest.raises(MessageError, match="VIN"):
        authority.issue_device("WVWZZZ1JZXW000001")
    with pytest.raises(CertificateError, match="begins with"):
        authority.issue_lander("edge-1")
    with pytest.raises(CertificateError, match="needs a host name"):
        authority.issue_server([])


def test_an_access_list_gives_a_landers_rights_to_no_device_and_takes_no_line_from_outside(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begins with"):
        access_list(["edge-1"])
    with pytest.raises(MessageError):
        access_list(["lander\ntopic readwrite #"])
    file = tmp_path / "x"
    with pytest.raises(ValueError, match="address"):
        BrokerConfig(tmp_path, file, file, file, address="127.0.0.1\nallow_anonymous true").write()


def test_a_broker_is_reached_in_the_clear_only_where_that_is_said() -> None:
    with pytest.raises(ValueError, match="insecurely by saying so"):
        Broker("127.0.0.1")
