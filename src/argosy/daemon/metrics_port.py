"""The port that Prometheus reads: plain HTTP, one page, nobody is asked who they are.

Apart from the API's port, because scrapers seldom have tokens, and because it says nothing that is secret. Small enough to
be sure of: requests are bounded in size and time, connections in number, and what is sent is never looked at further.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from argosy.errors import Invalid

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats)."""
PATH = "/metrics"
MAX_HEAD_BYTES = 16 * 1024
PATIENCE_SECONDS = 10.0
MAX_PORT = 65535
CONNECTIONS = 16
"""At once: there is one Prometheus, or two."""

Expose = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def served(listen: str, expose: Expose) -> AsyncIterator[str]:
    """Serve while the body runs; yields the URL. With an empty `listen` nothing is served, and the URL is empty.

    Where the address is taken or not there, that is logged and the body runs all the same: a machine whose units do not
    come back because of its metrics would be a poor trade. Raises Invalid for what is no address.
    """
    if not listen:
        yield ""
        return
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > MAX_PORT:
        raise Invalid(
            f"metrics_listen: {listen!r} is no ADDRESS:PORT",
            hint='metrics_listen = "127.0.0.1:9440"',
        )
    connections = asyncio.Semaphore(CONNECTIONS)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not connections.locked():
                async with connections, asyncio.timeout(PATIENCE_SECONDS):
                    await _answer(reader, writer, expose)
        except (OSError, TimeoutError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
            log.debug("a request for metrics was not one, or came to no end")
        finally:
            # Aborted rather than closed: nobody is waited for.
            if writer.transport.get_write_buffer_size() == 0:
                writer.close()
            else:
                writer.transport.abort()

    try:
        server = await asyncio.start_server(
            answer, host.strip("[]") or None, int(port), limit=MAX_HEAD_BYTES
        )
    except OSError as problem:
        log.error("no metrics: cannot listen at %s: %s", listen, problem.strerror or problem)
        yield ""
        return
    async with server:
        address, bound = server.sockets[0].getsockname()[:2]
        url = f"http://{f'[{address}]' if ':' in address else address}:{bound}{PATH}"
        log.info("metrics at %s", url)
        yield url


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, expose: Expose
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path != PATH.encode():
        status, body = "404 Not Found", f"metrics are at {PATH}\n".encode()
    elif method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b"only GET\n"
    else:
        try:
            status, body = "200 OK", await expose()
        except Exception:
            log.exception("metrics")
            status, body = "500 Internal Server Error", b"this is a bug; see the log\n"
    fields = f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close"
    writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode())
    if method != b"HEAD":
        writer.write(body)
    await writer.drain()
    writer.write_eof()
