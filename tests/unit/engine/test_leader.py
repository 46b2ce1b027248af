"""One engine leads at a time, and a former leader can write nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from argosy.engine.leader import lead
from argosy.errors import LeaseLost
from argosy.store import base, keys
from argosy.store.memory import MemoryStore

TTL = timedelta(seconds=1)
BOUND = 5.0


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    yield store
    await store.close()


async def test_a_second_engine_leads_when_the_first_gives_up(store: MemoryStore) -> None:
    second_leads = asyncio.Event()

    async def second() -> None:
        async with lead(store, name="second", ttl=TTL):
            second_leads.set()

    async with lead(store, name="first", ttl=TTL):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        held = await store.range(keys.LEADER)
        assert held.kvs[0].value == b"first"
        assert not second_leads.is_set()
    async with asyncio.timeout(BOUND):
        await waiting
    assert (await store.range(keys.LEADER)).kvs == ()


async def test_a_leader_keeps_its_lease_beyond_the_time_to_live(store: MemoryStore) -> None:
    async with lead(store, name="first", ttl=TTL) as term:
        async with store.watch(keys.LEADER) as batches:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5 * TTL.total_seconds()):
                    await anext(batches)
        result = await store.txn([term.guard], [base.Put("x", b"")])
        assert result.succeeded


async def test_a_leader_whose_lease_ended_stops_and_writes_nothing(store: MemoryStore) -> None:
    guards: list[base.Compare] = []

    async def body() -> None:
        async with lead(store, name="first", ttl=TTL) as term, asyncio.timeout(BOUND):
            guards.append(term.guard)
            held = (await store.range(keys.LEADER)).kvs[0]
            await store.revoke(held.lease)
            await asyncio.sleep(BOUND)

    with pytest.raises(LeaseLost):
        await body()
    async with lead(store, name="second", ttl=TTL):
        assert not (await store.txn(guards, [base.Put("x", b"")])).succeeded


async def test_cancelling_the_leader_from_outside_is_no_lost_lease(store: MemoryStore) -> None:
    leading = asyncio.Event()

    async def body() -> None:
        async with lead(store, name="first", ttl=TTL):
            leading.set()
            await asyncio.sleep(BOUND)

    task = asyncio.create_task(body())
    await leading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.range(keys.LEADER)).kvs == ()
