"""Watches: nothing lost, nothing twice, nothing split, from any revision that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from argosy.errors import Invalid
from argosy.store.base import (
    Compacted,
    Delete,
    EventKind,
    Put,
    Store,
    WatchBatch,
    WatchLost,
    prefix_end,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def put(store: Store, key: str, value: bytes = b"") -> int:
    return (await store.txn([], [Put(key, value)])).revision


async def take(watch: AsyncIterator[WatchBatch], count: int) -> list[WatchBatch]:
    """The next `count` batches that have events; fails when they do not come."""
    batches: list[WatchBatch] = []
    async with asyncio.timeout(10):
        while len(batches) < count:
            batch = await anext(watch)
            if batch.events:
                batches.append(batch)
    return batches


def keys_of(batch: WatchBatch) -> list[str]:
    return [event.kv.key for event in batch.events]


async def test_a_watch_tells_what_came_and_what_was_there_before(store: Store) -> None:
    async with store.watch("a") as watch:
        first = await put(store, "a", b"1")
        second = await put(store, "a", b"2")
        third = (await store.txn([], [Delete("a")])).revision
        batches = await take(watch, 3)
    assert [batch.revision for batch in batches] == [first, second, third]
    [made], [changed], [deleted] = (batch.events for batch in batches)
    assert (made.kind, made.kv.value, made.previous) == (EventKind.PUT, b"1", None)
    assert changed.kv.version == 2 and changed.previous == made.kv
    assert deleted.kind is EventKind.DELETE and deleted.previous == changed.kv
    assert (deleted.kv.key, deleted.kv.value, deleted.kv.mod_revision) == ("a", b"", third)


async def test_a_watch_that_does_not_ask_what_was_before_is_told_the_same_changes(
    store: Store,
) -> None:
    async with (
        store.watch("k") as asking,
        store.watch("k", with_previous=False) as not_asking,
    ):
        await put(store, "k", b"1")
        await put(store, "k", b"2")
        await store.txn([], [Delete("k")])
        expected = [(b.revision, e.kind, e.kv) for b in await take(asking, 3) for e in b.events]
        told = [(b.revision, e.kind, e.kv) for b in await take(not_asking, 3) for e in b.events]
    assert told == expected


async def test_what_happens_right_after_entering_is_not_missed_and_what_was_before_not_told(
    store: Store,
) -> None:
    await put(store, "a", b"before")
    async with store.watch("a") as watch:
        await put(store, "a", b"after")
        [batch] = await take(watch, 1)
    assert batch.events[0].kv.value == b"after"


async def test_a_transaction_comes_whole_in_its_order_and_without_what_was_not_asked_for(
    store: Store,
) -> None:
    await put(store, "w/old")
    async with store.watch("w/", prefix_end("w/")) as watch:
        await put(store, "other")
        result = await store.txn(
            [], [Put("w/b", b""), Put("other", b""), Delete("w/old"), Put("w/a", b"")]
        )
        [batch] = await take(watch, 1)
    assert batch.revision == result.revision
    assert keys_of(batch) == ["w/b", "w/old", "w/a"]


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("b", None, ["b"]),
        ("b", "b\0", ["b"]),
        ("b", "c", ["b", "b/1", "b/2"]),
        ("b/", "b0", ["b/1", "b/2"]),
        ("a", "b/2", ["a", "b", "b/1"]),
        ("b/1", "zz", ["b/1", "b/2", "c"]),
        ("c", "b", []),
    ],
)
async def test_each_kind_of_range(
    store: Store, start: str, end: str | None, told: list[str]
) -> None:
    before = (await store.status()).revision
    async with store.watch(start, end) as live:
        for key in ("a", "b", "b/1", "b/2", "c"):
            await put(store, key)
        assert [keys_of(batch)[0] for batch in await take(live, len(told))] == told
    async with store.watch(start, end, start_revision=before + 1) as resumed:
        assert [keys_of(batch)[0] for batch in await take(resumed, len(told))] == told


async def test_a_watch_resumes_from_any_revision_without_loss_or_duplicate(store: Store) -> None:
    revisions = [await put(store, f"a/{i % 3}", b"%d" % i) for i in range(20)]
    for position, revision in enumerate(tuple(revisions)):
        async with store.watch("a/", "a0", start_revision=revision) as watch:
            more = await put(store, "a/more")
            revisions.append(more)
            told = await take(watch, len(revisions) - position)
        assert [batch.revision for batch in told] == revisions[position:]


async def test_a_watch_from_a_revision_to_come_waits_for_it(store: Store) -> None:
    revision = await put(store, "a")
    async with store.watch("a", start_revision=revision + 2) as watch:
        await put(store, "a", b"too early")
        await put(store, "a", b"now")
        [batch] = await take(watch, 1)
    assert batch.events[0].kv.value == b"now"


async def test_a_watch_that_is_read_while_others_write_sees_every_revision_once(
    store: Store,
) -> None:
    async def write(writer: int) -> None:
        for i in range(30):
            await store.txn([], [Put(f"w/{writer}", b"%d" % i), Put(f"w/{writer}/twin", b"")])

    async with store.watch("w/", "w0") as watch:
        writers = asyncio.gather(*(write(writer) for writer in range(8)))
        batches = await take(watch, 240)
        await writers
    revisions = [batch.revision for batch in batches]
    assert revisions == sorted(set(revisions))
    assert all(len(batch.events) == 2 for batch in batches)
    for writer in range(8):
        mine = [batch.events[0].kv.value for batch in batches if keys_of(batch)[0] == f"w/{writer}"]
        assert mine == [b"%d" % i for i in range(30)]


async def test_a_watcher_that_reads_nothing_for_long_still_gets_everything(store: Store) -> None:
    async with store.watch("a") as watch:
        written = [await put(store, "a", b"%d" % i) for i in range(2500)]
        batches = await take(watch, 2500)
        written.append(await put(store, "a", b"live again"))
        batches += await take(watch, 1)
    assert [batch.revision for batch in batches] == written


async def test_many_watchers_each_get_their_own_key(store: Store) -> None:
    async def follow(number: int, ready: asyncio.Semaphore) -> list[str]:
        async with store.watch(f"machine/{number}") as watch:
            ready.release()
            return keys_of((await take(watch, 1))[0])

    ready = asyncio.Semaphore(0)
    following = [asyncio.create_task(follow(number, ready)) for number in range(200)]
    for _ in following:
        await ready.acquire()
    for first in range(0, 200, 100):
        await store.txn([], [Put(f"machine/{n}", b"") for n in range(first, first + 100)])
    assert await asyncio.gather(*following) == [[f"machine/{number}"] for number in range(200)]


async def test_watching_what_was_compacted_says_so_and_from_where_it_is_possible(
    store: Store,
) -> None:
    for i in range(5):
        revision = await put(store, "a", b"%d" % i)
    await store.compact(revision - 1)
    with pytest.raises(Compacted) as refusal:
        async with store.watch("a", start_revision=revision - 2) as watch:
            await take(watch, 1)
    kept = refusal.value.compacted_revision
    assert kept == revision - 1
    async with store.watch("a", start_revision=kept) as watch:
        assert [batch.revision for batch in await take(watch, 2)] == [revision - 1, revision]


async def test_a_deletion_at_the_compacted_revision_is_still_told(store: Store) -> None:
    await put(store, "a")
    gone = (await store.txn([], [Delete("a")])).revision
    await store.compact(gone)
    async with store.watch("a", start_revision=gone) as watch:
        [batch] = await take(watch, 1)
    assert batch.revision == gone and batch.events[0].kind is EventKind.DELETE


async def test_compaction_does_not_disturb_a_watch_that_has_read_everything(store: Store) -> None:
    async with store.watch("a") as watch:
        revision = await put(store, "a")
        await take(watch, 1)
        await put(store, "other")
        await store.compact(revision + 1)
        await put(store, "a", b"next")
        [batch] = await take(watch, 1)
    assert batch.events[0].kv.value == b"next"


async def test_closing_the_store_ends_its_watches_and_what_was_told_until_then_is_in_order(
    store: Store,
) -> None:
    async with store.watch("a") as watch:
        written = [await put(store, "a") for _ in range(3)]
        await store.close()
        told = []
        try:
            async for batch in watch:
                told += [batch.revision] if batch.events else []
        except WatchLost:
            ended = True
    assert ended and told == written[: len(told)]


async def test_a_waiting_watcher_is_told_when_the_store_closes(store: Store) -> None:
    async with store.watch("a") as watch:
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(WatchLost):
            await waiting


async def test_cancelling_a_read_of_a_watch_loses_nothing(store: Store) -> None:
    async with store.watch("a") as watch:
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        revision = await put(store, "a")
        [batch] = await take(watch, 1)
    assert batch.revision == revision


async def test_a_range_without_a_start_cannot_be_watched(store: Store) -> None:
    with pytest.raises(Invalid):
        async with store.watch(""):
            pass
