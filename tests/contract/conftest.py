"""The stores that the contract tests run on: the same tests for each, and nothing in them knows which one it has.

The tests share one event loop, because gRPC's asyncio layer wants one in a process. Each etcd is started once, so no test
may think that a store's first revision is 1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from argosy.store.base import Delete, Store
from argosy.store.etcd.store import EtcdStore
from argosy.store.measured import MeasuredStore
from argosy.store.memory import MemoryStore
from argosy.store.sqlite import SqliteStore
from contract.etcd_kit import EtcdCluster, etcd


@pytest.fixture(scope="session")
def one_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd(tmp_path_factory.mktemp("etcd1")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def three_etcds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd(tmp_path_factory.mktemp("etcd3"), members=3) as cluster:
        yield cluster


@pytest_asyncio.fixture(
    loop_scope="session", params=["memory", "measured", "sqlite", "etcd", "etcd-of-three"]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store, closed at the end."""
    match request.param:
        case "memory":
            opened: Store = MemoryStore()
        case "measured":
            opened = MeasuredStore(MemoryStore(), lambda operation, seconds, problem: None)
        case "sqlite":
            opened = await SqliteStore.open(tmp_path / "state.db")
        case "etcd":
            opened = await opened_at(request.getfixturevalue("one_etcd"))
        case "etcd-of-three":
            opened = await opened_at(request.getfixturevalue("three_etcds"))
    try:
        yield opened
    finally:
        await opened.close()


async def opened_at(cluster: EtcdCluster) -> EtcdStore:
    # What the tests before left behind is deleted: a key that went with its lease would take a revision in between.
    settings = cluster.settings(prefix="/test/")
    store = await EtcdStore.connect(settings)
    await store.txn([], [Delete("\x01", "\U0010ffff")])
    return store
