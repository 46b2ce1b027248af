"""Faults by seed: what an unlucky month does to a cluster, in a few minutes of virtual time.

`storm` does one thing after another to the cluster, each drawn from the seed, and lets each last a while. In between
people go on asking for things (`Wishes`). During a storm only safety is expected (`invariants.py`); afterwards
`Cluster.heal` ends every fault, everything must become as people want it, and then nobody may have anything left to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from argosy.errors import NotFound, Temporary
from argosy.model.ids import UnitName
from argosy.model.orders import Scheduling
from argosy.model.unit import Condition, Operator, Requirements, WhenCutOff
from argosy.testing.cluster import Cluster
from argosy.testing.loop import running
from argosy.testing.machine import Behaviour
from argosy.testing.members import Node, Server

Lasting = Coroutine[Any, Any, None]
"""A blow that takes its time; the storm is over when it is."""
STRIKES_WITHIN = 60
"""A process that is to die at one of its steps dies at one of the next so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """How bad it gets.

    seconds: how long, in virtual time.
    """

    seconds: float = 120.0


async def storm(cluster: Cluster, shape: Storm | None = None) -> None:
    """Strike the cluster again and again. It is left as it then is: `heal` it, or look at the ruins.

    Raises InvariantBroken when something forbidden happens meanwhile.
    """
    how = shape or Storm()
    chance = running().stream("storm")
    # Not every kind of blow in every storm: a few kinds that come again and again reach states that many kinds hide
    # (Groce et al., "Swarm Testing", ISSTA 2012).
    blows = chance.sample(BLOWS, chance.randint(2, len(BLOWS)))
    wishes = Wishes(cluster, chance.random() < 0.5)
    if _start_clone in blows:
        wishes.has_single = False
    await wishes.begin()
    wish_share = chance.choice((0.3, 0.6, 1.0))
    calm = chance.choice((2.0, 8.0, 20.0))
    under_way: list[asyncio.Task[None]] = []
    end = running().time() + how.seconds
    while running().time() < end:
        lasting = chance.choice(blows)(cluster, chance)
        if lasting is not None:
            under_way.append(cluster.begin(lasting))
        if chance.random() < wish_share:
            await wishes.one_more()
        await cluster.sleep(chance.uniform(0.0, calm))
    await asyncio.gather(*under_way)


async def let_orders_stand(cluster: Cluster) -> None:
    """Orders that would end by the clock hold until further notice, so that what people want stays the same."""
    for node in cluster.nodes.values():
        orders = cluster.checker.machines.orders.get(node.machine.record.id)
        if orders is not None and orders.until is not None:
            scheduling = orders.scheduling_at(running().wall_clock())
            await cluster.order(node.name, scheduling, metadata=orders.metadata)


# --- blows ------------------------------------------------------------------------------------------------------


def _kill_agent_at_a_step(cluster: Cluster, chance: random.Random) -> None:
    node = chance.choice(_nodes(cluster))
    if node.is_agent_up:
        life = node.lives

        def strike() -> None:
            if node.is_agent_up and node.lives == life and not node.machine.disk.is_full:
                node.kill_agent()
                _later(chance, 10, lambda: _revive(node))

        node.process.strike_after(chance.randint(1, STRIKES_WITHIN), strike)


def _kill_server_at_a_step(cluster: Cluster, chance: random.Random) -> None:
    server = chance.choice(cluster.servers)
    if server.is_up:
        life = server.lives

        def strike() -> None:
            if server.is_up and server.lives == life:
                cluster.kill_server(server.name)
                _later(chance, 15, lambda: _restart(cluster, server))

        server.process.strike_after(chance.randint(1, STRIKES_WITHIN), strike)


def _cut_power(cluster: Cluster, chance: random.Random) -> None:
    node = chance.choice(_nodes(cluster))
    if node.machine.is_on and not node.machine.disk.is_full:
        cluster.kill_machine(node.name)
        _later(chance, 60, lambda: _power_on(cluster, node))


def _cut_off_machines(cluster: Cluster, chance: random.Random) -> None:
    count = chance.choice((1, 1, 2, len(cluster.nodes)))
    nodes = _nodes(cluster)
    names = [node.name for node in chance.sample(nodes, min(count, len(nodes)))]
    cluster.cut_off(*names)
    _later(chance, 60, lambda: cluster.reconnect(*names))


async def _upgrade(cluster: Cluster, server: Server, seconds: float) -> None:
    if server.is_up:
        await cluster.stop_server(server.name)
        await asyncio.sleep(seconds)
        _restart(cluster, server)


def _stop_server(cluster: Cluster, chance: random.Random) -> Lasting:
    """As for an upgrade."""
    return _upgrade(cluster, chance.choice(cluster.servers), chance.uniform(0.5, 15))


def _reboot_cut_off(cluster: Cluster, chance: random.Random) -> None:
    """A machine that comes up with no server in reach."""
    node = chance.choice(_nodes(cluster))
    if node.machine.is_on and not node.machine.disk.is_full:
        cluster.cut_off(node.name)
        cluster.kill_machine(node.name)
        cluster.boot_machine(node.name)
        _later(chance, 60, lambda: cluster.reconnect(node.name))


def _start_clone(cluster: Cluster, chance: random.Random) -> None:
    """Of a machine that is there: the copy is refused, until the machine goes away and the copy is taken for it.

    Units with `WhenCutOff=stop` are not part of such storms (`docs/limits.md`).
    """
    node = chance.choice(_nodes(cluster))
    if node.name not in cluster.clones and node.machine.is_on:
        cluster.clone(node.name)
        _later(chance, 60, lambda: cluster.end_clone(node.name))


def _remove_machine(cluster: Cluster, chance: random.Random) -> Lasting | None:
    node = chance.choice(_nodes(cluster))
    if node.is_removed or node.machine.disk.is_full:
        return None
    _later(chance, 60, lambda: _rejoin(cluster, node))
    return cluster.remove_machine(node.name)


def _pause_server(cluster: Cluster, chance: random.Random) -> None:
    process = chance.choice(cluster.servers).process
    running().trace.note(f"{process.name}: stands still")
    running().pause(process)
    _later(chance, 40, lambda: running().resume(process))


def _pause_leader(cluster: Cluster, chance: random.Random) -> None:
    """Until its lease has ended, and a little longer or not: then it goes on in the belief that it leads."""
    leader = cluster.leader()
    if leader is not None:
        process = leader.process
        running().trace.note(f"{process.name}: stands still while it leads")
        running().pause(process)
        seconds = cluster.settings.leader_ttl.total_seconds() + chance.uniform(-2, 4)
        running().call_later(seconds, running().resume, process)


def _pause_agent(cluster: Cluster, chance: random.Random) -> None:
    process = chance.choice(_nodes(cluster)).process
    running().trace.note(f"{process.name}: stands still")
    running().pause(process)
    _later(chance, 40, lambda: running().resume(process))


def _cut_server_from_store(cluster: Cluster, chance: random.Random) -> None:
    client = chance.choice(cluster.servers).client
    client.is_cut = True

    def mend() -> None:
        client.is_cut = False

    _later(chance, 30, mend)


def _stop_store(cluster: Cluster, chance: random.Random) -> None:
    cluster.stop_store()
    _later(chance, 40, cluster.start_store)


def _make_store_unreliable(cluster: Cluster, chance: random.Random) -> None:
    faults = cluster.store_faults
    faults.refused = chance.choice((0.0, 0.05, 0.2))
    faults.indeterminate = chance.choice((0.0, 0.1, 0.4))
    faults.watch_breaks = chance.choice((0.0, 0.1))
    faults.watch_lag = chance.choice(((0.0, 0.002), (0.0, 0.5), (1.0, 4.0)))
    faults.latency = chance.choice(((0.0, 0.002), (0.05, 0.2), (0.5, 2.0)))


def _make_links_unreliable(cluster: Cluster, chance: random.Random) -> None:
    faults = cluster.link_faults
    faults.lost = chance.choice((0.0, 0.1, 0.4))
    faults.unanswered = chance.choice((0.0, 0.1))
    faults.repeated = chance.choice((0.0, 0.3))
    faults.stale = chance.choice((0.0, 0.3))
    faults.breaks = chance.choice((0.0, 0.1))
    faults.latency = chance.choice(((0.0, 0.002), (0.0, 1.0)))


def _compact(cluster: Cluster, chance: random.Random) -> None:
    """Behind everybody's back, as another client of the same store may."""
    newest = cluster.checker.revision
    revision = chance.randint(max(1, newest - 20), max(1, newest))
    cluster.begin(cluster.compact(revision))


def _restore_backup(cluster: Cluster, chance: random.Random) -> Lasting:
    """Of some seconds ago: what people asked for since is undone."""
    return _back_up_and_restore(cluster, chance.uniform(0, 40))


async def _back_up_and_restore(cluster: Cluster, after: float) -> None:
    backup = await cluster.backup()
    await asyncio.sleep(after)
    await cluster.restore(backup)


def _set_a_clock_wrong(cluster: Cluster, chance: random.Random) -> None:
    names = [*cluster.nodes, *(server.name for server in cluster.servers)]
    cluster.set_clock_wrong(chance.choice(names), chance.choice((-3600, 3600)))


def _jump_clock(cluster: Cluster, chance: random.Random) -> None:
    cluster.jump_clock(chance.choice((-86400, -300, -5, 5, 300, 86400)))


def _fill_disk(cluster: Cluster, chance: random.Random) -> None:
    """Of an agent that lives through it: one that is killed while it can write nothing forgets what it did meanwhile
    (`docs/design/simulation.md`, limits; the story of such agents is `full_disks` in the scenarios).
    """
    node = chance.choice(_nodes(cluster))
    running().trace.note(f"{node.name}: disk full")
    disk = node.machine.disk
    disk.is_full = True

    def empty() -> None:
        disk.is_full = False

    _later(chance, 30, empty)


def _busy_runtime(cluster: Cluster, chance: random.Random) -> None:
    machine = chance.choice(_nodes(cluster)).machine
    machine.is_busy = True

    def answer() -> None:
        machine.is_busy = False

    _later(chance, 15, answer)


BLOWS: tuple[Callable[[Cluster, random.Random], Lasting | None], ...] = (
    _kill_agent_at_a_step,
    _kill_server_at_a_step,
    _stop_server,
    _cut_power,
    _reboot_cut_off,
    _start_clone,
    _remove_machine,
    _cut_off_machines,
    _pause_server,
    _pause_leader,
    _pause_agent,
    _cut_server_from_store,
    _stop_store,
    _make_store_unreliable,
    _make_links_unreliable,
    _compact,
    _restore_backup,
    _set_a_clock_wrong,
    _jump_clock,
    _fill_disk,
    _busy_runtime,
)


def _nodes(cluster: Cluster) -> list[Node]:
    return list(cluster.nodes.values())


def _later(chance: random.Random, seconds: float, mend: Callable[[], None]) -> None:
    running().call_later(chance.uniform(0.5, seconds), mend)


def _revive(node: Node) -> None:
    if node.machine.is_on and not node.is_agent_up:
        node.start_agent()


def _restart(cluster: Cluster, server: Server) -> None:
    if not server.is_up:
        cluster.start_server(server.name)


def _rejoin(cluster: Cluster, node: Node) -> None:
    node.machine.disk.is_full = False  # its agent begins anew, and would forget
    if node.is_removed:
        cluster.rejoin(node.name)


def _power_on(cluster: Cluster, node: Node) -> None:
    if not node.machine.is_on:
        cluster.boot_machine(node.name)


# --- wishes -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Wishes:
    """People who ask for one thing after another while everything burns.

    has_orders: whether they order machines and moves about, too. has_single: whether some units must not run twice.
    """

    cluster: Cluster
    has_orders: bool
    has_single: bool = True
    _units: dict[str, Requirements] = field(default_factory=dict)
    _texts: int = 0

    async def begin(self) -> None:
        """A few units of every kind, and some that fail by their nature."""
        cluster = self.cluster
        cluster.behave("bad*", Behaviour(fails_to_start=True))
        cluster.behave("hang*", Behaviour(hangs=True))
        cluster.behave("crash*", Behaviour(crashes_after=timedelta(seconds=7)))
        cluster.behave("broken*", Behaviour(install_error="the simulated systemd does not like it"))
        cluster.behave("slow*", Behaviour(stop_takes=timedelta(seconds=4)))
        self._units = {
            "web@1.service": Requirements(conflicts=("web@*.service",)),
            "web@2.service": Requirements(conflicts=("web@*.service",)),
            "log@1.service": Requirements(machine_of=(UnitName("web@1.service"),)),
            "big.service": Requirements(memory_bytes=5 << 30),
            "other.service": Requirements(memory_bytes=5 << 30),
            "port.service": Requirements(ports=(80,)),
            "gateway.service": Requirements(ports=(80,)),
            "ssd.service": Requirements(metadata=(Condition("disk", Operator.EQUAL, ("ssd",)),)),
            "everywhere.service": Requirements(is_global=True),
            "hasty.service": Requirements(move_after=timedelta(seconds=12)),
            "patient.service": Requirements(move_after=timedelta(seconds=50)),
            "bad.service": Requirements(),
            "hang.service": Requirements(),
            "crash.service": Requirements(),
            "broken.service": Requirements(),
            "slow.service": Requirements(),
        }
        if self.has_single:
            single = Requirements(when_cut_off=WhenCutOff.STOP)
            self._units |= {
                "db.service": single,
                "db-patient.service": msgspec.structs.replace(
                    single, move_after=timedelta(seconds=50)
                ),
                "db-slow.service": single,
                "db-log.service": Requirements(machine_of=(UnitName("db.service"),)),
            }
            cluster.behave("db-slow*", Behaviour(stop_takes=timedelta(seconds=9)))
        for name, requirements in self._units.items():
            await self._ask(partial(self._submit, name, requirements))

    async def one_more(self) -> None:
        chance = running().stream(f"wish {running().steps}")
        if self.has_orders and chance.random() < 0.3:
            await self._order(chance)
            return
        name = chance.choice(sorted(self._units))
        wish = chance.choice(("text", "restart", "loaded", "inactive", "launched", "destroy"))
        match wish:
            case "text" | "launched":
                await self._ask(partial(self._submit, name, self._units[name]))
            case "restart":
                await self._ask(partial(self.cluster.restart, name))
            case "destroy":
                await self._ask(partial(self.cluster.destroy, name))
            case _:
                await self._ask(partial(self.cluster.want, name, wish))

    async def _order(self, chance: random.Random) -> None:
        machine = chance.choice(_nodes(self.cluster)).name
        match chance.choice(("move", "order", "order")):
            case "move":
                name = chance.choice(sorted(self._units))
                await self._ask(partial(self.cluster.move, name, machine))
            case _:
                scheduling = chance.choice(tuple(Scheduling))
                metadata = chance.choice(({}, {}, {"disk": "ssd"}, {"disk": "none"}))
                lasting = chance.choice((None, None, chance.uniform(1, 40)))
                order = partial(
                    self.cluster.order, machine, scheduling, lasting=lasting, metadata=metadata
                )
                await self._ask(order)

    async def _submit(self, name: str, requirements: Requirements) -> None:
        self._texts += 1
        text = f"[Service]\nExecStart=/bin/{name} {self._texts % 3}\n"
        await self.cluster.submit(name, text=text, requirements=requirements)

    async def _ask(self, wish: Callable[[], Awaitable[None]]) -> None:
        """What is refused now is not asked again."""
        with suppress(Temporary, NotFound):
            await wish()
