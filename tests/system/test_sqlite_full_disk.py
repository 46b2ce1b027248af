"""A full disk stops acceptance with a clear error, loses nothing, and is left behind when there is room again."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.errors import StoreFull
from argosy.store.base import Delete, Put, Store, prefix_end
from argosy.store.sqlite import SqliteStore

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    if os.geteuid():
        pytest.skip("mounting a small file system needs root")
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def fill(directory: Path) -> Path:
    """Take all the room there is; removing the file gives it back."""
    ballast = directory / "somebody-elses-file"
    with ballast.open("ab", buffering=0) as file:
        size = MEGABYTE
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    return ballast


async def put_until_full(store: Store) -> list[str]:
    """Keys whose puts were acknowledged."""
    acknowledged: list[str] = []
    for number in range(10_000):
        key = f"big/{number:05}"
        try:
            await store.txn([], [Put(key, b"%d" % number * 2000)])
        except StoreFull:
            return acknowledged
        acknowledged.append(key)
    raise AssertionError("the disk did not get full")


async def keys(store: Store, prefix: str) -> list[str]:
    return [kv.key for kv in (await store.range(prefix, prefix_end(prefix))).kvs]


async def test_a_full_disk_refuses_puts_loses_nothing_and_recovers(small_disk: Path) -> None:
    store = await SqliteStore.open(small_disk / "state.db")
    ballast = fill(small_disk)
    acknowledged = await put_until_full(store)
    assert await keys(store, "big/") == acknowledged

    with pytest.raises(StoreFull):
        await store.grant(60)
    many = [store.txn([], [Put(f"many/{i}", b"x" * 9000)]) for i in range(20)]
    answers = await asyncio.gather(*many, return_exceptions=True)
    assert all(isinstance(answer, StoreFull) for answer in answers)

    await store.close()
    store = await SqliteStore.open(small_disk / "state.db")
    assert await keys(store, "big/") == acknowledged, (
        "a full disk does not keep a store from opening"
    )

    ballast.unlink()
    await store.txn([], [Put("after", b"x" * 100_000)])
    assert await keys(store, "many/") == []
    await store.close()
    store = await SqliteStore.open(small_disk / "state.db")
    assert await keys(store, "big/") == acknowledged and await keys(store, "after") == ["after"]
    await store.close()


async def test_reads_watches_deletions_and_the_end_of_leases_work_on_a_full_disk(
    small_disk: Path,
) -> None:
    store = await SqliteStore.open(small_disk / "state.db")
    lease = await store.grant(60)
    await store.txn([], [Put("leased", b"", lease.id)])
    for i in range(300):
        await store.txn([], [Put(f"small/{i:03}", b"x" * 400)])
    ballast = fill(small_disk)
    await put_until_full(store)
    async with store.watch("small/", prefix_end("small/")) as watch:
        for key in await keys(store, "small/"):
            # what `destroy` does: a record goes, the event that says so comes
            result = await store.txn([], [Delete(key), Put(f"events/{key}", b"destroyed")])
            assert result.responses[0] == 1
            assert (await anext(watch)).events[0].kv.key == key
    assert await store.keep_alive(lease.id) == 60
    await store.revoke(lease.id)
    assert await keys(store, "leased") == [] and len(await keys(store, "events/")) == 300
    fill(small_disk)
    await put_until_full(store)
    with pytest.raises(StoreFull):
        await store.txn([], [Delete("events/small/001"), Put("large", b"x" * 100_000)])
    assert "events/small/001" in await keys(store, "events/"), "refused whole"
    ballast.unlink()
    await store.txn([], [Put("after", b"")])
    await store.close()


async def test_a_batch_of_puts_and_deletions_on_a_full_disk_refuses_the_puts_only(
    small_disk: Path,
) -> None:
    store = await SqliteStore.open(small_disk / "state.db")
    await store.txn([], [Put("old", b"")])
    fill(small_disk)
    await put_until_full(store)
    first, second, third = await asyncio.gather(
        store.txn([], [Put("new", b"x" * 9000)]),
        store.txn([], [Delete("old")]),
        store.txn([], [Put("new", b"y" * 9000)]),
        return_exceptions=True,
    )
    assert isinstance(first, StoreFull) and isinstance(third, StoreFull)
    assert not isinstance(second, BaseException) and second.responses == (1,)
    await store.close()


async def test_deleting_and_compacting_makes_room_without_help_from_outside(
    small_disk: Path,
) -> None:
    store = await SqliteStore.open(small_disk / "state.db")
    acknowledged = await put_until_full(store)
    for first in range(0, len(acknowledged), 50):
        await store.txn([], [Delete(key) for key in acknowledged[first : first + 50]])
    revision = (await store.status()).revision
    await store.compact(revision)

    async def room() -> None:
        while True:
            try:
                await store.txn([], [Put("again", b"x" * 100_000)])
            except StoreFull:
                await store.txn([], [Delete("nobody")])
                await asyncio.sleep(0.01)
            else:
                return

    await asyncio.wait_for(room(), 10)
    await store.close()


async def test_a_new_store_on_a_full_disk_says_so_and_leaves_nothing_behind(
    small_disk: Path,
) -> None:
    ballast = fill(small_disk)
    with pytest.raises(StoreFull, match="cannot make a new store"):
        await SqliteStore.open(small_disk / "state.db")
    assert not (small_disk / "state.db").exists() and not (small_disk / "state.db.new").exists()
    ballast.unlink()
    await (await SqliteStore.open(small_disk / "state.db")).close()
