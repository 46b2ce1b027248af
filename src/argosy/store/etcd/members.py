"""All members of one etcd: who is asked, what happens when one does not answer, being let in.

Our own failover, because gRPC's resolver takes no list of names with TLS, and because only we know what may be asked
twice. One member is asked for everything; when it fails it goes to the end of the line and the next one is asked.

What is certain about a write is decided here. It is sent over a connection that stands, and once; if that connection
then says nothing, or anything that etcd might say after it proposed the write, it is `Indeterminate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio

from argosy.errors import (
    ArgosyError,
    Indeterminate,
    Invalid,
    StoreRefused,
    StoreUnavailable,
    Unauthenticated,
)
from argosy.settings import EtcdSettings
from argosy.store.etcd import rpc_pb2 as pb
from argosy.store.etcd.endpoint import Endpoint, Metadata, Stream, read_file
from argosy.store.etcd.refusals import Outlook, judge
from argosy.store.etcd.rpc import AUTHENTICATE, A, Method, Q

HAS_LEADER = ("hasleader", "true")
"""A member that is cut off from the others refuses instead of waiting, and ends its streams."""

NO_TRUST = ("handshake failed", "Hostname Verification", "TSI_DATA_CORRUPTED")
"""What gRPC says when a certificate is not accepted. The last one: etcd refused ours, after the handshake (TLS 1.3)."""


class Members:
    """The endpoints of the settings, in the order in which they are asked."""

    def __init__(self, settings: EtcdSettings) -> None:
        """Raises Invalid. Connects nothing."""
        if not settings.endpoints:
            raise Invalid("no endpoint of etcd is given", hint="at least one https://HOST:2379")
        self.request_timeout = settings.request_timeout.total_seconds()
        self.attempt_timeout = min(self.request_timeout, settings.attempt_timeout.total_seconds())
        self.newest = 0
        """The highest revision that any member told of: the store is never older than this."""
        self._settings = settings
        self._line = [Endpoint(url, settings) for url in settings.endpoints]
        self._cluster_id = 0
        self.token: str | None = None
        """What etcd gave us at the last login."""
        self._logging_in = asyncio.Lock()

    @property
    def all(self) -> tuple[Endpoint, ...]:
        return tuple(self._line)

    async def ask(self, method: Method[Q, A], request: Q, *, may_repeat: bool) -> A:
        """The answer of the first member that has one.

        may_repeat: the request changes nothing that a second one would change again. It is then asked until the
        deadline, of one member after the other.
        Raises StoreUnavailable: no answer, and nothing was done. Indeterminate: it was sent, and nobody knows (never
        for what may be repeated). Otherwise what `refusals.judge` says.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.request_timeout
        logins = 0
        for pause in _pauses():
            endpoint = await self.connected(deadline)
            token = self.token
            timeout = max(deadline - loop.time(), 0.001)
            if may_repeat and len(self._line) > 1:
                timeout = min(timeout, self.attempt_timeout)
            try:
                answer = await endpoint.call(
                    method, request, timeout=timeout, metadata=self.metadata()
                )
            except grpc.aio.AioRpcError as error:
                match judge(error):
                    case ArgosyError() as final:
                        raise final from error
                    case Outlook.LOG_IN if logins < 2:
                        logins += 1
                        await self.log_in(endpoint, instead_of=token)
                    case Outlook.LOG_IN:
                        raise Unauthenticated(
                            "etcd wants a user and a password, or a client certificate"
                        ) from error
                    case Outlook.OPEN if not may_repeat:
                        self.distrust(endpoint)
                        raise Indeterminate(
                            f"etcd at {endpoint.name} gave no answer to a write: {error.details()}"
                        ) from error
                    case Outlook.OPEN | Outlook.NOT_DONE:
                        self.distrust(endpoint)
                if loop.time() + pause >= deadline:
                    raise StoreUnavailable(
                        f"etcd at {endpoint.name} gave no answer: {error.details()}"
                    ) from error
                await asyncio.sleep(pause)
            else:
                self._look_at(answer, endpoint)
                return answer
        raise AssertionError

    def open(
        self, endpoint: Endpoint, method: Method[Q, A], requests: AsyncIterator[Q]
    ) -> Stream[Q, A]:
        return endpoint.open(method, requests, metadata=self.metadata())

    async def connected(self, deadline: float) -> Endpoint:
        """A member with a connection, the most trusted first. Raises StoreUnavailable when there is none in time."""
        loop = asyncio.get_running_loop()
        for pause in _pauses():
            for endpoint in tuple(self._line):
                left = deadline - loop.time()
                if endpoint.is_ready():
                    return await self._let_in(endpoint)
                if left > 0 and await endpoint.connect(min(left, self.attempt_timeout)):
                    return await self._let_in(endpoint)
                self.distrust(endpoint)
            if loop.time() + pause >= deadline:
                raise await self._nobody()
            await asyncio.sleep(pause)
        raise AssertionError

    def distrust(self, endpoint: Endpoint) -> None:
        """Ask the others first from now on, and take open streams away from this one."""
        if self._line[0] is endpoint and len(self._line) > 1:
            self._line.append(self._line.pop(0))
            endpoint.cut_streams()

    def metadata(self) -> Metadata:
        return (HAS_LEADER, ("token", self.token)) if self.token else (HAS_LEADER,)

    async def log_in(self, endpoint: Endpoint, *, instead_of: str | None) -> None:
        """Get a new token, unless somebody did since `instead_of` was refused. Raises Unauthenticated."""
        settings = self._settings
        async with self._logging_in:
            if not settings.username or self.token != instead_of:
                return
            if settings.password_file is None:
                raise Invalid(f"etcd's user {settings.username} needs a password file")
            password = read_file(settings.password_file).split(b"\n")[0].rstrip(b"\r")
            request = pb.AuthenticateRequest(
                name=settings.username, password=password.decode(errors="surrogateescape")
            )
            try:
                answer = await endpoint.call(
                    AUTHENTICATE, request, timeout=self.attempt_timeout, metadata=(HAS_LEADER,)
                )
            except grpc.aio.AioRpcError as error:
                match judge(error):
                    case ArgosyError() as final:
                        raise final from error
                    case _ if "authentication is not enabled" in (error.details() or ""):
                        return  # then nobody asks for a token either
                    case _:
                        self.distrust(endpoint)  # a login changes nothing: the caller tries again
                        return
            self.token = answer.token

    async def close(self) -> None:
        for endpoint in self._line:
            await endpoint.close()

    async def _let_in(self, endpoint: Endpoint) -> Endpoint:
        if self.token is None and self._settings.username:
            await self.log_in(endpoint, instead_of=None)
        return endpoint

    def _look_at(self, answer: Any, endpoint: Endpoint) -> None:
        header: pb.ResponseHeader = answer.header
        if not self._cluster_id:
            self._cluster_id = header.cluster_id
        elif header.cluster_id != self._cluster_id:
            raise StoreRefused(
                f"{endpoint.name} belongs to another etcd cluster ({header.cluster_id:x}) than the one that was"
                f" opened ({self._cluster_id:x})",
                hint="check the endpoints; after a restore of etcd, start the servers anew",
            )
        self.newest = max(self.newest, header.revision)

    async def _nobody(self) -> ArgosyError:
        reasons = {endpoint.name: await endpoint.why() for endpoint in self._line}
        told = "; ".join(f"{name}: {why or 'no answer in time'}" for name, why in reasons.items())
        if all(any(sign in why for sign in NO_TRUST) for why in reasons.values()):
            return StoreRefused(
                f"etcd and this server do not trust each other: {told}",
                hint="check ca_file (who signs etcd's certificate), cert_file, and the names in the certificate",
            )
        return StoreUnavailable(
            f"no member of etcd answers: {told}",
            hint="is etcd running, and are its endpoints right?",
        )


def _pauses() -> Iterator[float]:
    """Between rounds of attempts: at once the first time, then a little longer each time."""
    yield 0.0
    pause = 0.02
    while True:
        yield pause
        pause = min(pause * 2, 0.5)
