"""Who takes part in a simulated cluster: servers, and machines with their agents. `cluster.py` puts them together.

Whoever is killed is killed as by SIGKILL: its handles on store, link, runtime and disk are dead before its tasks are
cancelled, so nothing that they do on their way out has an effect. A server can also be stopped, as by SIGTERM: then it
says goodbye. Each process has a wall clock of its own, which may be wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from argosy.agent.agent import Agent
from argosy.agent.disk import Disk
from argosy.agent.link import ServerLink
from argosy.api.gate import MachineGate
from argosy.api.sessions import Sessions
from argosy.engine.engine import Engine
from argosy.errors import Conflict, NotFound, RuntimeBusy, Temporary
from argosy.model.machine import Machine
from argosy.runtime.base import Runtime
from argosy.settings import AgentSettings, EngineSettings
from argosy.store.memory import MemoryStore
from argosy.testing.invariants import Checker
from argosy.testing.link import FaultyLink, LinkFaults
from argosy.testing.loop import Process, running
from argosy.testing.machine import SimMachine
from argosy.testing.runtime import SimRuntime
from argosy.testing.store import FaultyStore, Ledger, StoreFaults

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the cluster is built of: the real classes, or subclasses with something broken on purpose."""

    engine: type[Engine] = Engine
    agent: type[Agent] = Agent
    gate: type[MachineGate] = MachineGate
    sessions: type[Sessions] = Sessions
    client: type[FaultyStore] = FaultyStore


@dataclass(slots=True, kw_only=True)
class Common:
    """What all of them share."""

    parts: Parts
    engine: EngineSettings
    agent: AgentSettings
    store: MemoryStore
    ledger: Ledger
    checker: Checker
    store_faults: StoreFaults = field(default_factory=StoreFaults)
    link_faults: LinkFaults = field(default_factory=LinkFaults)
    servers: list[Server] = field(default_factory=list)
    is_over: bool = False
    """Whether the story is told: nothing starts any more, whatever was to start later."""


class Server:
    """One server: an engine, and the sessions of the agents that speak to it, over one client of the store."""

    def __init__(self, name: str, common: Common) -> None:
        self.name = name
        self.lives = 0
        self.process = Process(name)
        self.process.is_dead = True
        self.clock_error = timedelta()
        """How much its wall clock is ahead."""
        self._common = common
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gates: dict[str, MachineGate] = {}

    @property
    def is_up(self) -> bool:
        return not self.process.is_dead

    def start(self) -> None:
        """A new life, with nothing remembered."""
        if self._common.is_over:
            return
        assert not self.is_up, f"{self.name} runs"
        self.lives += 1
        self.process = Process(f"{self.name}.{self.lives}")
        common = self._common
        self.client = common.parts.client(
            common.store, self.process, common.store_faults, common.ledger
        )
        self._gates = {}
        self.engine = common.parts.engine(
            self.client, name=self.process.name, clock=self._wall_clock, settings=common.engine
        )
        self.sessions = common.parts.sessions(
            self.client,
            name=self.name,
            clock=self._wall_clock,
            settings=common.engine.presence,
        )
        self.begin(self.engine.run(), f"engine of {self.process.name}")
        self.begin(self.sessions.run(), f"sessions of {self.process.name}")

    def kill(self) -> None:
        self.process.is_dead = True
        running().resume(self.process)
        for task in [*self._tasks]:
            task.cancel()

    async def stop(self) -> None:
        """As by SIGTERM: what runs is cancelled and ends in its own way; then the process is gone."""
        life = self.lives
        for task in [*self._tasks]:
            task.cancel()
        if self._tasks:
            await asyncio.wait([*self._tasks])
        if self.lives == life:
            self.kill()

    def gate(self, machine: Machine, holder: str) -> MachineGate:
        if holder not in self._gates:
            self._gates[holder] = self._common.parts.gate(self.sessions, machine.id, holder=holder)
        return self._gates[holder]

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
                self._common.checker.process_died(name, problem)

        task.add_done_callback(ended)
        return task

    def _wall_clock(self) -> datetime:
        return running().wall_clock() + self.clock_error


class Node:
    """A machine with its network and its agent.

    name: unique, also where two machines have one id because one is a copy of the other.
    """

    def __init__(self, name: str, machine: SimMachine, common: Common) -> None:
        self.machine = machine
        self.name = name
        self.lives = 0
        self.is_cut = False
        self.is_removed = False
        """Servers do not know it any more."""
        self.process = Process(self.name)
        self.process.is_dead = True
        self._common = common
        self._task: asyncio.Task[None] | None = None

    @property
    def is_agent_up(self) -> bool:
        return not self.process.is_dead

    def start_agent(self) -> None:
        if self._common.is_over:
            return
        assert self.machine.is_on, f"{self.name} has no power"
        assert not self.is_agent_up, f"the agent of {self.name} runs"
        self.lives += 1
        self.process = Process(f"agent-{self.name}.{self.lives}")
        self._common.checker.agent_began(self.machine)
        running().trace.note(f"{self.name}: agent starts")
        self._task = running().spawn(
            self.process, self._live(), name=f"agent of {self.process.name}"
        )
        process = self.process

        def ended(task: asyncio.Task[None]) -> None:
            problem = None if task.cancelled() else task.exception()
            if problem is not None and not process.is_dead:
                self._common.checker.process_died(process.name, problem)

        self._task.add_done_callback(ended)

    def kill_agent(self) -> None:
        """Units keep running."""
        self.process.is_dead = True
        running().trace.note(f"{self.name}: agent killed")
        running().resume(self.process)
        if self._task is not None:
            self._task.cancel()

    def cut_power(self) -> None:
        """Agent and units are gone at once."""
        self.kill_agent()
        self.machine.cut_power()

    def boot(self) -> None:
        self.machine.boot()
        self.start_agent()

    async def _live(self) -> None:
        common, process, machine = self._common, self.process, self.machine
        runtime: Runtime = SimRuntime(machine, process)
        disk: Disk = machine.disk.held_by(process)
        link: ServerLink = FaultyLink(
            machine.record,
            process,
            common.servers,
            common.link_faults,
            holder=f"{self.name}-{machine.boots}",
            is_cut=lambda: self.is_cut,
            is_refused=lambda: self.is_removed,
            told=lambda delivery: common.checker.told(machine, delivery),
        )
        while True:
            # As the init system starts a daemon again that could not begin.
            try:
                await runtime.open()
            except RuntimeBusy:
                await asyncio.sleep(1)
            else:
                break
        agent = common.parts.agent(
            link,
            runtime,
            disk,
            machine.record,
            clock=machine.wall_clock,
            settings=common.agent,
        )
        await agent.run()
