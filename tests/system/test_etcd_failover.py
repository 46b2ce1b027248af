"""Members of etcd that die, freeze or are cut off: what the store answers meanwhile, and within which time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from argosy.errors import Indeterminate, StoreUnavailable
from argosy.settings import EtcdSettings
from argosy.store.base import KeyValue, Put, Store, unchanged
from argosy.store.etcd.store import EtcdStore
from contract.etcd_kit import EtcdCluster, etcd, free_ports
from contract.etcd_network import partitioned_etcd

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd(tmp_path_factory.mktemp("etcd"), members=3) as started:
        yield started


async def put(store: Store, key: str, value: bytes = b"") -> int:
    return (await store.txn([], [Put(key, value)])).revision


async def put_somehow(store: Store, key: str, value: bytes = b"") -> int:
    """A put that may be done twice, until it is acknowledged."""
    while True:
        try:
            return await put(store, key, value)
        except (Indeterminate, StoreUnavailable):
            await asyncio.sleep(0.05)


def preferring(cluster: EtcdCluster, url: str, prefix: str) -> EtcdSettings:
    """The settings with this member first in line."""
    others = (other for other in cluster.urls if other != url)
    return replace(cluster.settings(prefix), endpoints=(url, *others))


async def test_a_dead_endpoint_in_the_list_costs_nothing(cluster: EtcdCluster) -> None:
    [port] = free_ports(1)
    settings = replace(
        cluster.settings("/dead/"), endpoints=(f"http://127.0.0.1:{port}", *cluster.urls)
    )
    began = time.monotonic()
    store = await EtcdStore.connect(settings)
    await put(store, "a")
    assert time.monotonic() - began < 1
    health = await store.members()
    await store.close()
    assert sorted(member.is_reachable for member in health) == [False, True, True, True]
    assert sum(member.is_leader for member in health) == 1
    assert all(member.is_supported for member in health if member.is_reachable)
    [dead] = (member for member in health if not member.is_reachable)
    assert "refused" in dead.problem


async def test_without_any_member_calls_end_in_time_and_say_why() -> None:
    [port] = free_ports(1)
    settings = EtcdSettings(
        endpoints=(f"http://127.0.0.1:{port}",), request_timeout=timedelta(seconds=1)
    )
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}.*refused"):
        await EtcdStore.connect(settings)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("who", ["leader", "follower"])
async def test_a_frozen_member_delays_reads_and_renewals_by_one_attempt_and_stops_no_watch(
    cluster: EtcdCluster, who: str
) -> None:
    leader = cluster.leader()
    frozen = leader if who == "leader" else cluster.others(leader)[0]
    store = await EtcdStore.connect(preferring(cluster, frozen.client_url, f"/frozen-{who}/"))
    lease = await store.grant(30)
    await store.keep_alive(lease.id)
    async with store.watch("a") as watch:
        await put(store, "a")
        await anext(watch)
        frozen.freeze()
        try:
            began = time.monotonic()
            await asyncio.gather(store.range("a"), store.keep_alive(lease.id))
            assert time.monotonic() - began < 5
            last = await put_somehow(store, "a")
            async with asyncio.timeout(5):
                while (await anext(watch)).revision < last:
                    pass
        finally:
            frozen.thaw()
    await store.close()
    cluster.wait()


async def test_a_write_to_a_frozen_member_is_indeterminate_after_the_timeout_and_may_come_true(
    cluster: EtcdCluster,
) -> None:
    frozen = cluster.others(cluster.leader())[0]
    settings = replace(
        preferring(cluster, frozen.client_url, "/late/"), request_timeout=timedelta(seconds=2)
    )
    store = await EtcdStore.connect(settings)
    frozen.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(Indeterminate):
            await put(store, "a")
        assert 1.5 < time.monotonic() - began < 3
        began = time.monotonic()
        await put(store, "b")
        assert time.monotonic() - began < 1, "the next write goes to another member at once"
    finally:
        frozen.thaw()
    cluster.wait()
    await asyncio.sleep(0.2)
    assert (await store.range("a")).total <= 1
    assert (await store.range("b")).kvs[0].version == 1
    await store.close()


async def test_when_the_leader_is_killed_writes_go_on_within_seconds(cluster: EtcdCluster) -> None:
    store = await EtcdStore.connect(cluster.settings("/killed/"))
    leader = cluster.leader()
    async with store.watch("a") as watch:
        leader.kill()
        began = time.monotonic()
        written = await put_somehow(store, "a")
        assert time.monotonic() - began < 8
        async with asyncio.timeout(8):
            while (await anext(watch)).revision < written:
                pass
    cluster.start(leader)
    await store.close()


async def test_two_of_three_members_dead_stop_everything_until_one_is_back(
    cluster: EtcdCluster,
) -> None:
    settings = replace(cluster.settings("/minority/"), request_timeout=timedelta(seconds=2))
    store = await EtcdStore.connect(settings)
    before = await put(store, "a", b"before")
    first, second, _ = cluster.members
    async with store.watch("a") as watch:
        first.kill()
        second.kill()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.range("a")
        with pytest.raises((StoreUnavailable, Indeterminate)):
            await put(store, "a", b"during")
        assert time.monotonic() - began < 8
        cluster.start(first)
        after = await put_somehow(store, "a", b"after")
        async with asyncio.timeout(10):
            while (batch := await anext(watch)).revision < after:
                assert batch.revision > before
        assert batch.events[0].kv.value == b"after"
    cluster.start(second)
    await store.close()


async def increment(store: Store, tally: dict[str, int], until: float) -> None:
    """Compare-and-swap increments; tells how many were acknowledged and of how many nobody knows."""
    while time.monotonic() < until:
        try:
            kv: KeyValue = (await store.range("counter")).kvs[0]
            value = b"%d" % (int(kv.value) + 1)
            if (await store.txn([unchanged(kv)], [Put("counter", value)])).succeeded:
                tally["acknowledged"] += 1
        except Indeterminate:
            tally["unknown"] += 1
        except StoreUnavailable:
            tally["refused"] += 1


async def test_increments_under_kills_and_freezes_all_count_once(cluster: EtcdCluster) -> None:
    rng = random.Random(11)
    settings = replace(
        cluster.settings("/count/"),
        request_timeout=timedelta(seconds=2),
        attempt_timeout=timedelta(milliseconds=500),
    )
    stores = [
        await EtcdStore.connect(
            replace(settings, endpoints=settings.endpoints[turn:] + settings.endpoints[:turn])
        )
        for turn in range(3)
    ]
    await put(stores[0], "counter", b"0")
    tally = {"acknowledged": 0, "unknown": 0, "refused": 0}
    until = time.monotonic() + 12
    counting = asyncio.gather(*(increment(store, tally, until) for store in stores * 2))
    while time.monotonic() < until - 3:
        victim = rng.choice(cluster.members)
        if rng.random() < 0.5:
            victim.kill()
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            await asyncio.to_thread(cluster.start, victim)
        else:
            victim.freeze()
            await asyncio.sleep(rng.uniform(0.5, 2.0))
            victim.thaw()
            await asyncio.to_thread(cluster.wait)
    await counting
    final = int((await stores[0].range("counter")).kvs[0].value)
    for store in stores:
        await store.close()
    assert tally["acknowledged"] <= final <= tally["acknowledged"] + tally["unknown"], tally
    assert tally["acknowledged"] > 100, tally


async def test_a_member_that_is_cut_off_serves_neither_reads_nor_watches(tmp_path: Path) -> None:
    with partitioned_etcd(tmp_path) as cluster:
        lonely = cluster.leader()
        store = await EtcdStore.connect(preferring(cluster, lonely.client_url, "/cut/"))
        elsewhere = await EtcdStore.connect(
            replace(cluster.settings("/cut/"), endpoints=(cluster.others(lonely)[0].client_url,))
        )
        only_there = await EtcdStore.connect(
            replace(
                cluster.settings("/cut/"),
                endpoints=(lonely.client_url,),
                request_timeout=timedelta(seconds=2),
            )
        )
        await put(store, "a", b"old")
        async with store.watch("a") as watch:
            cluster.cut_off(lonely)
            written = await put_somehow(elsewhere, "a", b"new")
            began = time.monotonic()
            assert (await store.range("a")).kvs[0].value == b"new"
            async with asyncio.timeout(10):
                assert (await anext(watch)).revision == written
            assert time.monotonic() - began < 10
            with pytest.raises(StoreUnavailable):
                await only_there.range("a")
            [told] = [m for m in await store.members() if m.endpoint in lonely.client_url]
            assert not told.is_reachable
            cluster.reconnect(lonely)
            assert (await put_somehow(only_there, "a")) > written
        for opened in (store, elsewhere, only_there):
            await opened.close()
