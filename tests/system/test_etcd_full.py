"""An etcd without space: writes are refused whole, reading and deleting go on, and afterwards everything works again."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from argosy.errors import Indeterminate, StoreFull, StoreUnavailable
from argosy.store.base import Delete, Get, Put, RangeResult, Store, prefix_end
from argosy.store.etcd.store import EtcdStore
from contract.etcd_kit import EtcdCluster, etcd

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def put_until_full(store: Store) -> tuple[list[str], str]:
    """Keys whose puts were acknowledged, and the one that was refused first.

    The refusal may come behind the write: etcd carries out what was on its way when it found that there is no more room,
    and then says that there is none (quotaApplierV3 in its source).
    """
    acknowledged: list[str] = []
    for number in range(2000):
        key = f"big/{number:05}"
        try:
            await store.txn([], [Put(key, b"x" * 100_000), Put(f"{key}/twin", b"")])
        except StoreFull as refusal:
            assert "defrag" in refusal.hint
            return acknowledged, key
        acknowledged.append(key)
    raise AssertionError("etcd did not get full")


@pytest.mark.slow
async def test_a_full_etcd_refuses_writes_whole_reads_and_deletes_and_recovers(
    tmp_path: Path,
) -> None:
    with etcd(tmp_path, arguments=["--quota-backend-bytes=4000000"]) as cluster:
        store = await EtcdStore.connect(cluster.settings())
        lease = await store.grant(60)
        acknowledged, refused = await put_until_full(store)
        found = (await store.range("big/", prefix_end("big/"), keys_only=True)).kvs
        kept = [kv.key for kv in found[::2]]
        assert kept in (acknowledged, [*acknowledged, refused]), "nothing half written"
        assert len(found) == 2 * len(kept)
        assert {member.alarms for member in await store.members()} == {("NOSPACE",)}

        with pytest.raises(StoreFull):
            await store.grant(60)
        with pytest.raises(StoreFull):
            await store.txn([], [Delete("big/00000"), Put("event", b"who deleted it")])
        assert await store.keep_alive(lease.id) == 60
        async with store.watch("big/", prefix_end("big/")) as watch:
            result = await store.txn([], [Delete("big/", prefix_end("big/")), Get("big/00000")])
            assert (await anext(watch)).revision == result.revision
        assert result.responses[0] == 2 * len(kept)
        assert isinstance(result.responses[1], RangeResult) and not result.responses[1].kvs

        cluster.ctl("compact", "--physical", str(result.revision))
        with pytest.raises(StoreFull):
            await store.txn([], [Put("still", b"")])
        cluster.ctl("defrag")
        cluster.ctl("alarm", "disarm")
        again = await store.txn([], [Put("big/00000", b"x" * 100_000)])
        assert again.revision == result.revision + 1
        await store.close()


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[tuple[EtcdCluster, Path]]:
    """An etcd whose fsync takes as many milliseconds as the file says."""
    program, delay = tmp_path / "slow_fsync", tmp_path / "delay"
    source = Path(__file__).with_name("slow_fsync.c")
    subprocess.run(["gcc", "-O1", "-o", program, source], check=True)
    with etcd(tmp_path, wrapper=[str(program), str(delay)]) as cluster:
        yield cluster, delay


@pytest.mark.slow
async def test_on_a_slow_disk_writes_wait_and_a_stuck_one_makes_them_indeterminate(
    slow_disk: tuple[EtcdCluster, Path],
) -> None:
    cluster, delay = slow_disk
    settings = replace(cluster.settings(), request_timeout=timedelta(seconds=2))
    store = await EtcdStore.connect(settings)
    async with store.watch("a") as watch:
        delay.write_text("300")
        began = time.monotonic()
        written = (await store.txn([], [Put("a", b"slow")])).revision
        assert 0.25 < time.monotonic() - began < 2
        assert (await anext(watch)).revision == written

        delay.write_text("4000")
        began = time.monotonic()
        with pytest.raises(Indeterminate):
            await store.txn([], [Put("a", b"stuck")])
        assert 1.5 < time.monotonic() - began < 3
        delay.write_text("0")
        async with asyncio.timeout(15):
            batch = await anext(
                watch
            )  # it was carried out after all: that is why it is not sent again
            assert batch.events[0].kv.value == b"stuck" and batch.revision == written + 1
            while True:
                try:
                    found = (await store.range("a")).kvs[0]
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.1)
        assert (found.value, found.version) == (b"stuck", 2)
    await store.close()
