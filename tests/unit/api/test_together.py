"""Changes of many machines that go into the store together: each by its own condition, none at another's cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from argosy.api.together import Together
from argosy.errors import Indeterminate, Invalid
from argosy.store import base
from argosy.store.memory import MemoryStore


class Counting(MemoryStore):
    """Notes each transaction; holds them up while `gate` is closed, and the second one while `second` is."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.second = asyncio.Event()
        self.second.set()
        self.txns: list[int] = []
        self.fails_with: Exception | None = None

    async def txn(
        self,
        compares: Sequence[base.Compare],
        success: Sequence[base.Op],
        failure: Sequence[base.Op] = (),
    ) -> base.TxnResult:
        self.txns.append(len(compares))
        await self.gate.wait()
        if len(self.txns) == 2:
            await self.second.wait()
        if self.fails_with is not None:
            raise self.fails_with
        return await super().txn(compares, success, failure)


@pytest.fixture
async def store() -> AsyncIterator[Counting]:
    made = Counting()
    yield made
    await made.close()


async def begun(
    store: Counting, together: Together, count: int, *, value: bytes = b"v"
) -> list[asyncio.Task[int | None]]:
    """One change under way, and so many that came meanwhile."""
    store.gate.clear()
    tasks = [
        asyncio.create_task(
            together.write(base.absent(f"guard/{n}"), [base.Put(f"key/{n:04}", value)])
        )
        for n in range(count + 1)
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_a_change_that_comes_alone_is_written_at_once(store: Counting) -> None:
    together = Together(store)
    revision = await together.write(base.absent("guard"), [base.Put("key", b"1")])
    assert revision == (await store.range("key")).kvs[0].mod_revision
    assert store.txns == [1]


async def test_what_comes_while_one_is_written_goes_together(store: Counting) -> None:
    tasks = await begun(store, Together(store), 50)
    store.gate.set()
    revisions = await asyncio.gather(*tasks)
    assert store.txns == [1, 50]
    assert len(set(revisions)) == 2


async def test_more_than_a_transaction_holds_goes_in_several(store: Counting) -> None:
    tasks = await begun(store, Together(store), 300)
    store.gate.set()
    assert None not in await asyncio.gather(*tasks)
    assert store.txns == [1, 128, 128, 44]


async def test_megabytes_go_in_several_transactions(store: Counting) -> None:
    tasks = await begun(store, Together(store), 3, value=b"x" * 900_000)
    store.gate.set()
    assert None not in await asyncio.gather(*tasks)
    assert store.txns == [1, 1, 1, 1]


async def test_a_guard_that_does_not_hold_keeps_nobody_else_from_writing(store: Counting) -> None:
    await store.txn([], [base.Put("guard/2", b"")])
    store.txns.clear()
    tasks = await begun(store, Together(store), 4)
    store.gate.set()
    revisions = await asyncio.gather(*tasks)
    assert [revision is None for revision in revisions] == [False, False, True, False, False]
    written = (await store.range("key/", "key0")).kvs
    assert [kv.key for kv in written] == ["key/0000", "key/0001", "key/0003", "key/0004"]


async def test_a_change_that_is_refused_is_nobody_elses_problem(store: Counting) -> None:
    together = Together(store)
    tasks = await begun(store, together, 2)
    wrong = asyncio.create_task(
        together.write(base.absent("guard"), [base.Put("k" * 100_000, b"")])
    )
    await asyncio.sleep(0)
    store.gate.set()
    assert None not in await asyncio.gather(*tasks)
    with pytest.raises(Invalid):
        await wrong


async def test_one_guard_stands_in_a_transaction_once(store: Counting) -> None:
    together = Together(store)
    tasks = await begun(store, together, 1)
    same = base.absent("guard/1")
    more = [
        asyncio.create_task(together.write(same, [base.Put("key/0001", bytes([n]))]))
        for n in range(2)
    ]
    await asyncio.sleep(0)
    store.gate.set()
    assert None not in await asyncio.gather(*tasks, *more)
    assert (await store.range("key/0001")).kvs[0].value == b"\1"


async def test_without_an_answer_all_learn_that_nobody_knows_and_nothing_is_sent_again(
    store: Counting,
) -> None:
    tasks = await begun(store, Together(store), 3)
    store.fails_with = Indeterminate("no answer")
    store.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in outcomes] == [Indeterminate] * 4
    assert store.txns == [1, 3]


async def test_when_the_one_who_writes_for_all_is_cancelled_the_others_learn_it(
    store: Counting,
) -> None:
    together = Together(store)
    tasks = await begun(store, together, 3)
    store.second.clear()
    store.gate.set()
    await tasks[0]
    for _ in range(3):
        await asyncio.sleep(0)
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    outcomes = await asyncio.gather(*tasks[2:], return_exceptions=True)
    assert [type(one) for one in outcomes] == [Indeterminate] * 2
    assert await together.write(base.absent("guard"), [base.Put("key", b"")]) is not None
