"""Keys, requests and certificates as whoever holds them needs them, and the TLS that is spoken with them.

All keys are ECDSA on P-256. TLS is 1.3 and nothing older, so there are no cipher suites to choose. A client verifies the
server's name or address as browsers do, against the cluster's own authority only; a server asks for a client's
certificate and takes a connection without one too, because people come with tokens and newcomers with nothing.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.errors import Invalid
from argosy.model.ids import MachineId

HANDSHAKE_SECONDS = 10.0
"""How long a TLS handshake may take."""
EARLIEST, LATEST = 0.5, 0.8
"""Between which parts of its life a certificate is renewed."""
_MACHINE_URI = re.compile(r"argosy://([0-9a-f]{32})/machine/([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where somebody's certificate, its key, and the authority's certificate are (PEM)."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """What a verified client certificate says."""

    cluster: str
    machine: MachineId
    serial: str
    """Lower-case hex without leading zeros, as `Identity.serials` has it."""
    expires_at: float
    """Seconds since the epoch: a connection may outlive the certificate it began with."""


def make_key() -> bytes:
    """A new private key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def make_request(key_pem: bytes) -> bytes:
    """A signing request (PEM) that says nothing but which key: names are given by who signs. Raises Invalid."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(load_key(key_pem), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises Invalid, without a word of what was given."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("this is no private key in PEM without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Invalid("the private key is not ECDSA on P-256")
    return key


def load(pem: bytes) -> x509.Certificate:
    """Raises Invalid."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as problem:
        raise Invalid("this is no certificate in PEM") from problem


def digest(pem: bytes) -> str:
    """SHA-256 of the certificate (DER) in hex. Raises Invalid."""
    return load(pem).fingerprint(hashes.SHA256()).hex()


def serial(pem: bytes) -> str:
    """As `PeerCertificate.serial`. Raises Invalid."""
    return f"{load(pem).serial_number:x}"


def expires_at(pem: bytes) -> datetime:
    return load(pem).not_valid_after_utc


def remaining(pem: bytes, now: datetime) -> timedelta:
    """What is left of its life; negative when it is over. Raises Invalid."""
    return load(pem).not_valid_after_utc - now


def renew_at(pem: bytes, chance: Random) -> datetime:
    """When to ask for the next: by chance within EARLIEST..LATEST of its life, so that machines that joined together do
    not all ask together, and a month of trouble is no harm. Raises Invalid.
    """
    certificate = load(pem)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * chance.uniform(EARLIEST, LATEST)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For a server that asks for client certificates of its authority and does without.

    Raises Invalid when the files are not there or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL
    # A resumed session would skip the look at the client's certificate; heartbeats keep their connection anyway.
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    reload(context, files)
    _load_ca(context, files.ca)
    return context


def client_context(
    *, ca: bytes, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """For a client that believes this authority (PEM) alone, and shows its certificate if it has one. Raises Invalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cadata=ca.decode("ascii"))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as problem:
        raise Invalid(f"the certificates cannot be used: {_words(problem)}") from problem
    return context


def introduction_context() -> ssl.SSLContext:
    """For the one request that fetches the authority's certificate before anything is known: it verifies nothing, so
    send nothing over it, and believe its answer only if a token vouches for it (`TokenText.vouches_for`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def reload(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Use the certificate that is in the files now, for every connection from here on. Raises Invalid and changes nothing
    when it cannot be used.
    """
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        trial.load_cert_chain(files.certificate, files.key)
        context.load_cert_chain(files.certificate, files.key)
    except OSError as problem:
        raise Invalid(f"{files.certificate} cannot be used: {_words(problem)}") from problem


def _load_ca(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except OSError as problem:
        raise Invalid(f"{ca} cannot be used: {_words(problem)}") from problem


def _words(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        return str(problem.reason or problem).replace("_", " ").lower()
    return str(getattr(problem, "strerror", None) or problem)


def machine_of(pem: bytes) -> PeerCertificate | None:
    """What a certificate (PEM) says of its machine; None when it is no machine's. Raises Invalid."""
    certificate = load(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = _MACHINE_URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if found is None:
        return None
    return PeerCertificate(
        cluster=found[1],
        machine=MachineId(found[2]),
        serial=f"{certificate.serial_number:x}",
        expires_at=certificate.not_valid_after_utc.timestamp(),
    )


def peer_certificate(found: Mapping[str, Any] | None) -> PeerCertificate | None:
    """Of what `ssl.SSLObject.getpeercert` says of a verified certificate; None when it is no machine's."""
    if not found:
        return None
    uris = [value for kind, value in found.get("subjectAltName", ()) if kind == "URI"]
    names = _MACHINE_URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if names is None:
        return None
    return PeerCertificate(
        cluster=names[1],
        machine=MachineId(names[2]),
        serial=f"{int(found['serialNumber'], 16):x}",
        expires_at=ssl.cert_time_to_seconds(found["notAfter"]),
    )
