"""Watches and writes over connections that break in the middle of anything, and over compactions and restores."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from argosy.errors import Indeterminate, StoreUnavailable
from argosy.settings import EtcdSettings
from argosy.store.base import Compacted, FutureRevision, Put, Store, WatchBatch, prefix_end
from argosy.store.etcd.store import EtcdStore
from contract.cutting_proxy import cutting_proxy
from contract.etcd_kit import EtcdCluster, etcd

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd(tmp_path_factory.mktemp("etcd")) as started:
        yield started


def port_of(cluster: EtcdCluster) -> int:
    return int(cluster.urls[0].rpartition(":")[2])


async def follow(watch: AsyncIterator[WatchBatch], last: str) -> list[WatchBatch]:
    """Everything up to the batch that has the key `last`."""
    batches = []
    async with asyncio.timeout(20):
        async for batch in watch:
            batches.append(batch)
            if batch.events[0].kv.key == last:
                break
    return batches


async def revisions_until_compacted(watch: AsyncIterator[WatchBatch]) -> list[int]:
    told = []
    async with asyncio.timeout(20):
        while True:
            try:
                told.append((await anext(watch)).revision)
            except Compacted:
                return told


async def written_in_peace(store: Store, key: str, value: bytes = b"") -> int:
    """Write what may be written twice, until it is acknowledged."""
    while True:
        try:
            return (await store.txn([], [Put(key, value)])).revision
        except (Indeterminate, StoreUnavailable):
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
async def test_over_cut_connections_every_event_comes_once_and_no_write_is_done_twice(
    cluster: EtcdCluster, seed: int
) -> None:
    rng = random.Random(seed)
    prefix = f"/cut{seed}/"
    direct = await EtcdStore.connect(cluster.settings(prefix))
    first = (await direct.status()).revision + 1
    acknowledged: dict[str, int] = {}
    refused: list[str] = []
    unknown: list[str] = []

    async with cutting_proxy(port_of(cluster), seed=seed, least=1_000, most=60_000) as proxy:
        settings = EtcdSettings(endpoints=(f"http://127.0.0.1:{proxy.port}",), prefix=prefix)
        store = await EtcdStore.connect(settings)

        async def write(writer: int) -> None:
            for number in range(60):
                key = f"w/{writer}/{number:03}"
                value = rng.randbytes(rng.choice([0, 10, 2000]))
                try:
                    result = await store.txn([], [Put(key, value), Put(f"{key}/twin", value)])
                    acknowledged[key] = result.revision
                except Indeterminate:
                    unknown.append(key)
                except StoreUnavailable:
                    refused.append(key)

        async with store.watch("w/", prefix_end("w/"), start_revision=first) as watch:
            following = asyncio.create_task(follow(watch, "w/end"))
            await asyncio.gather(*(write(writer) for writer in range(4)))
            proxy.is_cutting = False  # or one long answer might never fit into a connection
            await written_in_peace(direct, "w/end")
            told = await following
        await store.close()

    found = {kv.key: kv for kv in (await direct.range("w/", prefix_end("w/"))).kvs}
    await direct.close()
    assert proxy.cuts >= 5 and len(acknowledged) >= 20
    assert {kv.version for kv in found.values()} == {1}, "a write was done twice"
    assert acknowledged.keys() <= found.keys() and not found.keys() & set(refused)
    assert {key for key in found if key.count("/") == 2} <= acknowledged.keys() | set(unknown)
    assert [batch.revision for batch in told] == sorted({kv.mod_revision for kv in found.values()})
    by_revision = {batch.revision: [event.kv.key for event in batch.events] for batch in told[:-1]}
    assert all(keys == [keys[0], f"{keys[0]}/twin"] for keys in by_revision.values())
    assert all(by_revision[at][0] == key for key, at in acknowledged.items())


async def test_a_revision_larger_than_a_message_of_etcd_comes_whole(cluster: EtcdCluster) -> None:
    """etcd splits such a response into fragments; the proxy cuts between them."""
    direct = await EtcdStore.connect(cluster.settings("/large/"))
    ops = [Put(f"k{number}", b"x" * 350_000) for number in range(4)]
    async with cutting_proxy(port_of(cluster), seed=7, least=1_500_000, most=2_500_000) as proxy:
        settings = EtcdSettings(endpoints=(f"http://127.0.0.1:{proxy.port}",), prefix="/large/")
        store = await EtcdStore.connect(settings)
        async with store.watch("k", "l") as watch:
            written = [(await direct.txn([], ops)).revision for _ in range(6)]
            proxy.is_cutting = False
            async with asyncio.timeout(20):
                told = [await anext(watch) for _ in written]
        await store.close()
    await direct.close()
    assert [batch.revision for batch in told] == written
    assert {tuple(len(event.kv.value) for event in batch.events) for batch in told} == {
        (350_000,) * 4
    }


async def test_a_watch_that_compaction_overtakes_while_etcd_is_away_ends_with_compacted(
    cluster: EtcdCluster,
) -> None:
    direct = await EtcdStore.connect(cluster.settings("/overtaken/"))
    async with cutting_proxy(port_of(cluster), seed=1, least=10**9, most=10**9) as proxy:
        settings = EtcdSettings(endpoints=(f"http://127.0.0.1:{proxy.port}",), prefix="/overtaken/")
        store = await EtcdStore.connect(settings)
        async with store.watch("a") as watch:
            seen = await written_in_peace(direct, "a")
            assert (await anext(watch)).revision == seen
            proxy.is_refusing = True
            await proxy.cut_all()
            for _ in range(5):
                newest = await written_in_peace(direct, "a")
            await direct.compact(newest)
            proxy.is_refusing = False
            with pytest.raises(Compacted) as refusal:
                async with asyncio.timeout(20):
                    await anext(watch)
        assert refusal.value.compacted_revision == newest
        await store.close()
    await direct.close()


async def test_a_slow_watcher_is_overtaken_by_compaction_and_told_so(cluster: EtcdCluster) -> None:
    store = await EtcdStore.connect(cluster.settings("/slow/"))
    async with store.watch("a") as watch:
        for _ in range(30):
            await asyncio.gather(*(store.txn([], [Put("a", b"")]) for _ in range(100)))
        newest = (await store.status()).revision
        await store.compact(newest - 10)
        told = await revisions_until_compacted(watch)
    await store.close()
    assert told == list(range(told[0], told[0] + len(told))) and 1000 <= len(told) < 2990


async def test_an_etcd_that_went_back_to_a_snapshot_ends_watches_with_future_revision(
    tmp_path: Path,
) -> None:
    with etcd(tmp_path) as cluster:
        [member] = cluster.members
        store = await EtcdStore.connect(cluster.settings())
        await written_in_peace(store, "a")
        async with store.watch("a") as watch:
            member.kill()
            shutil.copytree(member.data, tmp_path / "copy")
            cluster.start()
            for _ in range(5):
                seen = await written_in_peace(store, "a")
            async with asyncio.timeout(20):
                while (await anext(watch)).revision < seen:
                    pass
            member.kill()
            shutil.rmtree(member.data)
            (tmp_path / "copy").rename(member.data)
            cluster.start()
            with pytest.raises(FutureRevision):
                async with asyncio.timeout(20):
                    await anext(watch)
        await store.close()
