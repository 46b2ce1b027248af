"""A whole cluster in one event loop: servers with engines, machines with agents, people who ask for things.

        async def story(cluster: Cluster) -> None:
            await cluster.submit("web.service")
            await cluster.wait_until(lambda: cluster.is_active("web.service"), within=5)
            cluster.kill_machine(cluster.where("web.service")[0])
            ...
        simulate(1, story, machines=3)

Everything but the network, the machines and the clock is the real code. `members.py` has who takes part, `people.py` what
can be asked for. Each process can be killed, paused, or struck at any of its steps (`loop.Process`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from argosy.model.cluster import Cluster as ClusterRecord
from argosy.model.event import Event
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Capacity, Machine
from argosy.model.observed import ActiveState
from argosy.model.orders import Scheduling
from argosy.settings import AgentSettings, EngineSettings
from argosy.store import base, codec, keys, transfer
from argosy.store.memory import MemoryStore
from argosy.testing import loop as sim
from argosy.testing.invariants import Checker, InvariantBroken
from argosy.testing.link import LinkFaults
from argosy.testing.liveness import Sight, unsettled
from argosy.testing.loop import running
from argosy.testing.machine import Behaviour, Rules, Run, SimMachine
from argosy.testing.members import Common, Node, Parts, Server
from argosy.testing.people import People
from argosy.testing.store import Ledger, StoreFaults

T = TypeVar("T")
ENOUGH = 120.0
"""Seconds within which a healed cluster must be as people want it: leases, patience and retries together."""
QUIET = 130.0
"""Seconds without a write that prove that nobody has anything left to do: more than two slow ticks of everybody."""
CALM = 30.0
"""Seconds before that, for what is under way."""
POLL = 0.1


class Late(AssertionError):
    """Something that was promised within a time did not happen within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Of which size and nature a cluster is.

    machines: how many, or each one's metadata.
    """

    machines: int | Sequence[dict[str, str]] = 3
    servers: int = 1
    capacity: Capacity = field(
        default_factory=lambda: Capacity(memory_bytes=8 << 30, cpu_millis=4000)
    )
    engine: EngineSettings = field(default_factory=EngineSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)
    parts: Parts = field(default_factory=Parts)


class Cluster(People):
    """The cluster of one simulation. Machines are called m1, m2 ..., servers s1, s2 ..."""

    def __init__(self, shape: Shape) -> None:
        ledger = Ledger()
        self.checker = Checker(ledger)
        self._common = Common(
            parts=shape.parts,
            engine=shape.engine,
            agent=shape.agent,
            store=MemoryStore(),
            ledger=ledger,
            checker=self.checker,
        )
        super().__init__(self._common.store, ledger)
        self.rules = Rules()
        metadata = (
            [{} for _ in range(shape.machines)]
            if isinstance(shape.machines, int)
            else shape.machines
        )
        self.nodes: dict[str, Node] = {}
        self.clones: dict[str, Node] = {}
        """Machines that are copies of others, by the others' names, since they have no name of their own."""
        for number, one in enumerate(metadata, start=1):
            record = Machine(
                id=MachineId(f"{number:032x}"),
                hostname=f"m{number}",
                address=f"10.0.0.{number}",
                metadata=dict(one),
                capacity=shape.capacity,
            )
            self.nodes[record.hostname] = Node(record.hostname, self._machine(record), self._common)
        self.servers = self._common.servers
        self.servers += [Server(f"s{n}", self._common) for n in range(1, shape.servers + 1)]
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None]
        self._store_down_since = 0.0

    def _machine(self, record: Machine, name: str = "") -> SimMachine:
        return SimMachine(
            record,
            name=name,
            rules=self.rules,
            witness=self.checker.acted,
            began=self.checker.began,
        )

    @property
    def store(self) -> MemoryStore:
        return self._common.store

    @property
    def settings(self) -> EngineSettings:
        return self._common.engine

    @property
    def store_faults(self) -> StoreFaults:
        return self._common.store_faults

    @property
    def link_faults(self) -> LinkFaults:
        return self._common.link_faults

    # --- what people do (units: `People`) -----------------------------------------------------------------------

    async def order(
        self,
        name: str,
        scheduling: Scheduling,
        *,
        lasting: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Cordon, drain or open a machine, for so many seconds or until further notice, and give it metadata."""
        machine = self.nodes[name].machine.record.id
        await self.order_machine(machine, scheduling, lasting=lasting, metadata=metadata)

    async def drain(self, name: str) -> None:
        await self.order(name, Scheduling.DRAINED)

    async def undrain(self, name: str) -> None:
        await self.order(name, Scheduling.OPEN)

    async def move(self, unit: str, to: str) -> None:
        """Ask for one unit to go to one machine."""
        await self.move_to(unit, self.nodes[to].machine.record.id)

    async def remove_machine(self, name: str) -> None:
        """Take a machine out of the cluster: servers know it no more, whatever it says."""
        node = self.nodes[name]
        node.is_removed = True
        await self.take_away(node.machine.record.id)

    def rejoin(self, name: str) -> None:
        """A machine that was removed gets a new certificate, and its agent begins anew."""
        node = self.nodes[name]
        running().trace.note(f"{name}: joins again")
        node.is_removed = False
        if node.is_agent_up:
            node.kill_agent()
        if node.machine.is_on:
            node.start_agent()

    async def backup(self) -> transfer.Contents:
        """What a backup has, taken now."""
        running().trace.note("people: a backup")
        return await transfer.read(self.store)

    async def restore(self, contents: transfer.Contents) -> None:
        """Stop the servers, put a backup into a new store, start them on it."""
        running().trace.note("people: a restore")
        epoch = codec.decode((await self.store.range(keys.CLUSTER)).kvs[0].value, ClusterRecord)
        newest = max(epoch.epoch, contents.cluster.epoch) + 1
        cluster = msgspec.structs.replace(contents.cluster, epoch=newest, restored=newest)
        await self._replace_store(contents._replace(cluster=cluster))

    async def migrate(self) -> None:
        """Move the cluster to another store: servers stand for a moment, agents and units go on."""
        running().trace.note("people: a migration")
        for server in self.servers:
            server.kill()
        contents = await transfer.read(self.store)
        epoch = contents.cluster.epoch + 1
        cluster = msgspec.structs.replace(contents.cluster, epoch=epoch)
        await self._replace_store(contents._replace(cluster=cluster))

    async def _replace_store(self, contents: transfer.Contents) -> None:
        for server in self.servers:
            server.kill()
        old = self.store
        self._common.store = MemoryStore()
        self.turn_to(self.store)
        self._ledger.start_over()
        self.checker.start_over()
        self._watching.cancel()
        await old.close()
        self._watching = self.begin(self._watch())
        await asyncio.sleep(0)
        await transfer.write(self.store, contents)
        for server in self.servers:
            server.start()

    # --- what happens to them -----------------------------------------------------------------------------------

    def behave(self, pattern: str, behaviour: Behaviour) -> None:
        """From now on units whose names match behave so; an earlier rule for the same glob is replaced."""
        self.rules.rules[pattern] = behaviour

    def kill_machine(self, name: str) -> None:
        """Cut its power: agent and units are gone at once."""
        self.nodes[name].cut_power()

    def boot_machine(self, name: str) -> None:
        self.nodes[name].boot()

    def clone(self, name: str) -> Node:
        """Start a copy of a machine, made of its disk as it is now: two machines have one id."""
        original = self.nodes[name].machine
        copy = Node(
            f"copy-of-{name}", self._machine(original.record, f"copy-of-{name}"), self._common
        )
        copy.machine.disk.copy_from(original.disk)
        self.clones[name] = copy
        running().trace.note(f"{copy.name}: boots")
        copy.start_agent()
        return copy

    def end_clone(self, name: str) -> None:
        """Somebody finds the copy and switches it off."""
        copy = self.clones.pop(name, None)
        if copy is not None:
            copy.cut_power()

    def cut_off(self, *names: str) -> None:
        """The machines reach no server, their units keep running."""
        for name in names:
            running().trace.note(f"{name}: cut off")
            self.nodes[name].is_cut = True

    def reconnect(self, *names: str) -> None:
        for name in names:
            running().trace.note(f"{name}: reconnected")
            self.nodes[name].is_cut = False

    def stop_store(self) -> None:
        """Nobody reaches the store. Its leases run on: that is the worse case."""
        running().trace.note("store: down")
        if not self.store_faults.is_down:
            self._store_down_since = running().time()
        self.store_faults.is_down = True

    def start_store(self) -> None:
        running().trace.note("store: up")
        if self.store_faults.is_down:
            self.checker.machines.store_is_back(after=running().time() - self._store_down_since)
        self.store_faults.is_down = False

    async def compact(self, revision: int) -> None:
        """Compact the store behind everybody's back, as another client of it may."""
        running().trace.note(f"store: compacted to {revision}")
        with suppress(base.Compacted):
            await self.store.compact(revision)

    def kill_server(self, name: str) -> None:
        running().trace.note(f"{name}: killed")
        self.server(name).kill()

    async def stop_server(self, name: str) -> None:
        """As by SIGTERM."""
        running().trace.note(f"{name}: stops")
        await self.server(name).stop()

    def start_server(self, name: str) -> None:
        running().trace.note(f"{name}: starts")
        self.server(name).start()

    def pause_server(self, name: str) -> None:
        """As by SIGSTOP, or a virtual machine that is migrated."""
        running().trace.note(f"{name}: stands still")
        running().pause(self.server(name).process)

    def resume_server(self, name: str) -> None:
        running().trace.note(f"{name}: goes on")
        running().resume(self.server(name).process)

    def pause_agent(self, name: str) -> None:
        """Its units go on, and what its runtime waits for."""
        running().trace.note(f"{name}: the agent stands still")
        running().pause(self.nodes[name].process)

    def resume_agent(self, name: str) -> None:
        running().trace.note(f"{name}: the agent goes on")
        running().resume(self.nodes[name].process)

    def set_clock_wrong(self, name: str, seconds: float) -> None:
        """The wall clock of one server or machine is so many seconds ahead from now on."""
        running().trace.note(f"{name}: its clock is {seconds:+.0f} s wrong")
        error = timedelta(seconds=seconds)
        if name in self.nodes:
            self.nodes[name].machine.clock_error = error
        else:
            self.server(name).clock_error = error

    def jump_clock(self, seconds: float) -> None:
        """Somebody sets every clock on the wall."""
        running().trace.note(f"the clock jumps by {seconds:+.0f} s")
        running().jump_wall_clock(timedelta(seconds=seconds))

    def server(self, name: str) -> Server:
        return next(server for server in self.servers if server.name == name)

    def leader(self) -> Server | None:
        """The server whose engine believes that it leads."""
        leading = [s for s in self.servers if s.is_up and s.engine.status.is_leading]
        return leading[0] if leading else None

    def heal(self) -> None:
        """End every fault: networks whole, everybody up and part of the cluster. Units that fail by their nature go on."""
        running().trace.note("everything is healed")
        for faults, whole in (
            (self.store_faults, StoreFaults()),
            (self.link_faults, LinkFaults()),
        ):
            for name in faults.__slots__:
                setattr(faults, name, getattr(whole, name))
        for name in [*self.clones]:
            self.end_clone(name)
        for server in self.servers:
            server.process.spare()
            running().resume(server.process)
            server.clock_error = timedelta()
            if not server.is_up:
                server.start()
            server.client.is_cut = False
        for node in self.nodes.values():
            machine = node.machine
            node.process.spare()
            running().resume(node.process)
            node.is_cut = node.is_removed = machine.is_busy = machine.disk.is_full = False
            machine.clock_error = timedelta()
            if not machine.is_on:
                machine.boot()
            if not node.is_agent_up:
                node.start_agent()

    # --- looking ------------------------------------------------------------------------------------------------

    def where(self, name: str) -> list[str]:
        """Machines on which the unit runs, whether anybody can see it or not."""
        return [
            node.name
            for node in self.nodes.values()
            if any(run.unit == name for run in node.machine.running())
        ]

    def placed(self, name: str) -> list[str]:
        """Machines to which the unit is assigned."""
        return [
            node.name
            for node in self.nodes.values()
            if node.machine.record.id in self.checker.assignments
            for unit in self.checker.assignments[node.machine.record.id].units
            if unit.name == name
        ]

    def is_active(self, *names: str) -> bool:
        """Whether each unit is active on exactly one machine."""
        return all(
            [
                node.machine.statuses()[UnitName(name)].active
                for node in self.nodes.values()
                if UnitName(name) in node.machine.statuses()
            ]
            == [ActiveState.ACTIVE]
            for name in names
        )

    def runs(self, name: str) -> list[Run]:
        """Every run of the unit anywhere, oldest first."""
        runs = [run for node in self.nodes.values() for run in node.machine.history]
        return sorted((run for run in runs if run.unit == name), key=lambda run: run.began)

    async def events(self, kind: str) -> list[str]:
        """Messages of the events of that kind, oldest first."""
        found = await self.store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
        events = [codec.decode(kv.value, Event) for kv in found.kvs]
        return [event.message for event in events if event.kind == kind]

    # --- waiting ------------------------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and see that nothing forbidden happens meanwhile."""
        end = running().time() + seconds
        while running().time() < end:
            await asyncio.sleep(min(POLL * 10, end - running().time()))
            self.checker.check()

    async def wait_until(
        self, condition: Callable[[], object], *, within: float | timedelta, why: str = ""
    ) -> float:
        """Wait until it holds; returns how many seconds that took. Raises Late."""
        limit = within.total_seconds() if isinstance(within, timedelta) else within
        began = running().time()
        while not condition():
            self.checker.check()
            if running().time() - began > limit:
                raise Late(f"not within {limit:g} s: {why or _source(condition)}")
            await asyncio.sleep(POLL)
        self.checker.check()
        return running().time() - began

    async def settle(self, *, within: float = ENOUGH) -> float:
        """Wait until everything is as people want it; returns how many seconds that took. Raises Late, with what is not."""
        await asyncio.sleep(POLL)  # What was just written is seen by then.
        try:
            return await self.wait_until(lambda: not self.unsettled(), within=within)
        except Late:
            raise Late(f"after {within:g} s:\n" + "\n".join(self.unsettled())) from None

    def unsettled(self) -> list[str]:
        """What is not as people want it."""
        sights = [
            Sight(
                machine=node.machine,
                is_seen=node.machine.is_on
                and node.is_agent_up
                and not node.is_cut
                and not node.is_removed,
            )
            for node in self.nodes.values()
        ]
        return unsettled(self.checker, sights)

    async def expect_quiet(self, *, calm: float = CALM) -> None:
        """Nobody has anything left to do: no write for two slow ticks of everybody, and still as people want it.

        calm: seconds before that, in which what is under way may end: a report, the lease of a former leader, a unit
            that ends by its nature, the evening out of machines that came back.
        """
        await self.sleep(calm)
        before = (await self.store.status()).revision
        await self.sleep(QUIET)
        after = (await self.store.status()).revision
        if after != before:
            raise InvariantBroken(f"S9: though nothing changed, written: {self.checker.recent()}")
        assert not self.unsettled(), self.unsettled()

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        record = ClusterRecord(id="c" * 32, created_at=running().wall_clock())
        await self.store.txn([], [base.Put(keys.CLUSTER, codec.encode(record))])
        self._watching = self.begin(self._watch())
        await asyncio.sleep(0)
        for server in self.servers:
            server.start()
        for node in self.nodes.values():
            node.start_agent()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside the story; it is cancelled when the simulation ends."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _watch(self) -> None:
        async with self.store.watch("\x01", "\U0010ffff", start_revision=1) as batches:
            async for batch in batches:
                self.checker.fold(batch)

    async def stop(self) -> None:
        self._common.is_over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for node in (*self.nodes.values(), *self.clones.values()):
            if node.is_agent_up:
                node.kill_agent()
        for server in self.servers:
            server.kill()
        self.checker.check()


Story = Callable[[Cluster], Awaitable[T]]


def simulate(seed: int, story: Story[T], shape: Shape | None = None, **of: Any) -> T:
    """Tell the story on a new cluster of that shape (or of `Shape(**of)`); returns what the story returns.

    Raises InvariantBroken as soon as something forbidden happened, Late, or what the story raises; each with the seed
    and what happened last as its note.
    """
    wanted = shape or Shape(**of)

    async def main() -> T:
        cluster = Cluster(wanted)
        await cluster.start()
        try:
            return await story(cluster)
        finally:
            await cluster.stop()

    return sim.run(seed, main)


def _source(condition: Callable[[], object]) -> str:
    code = getattr(condition, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(condition)
