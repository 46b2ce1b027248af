"""The one watch behind the assignments of all machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from argosy.api.assignments import Assignments
from argosy.errors import StoreUnavailable
from argosy.model.ids import MachineId
from argosy.store import base, keys
from argosy.store.memory import MemoryStore

ONE, TWO = MachineId("1" * 32), MachineId("2" * 32)


class Watched(MemoryStore):
    """Counts its watches, and refuses them on demand."""

    watches = 0
    refuses = False

    def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[base.WatchBatch]]:
        self.watches += 1
        if self.refuses:
            raise StoreUnavailable("not now")
        return super().watch(start, end, start_revision=start_revision)

    async def assign(self, machine: MachineId, value: bytes) -> None:
        await self.txn([], [base.Put(keys.assignment(machine), value)])


@pytest.fixture
async def store() -> AsyncIterator[Watched]:
    made = Watched()
    yield made
    await made.close()


async def test_each_machine_hears_of_its_own_through_one_watch(store: Watched) -> None:
    assignments = Assignments(store)
    async with assignments.follow(ONE) as one, assignments.follow(TWO) as two:
        await store.assign(ONE, b"first")
        await store.assign(TWO, b"second")
        assert (await one.next()).value == b"first"
        assert (await two.next()).value == b"second"
    assert store.watches == 1


async def test_a_slow_reader_gets_the_newest_and_nobody_an_older_one(store: Watched) -> None:
    async with Assignments(store).follow(ONE) as follower:
        await store.assign(ONE, b"1")
        older = (await store.range(keys.assignment(ONE))).kvs[0]
        await store.assign(ONE, b"2")
        await store.assign(ONE, b"3")
        for _ in range(10):
            await asyncio.sleep(0)
        follower.offer(older)
        assert (await follower.next()).value == b"3"
        follower.offer(older)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(follower.next(), 0.01)


async def test_a_deleted_assignment_is_nothing_to_hear_of(store: Watched) -> None:
    async with Assignments(store).follow(ONE) as follower:
        await store.assign(ONE, b"1")
        await store.txn([], [base.Delete(keys.assignment(ONE))])
        assert (await follower.next()).value == b"1"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(follower.next(), 0.01)


async def test_when_the_watch_ends_everybody_learns_it_and_the_next_one_begins_another(
    store: Watched,
) -> None:
    assignments = Assignments(store)
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(assignments.follow(m)) for m in (ONE, TWO)]
        await store.close()
        for follower in followers:
            with pytest.raises(StoreUnavailable):
                await follower.next()
    with pytest.raises(StoreUnavailable):
        async with assignments.follow(ONE):
            pass
    assert store.watches == 2


async def test_a_store_that_cannot_be_watched_is_said_at_once(store: Watched) -> None:
    assignments = Assignments(store)
    store.refuses = True
    with pytest.raises(StoreUnavailable):
        async with assignments.follow(ONE):
            pass
    store.refuses = False
    async with assignments.follow(ONE) as follower:
        await store.assign(ONE, b"1")
        assert (await follower.next()).value == b"1"


async def test_nothing_is_left_when_the_last_one_leaves(store: Watched) -> None:
    assignments = Assignments(store)
    before = asyncio.all_tasks()
    async with assignments.follow(ONE):
        assert len(asyncio.all_tasks()) > len(before)
    assert asyncio.all_tasks() == before
