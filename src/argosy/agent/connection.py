"""One HTTP/1.1 connection to a server over TLS, as an agent uses it: requests one after the other, or one stream.

h11 says what the bytes mean; everything that arrives is bounded. Nothing here has a time limit: callers put one around
a call, and a connection whose call did not end well is closed, since nobody knows where in it an answer would begin.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

import h11

from argosy.errors import Invalid, ServerUnreachable

MAX_HEAD_BYTES = 64 * 1024
CHUNK_BYTES = 256 * 1024
GOODBYE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def address_of(url: str) -> tuple[str, int]:
    """Host and port of `https://HOST:PORT`. Raises Invalid for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    has_more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme != "https" or not parts.hostname or not port or has_more:
        raise Invalid(f"{url!r} is not the URL of a server", hint="write https://HOST:7440")
    return parts.hostname, port


class Connection:
    """Made by `connect`."""

    def __init__(
        self,
        url: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.url = url
        self._headers = headers
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._host = url.removeprefix("https://")
        self._is_broken = False

    @classmethod
    async def connect(
        cls, url: str, context: ssl.SSLContext, headers: Sequence[tuple[str, str]] = ()
    ) -> Connection:
        """headers: sent with every request. Raises ServerUnreachable when nobody is there whom the context believes."""
        host, port = address_of(url)
        try:
            reader, writer = await asyncio.open_connection(
                host,
                port,
                ssl=context,
                ssl_shutdown_timeout=GOODBYE_SECONDS,
                limit=CHUNK_BYTES,
            )
        except ssl.SSLCertVerificationError as problem:
            raise ServerUnreachable(
                f"what answers at {url} is not a server of this cluster: {problem.verify_message}"
            ) from problem
        except OSError as problem:
            raise ServerUnreachable(f"{url}: {_reason(problem)}") from problem
        return cls(url, reader, writer, headers)

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent on it."""
        is_open = not (self._is_broken or self._writer.is_closing() or self._reader.at_eof())
        return is_open and self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE

    async def request(
        self, method: str, target: str, body: bytes | None, *, max_bytes: int
    ) -> Answer:
        """Send, and read the answer, which may have so many bytes. Raises ServerUnreachable."""
        self._is_broken = True  # until it has ended well
        try:
            await self._send(method, target, body)
            response = await self._head()
            data = bytearray()
            async for chunk in self._body():
                data += chunk
                if len(data) > max_bytes:
                    self._give_up(f"an answer of more than {max_bytes} bytes")
            if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                self._http.start_next_cycle()
        except (OSError, h11.RemoteProtocolError) as problem:
            raise self._lost(problem) from problem
        self._is_broken = False
        return Answer(response.status_code, bytes(data))

    async def begin_stream(self, target: str, *, max_bytes: int) -> Answer | None:
        """Ask for a stream; None when it comes and `lines` will read it, else the answer that came instead."""
        self._is_broken = True  # a connection is for one stream
        try:
            await self._send("GET", target, None)
            response = await self._head()
            if response.status_code == 200:
                return None
            data = bytearray()
            async for chunk in self._body():
                data += chunk
                if len(data) > max_bytes:
                    self._give_up(f"an answer of more than {max_bytes} bytes")
        except (OSError, h11.RemoteProtocolError) as problem:
            raise self._lost(problem) from problem
        return Answer(response.status_code, bytes(data))

    async def lines(self, *, max_bytes: int, silence: float) -> AsyncIterator[bytes]:
        """Lines of the stream, without the empty ones, which are signs of life; ends when the server ends it.

        max_bytes: of a line. silence: seconds without a byte after which the connection counts as broken.
        Raises ServerUnreachable.
        """
        rest = bytearray()
        try:
            chunks = self._body()
            while True:
                try:
                    async with asyncio.timeout(silence):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                *lines, last = chunk.split(b"\n")
                for line in lines:
                    rest += line
                    if rest:
                        yield bytes(rest)
                        rest.clear()
                rest += last
                if len(rest) > max_bytes:
                    self._give_up(f"a line of more than {max_bytes} bytes")
        except TimeoutError:
            raise ServerUnreachable(f"{self.url} has been silent for {silence:g} s") from None
        except (OSError, h11.RemoteProtocolError) as problem:
            raise self._lost(problem) from problem

    def close(self) -> None:
        """Also from another task: whoever reads from it finds it broken."""
        self._is_broken = True
        self._writer.close()

    def abort(self) -> None:
        """Close without a farewell: the other end does not answer anyway."""
        self._is_broken = True
        self._writer.transport.abort()

    async def _send(self, method: str, target: str, body: bytes | None) -> None:
        headers = [("host", self._host), ("accept", "*/*"), *self._headers]
        if body is not None:
            headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
        send = self._http.send
        data = send(h11.Request(method=method, target=target, headers=headers)) or b""
        if body:
            data += send(h11.Data(data=body)) or b""
        data += send(h11.EndOfMessage()) or b""
        self._writer.write(data)
        await self._writer.drain()

    async def _head(self) -> h11.Response:
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                self._give_up("no answer")

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                self._give_up("half an answer")

    async def _next(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                self._give_up("more than was asked for")
            self._http.receive_data(await self._reader.read(CHUNK_BYTES))

    def _give_up(self, got: str) -> NoReturn:
        self.close()
        raise ServerUnreachable(f"{self.url} gave {got}")

    def _lost(self, problem: Exception) -> ServerUnreachable:
        return ServerUnreachable(f"{self.url}: {_reason(problem)}")


def _reason(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        return str(problem.reason or problem).replace("_", " ").lower()
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem) or "the connection was closed"
