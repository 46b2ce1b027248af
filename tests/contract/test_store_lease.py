"""Leases: keys that go when nobody renews them. Times here are real: a TTL is whole seconds, as etcd's."""

from __future__ import annotations

import asyncio

import pytest

from argosy.errors import Invalid
from argosy.store.base import Delete, EventKind, LeaseNotFound, Put, Store, TxnResult, WatchBatch

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def next_batch(store_watch: object) -> WatchBatch:
    async with asyncio.timeout(10):
        batch = await anext(store_watch)  # type: ignore[call-overload]
    assert isinstance(batch, WatchBatch)
    return batch


async def exists(store: Store, key: str) -> bool:
    return bool((await store.range(key)).kvs)


async def test_a_lease_that_is_not_renewed_takes_its_keys_along_in_one_transaction(
    store: Store,
) -> None:
    lease = await store.grant(1)
    granted_at = asyncio.get_running_loop().time()
    await store.txn([], [Put("l/b", b"", lease.id), Put("l/a", b"", lease.id), Put("l/own", b"")])
    async with store.watch("l/", "l0") as watch:
        batch = await next_batch(watch)
    assert asyncio.get_running_loop().time() - granted_at >= 1
    assert [(event.kind, event.kv.key) for event in batch.events] == [
        (EventKind.DELETE, "l/a"),
        (EventKind.DELETE, "l/b"),
    ]
    assert await exists(store, "l/own")
    with pytest.raises(LeaseNotFound):
        await store.keep_alive(lease.id)
    with pytest.raises(LeaseNotFound):
        await store.txn([], [Put("l/late", b"", lease.id)])


async def test_a_renewed_lease_lives_on(store: Store) -> None:
    lease = await store.grant(2)
    await store.txn([], [Put("a", b"", lease.id)])
    revision = (await store.status()).revision
    for _ in range(10):
        await asyncio.sleep(0.3)
        assert await store.keep_alive(lease.id) == 2
    assert await exists(store, "a")
    assert (await store.status()).revision == revision, "renewing costs no write"


async def test_revoking_deletes_the_keys_at_once(store: Store) -> None:
    lease = await store.grant(60)
    await store.txn([], [Put("a", b"", lease.id), Put("b", b"", lease.id)])
    async with store.watch("a", "c") as watch:
        await store.revoke(lease.id)
        batch = await next_batch(watch)
    assert [event.kv.key for event in batch.events] == ["a", "b"]
    assert not await exists(store, "a")
    with pytest.raises(LeaseNotFound):
        await store.revoke(lease.id)


async def test_a_key_knows_its_lease_and_leaves_it_with_the_next_put(store: Store) -> None:
    first, second = await store.grant(60), await store.grant(60)
    assert first.id != second.id and min(first.id, second.id) > 0 and first.ttl_seconds == 60
    await store.txn([], [Put("a", b"", first.id), Put("b", b"", first.id), Put("c", b"", first.id)])
    assert (await store.range("a")).kvs[0].lease == first.id
    await store.txn([], [Put("a", b""), Put("b", b"", second.id), Delete("c")])
    await store.txn([], [Put("c", b"")])
    await store.revoke(first.id)
    assert [kv.key for kv in (await store.range("a", "z")).kvs] == ["a", "b", "c"]
    await store.revoke(second.id)
    assert [kv.key for kv in (await store.range("a", "z")).kvs] == ["a", "c"]


async def test_ending_a_lease_without_keys_takes_no_revision(store: Store) -> None:
    revision = (await store.status()).revision
    lease = await store.grant(60)
    await store.revoke(lease.id)
    assert (await store.status()).revision == revision


async def test_a_put_that_meets_a_revocation_is_refused_or_revoked(store: Store) -> None:
    lease = await store.grant(60)
    _, put = await asyncio.gather(
        store.revoke(lease.id),
        store.txn([], [Put("a", b"", lease.id)]),
        return_exceptions=True,
    )
    assert isinstance(put, LeaseNotFound | TxnResult)
    assert not await exists(store, "a")


@pytest.mark.parametrize("ttl", [0, -1])
async def test_a_lease_lives_at_least_a_second(store: Store, ttl: int) -> None:
    with pytest.raises(Invalid):
        await store.grant(ttl)


async def test_an_unknown_lease_is_not_found(store: Store) -> None:
    with pytest.raises(LeaseNotFound):
        await store.keep_alive(4711)
    with pytest.raises(LeaseNotFound):
        await store.revoke(4711)
