"""The cluster's own record: found in the store, or made once by the server that opens an empty one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from argosy.errors import StoreRefused
from argosy.model.cluster import Cluster
from argosy.store import base, codec, keys

LAYOUT = 1
"""Version of the layout of the records that this program writes."""


async def open_cluster(store: base.Store, *, clock: Callable[[], datetime]) -> Cluster:
    """The cluster that the store belongs to; a new one if the store is empty.

    Of several servers that open an empty store together one makes the record and all return it.
    Raises StoreRefused when the store was written by a newer program, or holds records but no cluster.
    """
    found = await store.range(keys.CLUSTER)
    if not found.kvs:
        first = await store.range(keys.ASSIGNMENTS, base.prefix_end(keys.UNITS), limit=1)
        if first.kvs and first.kvs[0].key != keys.CLUSTER:
            raise StoreRefused(
                f"the store has records ({first.kvs[0].key}) but does not say of which cluster",
                hint="restore the store from a backup, or give an empty one",
            )
        new = Cluster(id=secrets.token_hex(16), created_at=clock(), layout=LAYOUT)
        await store.txn([base.absent(keys.CLUSTER)], [base.Put(keys.CLUSTER, codec.encode(new))])
        found = await store.range(keys.CLUSTER)
    cluster = codec.decode(found.kvs[0].value, Cluster)
    if cluster.layout > LAYOUT:
        raise StoreRefused(
            f"the store has layout {cluster.layout}, this program knows {LAYOUT}",
            hint="use the newer argosy that wrote it",
        )
    return cluster
