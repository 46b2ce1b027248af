"""Calls and streams to servers over HTTPS, for one agent: connections that are kept, time limits, errors.

Whatever a server answers is bounded and checked. What surprises: of what servers say, only "not found", "somebody else
was first" and "you are not known" are told as such. Everything else, refusals included, is Temporary: an agent never ends
because of what a server says.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from argosy import errors
from argosy.agent.connection import Answer, Connection
from argosy.errors import (
    ArgosyError,
    Conflict,
    NotAllowed,
    NotFound,
    ServerUnreachable,
    Temporary,
    Unauthenticated,
)

T = TypeVar("T")

BEGIN_SECONDS = 8.0
"""How long a server may take to begin a stream."""
SILENCE_SECONDS = 50.0
"""How long a stream may be silent: three of the server's signs of life, one each 15 s."""
MAX_BYTES = 4 * 1024 * 1024
"""Largest answer, and longest line of a stream."""
IDLE_CONNECTIONS = 2
"""Kept for each server; more are open only while they are used."""
TOLD = (NotFound, Conflict, Unauthenticated, NotAllowed, Temporary)
"""What is told as what it is."""


class _Problem(msgspec.Struct, frozen=True):
    kind: str
    message: str
    hint: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    error: _Problem


class HttpClient:
    """context: TLS with the machine's certificate. headers: sent with every request."""

    def __init__(self, context: ssl.SSLContext, *, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._context = context
        self._headers = tuple(headers)
        self._idle: list[Connection] = []
        self._streams: dict[Connection, str] = {}
        """Open ones, with what they are of."""

    def use(self, context: ssl.SSLContext) -> None:
        """Show another certificate from now on. Streams go on until the server ends them."""
        self._context = context
        self._forget_idle()

    def close(self) -> None:
        """Let go of all connections."""
        self._forget_idle()
        for connection in self._streams:
            connection.close()

    def cut(self, url: str, target: str) -> None:
        """End streams of that server at once: it does not answer, and would not say that it has ended them."""
        for connection, what in self._streams.items():
            if connection.url == url and what == target:
                connection.abort()

    async def call(
        self, url: str, method: str, target: str, body: bytes | None = None, *, seconds: float
    ) -> bytes:
        """One request; the answer's body. body: JSON. seconds: for all of it.

        Raises ServerUnreachable, and the errors of TOLD as the server does.
        """
        connection: Connection | None = None
        try:
            async with asyncio.timeout(seconds):
                connection = self._take(url) or await Connection.connect(
                    url, self._context, self._headers
                )
                answer = await connection.request(method, target, body, max_bytes=MAX_BYTES)
        except TimeoutError:
            raise ServerUnreachable(f"{url} gave no answer within {seconds:g} s") from None
        finally:
            if connection is not None:
                self._give_back(connection)
        _raise_for(answer, url)
        return answer.body

    @asynccontextmanager
    async def stream(self, url: str, target: str, kind: type[T]) -> AsyncIterator[AsyncIterator[T]]:
        """Lines of JSON as they come. Raises as `call`, on entering; the iterator raises ServerUnreachable when the stream
        breaks, ends, is silent for too long, or is not what it should be.
        """
        connection = await self._begin_stream(url, target)
        self._streams[connection] = target
        try:
            yield _items(connection, kind)
        finally:
            del self._streams[connection]
            connection.close()

    async def _begin_stream(self, url: str, target: str) -> Connection:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                connection = await Connection.connect(url, self._context, self._headers)
                refusal = await connection.begin_stream(target, max_bytes=MAX_BYTES)
            if refusal is not None:
                _raise_for(refusal, url)
                raise ServerUnreachable(f"{url} answered with the status {refusal.status}")
        except BaseException as problem:
            if connection is not None:
                connection.abort()
            if isinstance(problem, TimeoutError):
                raise ServerUnreachable(f"{url} began no stream in time") from None
            raise
        return connection

    def _take(self, url: str) -> Connection | None:
        """A connection to that server that was used before, if it can be used again."""
        for connection in [one for one in self._idle if one.url == url]:
            self._idle.remove(connection)
            if connection.is_usable:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection) -> None:
        if not connection.is_usable:
            connection.abort()
        elif sum(one.url == connection.url for one in self._idle) < IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    def _forget_idle(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def decoded(body: bytes, kind: type[T], url: str) -> T:
    """Raises ServerUnreachable for an answer that is not what it should be."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise ServerUnreachable(f"{url} answered nonsense: {problem}") from problem


async def _items(connection: Connection, kind: type[T]) -> AsyncIterator[T]:
    decoder = msgspec.json.Decoder(kind)
    async for line in connection.lines(max_bytes=MAX_BYTES, silence=SILENCE_SECONDS):
        try:
            item = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise ServerUnreachable(f"{connection.url} sent nonsense: {problem}") from problem
        yield item
    raise ServerUnreachable(f"{connection.url} ended the stream")


def _raise_for(answer: Answer, url: str) -> None:
    if answer.status < 300:
        return
    try:
        problem = msgspec.json.decode(answer.body, type=_Refusal).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ServerUnreachable(
            f"what answers at {url} is not an Argosy server (status {answer.status})"
        ) from None
    raised = errors.named(
        problem.kind, f"{url}: {problem.message}", hint=problem.hint, otherwise=ArgosyError
    )
    if isinstance(raised, TOLD):
        raise raised
    raise Temporary(raised.message, hint=raised.hint)
