"""`kill -9` at any moment loses no acknowledged write and leaves no half transaction."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.errors import StoreRefused
from argosy.store.base import Put, Store
from argosy.store.sqlite import SqliteStore

KILLS = 200
WRITERS = Path(__file__).with_name("sqlite_writers.py")


class Writers:
    """The process that forks writers."""

    def __init__(self, store: Path, acknowledged: Path) -> None:
        self._line = f"{store} {acknowledged}\n".encode()
        self._process = subprocess.Popen(
            [sys.executable, WRITERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def start(self) -> int:
        """The process id of a new writer; the one before must have been killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(self._line)
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(10) == 0


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    started = Writers(tmp_path / "state.db", tmp_path / "acknowledged")
    yield started
    started.stop()


async def open_when_free(path: Path) -> SqliteStore:
    """The kernel takes the lock from a killed process when it gets round to ending it."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await SqliteStore.open(path)
            except StoreRefused as refusal:
                if "in use" not in refusal.message:
                    raise
                await asyncio.sleep(0.001)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def grown(path: Path, before: int) -> None:
    """Wait until another process has written something into the file."""
    async with asyncio.timeout(10):
        while size(path) == before:
            await asyncio.sleep(0.001)


def last_acknowledged(path: Path) -> dict[int, tuple[int, int]]:
    """Number and revision of each task's last acknowledged transaction."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {
        int(line.split()[0]): (int(line.split()[1]), int(line.split()[2]))
        for line in lines
        if line != "open"
    }


async def assert_no_half_transaction(store: Store) -> dict[int, tuple[int, int]]:
    """Both halves of each pair are one write, now and at every revision kept. Returns what is stored, as above."""
    kvs = (await store.range("pair/", "pair0")).kvs
    for left, right in zip(kvs[::2], kvs[1::2], strict=True):
        assert left.key.removesuffix("left") == right.key.removesuffix("right")
        assert left[1:] == right[1:]
    status = await store.status()
    if kvs:
        async with store.watch(
            "pair/", "pair0", start_revision=max(2, status.compacted_revision)
        ) as watch:
            async with asyncio.timeout(10):
                revision = 0
                while revision < max(kv.mod_revision for kv in kvs):
                    batch = await anext(watch)
                    assert len(batch.events) == 2 and batch.revision > revision
                    revision = batch.revision
    return {
        int(kv.key.split("/")[1]): (int(kv.value.split()[0]), kv.mod_revision) for kv in kvs[::2]
    }


@pytest.mark.slow
@pytest.mark.timeout(300)  # half a minute, on a machine that does nothing else
async def test_a_kill_at_any_moment_loses_no_acknowledged_write_and_leaves_no_half_transaction(
    writers: Writers, tmp_path: Path
) -> None:
    path, acknowledged = tmp_path / "state.db", tmp_path / "acknowledged"
    dice = random.Random()
    killed_while_writing = 0
    stored_before: dict[int, tuple[int, int]] = {}
    for life in range(KILLS):
        before = size(acknowledged)
        pid = writers.start()
        if life % 4:  # most die while they write, the others also while they open
            await grown(acknowledged, before)
        await asyncio.sleep(dice.uniform(0, 0.03))  # the moment is the point: nothing is waited for
        os.kill(pid, signal.SIGKILL)
        store = await open_when_free(path)
        stored = await assert_no_half_transaction(store)
        await store.close()
        # What an earlier life had written without an answer was read in this one, so it may not vanish either.
        known = {
            task: max(last, stored_before.get(task, last))
            for task, last in last_acknowledged(acknowledged).items()
        }
        for task, (number, revision) in known.items():
            kept_number, kept_revision = stored[task]
            assert number <= kept_number <= number + 1, "one transaction was on its way, no more"
            assert kept_revision == revision or kept_number == number + 1
        stored_before = stored
        killed_while_writing += size(acknowledged) > before + len("open\n")
    assert killed_while_writing > KILLS / 3, "the kills came too early to mean anything"


async def test_a_killed_holder_lets_go_of_the_store_and_a_living_one_is_named(
    writers: Writers, tmp_path: Path
) -> None:
    path, acknowledged = tmp_path / "state.db", tmp_path / "acknowledged"
    pid = writers.start()
    await grown(acknowledged, 0)
    with pytest.raises(StoreRefused, match=f"in use by process {pid}") as refusal:
        await SqliteStore.open(path)
    assert refusal.value.hint == f"ps -fp {pid}"
    os.kill(pid, signal.SIGKILL)
    await (await open_when_free(path)).close()


async def test_a_log_cut_or_altered_at_any_byte_leaves_a_prefix_of_whole_transactions(
    tmp_path: Path,
) -> None:
    """What a power cut can leave of the file's end, without a power cut."""
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    for number in range(60):
        value = b"%d %s" % (number, b"x" * 2000)
        await store.txn([], [Put("pair/0/left", value), Put("pair/0/right", value)])
    image, log = path.read_bytes(), (tmp_path / "state.db-wal").read_bytes()
    await store.close()
    dice = random.Random(7)
    kept = set()
    for attempt in range(60):
        torn = tmp_path / f"torn{attempt}" / "state.db"
        torn.parent.mkdir()
        torn.write_bytes(image)
        at = dice.randrange(len(log))
        broken = log[:at] if attempt % 2 else log[:at] + bytes([log[at] ^ 0x55]) + log[at + 1 :]
        torn.with_name("state.db-wal").write_bytes(broken)
        opened = await SqliteStore.open(torn)
        stored = await assert_no_half_transaction(opened)
        kept.add(stored[0][0] if stored else -1)
        await opened.close()
        shutil.rmtree(torn.parent)
    assert len(kept) > 20, "the cuts fell on different transactions"
