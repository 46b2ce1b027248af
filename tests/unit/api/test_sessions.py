"""How a server vouches for the machines that speak to it; on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from argosy.api.gate import MachineGate
from argosy.api.sessions import Sessions
from argosy.errors import Conflict, LeaseLost, StoreUnavailable
from argosy.model.cluster import Cluster
from argosy.model.ids import MachineId
from argosy.model.link import Report
from argosy.model.machine import Machine
from argosy.model.server import ServerRecord
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from argosy.testing import loop
from argosy.testing.loop import Process, running
from argosy.testing.store import FaultyStore, Ledger, StoreFaults

T = TypeVar("T")


def machine_id(number: int) -> MachineId:
    return MachineId(f"{number:032x}")


ME = machine_id(1)


@dataclass
class World:
    """A store, and servers on it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    faults: StoreFaults = field(default_factory=StoreFaults)
    keepalives: int = 0

    def server(self, name: str) -> tuple[Sessions, asyncio.Task[None]]:
        client = CountingStore(self, Process(name))
        sessions = Sessions(
            client,
            name=name,
            endpoints=[f"https://{name}:7440"],
            clock=running().wall_clock,
        )
        return sessions, asyncio.create_task(sessions.run())

    async def present(self) -> list[MachineId]:
        found = await self.store.range(keys.PRESENCE, base.prefix_end(keys.PRESENCE))
        return [MachineId(keys.last_part(kv.key)) for kv in found.kvs]

    async def servers(self) -> list[str]:
        found = await self.store.range(keys.SERVERS, base.prefix_end(keys.SERVERS))
        return [codec.decode(kv.value, ServerRecord).name for kv in found.kvs]


class CountingStore(FaultyStore):
    def __init__(self, world: World, process: Process) -> None:
        super().__init__(world.store, process, world.faults, Ledger())
        self._world = world

    async def keep_alive(self, lease_id: int) -> int:
        self._world.keepalives += 1
        return await super().keep_alive(lease_id)


def play(story: Callable[[World], Awaitable[T]]) -> T:
    async def main() -> T:
        world = World()
        record = Cluster(id="c" * 32, created_at=running().wall_clock())
        await world.store.txn([], [base.Put(keys.CLUSTER, codec.encode(record))])
        return await story(world)

    return loop.run(1, main)


async def heartbeats(gate: MachineGate, *, seconds: float) -> None:
    end = running().time() + seconds
    while running().time() < end:
        await gate.report(Report())
        await asyncio.sleep(3)


def test_a_hundred_machines_at_rest_cost_the_store_one_renewal_every_three_seconds() -> None:
    async def story(world: World) -> None:
        sessions, _ = world.server("s1")
        gates = [MachineGate(sessions, machine_id(n), holder="b") for n in range(1, 101)]
        for number, gate in enumerate(gates, start=1):
            await gate.register(Machine(id=machine_id(number)))
        world.keepalives = 0
        before = (await world.store.status()).revision
        await asyncio.gather(*(heartbeats(gate, seconds=60) for gate in gates))
        assert (await world.store.status()).revision == before
        assert 18 <= world.keepalives <= 22
        assert len(await world.present()) == 100

    play(story)


def test_a_silent_machine_loses_its_presence_and_must_register_anew() -> None:
    async def story(world: World) -> None:
        sessions, _ = world.server("s1")
        silent = MachineGate(sessions, ME, holder="b")
        other = MachineGate(sessions, machine_id(2), holder="b")
        await silent.register(Machine(id=ME))
        await other.register(Machine(id=machine_id(2)))
        await heartbeats(other, seconds=8)
        assert len(await world.present()) == 2
        await heartbeats(other, seconds=5)
        assert await world.present() == [machine_id(2)]
        with pytest.raises(LeaseLost):
            await silent.report(Report())
        await silent.register(Machine(id=ME))
        await silent.report(Report())

    play(story)


def test_a_server_that_stood_still_hears_what_waits_before_it_judges() -> None:
    async def story(world: World) -> None:
        process = Process("s1")
        client = CountingStore(world, process)
        sessions = Sessions(client, name="s1", clock=running().wall_clock)
        running().spawn(process, sessions.run(), name="sessions")
        gate = MachineGate(sessions, ME, holder="b")
        await gate.register(Machine(id=ME))
        running().pause(process)
        await asyncio.sleep(60)
        running().resume(process)
        await asyncio.sleep(0.5)
        # The report was sent in time; the server reads it only now. Its lease is another matter: it is over.
        with pytest.raises(StoreUnavailable):
            await gate.report(Report())
        await heartbeats_when_possible(gate, seconds=5)
        assert await world.present() == [ME]
        await gate.report(Report())

    play(story)


def test_a_registration_that_was_given_up_does_not_take_the_machine_back() -> None:
    async def story(world: World) -> None:
        here, there = (MachineGate(world.server(name)[0], ME, holder="b") for name in ("s1", "s2"))
        await there.register(Machine(id=ME), asked=2)
        with pytest.raises(Conflict, match="anew since"):
            await here.register(Machine(id=ME), asked=1)
        # The machine speaks to the server that it chose last, and that one's word holds.
        await heartbeats_when_possible(there, seconds=60)
        assert await world.present() == [ME]
        await here.register(Machine(id=ME), asked=3)

    play(story)


async def heartbeats_when_possible(gate: MachineGate, *, seconds: float) -> None:
    end = running().time() + seconds
    while running().time() < end:
        with suppress(StoreUnavailable):
            await gate.report(Report())
        await asyncio.sleep(1)


def test_a_server_without_its_store_acknowledges_nothing_and_goes_on_when_it_is_back() -> None:
    async def story(world: World) -> None:
        sessions, _ = world.server("s1")
        gate = MachineGate(sessions, ME, holder="b")
        registered = await gate.register(Machine(id=ME))
        await gate.report(Report())
        world.faults.is_down = True
        await asyncio.sleep(6.1)
        with pytest.raises(StoreUnavailable):
            await gate.report(Report())
        await heartbeats_when_possible(gate, seconds=60)
        assert await world.present() == []
        world.faults.is_down = False
        await heartbeats_when_possible(gate, seconds=10)
        assert await world.present() == [ME]
        assert await world.servers() == ["s1"]
        # For the agent it is the same registration all along.
        await gate.report(Report(session=registered.session))

    play(story)


def test_a_thousand_machines_are_put_back_in_chunks_after_an_outage() -> None:
    async def story(world: World) -> None:
        sessions, _ = world.server("s1")
        gates = [MachineGate(sessions, machine_id(n), holder="b") for n in range(1, 1001)]
        for number, gate in enumerate(gates, start=1):
            await gate.register(Machine(id=machine_id(number)))
        world.faults.is_down = True
        for _ in range(20):
            await asyncio.sleep(1)
            for number in range(1, 1001):
                with_token = sessions._sessions[machine_id(number)]
                sessions.heard(machine_id(number), with_token.token)
        assert await world.present() == []
        before = (await world.store.status()).revision
        # Somebody removes one of them, and another registers elsewhere, before this server is back.
        await world.store.txn([], [base.Delete(keys.machine(machine_id(7)))])
        lease = await world.store.grant(60)
        elsewhere = base.Put(keys.presence(machine_id(9)), b"b", lease.id)
        await world.store.txn([], [elsewhere])
        world.faults.is_down = False
        await asyncio.sleep(3)
        present = await world.present()
        assert len(present) == 999
        assert machine_id(7) not in present
        written = (await world.store.status()).revision - before
        assert written < 100
        for number, expected in ((7, LeaseLost), (9, LeaseLost)):
            with pytest.raises(expected):
                await gates[number - 1].report(Report())
        await gates[10].report(Report())

    play(story)


def test_a_machine_moves_to_another_server_at_once_and_the_first_one_answers_it_no_more() -> None:
    async def story(world: World) -> None:
        (first, _), (second, _) = world.server("s1"), world.server("s2")
        here, there = (MachineGate(one, ME, holder="b") for one in (first, second))
        old = await here.register(Machine(id=ME))
        new = await there.register(Machine(id=ME))
        assert set(new.servers) == {"https://s1:7440", "https://s2:7440"}
        await there.report(Report(session=new.session))
        # The agent comes back to the first server, which still knows it: an empty report must not be answered there.
        with pytest.raises(LeaseLost):
            await here.report(Report(session=new.session))
        # And within three seconds it knows itself that the machine is with another server now.
        await asyncio.sleep(3.1)
        with pytest.raises(LeaseLost):
            await here.report(Report(session=old.session))
        await asyncio.sleep(15)
        assert await world.present() == []


def test_a_server_does_not_vouch_for_a_machine_whose_presence_somebody_took_away() -> None:
    async def story(world: World) -> None:
        sessions, _ = world.server("s1")
        gate = MachineGate(sessions, ME, holder="b")
        await gate.register(Machine(id=ME))
        await heartbeats(gate, seconds=6)
        await world.store.txn([], [base.Delete(keys.presence(ME))])
        await asyncio.sleep(3.1)
        with pytest.raises(LeaseLost):
            await gate.report(Report())

    play(story)


def test_a_registration_without_an_answer_keeps_no_machine_out_for_ever() -> None:
    async def story(world: World) -> None:
        sessions, _ = world.server("s1")
        other = MachineGate(sessions, machine_id(2), holder="b")
        await other.register(Machine(id=machine_id(2)))
        world.faults.latency = (1.0, 1.0)
        with pytest.raises(TimeoutError):  # between the write and the store's answer
            async with asyncio.timeout(3.5):
                await MachineGate(sessions, ME, holder="boot 1").register(Machine(id=ME))
        world.faults.latency = (0.0, 0.0)
        assert ME in await world.present()
        await heartbeats(other, seconds=20)
        await MachineGate(sessions, ME, holder="boot 2").register(Machine(id=ME))

    play(story)


def test_a_report_that_comes_while_its_machine_is_let_go_is_not_answered() -> None:
    async def story(world: World) -> None:
        sessions, _ = world.server("s1")
        gate = MachineGate(sessions, ME, holder="b")
        await gate.register(Machine(id=ME))
        await asyncio.sleep(8.5)
        world.faults.latency = (0.6, 0.6)
        async with world.store.watch(keys.presence(ME)) as batches:
            await anext(batches)
        # The presence is gone, and the server has not heard of that yet.
        with pytest.raises(LeaseLost):
            await gate.report(Report())

    play(story)


def test_a_machine_that_is_back_is_not_lost_whether_an_engine_sees_it_or_not() -> None:
    async def story(world: World) -> None:
        await world.store.txn([], [base.Put(keys.lost(ME), b"given up")])
        sessions, _ = world.server("s1")
        await MachineGate(sessions, ME, holder="b").register(Machine(id=ME))
        assert not (await world.store.range(keys.lost(ME))).kvs

    play(story)

    play(story)


def test_the_silence_of_a_machine_that_moved_away_is_not_judged_by_its_former_server() -> None:
    async def story(world: World) -> None:
        (first, _), (second, _) = world.server("s1"), world.server("s2")
        await MachineGate(first, ME, holder="b").register(Machine(id=ME))
        there = MachineGate(second, ME, holder="b")
        await there.register(Machine(id=ME))
        async with world.store.watch(keys.presence(ME)) as batches:
            await heartbeats(there, seconds=40)
            assert await world.present() == [ME]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(batches)

    play(story)


def test_a_clone_is_refused_while_the_first_lives_and_taken_when_it_is_gone() -> None:
    async def story(world: World) -> None:
        (first, _), (second, _) = world.server("s1"), world.server("s2")
        await MachineGate(first, ME, holder="boot 1").register(Machine(id=ME))
        clone = MachineGate(second, ME, holder="boot 2")
        with pytest.raises(Conflict, match="another live machine"):
            await clone.register(Machine(id=ME))
        await asyncio.sleep(12)
        await clone.register(Machine(id=ME))

    play(story)


def test_a_server_that_dies_takes_its_machines_along_after_its_lease() -> None:
    async def story(world: World) -> None:
        process = Process("s1")
        sessions = Sessions(CountingStore(world, process), name="s1", clock=running().wall_clock)
        task = running().spawn(process, sessions.run(), name="sessions")
        await MachineGate(sessions, ME, holder="b").register(Machine(id=ME))
        process.is_dead = True
        task.cancel()
        await asyncio.sleep(5)
        assert (await world.servers(), await world.present()) == (["s1"], [ME])
        await asyncio.sleep(5)
        assert (await world.servers(), await world.present()) == ([], [])

    play(story)


def test_a_server_that_stops_takes_its_own_record_and_leaves_the_machines_time_to_move() -> None:
    async def story(world: World) -> None:
        sessions, task = world.server("s1")
        await MachineGate(sessions, ME, holder="b").register(Machine(id=ME))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await world.servers(), await world.present()) == ([], [ME])
        other, _ = world.server("s2")
        await MachineGate(other, ME, holder="b").register(Machine(id=ME))
        await asyncio.sleep(8)
        assert await world.present() == [ME]

    play(story)
