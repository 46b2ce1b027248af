"""A store with a cluster in it, and a feed that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest

from argosy.api.cluster import open_cluster
from argosy.api.feed import Feed
from argosy.api.journal import Journal
from argosy.api.services import Api, Services
from argosy.store import base
from argosy.store.memory import MemoryStore

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def clock() -> datetime:
    return NOW


class RacedStore(MemoryStore):
    """A store on which somebody else may be quicker."""

    def __init__(self) -> None:
        super().__init__()
        self.before_next_txn: Callable[[], Awaitable[object]] | None = None
        """What somebody else does just before the next transaction is carried out."""

    async def txn(
        self,
        compares: Sequence[base.Compare],
        success: Sequence[base.Op],
        failure: Sequence[base.Op] = (),
    ) -> base.TxnResult:
        other, self.before_next_txn = self.before_next_txn, None
        if other is not None:
            await other()
        return await super().txn(compares, success, failure)


@pytest.fixture
async def store() -> AsyncIterator[RacedStore]:
    store = RacedStore()
    await open_cluster(store, clock=clock)
    yield store
    await store.close()


@pytest.fixture
async def api(store: MemoryStore) -> AsyncIterator[Api]:
    services = Services(store=store, clock=clock)
    api = Api(services, Feed(store, clock), Journal("test"))
    following = asyncio.create_task(api.feed.run())
    yield api
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
