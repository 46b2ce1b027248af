"""Runs the API on its sockets: opened before anything is promised, closed so that nobody hangs.

uvicorn's own server is not used: it polls ten times a second to learn that it should stop, and takes the process's
signals. Its protocol, made for one connection, is (`protocol.py`).
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import socket
import ssl
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from uvicorn.config import Config
from uvicorn.server import ServerState

from argosy.api import protocol, sockets
from argosy.api.agents import Agents
from argosy.api.app import build_app
from argosy.api.feed import Feed
from argosy.api.heartbeats import Heartbeats
from argosy.api.journal import Journal
from argosy.api.picture import Picture
from argosy.api.services import Api, Services
from argosy.model.ids import MachineId
from argosy.pki.certificates import HANDSHAKE_SECONDS

log = logging.getLogger(__name__)

GRACE_SECONDS = 3.0
"""How long a request that is being answered may take once the server stops."""


KEEP_ALIVE_SECONDS = 30
"""How long a connection may wait for its next request; an agent has one every few seconds."""
TLS_GOODBYE_SECONDS = 2.0
TLS_BUFFER_BYTES = 16 * 1024
"""What is read of a TLS connection at a time: a record has no more. asyncio's own 256 KiB (CPython 3.11 to 3.14,
Lib/asyncio/sslproto.py) are written to when a connection begins, a quarter of a gigabyte for a thousand agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPort:
    """Where other machines and people elsewhere reach the server."""

    listen: str
    """`ADDRESS:PORT`, or `:PORT` for all addresses."""
    context: ssl.SSLContext
    """`pki.certificates.server_context`; its certificate may be reloaded while the server runs."""


class Server:
    """A server that listens. `run` it to have it answer; until then, connections wait."""

    def __init__(
        self,
        services: Services,
        *,
        unix: Path | None,
        unix_group: int | None = None,
        tcp: str = "",
        tls: TlsPort | None = None,
    ) -> None:
        """Take the sockets.

        unix: path of the socket for this user, and for the group with the id `unix_group` if there is one: whoever can
            connect to it is an admin.
        tcp: `ADDRESS:PORT` on loopback, where everybody on this host is an admin; empty for none.
        Raises StoreRefused when a live server has the socket, Invalid for a bad or taken address or directory.
        """
        self._api = Api(
            services,
            Feed(services.store, services.clock),
            Journal(services.writer),
            agents=Agents(services.sessions) if services.sessions else None,
        )
        self._api.feed.on_access_changed = self._check_access
        self._unix_path = unix
        self._sockets: list[socket.socket] = []
        self.endpoints: list[str] = []
        """Where it answers, as a client is told."""
        self._unix_identity: tuple[int, int] | None = None
        self._tls: socket.socket | None = None
        self._tls_context: ssl.SSLContext | None = None
        try:
            if unix is not None:
                self._sockets.append(sockets.listen_unix(unix, group=unix_group))
                self._unix_identity = sockets.identity(unix)
                self.endpoints.append(f"unix://{quote(str(unix.absolute()))}")
            if tcp:
                self._sockets.append(sockets.listen_tcp(tcp))
                self.endpoints.append(_url(self._sockets[-1], "http"))
            if tls:
                self._tls = sockets.listen_tls(tls.listen)
                self._sockets.append(self._tls)
                self._tls_context = tls.context
                self.endpoints.append(_url(self._tls, "https"))
        except BaseException:
            self.close()
            raise

    @property
    def picture(self) -> Picture:
        """The cluster as this server knows it."""
        return self._api.feed.picture

    async def run(self) -> None:
        """Answer until cancelled; then streams are ended, requests finished (for a bounded time), sockets closed.

        Raises whatever made it impossible to go on.
        """
        state = ServerState()
        config = Config(
            build_app(self._api),
            http=protocol.BoundedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            h11_max_incomplete_event_size=protocol.MAX_HEAD_BYTES,
        )
        config.load()

        heartbeats = Heartbeats(self._api)

        def connect() -> protocol.BoundedProtocol:
            return protocol.BoundedProtocol(config, state, heartbeats)

        loop = asyncio.get_running_loop()
        feed = asyncio.create_task(self._api.feed.run(), name="follow the store for the API")
        listeners: list[asyncio.Server] = []
        try:
            for sock in self._sockets:
                if sock is self._tls:
                    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
                    listener = await loop.create_server(
                        connect,
                        sock=sock,
                        ssl=self._tls_context,
                        ssl_handshake_timeout=HANDSHAKE_SECONDS,
                        ssl_shutdown_timeout=TLS_GOODBYE_SECONDS,
                    )
                elif sock.family == socket.AF_UNIX:
                    listener = await loop.create_unix_server(connect, sock=sock)
                else:
                    listener = await loop.create_server(connect, sock=sock)
                listeners.append(listener)
            await feed
        finally:
            for listener in listeners:
                listener.close()
            self.close()
            await self._finish(state)
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)

    def close(self) -> None:
        """Let go of the sockets. `run` does it at its end; a server that never ran is closed by its owner."""
        if self._unix_path is not None and self._unix_identity is not None:
            # Only our own: another server may have found ours dead and made a new one.
            if sockets.identity(self._unix_path) == self._unix_identity:
                with suppress(OSError):
                    self._unix_path.unlink()
            self._unix_identity = None
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def _check_access(self, picture: Picture, machines: Collection[MachineId] | None) -> None:
        self._api.streams.check(picture, self._api.services.clock(), machines)
        if machines is None and self._api.agents is not None:
            self._api.agents.check(picture)

    async def _finish(self, state: ServerState) -> None:
        self._api.closing.set()
        self._api.feed.close()
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            _, late = await asyncio.wait(state.tasks, timeout=GRACE_SECONDS)
            for task in late:
                log.warning("a request was cut off because the server stops")
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(state.connections):
            connection.transport.abort()
        # An aborted transport calls connection_lost in the loop's next turn.
        await asyncio.sleep(0)


def _url(sock: socket.socket, scheme: str) -> str:
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
