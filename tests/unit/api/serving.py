"""A real server on real sockets, for tests that speak to it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from argosy.agent.facts import FactsOf
from argosy.agent.questions import Answerer
from argosy.agent.unit_output import Output
from argosy.api.cluster import open_cluster
from argosy.api.server import Server
from argosy.api.services import Services
from argosy.api.sessions import Sessions
from argosy.client import Client
from argosy.model.ids import MachineId
from argosy.pki.authority import Authority
from argosy.store.memory import MemoryStore

T = TypeVar("T")


@dataclass
class Running:
    """A server that answers, and the store under it."""

    server: Server
    store: MemoryStore
    path: Path
    task: asyncio.Task[None]
    stops: list[None]

    @property
    def client(self) -> Client:
        return Client.find(f"unix://{self.path}")

    @property
    def tcp(self) -> Client:
        return Client.find(self.server.endpoints[1])

    @property
    def port(self) -> int:
        return int(self.server.endpoints[1].rpartition(":")[2])

    async def call(self, work: Callable[[Client], T]) -> T:
        """Do something with the client in a thread: it blocks, and the server is in this loop."""
        return await asyncio.to_thread(work, self.client)

    async def raw(self, data: bytes, *, tcp: bool = False) -> tuple[int, bytes]:
        """Send exact bytes; returns the status and everything after the head. Status 0: no answer before the end."""
        if tcp:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        else:
            reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(data)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body


@asynccontextmanager
async def running(
    directory: Path,
    *,
    tcp: str = "127.0.0.1:0",
    output: Mapping[MachineId, Output] | None = None,
) -> AsyncIterator[Running]:
    store = MemoryStore()
    stops: list[None] = []

    def clock() -> datetime:
        return datetime.now(UTC)

    cluster = await open_cluster(store, clock=clock)
    services = Services(
        store=store,
        clock=clock,
        on_stop=lambda: stops.append(None),
        sessions=Sessions(store, name="s1", clock=clock),
        authority=Authority.make(cluster.id, now=clock()),
        store_for_servers={"kind": "etcd", "endpoints": ["https://10.0.0.1:2379"]},
    )
    facts = FactsOf(clock=clock, runtime="recorded", directories=(directory,)).gather
    path = directory / "private" / "argosy.sock"
    server = Server(services, unix=path, tcp=tcp)
    task = asyncio.create_task(server.run())
    answering = [
        asyncio.create_task(Answerer(one, gather_facts=facts).serve(services.questions.line(id_)))
        for id_, one in (output or {}).items()
    ]
    try:
        yield Running(server, store, path, task, stops)
    finally:
        for one in (task, *answering):
            one.cancel()
        await asyncio.gather(task, *answering, return_exceptions=True)
        server.close()
        await store.close()
