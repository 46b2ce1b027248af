"""What the stores of one process promise beyond the contract: everything happens in the order of the calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argosy.store.base import LeaseNotFound, Put, Store, WatchLost
from argosy.store.memory import MemoryStore
from argosy.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store
    match request.param:
        case "memory":
            opened = MemoryStore()
        case "sqlite":
            opened = await SqliteStore.open(tmp_path / "state.db")
    try:
        yield opened
    finally:
        await opened.close()


async def test_closing_ends_watches_after_what_was_written(store: Store) -> None:
    async with store.watch("a") as watch:
        written = (await store.txn([], [Put("a", b"")])).revision
        await store.close()
        assert (await anext(watch)).revision == written
        with pytest.raises(WatchLost):
            await anext(watch)


async def test_a_put_after_a_revocation_that_is_still_being_written_is_refused(
    store: Store,
) -> None:
    lease = await store.grant(60)
    _, late = await asyncio.gather(
        store.revoke(lease.id),
        store.txn([], [Put("a", b"", lease.id)]),
        return_exceptions=True,
    )
    assert isinstance(late, LeaseNotFound)
    assert not (await store.range("a")).kvs
