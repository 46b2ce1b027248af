"""A client of the simulated store sees what clients of real stores see, and nothing that the contract excludes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import pytest

from argosy.errors import Indeterminate, StoreUnavailable
from argosy.store import base
from argosy.store.memory import MemoryStore
from argosy.testing import loop as sim
from argosy.testing.loop import Process, running
from argosy.testing.store import FaultyStore, Ledger, StoreFaults

T = TypeVar("T")
EMPTY = 1
"""Revision of an empty store, as etcd has it."""
PUT = [base.Put("k", b"v")]


class Client(NamedTuple):
    store: FaultyStore
    inner: MemoryStore
    faults: StoreFaults
    ledger: Ledger
    process: Process


def with_client(seed: int, story: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        inner, faults, ledger, process = MemoryStore(), StoreFaults(), Ledger(), Process("s1")
        store = FaultyStore(inner, process, faults, ledger)
        return await story(Client(store, inner, faults, ledger, process))

    return sim.run(seed, main)


def test_an_unanswered_write_has_happened_or_not() -> None:
    async def story(client: Client) -> bool:
        client.faults.indeterminate = 1.0
        with pytest.raises(Indeterminate):
            await client.store.txn([], PUT)
        return bool((await client.inner.range("k")).kvs)

    assert {with_client(seed, story) for seed in range(20)} == {True, False}


def test_an_outage_writes_nothing_and_says_so() -> None:
    async def story(client: Client) -> None:
        client.faults.is_down = True
        for call in (client.store.txn([], PUT), client.store.range("k"), client.store.grant(5)):
            with pytest.raises(StoreUnavailable):
                await call
        assert (await client.inner.status()).revision == EMPTY

    with_client(1, story)


def test_a_network_that_is_cut_before_the_answer_leaves_the_write_indeterminate() -> None:
    async def story(client: Client) -> None:
        client.faults.latency = (1.0, 1.0)
        write = asyncio.create_task(client.store.txn([], PUT))
        await asyncio.sleep(1.5)
        client.store.is_cut = True
        with pytest.raises(Indeterminate):
            await write
        assert (await client.inner.range("k")).kvs

    with_client(1, story)


def test_what_a_dead_process_still_calls_has_no_effect() -> None:
    async def story(client: Client) -> None:
        write = asyncio.create_task(client.store.txn([], PUT))
        client.process.is_dead = True
        with pytest.raises(StoreUnavailable):
            await write
        assert (await client.inner.status()).revision == EMPTY

    with_client(1, story)


def test_a_lease_runs_out_though_the_process_that_holds_it_stands_still() -> None:
    async def story(client: Client) -> None:
        async def lead() -> None:
            lease = await client.store.grant(5)
            await client.store.txn([], [base.Put("leader", b"s1", lease.id)])
            while True:
                await asyncio.sleep(1)
                await client.store.keep_alive(lease.id)

        task = running().spawn(client.process, lead(), name="lead")
        await asyncio.sleep(20)
        assert (await client.inner.range("leader")).kvs
        running().pause(client.process)
        await asyncio.sleep(6)
        assert not (await client.inner.range("leader")).kvs
        running().resume(client.process)
        with pytest.raises(base.LeaseNotFound):
            await task

    with_client(1, story)


@pytest.mark.parametrize("seed", range(5))
def test_a_watch_may_be_late_and_break_but_never_skips(seed: int) -> None:
    async def story(client: Client) -> list[int]:
        client.faults.watch_lag = (0.0, 3.0)
        client.faults.watch_breaks = 0.2
        seen: list[int] = []

        async def write() -> None:
            for _ in range(30):
                await client.inner.txn([], PUT)
                await asyncio.sleep(0.5)

        async def watch() -> None:
            while len(seen) < 30:
                try:
                    async with client.store.watch(
                        "k", start_revision=EMPTY + len(seen) + 1
                    ) as batches:
                        async for batch in batches:
                            seen.append(batch.revision)
                            if len(seen) == 30:
                                return
                except base.WatchLost:
                    continue

        await asyncio.gather(write(), watch())
        return seen

    assert with_client(seed, story) == list(range(EMPTY + 1, EMPTY + 31))


def test_an_unanswered_write_that_is_sent_again_is_noticed() -> None:
    async def story(client: Client) -> list[str]:
        client.faults.indeterminate = 1.0
        for _ in range(2):
            with pytest.raises(Indeterminate):
                await client.store.txn([], PUT)
        return client.ledger.resent

    assert with_client(1, story) == ["s1 sent the unanswered write of k again"]


def test_an_unanswered_write_may_follow_a_look_at_what_is_there() -> None:
    async def story(client: Client) -> list[str]:
        client.faults.indeterminate = 1.0
        for _ in range(2):
            with pytest.raises(Indeterminate):
                await client.store.txn([], PUT)
            await client.store.range("k")
        return client.ledger.resent

    assert with_client(1, story) == []


def test_the_ledger_knows_who_wrote_what() -> None:
    async def story(client: Client) -> None:
        compare = base.absent("k")
        result = await client.store.txn([compare], PUT)
        write = client.ledger.writes[result.revision]
        assert (write.process, write.compares) == (client.process, (compare,))

    with_client(1, story)
