"""A whole cluster in one event loop: servers with engines, machines with agents, people who ask for things.

        async def story(cluster: Cluster) -> None:
            await cluster.submit("web.service")
            await cluster.wait_until(lambda: cluster.is_active("web.service"), within=5)
            cluster.kill_machine(cluster.where("web.service")[0])
            ...
        simulate(1, story, machines=3)

Everything but the network, the machines and the clock is the real code. Whoever is killed is killed as by SIGKILL: its
handles on store, link, runtime and disk are dead before its tasks are cancelled, so nothing that they do on their way out
has an effect. Each process can also be paused, or struck at any of its steps (`loop.Process`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from argosy.agent.agent import Agent
from argosy.agent.disk import Disk
from argosy.agent.link import ServerLink
from argosy.api.gate import MachineGate
from argosy.api.sessions import Sessions
from argosy.engine.engine import Engine
from argosy.errors import Conflict, NotFound, RuntimeBusy, Temporary
from argosy.model.cluster import Cluster as ClusterRecord
from argosy.model.event import Event
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.machine import Capacity, Machine
from argosy.model.moves import MoveOrder
from argosy.model.observed import ActiveState
from argosy.model.orders import MachineOrders, Scheduling
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.runtime.base import Runtime
from argosy.settings import AgentSettings, EngineSettings
from argosy.store import base, codec, keys, transfer
from argosy.store.memory import MemoryStore
from argosy.testing import loop as sim
from argosy.testing.invariants import PEOPLE, Checker, InvariantBroken
from argosy.testing.link import FaultyLink, LinkFaults
from argosy.testing.liveness import Sight, unsettled
from argosy.testing.loop import Process, running
from argosy.testing.machine import Behaviour, Rules, Run, SimMachine
from argosy.testing.runtime import SimRuntime
from argosy.testing.store import FaultyStore, Ledger, StoreFaults

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
class Parts:
    """What the cluster is built of: the real classes, or subclasses with something broken on purpose."""

    engine: type[Engine] = Engine
    agent: type[Agent] = Agent
    gate: type[MachineGate] = MachineGate
    client: type[FaultyStore] = FaultyStore


class Server:
    """One server: an engine, and the sessions of the agents that speak to it, over one client of the store."""

    def __init__(self, name: str, cluster: Cluster) -> None:
        self.name = name
        self.lives = 0
        self.process = Process(name)
        self.process.is_dead = True
        self._cluster = cluster
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gates: dict[tuple[MachineId, int], MachineGate] = {}

    @property
    def is_up(self) -> bool:
        return not self.process.is_dead

    def start(self) -> None:
        """A new life, with nothing remembered."""
        assert not self.is_up
        self.lives += 1
        self.process = Process(f"{self.name}.{self.lives}")
        cluster = self._cluster
        self.client = cluster.parts.client(
            cluster.store, self.process, cluster.store_faults, cluster.ledger
        )
        self._gates = {}
        self.engine = cluster.parts.engine(
            self.client,
            name=self.process.name,
            clock=running().wall_clock,
            settings=cluster.engine_settings,
        )
        self.sessions = Sessions(
            self.client,
            name=self.name,
            clock=running().wall_clock,
            settings=cluster.engine_settings.presence,
        )
        self.begin(self.engine.run(), f"engine of {self.process.name}")
        self.begin(self.sessions.run(), f"sessions of {self.process.name}")

    def kill(self) -> None:
        self.process.is_dead = True
        running().resume(self.process)
        for task in [*self._tasks]:
            task.cancel()

    def gate(self, machine: Machine) -> ServerLink:
        boots = self._cluster.nodes[machine.hostname].machine.boots
        known = machine.id, boots
        if known not in self._gates:
            self._gates[known] = self._cluster.parts.gate(
                self.sessions, machine.id, holder=f"{machine.id}-{boots}"
            )
        return self._gates[known]

    def begin(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        process = self.process
        task = running().spawn(process, work, name=name)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            problem = None if task.cancelled() else task.exception()
            if problem is None or process.is_dead:
                return
            if not isinstance(problem, Temporary | Conflict | NotFound):
                self._cluster.checker.process_died(name, problem)

        task.add_done_callback(ended)
        return task


class Node:
    """A machine with its network and its agent."""

    def __init__(self, machine: SimMachine, cluster: Cluster) -> None:
        self.machine = machine
        self.name = machine.record.hostname
        self.lives = 0
        self.is_cut = False
        self.is_removed = False
        """Servers do not know it any more."""
        self.process = Process(self.name)
        self.process.is_dead = True
        self._cluster = cluster
        self._task: asyncio.Task[None] | None = None

    @property
    def is_agent_up(self) -> bool:
        return not self.process.is_dead

    def start_agent(self) -> None:
        assert self.machine.is_on, f"{self.name} has no power"
        assert not self.is_agent_up, f"the agent of {self.name} runs"
        self.lives += 1
        self.process = Process(f"agent-{self.name}.{self.lives}")
        self._cluster.checker.agent_began(self.machine)
        running().trace.note(f"{self.name}: agent starts")
        self._task = running().spawn(
            self.process, self._live(), name=f"agent of {self.process.name}"
        )
        process = self.process

        def ended(task: asyncio.Task[None]) -> None:
            problem = None if task.cancelled() else task.exception()
            if problem is not None and not process.is_dead:
                self._cluster.checker.process_died(process.name, problem)

        self._task.add_done_callback(ended)

    def kill_agent(self) -> None:
        """Units keep running."""
        self.process.is_dead = True
        running().trace.note(f"{self.name}: agent killed")
        running().resume(self.process)
        if self._task is not None:
            self._task.cancel()

    async def _live(self) -> None:
        cluster, process, machine = self._cluster, self.process, self.machine
        runtime: Runtime = SimRuntime(machine, process)
        disk: Disk = machine.disk.held_by(process)
        link: ServerLink = FaultyLink(
            machine.record,
            process,
            cluster.servers,
            cluster.link_faults,
            is_cut=lambda: self.is_cut,
            is_refused=lambda: self.is_removed,
            told=lambda delivery: cluster.checker.told(machine, delivery),
        )
        while True:
            # As the init system starts a daemon again that could not begin.
            try:
                await runtime.open()
            except RuntimeBusy:
                await asyncio.sleep(1)
            else:
                break
        agent = cluster.parts.agent(
            link,
            runtime,
            disk,
            machine.record,
            clock=running().wall_clock,
            settings=cluster.agent_settings,
        )
        await agent.run()


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
    parts: Parts = Parts()


class Cluster:
    """The cluster of one simulation. Machines are called m1, m2 ..., servers s1, s2 ..."""

    def __init__(self, shape: Shape) -> None:
        self.parts = shape.parts
        self.engine_settings = shape.engine
        self.agent_settings = shape.agent
        self.store = MemoryStore()
        self.ledger = Ledger()
        self.checker = Checker(self.ledger)
        self.store_faults = StoreFaults()
        self.link_faults = LinkFaults()
        self.rules = Rules()
        metadata = (
            [{} for _ in range(shape.machines)]
            if isinstance(shape.machines, int)
            else shape.machines
        )
        self.nodes: dict[str, Node] = {}
        for number, one in enumerate(metadata, start=1):
            record = Machine(
                id=MachineId(f"{number:032x}"),
                hostname=f"m{number}",
                address=f"10.0.0.{number}",
                metadata=dict(one),
                capacity=shape.capacity,
            )
            machine = SimMachine(
                record,
                rules=self.rules,
                witness=self.checker.acted,
                began=self.checker.began,
            )
            self.nodes[record.hostname] = Node(machine, self)
        self.servers = [Server(f"s{n}", self) for n in range(1, shape.servers + 1)]
        self._people = FaultyStore(self.store, Process(PEOPLE), StoreFaults(), self.ledger)
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None]
        self._store_down_since = 0.0

    # --- what people do -----------------------------------------------------------------------------------------

    async def submit(
        self,
        name: str,
        *,
        desired: str = "launched",
        text: str = "",
        requirements: Requirements | None = None,
    ) -> None:
        """Create the unit or change it, as the API does: text and record in one transaction.

        Raises StoreUnavailable during an outage.
        """
        content = (text or f"[Service]\nExecStart=/bin/{name}\n").encode()
        digest = Digest(hashlib.sha256(content).hexdigest())
        known = await self._people.range(keys.unit(UnitName(name)))
        before = codec.decode(known.kvs[0].value, Unit) if known.kvs else None
        unit = Unit(
            name=UnitName(name),
            digest=digest,
            desired=DesiredState(desired),
            generation=before.generation if before else 0,
            requirements=requirements or (before.requirements if before else Requirements()),
        )
        await self._write(known, unit, base.Put(keys.text(digest), content))
        running().trace.note(f"people: submit {name} {desired} {digest[:8]}")

    async def want(self, name: str, desired: str) -> None:
        """Change the desired state."""
        known, unit = await self._unit(name)
        await self._write(known, msgspec.structs.replace(unit, desired=DesiredState(desired)))
        running().trace.note(f"people: {name} should be {desired}")

    async def restart(self, name: str) -> None:
        """Ask for a restart."""
        known, unit = await self._unit(name)
        await self._write(known, msgspec.structs.replace(unit, generation=unit.generation + 1))
        running().trace.note(f"people: restart {name}")

    async def destroy(self, name: str) -> None:
        known, _ = await self._unit(name)
        await self._people.txn([base.unchanged(known.kvs[0])], [base.Delete(known.kvs[0].key)])
        running().trace.note(f"people: destroy {name}")

    async def order(
        self,
        name: str,
        scheduling: Scheduling,
        *,
        lasting: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Cordon, drain or open a machine, for so many seconds or until further notice, and give it metadata."""
        machine_id = self.nodes[name].machine.record.id
        now = running().wall_clock()
        orders = MachineOrders(
            machine=machine_id,
            scheduling=scheduling,
            until=None if lasting is None else now + timedelta(seconds=lasting),
            metadata=metadata or {},
            by=PEOPLE,
            at=now,
        )
        await self._people.txn([], [base.Put(keys.orders(machine_id), codec.encode(orders))])
        running().trace.note(f"people: {name} is to be {scheduling.value}")

    async def drain(self, name: str) -> None:
        await self.order(name, Scheduling.DRAINED)

    async def move(self, unit: str, to: str) -> None:
        """Ask for one unit to go to one machine."""
        target = self.nodes[to].machine.record.id
        order = MoveOrder(unit=UnitName(unit), to=target, by=PEOPLE)
        await self._people.txn([], [base.Put(keys.move(order.unit), codec.encode(order))])
        running().trace.note(f"people: move {unit} to {to}")

    async def remove_machine(self, name: str) -> None:
        """Take a machine out of the cluster: servers know it no more, whatever it says."""
        node = self.nodes[name]
        machine_id = node.machine.record.id
        observed = keys.observed_of(machine_id)
        ops: list[base.Op] = [
            base.Delete(keys.machine(machine_id)),
            base.Delete(keys.presence(machine_id)),
            base.Delete(keys.orders(machine_id)),
            base.Delete(observed, base.prefix_end(observed)),
        ]
        await self._people.txn([], ops)
        node.is_removed = True
        running().trace.note(f"people: remove machine {name}")

    async def backup(self) -> transfer.Contents:
        """What a backup has, taken now."""
        running().trace.note("people: a backup")
        return await transfer.read(self.store)

    async def restore(self, contents: transfer.Contents) -> None:
        """Stop the servers, put a backup into a new store, start them on it."""
        running().trace.note("people: a restore")
        epoch = codec.decode((await self.store.range(keys.CLUSTER)).kvs[0].value, ClusterRecord)
        newest = max(epoch.epoch, contents.cluster.epoch) + 1
        cluster = msgspec.structs.replace(contents.cluster, epoch=newest)
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
        self.store = MemoryStore()
        self._people = FaultyStore(self.store, Process(PEOPLE), StoreFaults(), self.ledger)
        self.ledger.start_over()
        self.checker.start_over()
        self._watching.cancel()
        await old.close()
        self._watching = self.begin(self._watch())
        await asyncio.sleep(0)
        await transfer.write(self.store, contents)
        for server in self.servers:
            server.start()

    async def _unit(self, name: str) -> tuple[base.RangeResult, Unit]:
        known = await self._people.range(keys.unit(UnitName(name)))
        if not known.kvs:
            raise NotFound(f"there is no unit {name}")
        return known, codec.decode(known.kvs[0].value, Unit)

    async def _write(self, known: base.RangeResult, unit: Unit, *more: base.Op) -> None:
        key = keys.unit(unit.name)
        guard = base.unchanged(known.kvs[0]) if known.kvs else base.absent(key)
        await self._people.txn([guard], [*more, base.Put(key, codec.encode(unit))])

    # --- what happens to them -----------------------------------------------------------------------------------

    def behave(self, pattern: str, behaviour: Behaviour) -> None:
        """From now on units whose names match behave so; an earlier rule for the same glob is replaced."""
        self.rules.rules[pattern] = behaviour

    def kill_machine(self, name: str) -> None:
        """Cut its power: agent and units are gone at once."""
        self.nodes[name].kill_agent()
        self.nodes[name].machine.cut_power()

    def boot_machine(self, name: str) -> None:
        self.nodes[name].machine.boot()
        self.nodes[name].start_agent()

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
            self.checker.store_is_back(after=running().time() - self._store_down_since)
        self.store_faults.is_down = False

    async def compact(self, revision: int) -> None:
        """Compact the store behind everybody's back, as another client of it may."""
        running().trace.note(f"store: compacted to {revision}")
        with suppress(base.Compacted):
            await self.store.compact(revision)

    def kill_server(self, name: str) -> None:
        running().trace.note(f"{name}: killed")
        self.server(name).kill()

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
        """End every fault: networks whole, everybody up. Units that fail by their own nature go on failing."""
        running().trace.note("everything is healed")
        for faults, whole in (
            (self.store_faults, StoreFaults()),
            (self.link_faults, LinkFaults()),
        ):
            for name in faults.__slots__:
                setattr(faults, name, getattr(whole, name))
        for server in self.servers:
            server.process.spare()
            running().resume(server.process)
            if not server.is_up:
                server.start()
            server.client.is_cut = False
        for node in self.nodes.values():
            node.process.spare()
            running().resume(node.process)
            node.is_cut = node.machine.is_busy = node.machine.disk.is_full = False
            if not node.machine.is_on:
                node.machine.boot()
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

    async def expect_quiet(self) -> None:
        """Nobody has anything left to do: no write for two slow ticks of everybody, and still as people want it.

        Before that, what is under way may end: a report, a lease of a former leader, a unit that ends by its nature.
        """
        await self.sleep(CALM)
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
        for node in self.nodes.values():
            if node.is_agent_up:
                node.kill_agent()
        for server in self.servers:
            server.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
