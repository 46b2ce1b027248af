"""What the authority signs and what it refuses, and TLS between those who have its certificates."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from argosy.errors import Invalid
from argosy.model.ids import MachineId
from argosy.pki import certificates, files
from argosy.pki.authority import Authority
from argosy.pki.certificates import PeerCertificate, TlsFiles

CLUSTER = "c" * 32
ME = MachineId("1" * 32)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def authority() -> Authority:
    return Authority.make(CLUSTER, now=now())


def server_files(directory: Path, authority: Authority, *, address: str = "10.0.0.5") -> TlsFiles:
    directory.mkdir(exist_ok=True)
    found = TlsFiles(
        certificate=directory / "server.pem", key=directory / "server.key", ca=directory / "ca.pem"
    )
    key = certificates.make_key()
    request = certificates.make_request(key)
    signed = authority.sign_server(request, name="s1", addresses=[address], now=now())
    files.write_private(found.key, key)
    files.write_public(found.certificate, signed)
    files.write_public(found.ca, authority.certificate)
    return found


def machine_context(
    directory: Path, authority: Authority, *, at: datetime | None = None, ca: bytes | None = None
) -> ssl.SSLContext:
    directory.mkdir(exist_ok=True)
    key = certificates.make_key()
    signed = authority.sign_machine(
        certificates.make_request(key), ME, cluster=CLUSTER, now=at or now()
    )
    files.write_private(directory / "machine.key", key)
    files.write_public(directory / "machine.pem", signed)
    return certificates.client_context(
        ca=ca or authority.certificate,
        certificate=directory / "machine.pem",
        key=directory / "machine.key",
    )


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str
) -> tuple[dict[str, Any] | None, str | None]:
    """A whole handshake in memory; returns the client's certificate as the server sees it, and the version of TLS."""
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    there = server.wrap_bio(pipes[0], pipes[1], server_side=True)
    here = client.wrap_bio(pipes[2], pipes[3], server_hostname=name)
    open_sides = [here, there]
    for _ in range(10):
        for side in list(open_sides):
            try:
                side.do_handshake()
                open_sides.remove(side)
            except ssl.SSLWantReadError:
                pass
            pipes[2].write(pipes[1].read())
            pipes[0].write(pipes[3].read())
    assert open_sides == []
    return there.getpeercert(), there.version()


def test_a_machines_certificate_says_which_machine_of_which_cluster(
    authority: Authority, tmp_path: Path
) -> None:
    server = certificates.server_context(server_files(tmp_path / "s", authority))
    client = machine_context(tmp_path / "m", authority)
    found, version = shake_hands(server, client, "10.0.0.5")
    peer = certificates.peer_certificate(found)
    assert peer is not None
    pem = (tmp_path / "m" / "machine.pem").read_bytes()
    assert peer == PeerCertificate(
        cluster=CLUSTER,
        machine=ME,
        serial=certificates.serial(pem),
        expires_at=certificates.expires_at(pem).timestamp(),
    )
    assert version == "TLSv1.3"


def test_a_client_without_a_certificate_is_let_in_as_nobody(
    authority: Authority, tmp_path: Path
) -> None:
    server = certificates.server_context(server_files(tmp_path, authority))
    client = certificates.client_context(ca=authority.certificate)
    found, _ = shake_hands(server, client, "localhost")
    assert certificates.peer_certificate(found) is None


def test_a_servers_certificate_is_no_machine(authority: Authority, tmp_path: Path) -> None:
    found = server_files(tmp_path, authority)
    server = certificates.server_context(found)
    client = certificates.client_context(
        ca=authority.certificate, certificate=found.certificate, key=found.key
    )
    peer, _ = shake_hands(server, client, "localhost")
    assert peer
    assert certificates.peer_certificate(peer) is None


def test_a_certificate_of_another_authority_is_refused_by_the_server(
    authority: Authority, tmp_path: Path
) -> None:
    server = certificates.server_context(server_files(tmp_path / "s", authority))
    stranger = Authority.make(CLUSTER, now=now())
    client = machine_context(tmp_path / "m", stranger, ca=authority.certificate)
    with pytest.raises(ssl.SSLError, match="verify failed"):
        shake_hands(server, client, "localhost")


def test_an_expired_certificate_is_refused_by_the_server(
    authority: Authority, tmp_path: Path
) -> None:
    server = certificates.server_context(server_files(tmp_path / "s", authority))
    client = machine_context(tmp_path / "m", authority, at=now() - timedelta(days=91))
    with pytest.raises(ssl.SSLError, match="expired"):
        shake_hands(server, client, "localhost")


def test_a_client_refuses_a_server_of_another_authority_and_one_of_another_name(
    authority: Authority, tmp_path: Path
) -> None:
    server = certificates.server_context(server_files(tmp_path, authority))
    other = Authority.make(CLUSTER, now=now())
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(server, certificates.client_context(ca=other.certificate), "localhost")
    client = certificates.client_context(ca=authority.certificate)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(server, client, "10.0.0.6")


def test_a_machine_cannot_pass_for_a_server(authority: Authority, tmp_path: Path) -> None:
    machine_context(tmp_path, authority)
    files.write_public(tmp_path / "ca.pem", authority.certificate)
    posing = certificates.server_context(
        TlsFiles(
            certificate=tmp_path / "machine.pem",
            key=tmp_path / "machine.key",
            ca=tmp_path / "ca.pem",
        )
    )
    client = certificates.client_context(ca=authority.certificate)
    client.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake_hands(posing, client, "localhost")


def test_an_older_tls_is_refused(authority: Authority, tmp_path: Path) -> None:
    server = certificates.server_context(server_files(tmp_path, authority))
    client = certificates.client_context(ca=authority.certificate)
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client, "localhost")


def test_a_renewed_certificate_is_used_for_the_next_connection(
    authority: Authority, tmp_path: Path
) -> None:
    found = server_files(tmp_path, authority, address="10.0.0.5")
    server = certificates.server_context(found)
    client = certificates.client_context(ca=authority.certificate)
    server_files(tmp_path, authority, address="10.0.0.9")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "10.0.0.9")
    certificates.reload(server, found)
    shake_hands(server, client, "10.0.0.9")


def test_a_certificate_that_cannot_be_used_leaves_the_old_one_in_use(
    authority: Authority, tmp_path: Path
) -> None:
    found = server_files(tmp_path, authority)
    server = certificates.server_context(found)
    files.write_private(found.key, certificates.make_key())
    with pytest.raises(Invalid, match="key values mismatch"):
        certificates.reload(server, found)
    shake_hands(server, certificates.client_context(ca=authority.certificate), "localhost")


Builder = x509.CertificateSigningRequestBuilder


def named(builder: Builder) -> Builder:
    name = x509.NameAttribute(NameOID.COMMON_NAME, "machine " + "2" * 32)
    return builder.subject_name(x509.Name([name]))


def with_another_machines_uri(builder: Builder) -> Builder:
    uri = x509.UniformResourceIdentifier(f"argosy://{CLUSTER}/machine/{'2' * 32}")
    return builder.subject_name(x509.Name([])).add_extension(
        x509.SubjectAlternativeName([uri]), critical=False
    )


def an_authority(builder: Builder) -> Builder:
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    return builder.subject_name(x509.Name([])).add_extension(constraints, critical=True)


def with_a_password(builder: Builder) -> Builder:
    password = x509.ObjectIdentifier("1.2.840.113549.1.9.7")
    return builder.subject_name(x509.Name([])).add_attribute(password, b"x")


@pytest.mark.parametrize("asks", [named, with_another_machines_uri, an_authority, with_a_password])
def test_a_request_that_asks_for_anything_is_refused(
    authority: Authority, asks: Callable[[Builder], Builder]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = asks(Builder()).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(Invalid, match="asks for"):
        authority.sign_machine(pem, ME, cluster=CLUSTER, now=now())


def test_requests_that_are_none_and_weak_keys_are_refused(authority: Authority) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    request = Builder().subject_name(x509.Name([])).sign(weak, hashes.SHA256())
    for pem in (
        b"",
        b"\xff" * 100,
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        b"x" * 1_000_000,
        authority.certificate,
        request.public_bytes(serialization.Encoding.PEM),
    ):
        with pytest.raises(Invalid):
            authority.sign_machine(pem, ME, cluster=CLUSTER, now=now())


def test_a_request_signed_with_another_key_is_refused(authority: Authority) -> None:
    pem = certificates.make_request(certificates.make_key())
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(Invalid, match=r"not signed|no signing request"):
        authority.sign_machine(forged, ME, cluster=CLUSTER, now=now())


@pytest.mark.parametrize("address", ["", "a b", "*.example.com", "https://x", "10.0.0.5:7440"])
def test_a_server_has_host_names_and_addresses_only(authority: Authority, address: str) -> None:
    request = certificates.make_request(certificates.make_key())
    with pytest.raises(Invalid, match="no host name"):
        authority.sign_server(request, name="s1", addresses=[address], now=now())


def test_certificates_are_renewed_in_the_second_half_of_their_life_but_not_together(
    authority: Authority,
) -> None:
    at = now()
    request = certificates.make_request(certificates.make_key())
    pem = authority.sign_machine(request, ME, cluster=CLUSTER, now=at)
    times = [certificates.renew_at(pem, Random(seed)) for seed in range(200)]
    assert len(set(times)) > 150
    assert at + timedelta(days=44) < min(times)
    assert max(times) < at + timedelta(days=73)
    assert certificates.remaining(pem, at) > timedelta(days=89)


def test_the_authoritys_key_is_in_no_repr_and_must_be_its_own(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority)
    with pytest.raises(Invalid, match="not that of its certificate"):
        Authority(authority.certificate, certificates.make_key())
