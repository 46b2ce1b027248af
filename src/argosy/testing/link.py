"""One machine's network to the servers, with what networks do.

A call reaches a server or not, and its answer comes back or not; in both cases the agent sees `ServerUnreachable`. The
server's side runs in the server's process: it stands still while that is paused and ends when it is killed. The stream of
assignments may be silent, break, tell one twice, or tell an old one: an agent must survive all of these.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from argosy.api.gate import MachineGate
from argosy.errors import ServerUnreachable, Unauthenticated
from argosy.model.ids import Digest
from argosy.model.link import Delivery, Registered, Report
from argosy.model.machine import Machine
from argosy.testing.loop import Process, running

T = TypeVar("T")
TIMEOUT = 5.0
"""Seconds after which an agent gives up waiting for a server's answer."""
LOOK_AGAIN = 0.25
NO_SESSION = "none"


@dataclass(slots=True, kw_only=True)
class LinkFaults:
    """What happens to the links. All zero: a perfect network."""

    latency: tuple[float, float] = (0.0, 0.002)
    """Seconds, each way."""
    lost: float = 0.0
    """Share of calls that never arrive."""
    unanswered: float = 0.0
    """Share of calls that arrive but whose answer does not come back."""
    repeated: float = 0.0
    """Share of assignments that are told twice."""
    stale: float = 0.0
    """Share of assignments after which an older one is told."""
    breaks: float = 0.0
    """Share of assignments in place of which the stream breaks."""


class ServerEnd(Protocol):
    """What a link needs of a server."""

    @property
    def is_up(self) -> bool: ...

    def gate(self, machine: Machine, holder: str) -> MachineGate:
        """The server's side of the agent of that machine in that boot."""
        ...

    def begin(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task in the server's process, ended with it."""
        ...


class FaultyLink:
    """`agent.link.ServerLink` for one life of an agent.

    holder: which boot of which machine this is.
    told: called with every delivery that is handed to the agent, just before.
    is_refused: whether servers do not know the machine.
    """

    def __init__(
        self,
        machine: Machine,
        process: Process,
        servers: Sequence[ServerEnd],
        faults: LinkFaults,
        *,
        holder: str,
        is_cut: Callable[[], bool],
        is_refused: Callable[[], bool] = lambda: False,
        told: Callable[[Delivery], None],
    ) -> None:
        self._machine = machine
        self._process = process
        self._servers = servers
        self._faults = faults
        self._holder = holder
        self._is_cut = is_cut
        self._is_refused = is_refused
        self._told = told
        self._chance = running().stream(f"link of {process.name}")
        self._seen: list[Delivery] = []
        self._favourite = self._chance.randrange(len(servers))
        self._session = NO_SESSION

    async def register(self, machine: Machine) -> Registered:
        # One that gives no answer may have been taken all the same: nothing before it counts any more.
        self._session = NO_SESSION
        asked = round(asyncio.get_running_loop().time() * 1e9)
        registered = await self._call(lambda gate: gate.register(machine, asked=asked), "register")
        self._session = registered.session
        return registered

    async def text(self, digest: Digest) -> bytes:
        return await self._call(lambda gate: gate.text(digest), "text")

    async def report(self, report: Report) -> None:
        own = msgspec.structs.replace(report, session=self._session)
        await self._call(lambda gate: gate.report(own), "report")

    @asynccontextmanager
    async def assignments(self) -> AsyncIterator[AsyncIterator[Delivery]]:
        await self._travel()
        server = self._server()
        inbox: asyncio.Queue[Delivery | None] = asyncio.Queue()
        gate = server.gate(self._machine, self._holder)
        pump = server.begin(_pump(gate, inbox), f"assignments of {self._machine.hostname}")
        # The end of the stream reaches the agent however the server ended.
        pump.add_done_callback(lambda _: inbox.put_nowait(None))
        try:
            yield self._deliver(inbox)
        finally:
            pump.cancel()

    async def _deliver(self, inbox: asyncio.Queue[Delivery | None]) -> AsyncIterator[Delivery]:
        faults = self._faults
        while True:
            delivery = await inbox.get()
            while not inbox.empty() and delivery is not None:
                delivery = inbox.get_nowait()
            await self._pause()
            while self._is_cut():
                await asyncio.sleep(LOOK_AGAIN)
                if self._chance.random() < 0.05:
                    raise ServerUnreachable("the simulated network is cut")
            if delivery is None or self._chance.random() < faults.breaks:
                raise ServerUnreachable("the simulated stream of assignments broke")
            self._seen.append(delivery)
            yield self._tell(delivery)
            if self._chance.random() < faults.repeated:
                yield self._tell(delivery)
            if self._chance.random() < faults.stale:
                yield self._tell(self._chance.choice(self._seen))

    def _tell(self, delivery: Delivery) -> Delivery:
        self._told(delivery)
        return delivery

    async def _call(self, call: Callable[[MachineGate], Awaitable[T]], name: str) -> T:
        await self._travel()
        server = self._server()
        lost = self._chance.random()
        if lost < self._faults.lost:
            await asyncio.sleep(self._chance.choice((0.0, TIMEOUT)))
            raise ServerUnreachable(f"the simulated network lost the call: {name}")
        gate = server.gate(self._machine, self._holder)
        task = server.begin(_serve(call, gate), f"{name} for {self._machine.hostname}")
        await asyncio.wait([task], timeout=TIMEOUT)
        if not task.done() or task.cancelled():
            self._favourite += 1
            raise ServerUnreachable(f"the simulated server gave no answer: {name}")
        await self._travel()
        if lost < self._faults.lost + self._faults.unanswered:
            raise ServerUnreachable(f"the simulated network lost the answer: {name}")
        return task.result()

    def _server(self) -> ServerEnd:
        for step in range(len(self._servers)):
            server = self._servers[(self._favourite + step) % len(self._servers)]
            if server.is_up:
                self._favourite += step
                return server
        raise ServerUnreachable("no simulated server is up")

    async def _travel(self) -> None:
        await self._pause()
        if self._is_cut() or self._process.is_dead:
            await asyncio.sleep(self._chance.choice((0.0, TIMEOUT)))
            raise ServerUnreachable("the simulated network is cut")
        if self._is_refused():
            raise Unauthenticated("the simulated cluster does not know this machine")

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(*self._faults.latency))


async def _serve(call: Callable[[MachineGate], Awaitable[T]], gate: MachineGate) -> T:
    return await call(gate)


async def _pump(gate: MachineGate, inbox: asyncio.Queue[Delivery | None]) -> None:
    with suppress(ServerUnreachable):
        async with gate.assignments() as deliveries:
            async for delivery in deliveries:
                inbox.put_nowait(delivery)
