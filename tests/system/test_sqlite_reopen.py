"""What a SQLite store is after it was closed, or after its disk failed, and opened again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from argosy.store.base import Compacted, Delete, LeaseNotFound, Put, WatchBatch
from argosy.store.sqlite import SqliteStore

HERE = Path(__file__).parent


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement).fetchall()


def run(*command: str | Path, **environment: str) -> str:
    """What the command printed; it must succeed."""
    return subprocess.run(
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    ).stdout


async def batches(watch: AsyncIterator[WatchBatch], count: int) -> list[WatchBatch]:
    async with asyncio.timeout(10):
        return [await anext(watch) for _ in range(count)]


async def test_everything_is_as_it_was_revisions_history_and_all(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    lease = await store.grant(60)
    await store.txn([], [Put("a", b"1"), Put("b", b"", lease.id), Put("ü\0", b"\0\xff")])
    await store.txn([], [Put("a", b"2"), Delete("b")])
    await store.txn([], [Delete("a")])
    await store.txn([], [Put("a", b"3")])
    status = await store.status()
    past = [await store.range("a", "z", revision=r) for r in range(1, status.revision + 1)]
    async with store.watch("a", "z", start_revision=2) as watch:
        told = await batches(watch, 4)
    await store.close()

    again = await SqliteStore.open(tmp_path / "state.db")
    assert (await again.status())[:3] == status[:3]
    assert [await again.range("a", "z", revision=r) for r in range(1, status.revision + 1)] == past
    async with again.watch("a", "z", start_revision=2) as watch:
        assert await batches(watch, 4) == told
    assert (await again.txn([], [Put("next", b"")])).revision == status.revision + 1
    await again.close()


async def test_what_was_compacted_stays_compacted(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    for i in range(10):
        await store.txn([], [Put("a", b"%d" % i), Put(f"k{i}", b""), Delete(f"k{i - 1}")])
    await store.compact(6)
    status = await store.status()
    now, at_6 = await store.range("a", "z"), await store.range("a", "z", revision=6)
    async with store.watch("a", "z", start_revision=6) as watch:
        told = await batches(watch, 6)
    await store.close()

    again = await SqliteStore.open(tmp_path / "state.db")
    assert (await again.status())[:3] == status[:3]
    assert await again.range("a", "z") == now
    assert await again.range("a", "z", revision=6) == at_6
    async with again.watch("a", "z", start_revision=6) as watch:
        assert await batches(watch, 6) == told
    with pytest.raises(Compacted):
        await again.range("a", revision=5)
    await again.compact(11)
    await again.close()


async def test_a_compaction_that_a_crash_cut_short_is_finished_after_reopening(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    await asyncio.gather(*(store.txn([], [Put("a", b"%d" % i)]) for i in range(5000)))
    await store.txn([], [Put("gone", b""), Put("kept", b"")])
    await store.txn([], [Delete("gone")])
    revision = (await store.txn([], [Put("a", b"newest")])).revision
    await store.close()
    # What the first of its commits leaves: the revision is noted, most versions are still there.
    sql(path, f"UPDATE facts SET value = {revision} WHERE name = 'compacted_revision'")

    again = await SqliteStore.open(path)
    assert (await again.status())[:3] == (revision, revision, 2)
    await again.txn([], [Put("b", b"")])
    await again.close()
    assert sql(path, "SELECT key FROM changes ORDER BY id") == [("kept",), ("a",), ("b",)]


async def test_leases_start_their_full_time_anew_and_ids_are_never_used_again(
    tmp_path: Path,
) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    lives, ended = await store.grant(3), await store.grant(60)
    await store.txn([], [Put("leased", b"", lives.id)])
    await store.revoke(ended.id)
    await asyncio.sleep(1)
    await store.close()

    opened_at = asyncio.get_running_loop().time()
    again = await SqliteStore.open(tmp_path / "state.db")
    with pytest.raises(LeaseNotFound):
        await again.keep_alive(ended.id)
    assert (await again.grant(60)).id > ended.id
    async with again.watch("leased") as watch:
        await batches(watch, 1)
    assert asyncio.get_running_loop().time() - opened_at >= 3
    await again.close()


async def test_a_disk_that_fails_during_a_commit_stops_the_store_until_it_is_opened_again(
    tmp_path: Path,
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("breaking fsync underneath SQLite needs a C compiler")
    library, path = tmp_path / "failing_fsync.so", tmp_path / "state.db"
    run(compiler, "-shared", "-fPIC", "-o", library, HERE / "failing_fsync.c", "-ldl")
    told = run(
        sys.executable,
        HERE / "sqlite_on_broken_disk.py",
        path,
        LD_PRELOAD=str(library),
        FAIL_FSYNC_WHEN=str(tmp_path / "broken"),
    )
    committing, waiting, watching, reading, late = told.splitlines()
    assert committing.startswith("Indeterminate: ") and "failed during a commit" in committing
    assert waiting.startswith("StoreUnavailable: the store stopped")
    assert watching.startswith("WatchLost: ")
    assert reading.startswith("StoreUnavailable: the store stopped")
    assert late.startswith("StoreUnavailable: the store stopped")

    again = await SqliteStore.open(path)
    found = [kv.key for kv in (await again.range("a", "z")).kvs]
    assert found in (["certain"], ["certain", "uncertain"])
    await again.txn([], [Put("works", b"")])
    await again.close()
