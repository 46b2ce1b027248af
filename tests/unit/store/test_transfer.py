"""A cluster goes from one store into another whole, or it does not become a cluster there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argosy.api.cluster import open_cluster
from argosy.errors import Conflict, Indeterminate, NotFound, StoreFull, StoreRefused
from argosy.model.cluster import Cluster
from argosy.store import keys
from argosy.store.base import Compare, Delete, Op, Put, Store, TxnResult
from argosy.store.codec import decode, encode
from argosy.store.memory import MemoryStore
from argosy.store.sqlite import SqliteStore
from argosy.store.transfer import copy, raised

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
CLUSTER = Cluster(id="ab" * 16, epoch=3, created_at=AT)


async def filled() -> MemoryStore:
    """A cluster of 300 units, two machines that are present, and a leader."""
    store = MemoryStore()
    await store.txn([], [Put(keys.CLUSTER, encode(CLUSTER))])
    for number in range(300):
        await store.txn([], [Put(f"units/u{number:03}.service", b"%d" % number * 500)])
    await store.txn([], [Put("texts/large", b"\0\xff" * 600_000), Put("units/gone", b"")])
    await store.txn([], [Delete("units/gone")])
    lease = await store.grant(60)
    for key in (keys.LEADER, "presence/m1", "presence/m2", "servers/s1", "units/held"):
        await store.txn([], [Put(key, b"s1", lease.id)])
    return store


async def contents(store: Store) -> dict[str, bytes]:
    return {kv.key: kv.value for kv in (await store.range("\x01", "\U0010ffff")).kvs}


async def test_everything_but_what_is_under_a_lease_arrives(tmp_path: Path) -> None:
    source, target = await filled(), await SqliteStore.open(tmp_path / "state.db")
    seen: list[tuple[int, int]] = []
    copied = await copy(source, target, raise_epoch=False, progress=lambda *done: seen.append(done))
    expected = await contents(source)
    for key in (keys.LEADER, "presence/m1", "presence/m2", "servers/s1", "units/held"):
        del expected[key]
    assert await contents(target) == expected
    assert copied.revision == (await source.status()).revision
    assert seen[-1] == (301, 301) and seen == sorted(seen) and len(seen) >= 3
    await target.close()
    await source.close()


async def test_the_copy_is_the_same_cluster_in_a_later_epoch() -> None:
    source, target = await filled(), MemoryStore()
    await copy(source, target, raise_epoch=True)
    cluster = await open_cluster(target, clock=lambda: AT)
    assert (cluster.id, cluster.created_at) == (CLUSTER.id, AT) and cluster.epoch > CLUSTER.epoch


def test_two_restores_at_different_times_have_different_epochs_and_epochs_never_fall() -> None:
    first = raised(CLUSTER, now=AT)
    later = raised(CLUSTER, now=AT.replace(hour=13))
    assert CLUSTER.epoch < first.epoch < later.epoch
    assert raised(later, now=AT).epoch == later.epoch + 1


async def test_a_target_that_has_something_is_refused_and_left_alone() -> None:
    source, target = await filled(), MemoryStore()
    await target.txn([], [Put("units/mine", b"")])
    with pytest.raises(Conflict, match="not empty"):
        await copy(source, target, raise_epoch=True)
    assert await contents(target) == {"units/mine": b""}


async def test_a_store_without_a_cluster_is_not_copied() -> None:
    target = MemoryStore()
    with pytest.raises(NotFound):
        await copy(MemoryStore(), target, raise_epoch=True)
    assert await contents(target) == {}


class Doubtful(MemoryStore):
    """Every other write is carried out but not acknowledged; after `room` writes the disk is full."""

    def __init__(self, room: int = 1000) -> None:
        super().__init__()
        self.room = room
        self._writes = 0

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        self._writes += 1
        if self._writes > self.room:
            raise StoreFull("no room")
        result = await super().txn(compares, success, failure)
        if self._writes % 2:
            raise Indeterminate("no answer")
        return result


async def test_writes_that_are_not_acknowledged_are_looked_at_and_not_doubled() -> None:
    source, target = await filled(), Doubtful()
    await copy(source, target, raise_epoch=False)
    found = (await target.range("\x01", "\U0010ffff")).kvs
    assert len(found) == 302 and {kv.version for kv in found} == {1}


@pytest.mark.parametrize("room", [1, 2, 5, 9, 10])
async def test_a_copy_that_fails_anywhere_is_taken_for_a_cluster_by_nobody(room: int) -> None:
    source, target = await filled(), Doubtful(room)
    with pytest.raises(StoreFull):
        await copy(source, target, raise_epoch=False)
    target.room = 1000
    with pytest.raises(StoreRefused):
        await open_cluster(target, clock=lambda: AT)
    with pytest.raises(Conflict):
        await copy(source, target, raise_epoch=False)


async def test_a_stranger_that_writes_meanwhile_is_noticed() -> None:
    source, target = await filled(), MemoryStore()

    async def write() -> None:
        await MemoryStore.txn(target, [], [Put(keys.CLUSTER, encode(CLUSTER))])

    class Shared(MemoryStore):
        async def txn(
            self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
        ) -> TxnResult:
            await write()
            return await target.txn(compares, success, failure)

    with pytest.raises(Conflict, match="somebody else"):
        await copy(source, Shared(), raise_epoch=False)
    assert decode((await target.range(keys.CLUSTER)).kvs[0].value, Cluster) == CLUSTER
