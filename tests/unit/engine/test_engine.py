"""The engine on a real store: what people put in comes out as assignments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from argosy.engine.engine import Engine
from argosy.model.assignment import Assignment
from argosy.model.event import Event
from argosy.model.explanation import Explanation
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.unit import Condition, DesiredState, Operator, Requirements, Unit
from argosy.settings import EngineSettings
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore

BOUND = 5.0
M1, M2 = MachineId("1" * 32), MachineId("2" * 32)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SSD = Requirements(metadata=(Condition("disk", Operator.EQUAL, ("ssd",)),))


def unit(name: str, **changes: object) -> Unit:
    plain = Unit(name=UnitName(name), digest=Digest("d" * 64), desired=DesiredState.LAUNCHED)
    return msgspec.structs.replace(plain, **changes)


async def put_unit(store: base.Store, record: Unit) -> None:
    await store.txn([], [base.Put(keys.unit(record.name), codec.encode(record))])


async def put_machine(store: base.Store, machine: Machine) -> None:
    await store.txn(
        [],
        [
            base.Put(keys.machine(machine.id), codec.encode(machine)),
            base.Put(keys.presence(machine.id), b"x"),
        ],
    )


async def assigned(store: base.Store) -> dict[str, list[str]]:
    found = await store.range(keys.ASSIGNMENTS, base.prefix_end(keys.ASSIGNMENTS))
    records = [codec.decode(kv.value, Assignment) for kv in found.kvs]
    return {record.machine[0]: [one.name for one in record.units] for record in records}


async def until(store: base.Store, holds: Callable[[], object]) -> None:
    """Wait, from change to change of the store, until the coroutine function `holds` answers true."""
    async with asyncio.timeout(BOUND), store.watch("a", "z") as batches:
        while not await holds():  # type: ignore[misc]
            await anext(batches)


@asynccontextmanager
async def engine(
    store: base.Store, name: str = "e1", settings: EngineSettings | None = None
) -> AsyncIterator[Engine]:
    one = Engine(store, name=name, clock=lambda: NOW, settings=settings)
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await put_machine(store, Machine(id=M1))
    yield store
    await store.close()


async def test_units_there_before_the_engine_are_placed_when_it_starts(store: MemoryStore) -> None:
    await put_unit(store, unit("a.service"))

    async def placed() -> bool:
        return await assigned(store) == {"1": ["a.service"]}

    async with engine(store):
        await until(store, placed)


async def test_a_change_reaches_the_assignment_and_leaves_an_event(store: MemoryStore) -> None:
    async def runs(*names: str) -> bool:
        return (await assigned(store)).get("1", []) == list(names)

    async with engine(store):
        await put_unit(store, unit("a.service"))
        await until(store, lambda: runs("a.service"))
        await put_unit(store, unit("b.service"))
        await until(store, lambda: runs("a.service", "b.service"))
        await put_unit(store, unit("a.service", desired=DesiredState.INACTIVE))
        await until(store, lambda: runs("b.service"))
        found = await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
        events = [codec.decode(kv.value, Event) for kv in found.kvs]
    assert [(event.kind, event.unit) for event in events] == [
        ("engine.leading", ""),
        ("unit.placed", "a.service"),
        ("unit.placed", "b.service"),
        ("unit.unplaced", "a.service"),
    ]
    assert all(event.message for event in events)


async def test_a_unit_that_no_machine_can_have_is_explained_until_one_comes(
    store: MemoryStore,
) -> None:
    async def explained() -> bool:
        return bool((await store.range(keys.pending(UnitName("db.service")))).kvs)

    async def placed() -> bool:
        return (await assigned(store)).get("2") == ["db.service"] and not await explained()

    async with engine(store):
        await put_unit(store, unit("db.service", requirements=SSD))
        await until(store, explained)
        kv = (await store.range(keys.pending(UnitName("db.service")))).kvs[0]
        explanation = codec.decode(kv.value, Explanation)
        assert "disk" in explanation.summary
        assert explanation.since == NOW
        await put_machine(store, Machine(id=M2, metadata={"disk": "ssd"}))
        await until(store, placed)


async def test_the_next_engine_goes_on_where_the_last_one_stood(store: MemoryStore) -> None:
    async def placed() -> bool:
        return (await assigned(store)).get("1") == ["a.service", "b.service"]

    await put_unit(store, unit("a.service"))
    async with engine(store, "e2"):
        async with engine(store, "e1"):
            await asyncio.sleep(0)
        await put_unit(store, unit("b.service"))
        await until(store, placed)


async def test_a_settled_cluster_is_written_nothing_by_full_turns(store: MemoryStore) -> None:
    settings = EngineSettings(full_turn_every=timedelta(milliseconds=20))

    async def placed() -> bool:
        return await assigned(store) == {"1": ["a.service"]}

    async with engine(store, settings=settings):
        await put_unit(store, unit("a.service"))
        await until(store, placed)
        async with store.watch("a", "z") as batches:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await anext(batches)
