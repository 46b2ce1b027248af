"""The store and an event loop share one interpreter: neither may hold up the other."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from argosy.store.base import Put
from argosy.store.sqlite import SqliteStore


async def test_an_event_loop_that_is_never_idle_does_not_starve_the_disk(tmp_path: Path) -> None:
    """On a machine that is otherwise idle, twenty took up to a minute before `disk_thread.py` made the loop stand aside."""

    async def compute() -> None:
        while True:
            until = time.perf_counter() + 0.0008
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0)

    store = await SqliteStore.open(tmp_path / "state.db")
    computing = asyncio.create_task(compute())
    async with asyncio.timeout(10):
        for number in range(100):
            await store.txn([], [Put("a", b"%d" % number)])
    computing.cancel()
    await asyncio.wait([computing])
    await store.close()


async def test_other_tasks_go_on_while_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    writing = asyncio.create_task(store.txn([], [Put("a", b"x" * 1_000_000)]))
    turns = 0
    while not writing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 3
    await store.close()
