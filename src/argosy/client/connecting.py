"""Connections to a server: a unix socket, loopback TCP, or TLS to a server that proves to be of the cluster.

Which authority to believe is known from a login, or from the end of the token: then the server is asked for its
authority's certificate first, and nothing else is sent before that proved to be the one that the token vouches for.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import os
import socket
import ssl

from argosy import errors
from argosy.client.problems import decode, no_answer, reason
from argosy.endpoint import SYSTEM_SOCKET, Endpoint

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
CA_DIGITS = 32
"""Hex digits at the end of a token: the beginning of the digest of the authority's certificate (`pki/tokens.py`)."""
SUN_PATH_BYTES = 107
"""Longest path that connect(2) takes for a unix socket: sun_path has 108 bytes with its NUL (unix(7))."""


class Connector:
    """Makes connections to one server."""

    def __init__(self, endpoint: Endpoint, *, token: str, ca: str) -> None:
        """ca: the certificate (PEM) of the authority to believe, where there is TLS; empty: whom the token vouches for."""
        self.endpoint = endpoint
        self.token = token
        self._ca = ca
        self._tls: ssl.SSLContext | None = None

    @property
    def ca(self) -> str:
        """Certificate (PEM) of the cluster's authority; asks the server for it if need be.

        Raises Unauthenticated when nothing vouches for the one that the server has.
        """
        if not self._ca:
            self._ca = self._introduced()
        return self._ca

    def connect(self) -> http.client.HTTPConnection:
        """A connection that answers are waited for on. Raises ServerUnreachable, Unauthenticated."""
        at = self.endpoint
        if at.is_tls:
            if self._tls is None:
                self._tls = _trusting(self.ca)
            return self._connect_tls(self._tls)
        connection = http.client.HTTPConnection(at.host, at.port or None, timeout=CONNECT_SECONDS)
        try:
            if at.path:
                connection.sock = _connect_unix(at.path)
            else:
                connection.connect()
        except OSError as problem:
            hint = "start one: argosy up"
            if isinstance(problem, PermissionError):
                hint = f"use the account that the server runs under: ls -l {at.path}"
            elif at.path == str(SYSTEM_SOCKET):
                hint = "systemctl status argosy-server"
            raise errors.ServerUnreachable(
                f"no server answers at {at}: {reason(problem)}", hint=hint
            ) from problem
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _connect_tls(self, context: ssl.SSLContext) -> http.client.HTTPSConnection:
        at = self.endpoint
        connection = http.client.HTTPSConnection(
            at.host, at.port, timeout=CONNECT_SECONDS, context=context
        )
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as problem:
            raise errors.ServerUnreachable(
                f"what answers at {at} does not prove that it is that server: {problem.verify_message}",
                hint=f"if the cluster was made anew: argosy login {at}",
            ) from problem
        except OSError as problem:
            raise errors.ServerUnreachable(
                f"no server answers at {at}: {reason(problem)}",
                hint="is it the right address and port, and does the server run?",
            ) from problem
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _introduced(self) -> str:
        """The certificate of the server's authority, fetched from whoever answers and believed for the token's sake."""
        _, _, digest = self.token.rpartition("_")
        if not self.token:
            raise errors.Unauthenticated(
                f"nothing says who you are at {self.endpoint}, nor whether that is the right server",
                hint=f"argosy login {self.endpoint}",
            )
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.minimum_version = ssl.TLSVersion.TLSv1_3
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        connection = self._connect_tls(unverified)
        with contextlib.closing(connection):
            try:
                # The token is not sent: nobody is believed yet.
                connection.request("GET", "/v1/ca", headers={"Connection": "close"})
                response = connection.getresponse()
                answer = decode(self.endpoint, response, response.read())
            except (OSError, http.client.HTTPException) as problem:
                raise no_answer(self.endpoint, "GET", problem) from problem
        found = str(answer["certificate"])
        try:
            own = hashlib.sha256(ssl.PEM_cert_to_DER_cert(found)).hexdigest()
        except ValueError:
            own = ""
        is_whole = len(digest) == CA_DIGITS and bool(own)
        if not is_whole or not hmac.compare_digest(own[:CA_DIGITS].encode(), digest.encode()):
            raise errors.Unauthenticated(
                f"the server at {self.endpoint} is not of the cluster that the token is for",
                hint="check the URL, and that the token was copied whole; nothing was sent",
            )
        return found


def _trusting(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise errors.Invalid(
            "the certificate of the cluster's authority cannot be read", hint="argosy login URL"
        ) from None
    return context


def _connect_unix(path: str) -> socket.socket:
    """Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_SECONDS)
        if len(os.fsencode(path)) <= SUN_PATH_BYTES:
            sock.connect(path)
            return sock
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)  # noqa: PTH120
        try:
            sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")  # noqa: PTH119
        finally:
            os.close(directory)
        return sock
    except BaseException:
        sock.close()
        raise
