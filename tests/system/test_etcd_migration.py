"""A cluster moves from a file into etcd and back, with a backup in between, and stays itself."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argosy.model.cluster import Cluster
from argosy.store import keys
from argosy.store.backup import restore_backup, write_backup
from argosy.store.base import Put
from argosy.store.codec import encode
from argosy.store.etcd.store import EtcdStore
from argosy.store.sqlite import SqliteStore
from argosy.store.transfer import copy, read
from contract.etcd_kit import etcd

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_from_sqlite_to_etcd_to_a_backup_to_sqlite(tmp_path: Path) -> None:
    rng = random.Random(5)
    cluster = Cluster(id="cd" * 16, created_at=datetime(2026, 11, 25, tzinfo=UTC))
    first = await SqliteStore.open(tmp_path / "first.db")
    await first.txn([], [Put(keys.CLUSTER, encode(cluster))])
    for number in range(40):
        size = rng.choice([0, 200, 50_000])
        await first.txn(
            [], [Put(f"units/{number:02}-{part:02}", rng.randbytes(size)) for part in range(25)]
        )
    with etcd(tmp_path) as started:
        second = await EtcdStore.connect(started.settings())
        await copy(first, second, raise_epoch=True)
        await write_backup(second, tmp_path / "backup")
        in_etcd = await read(second)
        await second.close()
    third = await SqliteStore.open(tmp_path / "third.db")
    await restore_backup(tmp_path / "backup", third)
    there, back = await read(first), await read(third)
    assert there.records == in_etcd.records == back.records and len(back.records) == 1000
    assert there.cluster.id == in_etcd.cluster.id == back.cluster.id
    assert there.cluster.epoch < in_etcd.cluster.epoch < back.cluster.epoch
    await first.close()
    await third.close()
