"""The cluster's certificate authority: one key that says who is a machine and who is a server.

Whoever asks for a certificate sends a request of which nothing counts but the key. Every name in a certificate is chosen
here, from what the server knows; a request that asks for a name, or to be an authority, is refused rather than ignored,
since whoever sent it means something else than it will get.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from argosy.errors import Invalid
from argosy.model.ids import MachineId
from argosy.pki import certificates

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=90)
"""Of all other certificates, if nobody says otherwise; they are renewed by themselves long before
(`certificates.renew_at`)."""
EARLIER = timedelta(days=1)
"""How much before now a certificate begins to hold, at most as long as it lasts: clocks may differ."""
MAX_REQUEST_BYTES = 16 * 1024
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: bytes
    """PEM."""
    key: bytes = field(repr=False)
    """PEM; the one secret on which everybody's identity rests."""
    life: timedelta = LIFE
    """Of the certificates that it signs."""

    def __post_init__(self) -> None:
        """Raises Invalid when certificate and key do not belong together."""
        own = certificates.load_key(self.key).public_key()
        if certificates.load(self.certificate).public_key() != own:
            raise Invalid("the authority's key is not that of its certificate")

    @classmethod
    def make(cls, cluster: str, *, now: datetime) -> Authority:
        """A new one for the cluster with that id."""
        key_pem = certificates.make_key()
        key = certificates.load_key(key_pem)
        name = _name(f"argosy cluster {cluster}")
        public = key.public_key()
        certificate = (
            _builder(name, name, public, now, AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM), key_pem)

    @property
    def digest(self) -> str:
        """SHA-256 of the certificate (DER), hex: what tokens carry the beginning of."""
        return certificates.digest(self.certificate)

    def sign_machine(
        self, request: bytes, machine: MachineId, *, cluster: str, now: datetime
    ) -> bytes:
        """A certificate (PEM) for a machine's agent. Raises Invalid for a request that asks for anything but its key."""
        names = [x509.UniformResourceIdentifier(f"argosy://{cluster}/machine/{machine}")]
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._sign(_key_of(request), f"machine {machine}", names, uses, now)

    def sign_server(
        self, request: bytes, *, name: str, addresses: Iterable[str], now: datetime
    ) -> bytes:
        """A certificate (PEM) for a server that is reached at these host names and IP addresses, and at localhost.

        Raises Invalid for an address that is none, and as `sign_machine`.
        """
        wanted = dict.fromkeys([*addresses, "localhost", "127.0.0.1", "::1"])
        names = [_general_name(address) for address in wanted]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._sign(_key_of(request), f"server {name}"[:64], names, uses, now)

    def _sign(
        self,
        public: ec.EllipticCurvePublicKey,
        name: str,
        names: Iterable[x509.GeneralName],
        uses: Iterable[x509.ObjectIdentifier],
        now: datetime,
    ) -> bytes:
        key = certificates.load_key(self.key)
        issuer = certificates.load(self.certificate)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        certificate = (
            _builder(_name(name), issuer.subject, public, now, self.life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _key_of(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The one thing that is taken from a request. Raises Invalid."""
    if len(request_pem) > MAX_REQUEST_BYTES:
        raise Invalid("the signing request is too large")
    try:
        request = x509.load_pem_x509_csr(request_pem)
        is_signed = request.is_signature_valid
        asks_for = [*request.subject, *request.extensions, *request.attributes]
        public = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as problem:
        raise Invalid("this is no signing request in PEM") from problem
    if not is_signed:
        raise Invalid("the signing request is not signed with its own key")
    if asks_for:
        raise Invalid("the signing request asks for names or extensions; the cluster gives these")
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(
        public.curve, ec.SECP256R1
    ):
        raise Invalid("the signing request's key is not ECDSA on P-256")
    return public


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        pass
    if not _HOST_NAME.fullmatch(address.lower()) or len(address) > 253:
        raise Invalid(
            f"{address!r} is no host name and no IP address",
            hint="name what agents connect to, without port: 10.0.0.5 or server1.example.com",
        )
    return x509.DNSName(address.lower())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - min(EARLIER, life))
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
