"""A server on TLS as other machines see it, with tokens and machines of every kind, for tests of who may do what."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from argosy.api.cluster import open_cluster
from argosy.api.server import Server, TlsPort
from argosy.api.services import Services
from argosy.api.sessions import Sessions
from argosy.model.cluster import Cluster
from argosy.model.identity import Identity
from argosy.model.ids import MachineId
from argosy.model.token import Role, Token, TokenKind
from argosy.pki import certificates, files
from argosy.pki.authority import Authority
from argosy.pki.certificates import TlsFiles
from argosy.pki.tokens import TokenText
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore

ME = MachineId("1" * 32)
OTHER = MachineId("2" * 32)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


@dataclass
class TlsServer:
    """A server that answers, its store, and the cluster's authority."""

    directory: Path
    store: MemoryStore
    cluster: Cluster
    authority: Authority
    sessions: Sessions
    server: Server
    context: ssl.SSLContext
    task: asyncio.Task[None]
    ahead: list[timedelta]
    """By how much the server's clock is ahead; one."""
    stops: list[None] = field(default_factory=list)
    opened: list[asyncio.StreamWriter] = field(default_factory=list)
    _made: int = 0

    @property
    def later(self) -> timedelta:
        return self.ahead[0]

    @later.setter
    def later(self, ahead: timedelta) -> None:
        self.ahead[0] = ahead

    @property
    def port(self) -> int:
        return int(self.server.endpoints[-1].rpartition(":")[2])

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    # --- who asks ---------------------------------------------------------------------------------------------------

    async def token(
        self,
        kind: TokenKind = TokenKind.PERSON,
        *,
        role: Role | None = None,
        expires_in: timedelta | None = None,
        uses: int | None = None,
    ) -> TokenText:
        """A token in the store, as if an admin had made it."""
        text = TokenText.make(kind, self.authority.digest)
        record = Token(
            id=text.id,
            kind=kind,
            hash=text.hash,
            role=role,
            name=f"a {role or kind}",
            created_at=self.now(),
            expires_at=None if expires_in is None else self.now() + expires_in,
            uses_left=uses,
        )
        await self.store.txn([], [base.Put(keys.token(text.id), codec.encode(record))])
        return text

    def anonymous(self) -> ssl.SSLContext:
        return certificates.client_context(ca=self.authority.certificate)

    async def machine(
        self,
        machine: MachineId = ME,
        *,
        authority: Authority | None = None,
        cluster: str = "",
        at: datetime | None = None,
        is_known: bool = True,
    ) -> ssl.SSLContext:
        """A client with a machine's certificate, which stands in the cluster's records if it is known."""
        key = certificates.make_key()
        signed = (authority or self.authority).sign_machine(
            certificates.make_request(key),
            machine,
            cluster=cluster or self.cluster.id,
            now=at or self.now(),
        )
        if is_known:
            serials = (certificates.serial(signed),)
            record = Identity(machine=machine, serials=serials, joined_at=self.now())
            await self.store.txn([], [base.Put(keys.identity(machine), codec.encode(record))])
        return self.shows(signed, key)

    def shows(self, certificate: bytes, key: bytes) -> ssl.SSLContext:
        """A client with that certificate."""
        self._made += 1
        paths = [self.directory / f"client{self._made}.{kind}" for kind in ("pem", "key")]
        files.write_public(paths[0], certificate)
        files.write_private(paths[1], key)
        return certificates.client_context(
            ca=self.authority.certificate, certificate=paths[0], key=paths[1]
        )

    # --- asking -----------------------------------------------------------------------------------------------------

    async def connect(
        self, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context or self.anonymous(), server_hostname="localhost"
        )
        self.opened.append(writer)
        return reader, writer

    async def hang_up(self) -> None:
        """Close every connection that was made."""
        for writer in self.opened:
            writer.transport.abort()
        await asyncio.gather(*(one.wait_closed() for one in self.opened), return_exceptions=True)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        context: ssl.SSLContext | None = None,
        token: TokenText | str | None = None,
    ) -> Answer:
        """One request on a connection of its own. Raises OSError when the connection is refused."""
        reader, writer = await self.connect(context)
        try:
            writer.write(request(method, path, body, token=token, close=True))
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                content = await reader.read()
        finally:
            writer.close()
        return _answer(head, content)


def request(
    method: str,
    path: str,
    body: Any = None,
    *,
    token: TokenText | str | None = None,
    close: bool = False,
) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: server"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer on a connection that stays open; it must have a length."""
    head = await reader.readuntil(b"\r\n\r\n")
    answer = _answer(head, b"")
    answer.body = await reader.readexactly(int(answer.headers.get("content-length", "0")))
    return answer


def _answer(head: bytes, content: bytes) -> Answer:
    first, *rest = head.decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
    }
    if headers.get("transfer-encoding") == "chunked":
        content = _unchunked(content)
    return Answer(int(first.split()[1]), headers, content)


def _unchunked(content: bytes) -> bytes:
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        whole, content = whole + content[:length], content[length + 2 :]
    return whole


@asynccontextmanager
async def tls_server(directory: Path) -> AsyncIterator[TlsServer]:
    store = MemoryStore()
    ahead = [timedelta()]

    def clock() -> datetime:
        return datetime.now(UTC) + ahead[0]

    cluster = await open_cluster(store, clock=clock)
    authority = Authority.make(cluster.id, now=clock())
    paths = TlsFiles(
        certificate=directory / "server.pem",
        key=directory / "server.key",
        ca=directory / "ca.pem",
    )
    key = certificates.make_key()
    signed = authority.sign_server(
        certificates.make_request(key), name="s1", addresses=["10.0.0.5"], now=clock()
    )
    files.write_private(paths.key, key)
    files.write_public(paths.certificate, signed)
    files.write_public(paths.ca, authority.certificate)
    context = certificates.server_context(paths)
    sessions = Sessions(store, name="s1", endpoints=["https://10.0.0.5:7440"], clock=clock)
    stops: list[None] = []
    services = Services(
        store=store,
        clock=clock,
        on_stop=lambda: stops.append(None),
        sessions=sessions,
        authority=authority,
        store_for_servers={"kind": "etcd", "endpoints": ["https://10.0.0.1:2379"]},
    )
    server = Server(
        services,
        unix=directory / "private" / "argosy.sock",
        tls=TlsPort(listen="127.0.0.1:0", context=context),
    )
    tasks = [asyncio.create_task(server.run()), asyncio.create_task(sessions.run())]
    running = TlsServer(
        directory,
        store,
        cluster,
        authority,
        sessions,
        server,
        context,
        tasks[0],
        ahead,
        stops=stops,
    )
    try:
        yield running
    finally:
        await running.hang_up()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
        await store.close()
