"""A store with a cluster in it, and a feed that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from argosy.api.cluster import open_cluster
from argosy.api.feed import Feed
from argosy.api.journal import Journal
from argosy.api.services import Api, Services
from argosy.store.memory import MemoryStore

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def clock() -> datetime:
    return NOW


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
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
